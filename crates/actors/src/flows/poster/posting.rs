//! The calls of `POST_ENDPOINT`: when to call, what the outcome means, when to try again, and when to give up.

use super::attempts::DeliveryAttempt;
use super::rendering::{self, RenderFailure};
use crate::condition::Condition;
use crate::flows::dead_letters;
use crate::flows::poster::endpoints::{DeliveryCounters, DeliveryOptions, SecretFailure};
use crate::flows::poster::flow_queue::ActionDelivery;
use crate::flows::poster::flow_queue::DeliveryJob;
use crate::poison::PoisonMessages;
use hearthgate_domain::delivery::UnixMicros;
use hearthgate_domain::flow::{self, ActionKind, EndpointTarget, Flow, HeaderValue, SecretRef};
use hearthgate_domain::reading::ReadingProblem;
use hearthgate_domain::retry::{CallPermission, CircuitBreaker};
use hearthgate_domain::routing::RoutingTable;
use hearthgate_endpoints::template::{BodyTemplate, TemplateError, TemplatePurpose};
use hearthgate_endpoints::{
    AddressError, AddressSource, CallAuth, CallHeaders, CallOutcome, ClientOptions, EndpointAddress, EndpointCall,
    EndpointClient, EndpointClientError, HeaderError, SecretError, SigningSecret, trust_authority,
};
use secrecy::{ExposeSecret, SecretString};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use thiserror::Error;
use tokio::sync::Semaphore;
use tracing::{debug, error, info, trace, warn};

/// Longest sleep while somebody else tries out whether an endpoint is back.
const PROBE_WAIT: Duration = Duration::from_secs(1);
/// After this time a flow's secrets are looked up again: they may have been changed.
const SECRETS_KEPT: Duration = Duration::from_secs(5);

/// Calls endpoints; shared by all lanes of one incarnation.
pub(super) struct EndpointCaller {
    endpoints: DeliveryOptions,
    options: ClientOptions,
    client: EndpointClient,
    /// Those of flows that name an authority of their own, with its certificates.
    own_clients: RefCell<HashMap<i64, (String, EndpointClient)>>,
    origins: RefCell<HashMap<String, Rc<Origin>>>,
    targets: RefCell<HashMap<i64, Rc<Target>>>,
    deaths: Arc<PoisonMessages<ActionDelivery>>,
}

