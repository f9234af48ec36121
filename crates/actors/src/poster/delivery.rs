//! One message through a flow's deliveries: the call, its outcome, when to try again, and when to give up.

use super::lane::Job;
use super::rendering::Rendered;
use crate::deaths::Deaths;
use crate::letters;
use crate::messages::{Publish, Reload};
use crate::metrics::{Counter, Outcome as Counted};
use crate::pace::Pace;
use actix::Recipient;
use hearthgate_domain::delivery::{Micros, Outbound};
use hearthgate_domain::flow::{self, Action, Endpoint, Flow, HeaderValue, LogLevel, Part, SecretRef};
use hearthgate_domain::retry::{BreakerSettings, CircuitBreaker, Permission, RetrySchedule};
use hearthgate_http::template::Purpose;
use hearthgate_http::{Auth, Call, ClientOptions, EndpointClient, Method, Outcome, SigningSecret};
use hearthgate_storage::dead_letters::{DeadLetters, NewDeadLetter};
use hearthgate_storage::journal::Seq;
use hearthgate_storage::sql::Database;
use secrecy::SecretString;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::{Semaphore, watch};
use tracing::{debug, error, info, trace, warn};
use uuid::Uuid;

/// Longest sleep while somebody else tries out whether an endpoint is back.
const PROBE_WAIT: Duration = Duration::from_secs(1);

/// How a message is delivered, from the settings.
#[derive(Clone)]
pub struct Endpoints {
    /// How long a call may take, unless the flow says otherwise.
    pub timeout: Duration,
    /// Hosts that may be called; empty: any.
    pub allowed_hosts: Vec<String>,
    /// When to try again, unless the flow says otherwise.
    pub retry: RetrySchedule,
    /// When an endpoint is left alone for a while.
    pub breaker: BreakerSettings,
    /// Calls under way to one endpoint, at least 1.
    pub parallel: usize,
    /// Where given-up messages go.
    pub letters: DeadLetters,
    /// For switching a flow off whose endpoint is gone for good.
    pub database: watch::Receiver<Option<Database>>,
    /// Who has to know of that.
    pub reload: Recipient<Reload>,
    /// Where `PUBLISH` goes.
    pub publish: Recipient<Publish>,
    /// Finds a secret where its reference says.
    pub secrets: Arc<FindSecret>,
}

/// Finds a secret where its reference says, or tells why it can't be found.
pub type FindSecret = dyn Fn(&SecretRef) -> Result<SecretString, String> + Send + Sync;

/// A message that is delivered or given up.
pub(super) struct Done {
    pub(super) flow_id: i64,
    pub(super) seq: Seq,
}

/// A part of a flow's deliveries of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Delivery {
    pub(super) flow_id: i64,
    pub(super) seq: Seq,
    pub(super) part: Part,
}

/// Delivers; shared by all lanes of one incarnation.
pub(super) struct Deliverer {
    endpoints: Endpoints,
    client: EndpointClient,
    journal: Uuid,
    deaths: Arc<Deaths<Delivery>>,
    origins: RefCell<HashMap<String, Rc<Origin>>>,
    counters: RefCell<HashMap<i64, Rc<Counters>>>,
}

/// A host and port that are up or down as a whole.
struct Origin {
    breaker: RefCell<CircuitBreaker>,
    /// Permits for calls under way.
    calls: Semaphore,
}

struct Counters {
    delivered: Counter,
    retried: Counter,
    dead: Counter,
}

impl Deliverer {
    /// Makes the HTTP client; to be called on the thread that will use it.
    ///
    /// # Errors
    /// In words.
    pub(super) fn new(endpoints: &Endpoints, journal: Uuid, deaths: Arc<Deaths<Delivery>>) -> Result<Self, String> {
        // Each flow has its own limit for a call, kept here; the client's own only bounds what that forgets.
        let options = ClientOptions {
            timeout: Duration::from_secs(3600),
            connect_timeout: endpoints.timeout,
            allowed_hosts: endpoints.allowed_hosts.clone(),
            ..ClientOptions::default()
        };
        let client = EndpointClient::new(options).map_err(|error| error.to_string())?;
        let (origins, counters) = (RefCell::default(), RefCell::default());
        Ok(Deliverer { endpoints: endpoints.clone(), client, journal, deaths, origins, counters })
    }

