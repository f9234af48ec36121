//! The calls of `POST_ENDPOINT`: what is called, where, and the body.

use super::attempts::{AttemptLog, DeliveryAttempt};
use super::receiver::{AttemptFailure, AttemptOutcome, CallReceiver, PostingEnd, attempt_until_settled};
use super::rendering::{self, RenderFailure};
use crate::flows::poster::endpoints::{DeliveryCounters, DeliveryOptions, SecretFailure};
use crate::flows::poster::flow_queue::ActionDelivery;
use crate::flows::poster::flow_queue::DeliveryJob;
use crate::poison::PoisonMessages;
use hearthgate_domain::flow::{self, ActionKind, EndpointTarget, Flow, HeaderValue, SecretRef};
use hearthgate_domain::reading::ReadingProblem;
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
use tracing::{error, trace};

/// After this time a flow's secrets are looked up again: they may have been changed.
const SECRETS_KEPT: Duration = Duration::from_secs(5);

/// Calls endpoints; shared by all lanes of one incarnation.
pub(super) struct EndpointCaller {
    endpoints: DeliveryOptions,
    options: ClientOptions,
    client: EndpointClient,
    /// Those of flows that name an authority of their own, with its certificates.
    own_clients: RefCell<HashMap<i64, (String, EndpointClient)>>,
    /// By scheme, host and port.
    origins: RefCell<HashMap<String, Rc<CallReceiver>>>,
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
    receiver: Rc<CallReceiver>,
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
        let delivery = ActionDelivery { flow_id: flow.id, seq: job.seq, part: ActionKind::Post };
        let board = &self.endpoints.attempts;
        let log = AttemptLog { board, flow: &flow.code, topic: &job.topic, seq: job.seq };
        let attempt = async || {
            let (target, place, body) = loop {
                let prepare = || self.prepare(flow, endpoint, job, message_id);
                match self.deaths.hold(delivery, prepare) {
                    Ok(prepared) => break prepared,
                    Err(PreparationFailure::Secret(SecretFailure { reason, is_missing: true })) => {
                        if !self.wait_for_secret(flow, &reason).await {
                            return Err(AttemptFailure::Outdated);
                        }
                    }
                    Err(failure) => return Err(AttemptFailure::Impossible(failure.to_string())),
                }
            };
            let permit = place.receiver.turn().await;
            let begun = Instant::now();
            let outcome = target.client.call(&self.call(endpoint, &target, &place, body, message_id)).await;
            drop(permit);
            if let CallOutcome::Delivered { status } = &outcome {
                trace!(flow = %flow.code, seq = job.seq, status, "delivered");
            }
            Ok(AttemptOutcome { receiver: place.receiver, outcome, took: begun.elapsed() })
        };
        attempt_until_settled(flow, schedule, &counters.retried, &log, attempt).await
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
        let receiver = match origins.get(address.origin()) {
            Some(receiver) => Rc::clone(receiver),
            None => {
                let new = CallReceiver::new(address.origin(), self.endpoints.breaker, self.endpoints.parallel);
                let receiver = Rc::new(new);
                origins.insert(address.origin().to_owned(), Rc::clone(&receiver));
                receiver
            }
        };
        Ok(Place { address, receiver })
    }
}