/// A call that cannot be made as its flow stands, however often it is tried.
#[derive(Debug, Error)]
pub(super) enum PreparationFailure {
    #[error(transparent)]
    Render(#[from] RenderFailure),
    #[error(transparent)]
    Reading(#[from] ReadingProblem),
    #[error(transparent)]
    Template(#[from] TemplateError),
    #[error("webhook_secret: {0}")]
    SigningSecret(SecretError),
    #[error(transparent)]
    Address(#[from] AddressError),
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// A secret that is not where the flow says.
    #[error(transparent)]
    Secret(#[from] SecretFailure),
    #[error("ca: {0}")]
    Authority(EndpointClientError),
}

/// How a message ended.
pub(super) enum PostingEnd {
    Delivered,
    /// It will not be tried again.
    GivenUp {
        reason: String,
        attempts: usize,
    },
    /// The flow was changed or switched off while the message waited for a secret.
    Outdated,
    /// Nor will any other message of this flow: the endpoint answered 410.
    Gone {
        reason: String,
        attempts: usize,
    },
}

/// A host and port that are up or down as a whole.
struct Origin {
    breaker: RefCell<CircuitBreaker>,
    /// Permits for calls under way.
    calls: Semaphore,
    /// Why it takes nothing.
    trouble: Condition,
}

impl Origin {
    fn note_answer(&self, address: &EndpointAddress) {
        self.breaker.borrow_mut().succeeded();
        if let Some(lasted) = self.trouble.clear() {
            info!(endpoint = address.origin(), "the endpoint answers again after {lasted}");
        }
    }

    fn note_failure(&self, flow: &Flow, attempt: usize, reason: &str) {
        self.breaker.borrow_mut().failed(dead_letters::now(), fastrand::f64());
        if self.trouble.is_news(reason) {
            warn!(flow = %flow.code, attempt, %reason, "not delivered, it will be tried again");
        } else {
            debug!(flow = %flow.code, attempt, %reason, "still not delivered");
        }
    }
}

/// What all calls of a flow have in common.
struct Target {
    flow: Arc<Flow>,
    made: Instant,
    has_secrets: bool,
    client: EndpointClient,
    place: To,
    /// Without it the body is the payload.
    body: Option<BodyTemplate>,
    headers: CallHeaders,
    secret: Option<SigningSecret>,
}

enum To {
    Fixed(Place),
    /// Each message makes its own.
    Made(BodyTemplate, AddressSource),
}

/// Where a call goes.
#[derive(Clone)]
struct Place {
    address: EndpointAddress,
    origin: Rc<Origin>,
}

impl EndpointCaller {
    /// Makes the HTTP client; to be called on the thread that will use it.
    ///
    /// # Errors
    /// The client cannot be made.
    pub(super) fn new(
        endpoints: &DeliveryOptions,
        deaths: Arc<PoisonMessages<ActionDelivery>>,
    ) -> Result<Self, EndpointClientError> {
        let options = ClientOptions {
            connect_timeout: endpoints.timeout,
            allowed_hosts: endpoints.allowed_hosts.clone(),
            allowed_local_hosts: endpoints.allowed_local_hosts.clone(),
            ..ClientOptions::default()
        };
        let client = EndpointClient::new(options.clone())?;
        let (origins, targets, own_clients) = (RefCell::default(), RefCell::default(), RefCell::default());
        Ok(EndpointCaller { endpoints: endpoints.clone(), options, client, own_clients, origins, targets, deaths })
    }

    /// Calls until the endpoint has the message or it is given up, however long that takes.
    pub(super) async fn post(
        &self,
        flow: &Arc<Flow>,
        endpoint: &EndpointTarget,
        job: &DeliveryJob,
        message_id: &str,
        counters: &DeliveryCounters,
    ) -> PostingEnd {
        let schedule = endpoint.retry.as_ref().unwrap_or(&self.endpoints.retry);
        let (mut attempts, mut after, mut failure) = (0, None, String::new());
        loop {
            let Some(delay) = schedule.next_delay(attempts, fastrand::f64(), after) else {
                self.endpoints.attempts.give_up(&flow.code, job.seq);
                let reason = format!("given up after {attempts} attempts; the last one: {failure}");
                return PostingEnd::GivenUp { reason, attempts };
            };
            // A timer's tick is 1 ms: even no pause at all would take until the next one.
            if !delay.is_zero() {
                self.endpoints.attempts.plan(&flow.code, delay);
                tokio::time::sleep(delay).await;
            }
            let delivery = ActionDelivery { flow_id: flow.id, seq: job.seq, part: ActionKind::Post };
            let prepare = || self.prepare(flow, endpoint, job, message_id);
            let (target, place, body) = match self.deaths.hold(delivery, prepare) {
                Ok(prepared) => prepared,
                Err(PreparationFailure::Secret(SecretFailure { reason, is_missing: true })) => {
                    match self.wait_for_secret(flow, &reason).await {
                        true => continue,
                        false => return PostingEnd::Outdated,
                    }
                }
                Err(failure) => return PostingEnd::GivenUp { reason: failure.to_string(), attempts },
            };
            wait_for(&place.origin.breaker).await;
            // It is never closed.
            let permit = place.origin.calls.acquire().await;
            let begun = Instant::now();
            let outcome = target.client.call(&self.call(endpoint, &target, &place, body, message_id)).await;
            drop(permit);
            attempts += 1;
            let is_good = matches!(outcome, CallOutcome::Delivered { .. });
            match &outcome {
                CallOutcome::RetryLater { reason, .. } => place.origin.note_failure(flow, attempts, reason),
                // Whatever it says, it is there.
                _ => place.origin.note_answer(&place.address),
            }
            let attempt = || DeliveryAttempt::of(&outcome, &job.topic, job.seq, attempts, begun.elapsed());
            self.endpoints.attempts.note(&flow.code, place.origin.breaker.borrow().state(), attempt, is_good);
            match outcome {
                CallOutcome::Delivered { status } => {
                    trace!(flow = %flow.code, seq = job.seq, status, "delivered");
                    return PostingEnd::Delivered;
                }
                CallOutcome::RetryLater { after: wait, reason, .. } => {
                    counters.retried.add(1);
                    (after, failure) = (wait, reason);
                }
                CallOutcome::Refused { reason, .. } => {
                    return PostingEnd::GivenUp { reason, attempts };
                }
                CallOutcome::Gone { reason } => return PostingEnd::Gone { reason, attempts },
            }
        }
    }

    /// One call whatever the breaker says, of which nothing comes: for whoever tries an endpoint out.
    pub(super) async fn try_out(
        &self,
        flow: &Arc<Flow>,
        endpoint: &EndpointTarget,
        job: &DeliveryJob,
    ) -> Result<DeliveryAttempt, PreparationFailure> {
        let message_id = format!("trial-{}-{}", job.received_at, flow.id);
        let (target, place, body) = self.prepare(flow, endpoint, job, &message_id)?;
        let begun = Instant::now();
        let outcome = target.client.call(&self.call(endpoint, &target, &place, body, &message_id)).await;
        Ok(DeliveryAttempt::of(&outcome, &job.topic, job.seq, 1, begun.elapsed()))
    }

    fn call<'a>(
        &self,
        endpoint: &EndpointTarget,
        target: &'a Target,
        place: &'a Place,
        body: bytes::Bytes,
        message_id: &'a str,
    ) -> EndpointCall<'a> {
        EndpointCall {
            address: &place.address,
            headers: &target.headers,
            body,
            message_id,
            timestamp: SystemTime::now(),
            timeout: endpoint.timeout.unwrap_or(self.endpoints.timeout),
            secret: target.secret.as_ref(),
        }
    }

    /// Waits until it is worth looking for a secret again; tells whether the flow is still in force as it is.
    async fn wait_for_secret(&self, flow: &Arc<Flow>, reason: &str) -> bool {
        if self.endpoints.waiting.note(flow.id, reason) {
            error!(flow = %flow.code, reason, "deliveries wait for a secret");
        }
        let Some(mut table) = self.endpoints.table.clone() else {
            tokio::time::sleep(SECRETS_KEPT).await;
            return true;
        };
        let is_in_force = |table: &RoutingTable| table.flow(flow.id).is_some_and(|known| Arc::ptr_eq(known, flow));
        let changed = table.wait_for(|table| !is_in_force(table));
        if tokio::time::timeout(SECRETS_KEPT, changed).await.is_err() {
            return true;
        }
        self.endpoints.waiting.clear(flow.id);
        false
    }

    /// What is called, where, and the body.
    fn prepare(
        &self,
        flow: &Arc<Flow>,
        endpoint: &EndpointTarget,
        job: &DeliveryJob,
        message_id: &str,
    ) -> Result<(Rc<Target>, Place, bytes::Bytes), PreparationFailure> {
        let target = self.target(flow, endpoint)?;
        let message = job.rendered(flow, message_id);
        let place = match &target.place {
            To::Fixed(place) => place.clone(),
            To::Made(template, source) => self.place(&message.fill(template)?, *source)?,
        };
        let body = match &target.body {
            Some(template) => message.fill(template)?.into(),
            None => job.outgoing(flow)?,
        };
        Ok((target, place, body))
    }

    fn target(&self, flow: &Arc<Flow>, endpoint: &EndpointTarget) -> Result<Rc<Target>, PreparationFailure> {
        if let Some(known) = self.targets.borrow().get(&flow.id)
            && Arc::ptr_eq(&known.flow, flow)
            && (!known.has_secrets || known.made.elapsed() < SECRETS_KEPT)
        {
            return Ok(Rc::clone(known));
        }
        let target = Rc::new(self.make_target(flow, endpoint)?);
        self.endpoints.waiting.clear(flow.id);
        self.targets.borrow_mut().insert(flow.id, Rc::clone(&target));
        Ok(target)
    }

    fn make_target(&self, flow: &Arc<Flow>, endpoint: &EndpointTarget) -> Result<Target, PreparationFailure> {
        let mut has_secrets = false;
        let mut secret = |reference: &SecretRef| -> Result<SecretString, PreparationFailure> {
            has_secrets = true;
            Ok((self.endpoints.secrets)(reference)?)
        };
        let mut headers = Vec::with_capacity(endpoint.headers.len());
        for (name, value) in &endpoint.headers {
            let value = match value {
                HeaderValue::Text(text) => text.clone(),
                HeaderValue::Secret { secret: reference } => secret(reference)?.expose_secret().to_owned(),
            };
            headers.push((name.to_string(), value));
        }
        let auth = match &endpoint.auth {
            None => CallAuth::None,
            Some(flow::EndpointAuth::Bearer(token)) => CallAuth::Bearer(secret(token)?),
            Some(flow::EndpointAuth::Basic { username, password }) => {
                CallAuth::Basic { user: username.clone(), password: secret(password)? }
            }
        };
        let signing = endpoint.webhook_secret.as_ref().map(|reference| {
            SigningSecret::parse(secret(reference)?.expose_secret()).map_err(PreparationFailure::SigningSecret)
        });
        let signing = signing.transpose()?;
        let client = match &endpoint.authority {
            Some(reference) => self.own_client(flow.id, secret(reference)?.expose_secret())?,
            None => self.client.clone(),
        };
        let place = match &endpoint.url_template {
            Some(template) => {
                let source = AddressSource::of_template(template);
                To::Made(BodyTemplate::new(template, TemplatePurpose::Url)?, source)
            }
            None => To::Fixed(self.place(&endpoint.url, AddressSource::Flow)?),
        };
        let body = endpoint
            .body_template
            .as_deref()
            .map(|source| BodyTemplate::new(source, rendering::body_purpose(endpoint, source)));
        Ok(Target {
            flow: Arc::clone(flow),
            made: Instant::now(),
            has_secrets,
            client,
            place,
            body: body.transpose()?,
            headers: CallHeaders::new(&headers, &auth)?,
            secret: signing,
        })
    }

    /// The client of a flow that trusts these certificates alone; its connections are kept as long as they stay the same.
    fn own_client(&self, flow_id: i64, certificates: &str) -> Result<EndpointClient, PreparationFailure> {
        if let Some((known, client)) = self.own_clients.borrow().get(&flow_id)
            && known == certificates
        {
            return Ok(client.clone());
        }
        let trusting = || {
            let tls = Some(trust_authority(certificates.as_bytes())?);
            EndpointClient::new(ClientOptions { tls, ..self.options.clone() })
        };
        let client = trusting().map_err(PreparationFailure::Authority)?;
        self.own_clients.borrow_mut().insert(flow_id, (certificates.to_owned(), client.clone()));
        Ok(client)
    }

    fn place(&self, url: &str, source: AddressSource) -> Result<Place, PreparationFailure> {
        let address = self.client.address(url, source)?;
        let mut origins = self.origins.borrow_mut();
        let origin = match origins.get(address.origin()) {
            Some(origin) => Rc::clone(origin),
            None => {
                let breaker = RefCell::new(CircuitBreaker::new(self.endpoints.breaker));
                let calls = Semaphore::new(self.endpoints.parallel);
                let origin = Rc::new(Origin { breaker, calls, trouble: Condition::new().0 });
                origins.insert(address.origin().to_owned(), Rc::clone(&origin));
                origin
            }
        };
        Ok(Place { address, origin })
    }
}

/// Waits until the endpoint may be called.
async fn wait_for(breaker: &RefCell<CircuitBreaker>) {
    loop {
        let now = dead_letters::now();
        let permission = breaker.borrow_mut().ask(now);
        match permission {
            CallPermission::Call | CallPermission::Probe => return,
            CallPermission::Wait { until } => tokio::time::sleep(micros(until - now)).await,
            CallPermission::WaitForProbe => tokio::time::sleep(PROBE_WAIT).await,
        }
    }
}

fn micros(time: UnixMicros) -> Duration {
    Duration::from_micros(u64::try_from(time).unwrap_or_default())
}