    /// Takes a message through all deliveries of its flow, however long that takes.
    pub(super) async fn deliver(&self, flow_id: i64, flow: Option<Arc<Flow>>, job: Job) -> Done {
        let done = Done { flow_id, seq: job.seq };
        let part = job.due.part();
        let Some(flow) = flow else {
            self.give_up(None, flow_id, &job, part, "the flow was removed or switched off", 0).await;
            return done;
        };
        if let Some(reason) = part.and_then(|part| letters::lacks(&flow, part)) {
            self.give_up(Some(&flow), flow_id, &job, part, &reason, 0).await;
            return done;
        }
        for action in flow.actions.iter().filter(|action| job.due.includes(action)) {
            match action {
                Action::StoreDb {} => {}
                Action::PostEndpoint {} => {
                    if let Some(endpoint) = &flow.endpoint {
                        self.risk(&flow, &job, Part::Post, self.post(&flow, endpoint, &job)).await;
                    }
                }
                Action::Publish { topic, qos, retain } => {
                    let publishing = self.publish(&flow, &job, topic, *qos, *retain);
                    self.risk(&flow, &job, Part::Publish, publishing).await;
                }
                Action::Log { level } => log(&flow, &job, *level),
            }
        }
        done
    }

    /// Carries out one part; a panic is laid to its message, and a message that has done that twice is given up.
    async fn risk(&self, flow: &Flow, job: &Job, part: Part, work: impl Future<Output = ()>) {
        let delivery = Delivery { flow_id: flow.id, seq: job.seq, part };
        if self.deaths.is_deadly(delivery) {
            let reason = "this message has stopped the poster twice";
            return self.give_up(Some(flow), flow.id, job, Some(part), reason, 0).await;
        }
        self.deaths.risk_all(|| [delivery], work).await;
    }

    async fn post(&self, flow: &Arc<Flow>, endpoint: &Endpoint, job: &Job) {
        #[cfg(feature = "fault-injection")]
        assert!(!job.topic.ends_with("/fault/post"), "injected by the topic");
        let counters = self.counters(flow);
        let schedule = endpoint.retry.as_ref().unwrap_or(&self.endpoints.retry);
        let call = match self.prepare(flow, endpoint, job) {
            Ok(call) => call,
            Err(reason) => {
                counters.dead.add(1);
                return self.give_up(Some(flow), flow.id, job, Some(Part::Post), &reason, 0).await;
            }
        };
        let origin = self.origin(&call.url);
        let breaker = &origin.breaker;
        let (mut failed, mut after) = (0, None);
        loop {
            let Some(delay) = schedule.next_delay(failed, fastrand::f64(), after) else {
                counters.dead.add(1);
                let reason = format!("given up after {failed} attempts; the last one: {}", call.reason.borrow());
                return self.give_up(Some(flow), flow.id, job, Some(Part::Post), &reason, failed).await;
            };
            // A timer's tick is 1 ms: even no pause at all would take until the next one.
            if !delay.is_zero() {
                tokio::time::sleep(delay).await;
            }
            wait_for(breaker).await;
            match self.attempt(endpoint, &call, &origin.calls).await {
                Outcome::Delivered { status } => {
                    breaker.borrow_mut().succeeded();
                    counters.delivered.add(1);
                    trace!(flow = %flow.code, seq = job.seq, status, "delivered");
                    return;
                }
                Outcome::RetryLater { after: wait, reason, .. } => {
                    breaker.borrow_mut().failed(letters::now(), fastrand::f64());
                    counters.retried.add(1);
                    warn!(flow = %flow.code, attempt = failed + 1, %reason, "not delivered, it will be tried again");
                    call.reason.replace(reason);
                    (failed, after) = (failed + 1, wait);
                }
                Outcome::Refused { reason, .. } => {
                    breaker.borrow_mut().succeeded();
                    counters.dead.add(1);
                    return self.give_up(Some(flow), flow.id, job, Some(Part::Post), &reason, failed + 1).await;
                }
                Outcome::Gone { reason } => {
                    breaker.borrow_mut().succeeded();
                    counters.dead.add(1);
                    self.switch_off(flow).await;
                    return self.give_up(Some(flow), flow.id, job, Some(Part::Post), &reason, failed + 1).await;
                }
            }
        }
    }

    async fn attempt(&self, endpoint: &Endpoint, call: &Prepared, calls: &Semaphore) -> Outcome {
        // It is never closed.
        let _permit = calls.acquire().await;
        let timeout = endpoint.timeout.unwrap_or(self.endpoints.timeout);
        let request = Call {
            url: &call.url,
            method: Method::POST,
            headers: &call.headers,
            auth: call.auth.clone(),
            body: call.body.clone(),
            message_id: &call.message_id,
            timestamp: SystemTime::now(),
            secret: call.secret.as_ref(),
        };
        match tokio::time::timeout(timeout, self.client.call(&request)).await {
            Ok(outcome) => outcome,
            Err(_) => {
                let reason = format!("no answer within {timeout:?}");
                Outcome::RetryLater { status: None, after: None, reason }
            }
        }
    }

    /// Everything about a call that stays the same from attempt to attempt.
    fn prepare(&self, flow: &Flow, endpoint: &Endpoint, job: &Job) -> Result<Prepared, String> {
        let secret = |reference: &SecretRef| (self.endpoints.secrets)(reference);
        let message_id = format!("{}-{}-{}", self.journal.simple(), job.seq, flow.id);
        let mut headers = vec![("webhook-id".to_owned(), message_id.clone())];
        for (name, value) in &endpoint.headers {
            let value = match value {
                HeaderValue::Text(text) => text.clone(),
                HeaderValue::Secret { secret: reference } => expose(&secret(reference)?),
            };
            headers.push((name.to_string(), value));
        }
        let auth = match &endpoint.auth {
            None => Auth::None,
            Some(flow::Auth::Bearer(token)) => Auth::Bearer(secret(token)?),
            Some(flow::Auth::Basic { username, password }) => {
                Auth::Basic { user: username.clone(), password: secret(password)? }
            }
        };
        let signing = endpoint.webhook_secret.as_ref().map(|reference| {
            let text = secret(reference)?;
            SigningSecret::parse(&expose(&text)).map_err(|error| format!("webhook_secret: {error}"))
        });
        let message = job.rendered(flow, &message_id);
        let render = |template: &str, purpose| message.render(template, purpose);
        let url = endpoint.url_template.as_deref().map(|source| render(source, Purpose::Url)).transpose()?;
        let body = endpoint.body_template.as_deref().map(|source| render(source, Purpose::Body)).transpose()?;
        Ok(Prepared {
            url: url.unwrap_or_else(|| endpoint.url.to_string()),
            body: body.map_or_else(|| job.payload.clone(), Into::into),
            headers,
            auth,
            secret: signing.transpose()?,
            message_id,
            reason: RefCell::default(),
        })
    }

    async fn publish(
        &self,
        flow: &Arc<Flow>,
        job: &Job,
        topic: &str,
        qos: hearthgate_domain::delivery::QoS,
        retain: bool,
    ) {
        #[cfg(feature = "fault-injection")]
        assert!(!job.topic.ends_with("/fault/publish"), "injected by the topic");
        let message_id = format!("{}-{}-{}", self.journal.simple(), job.seq, flow.id);
        let topic = match job.rendered(flow, &message_id).render(topic, Purpose::Body) {
            Ok(topic) => topic,
            Err(reason) => return self.give_up(Some(flow), flow.id, job, Some(Part::Publish), &reason, 0).await,
        };
        if let Err(reason) = hearthgate_domain::topic::validate_topic_name(&topic) {
            let reason = format!("PUBLISH to {topic:?}: {reason}");
            return self.give_up(Some(flow), flow.id, job, Some(Part::Publish), &reason, 0).await;
        }
        if flow.topic.filter().matches(&topic) {
            let reason = format!("PUBLISH to {topic:?} would come back to the same flow, again and again");
            return self.give_up(Some(flow), flow.id, job, Some(Part::Publish), &reason, 0).await;
        }
        let message = Outbound { topic: topic.into(), payload: job.payload.clone(), qos, retain };
        let mut pace = Pace::new();
        loop {
            match self.endpoints.publish.send(Publish(vec![message.clone()])).await {
                Ok(Ok(())) => return self.counters(flow).delivered.add(1),
                Ok(Err(reason)) => debug!(flow = %flow.code, %reason, "publishing waits"),
                Err(reason) => debug!(flow = %flow.code, %reason, "publishing waits"),
            }
            pace.pause().await;
        }
    }

    /// Keeps a message as a dead letter; tried until it is kept, since it must not get lost.
    async fn give_up(
        &self,
        flow: Option<&Flow>,
        flow_id: i64,
        job: &Job,
        part: Option<Part>,
        reason: &str,
        attempts: usize,
    ) {
        let code = flow.map_or_else(|| format!("(flow {flow_id}, removed)"), |flow| flow.code.to_string());
        warn!(flow = %code, seq = job.seq, reason, "dead letter");
        let letter = NewDeadLetter {
            journal: self.journal,
            seq: Some(job.seq),
            flow_code: Some(code),
            topic: job.topic.to_string(),
            payload: job.payload.clone(),
            reason: reason.to_owned(),
            pointer: None,
            received_at: job.received_at,
            dead_at: letters::now(),
            attempts: u32::try_from(attempts).unwrap_or(u32::MAX),
            part,
        };
        let mut pace = Pace::new();
        while let Err(reason) = letters::keep(&self.endpoints.letters, std::slice::from_ref(&letter)).await {
            error!(%reason, "a dead letter can not be kept yet");
            pace.pause().await;
        }
    }

    /// The endpoint said 410: nobody will ever take these messages.
    async fn switch_off(&self, flow: &Flow) {
        let database = self.endpoints.database.borrow().clone();
        let Some(database) = database else { return };
        match database.set_flow_enabled(flow.id, false).await {
            Ok(_) => {
                info!(flow = %flow.code, "switched off: its endpoint answered 410 Gone");
                if let Err(reason) = self.endpoints.reload.try_send(Reload) {
                    warn!(%reason, "the next reload of the flows will take it out");
                }
            }
            Err(reason) => error!(flow = %flow.code, %reason, "could not be switched off after 410 Gone"),
        }
    }

    fn origin(&self, url: &str) -> Rc<Origin> {
        let new = || {
            let breaker = RefCell::new(CircuitBreaker::new(self.endpoints.breaker));
            Rc::new(Origin { breaker, calls: Semaphore::new(self.endpoints.parallel) })
        };
        Rc::clone(self.origins.borrow_mut().entry(origin(url).to_owned()).or_insert_with(new))
    }

    fn counters(&self, flow: &Flow) -> Rc<Counters> {
        let new = || {
            Rc::new(Counters {
                delivered: Counter::delivered(&flow.code, Counted::Ok),
                retried: Counter::delivered(&flow.code, Counted::Retried),
                dead: Counter::delivered(&flow.code, Counted::Dead),
            })
        };
        Rc::clone(self.counters.borrow_mut().entry(flow.id).or_insert_with(new))
    }
}

/// A call, ready to be made more than once.
struct Prepared {
    url: String,
    headers: Vec<(String, String)>,
    auth: Auth,
    body: bytes::Bytes,
    secret: Option<SigningSecret>,
    message_id: String,
    /// Why the last attempt failed.
    reason: RefCell<String>,
}

/// Waits until the endpoint may be called.
async fn wait_for(breaker: &RefCell<CircuitBreaker>) {
    loop {
        let now = letters::now();
        let permission = breaker.borrow_mut().ask(now);
        match permission {
            Permission::Call | Permission::Probe => return,
            Permission::Wait { until } => tokio::time::sleep(micros(until - now)).await,
            Permission::WaitForProbe => tokio::time::sleep(PROBE_WAIT).await,
        }
    }
}

fn micros(time: Micros) -> Duration {
    Duration::from_micros(u64::try_from(time).unwrap_or_default())
}

/// Scheme, host and port: what is up or down as a whole.
fn origin(url: &str) -> &str {
    let start = url.find("://").map_or(0, |at| at + 3);
    let end = url[start..].find(['/', '?', '#']).map_or(url.len(), |at| start + at);
    &url[..end]
}

impl Job {
    fn rendered<'a>(&'a self, flow: &'a Flow, message_id: &'a str) -> Rendered<'a> {
        Rendered { flow, topic: &self.topic, payload: &self.payload, received_at: self.received_at, message_id }
    }
}

fn log(flow: &Flow, job: &Job, level: LogLevel) {
    let text = String::from_utf8_lossy(&job.payload);
    let (flow, topic) = (&flow.code, &job.topic);
    match level {
        LogLevel::Trace => trace!(%flow, %topic, payload = %text, "message"),
        LogLevel::Debug => debug!(%flow, %topic, payload = %text, "message"),
        LogLevel::Info => info!(%flow, %topic, payload = %text, "message"),
        LogLevel::Warn => warn!(%flow, %topic, payload = %text, "message"),
        LogLevel::Error => error!(%flow, %topic, payload = %text, "message"),
    }
}

fn expose(secret: &SecretString) -> String {
    secrecy::ExposeSecret::expose_secret(secret).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_its_scheme_host_and_port() {
        assert_eq!(origin("http://a:8000/x?y"), "http://a:8000");
        assert_eq!(origin("https://a"), "https://a");
        assert_eq!(origin("https://a?x"), "https://a");
    }
}
