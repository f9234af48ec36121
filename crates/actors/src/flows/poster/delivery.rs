//! One message through its flow's deliveries, and what becomes of those that can't be made.

use super::hops::{self, HopCounts};
use super::notifying::{NotificationCaller, NotifyAction, NotifyEnd};
use super::posting::EndpointCaller;
use super::publishing::{self, PublicationFailure};
use super::receiver::PostingEnd;
use super::rendering::RenderedCall;
use super::turn::TurnQueue;
use crate::backoff::RestartDelay;
use crate::flows::dead_letters;
use crate::flows::poster::endpoints::{DeliveryCounters, DeliveryOptions};
use crate::flows::poster::flow_queue::ActionDelivery;
use crate::flows::poster::flow_queue::DeliveryJob;
use crate::messages::{PublishTracked, ReloadFlows};
use crate::metrics::{CountedOutcome as Counted, MetricCounter};
use crate::poison::PoisonMessages;
use futures_util::future::LocalBoxFuture;
use hearthgate_domain::delivery::OutboundMessage;
use hearthgate_domain::fate::FateOutcome as Told;
use hearthgate_domain::flow::{ActionKind, Flow, FlowAction, LogLevel};
use hearthgate_domain::reading::ReadingProblem;
use hearthgate_domain::routing::RoutingTable;
use hearthgate_endpoints::EndpointClientError;
use hearthgate_mqtt::link::PublishOutcome;
use hearthgate_storage::dead_letters::NewDeadLetter;
use hearthgate_storage::journal::{self, Seq};
use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use tracing::{debug, error, info, trace, warn};

/// A message that is delivered or given up.
pub(in crate::flows) struct FinishedDelivery {
    pub(in crate::flows) flow_id: i64,
    pub(super) seq: Seq,
}

/// The broker will not take a message, with its words.
struct BrokerRefusal(String);

/// Delivers; shared by all lanes of one incarnation.
pub(in crate::flows) struct MessageDeliverer {
    endpoints: DeliveryOptions,
    posting: EndpointCaller,
    notifying: NotificationCaller,
    journal: journal::JournalHandle,
    deaths: Arc<PoisonMessages<ActionDelivery>>,
    counters: RefCell<HashMap<i64, Rc<DeliveryCounters>>>,
    /// In which order each flow's messages are handed over to be published.
    turns: RefCell<HashMap<i64, Rc<TurnQueue>>>,
    hops: RefCell<HopCounts>,
}

impl MessageDeliverer {
    /// To be called on the thread that will use it.
    ///
    /// # Errors
    /// The HTTP client cannot be made.
    pub(in crate::flows) fn new(
        endpoints: &DeliveryOptions,
        journal: journal::JournalHandle,
        deaths: Arc<PoisonMessages<ActionDelivery>>,
    ) -> Result<Self, EndpointClientError> {
        let posting = EndpointCaller::new(endpoints, Arc::clone(&deaths))?;
        let notifying = NotificationCaller::new(endpoints)?;
        let (counters, turns, hops) = (RefCell::default(), RefCell::default(), RefCell::default());
        Ok(MessageDeliverer {
            endpoints: endpoints.clone(),
            posting,
            notifying,
            journal,
            deaths,
            counters,
            turns,
            hops,
        })
    }

    /// Other flows are in force.
    pub(super) fn forget_hops(&self) {
        self.hops.borrow_mut().clear();
    }

    /// Takes a message through all deliveries of its flow, however long that takes.
    pub(in crate::flows) async fn deliver(
        &self,
        flow_id: i64,
        table: &RoutingTable,
        job: DeliveryJob,
    ) -> FinishedDelivery {
        let flow = table.flow(flow_id);
        let done = FinishedDelivery { flow_id, seq: job.seq };
        let Some(flow) = flow else {
            self.give_up_all(table, flow_id, &job).await;
            return done;
        };
        for part in job.due.lost(flow) {
            if let Some(reason) = dead_letters::lacks(flow, part) {
                self.give_up(&flow.code, &job, Some(part), &reason, 0).await;
            }
        }
        for action in flow.actions.iter().filter(|action| job.due.includes(action)) {
            match action {
                FlowAction::StoreDb {} => {}
                FlowAction::PostEndpoint {} => self.risk(flow, &job, ActionKind::Post, self.post(flow, &job)).await,
                FlowAction::Publish { .. } => {
                    self.risk(flow, &job, ActionKind::Publish, self.publish(flow, &job, action)).await;
                }
                FlowAction::Notify { to, title_template, text_template } => {
                    let told = NotifyAction { to, title: title_template.as_deref(), text: text_template.as_deref() };
                    self.risk(flow, &job, ActionKind::Notify, self.notify(flow, &job, &told)).await;
                }
                FlowAction::Log { level } => log(flow, &job, *level),
            }
        }
        done
    }

    /// Of a flow that is not in force: a letter for each part that it has, or one for all when that is not known.
    async fn give_up_all(&self, table: &RoutingTable, flow_id: i64, job: &DeliveryJob) {
        let (code, reason) = (dead_letters::code(table, flow_id), dead_letters::rests(table, flow_id));
        if table.resting(flow_id).is_none_or(|resting| resting.flow.is_none()) {
            return self.give_up(&code, job, job.due.part(), &reason, 0).await;
        }
        for part in super::flow_queue::PARTS {
            let is_due = job.due.part().is_none_or(|only| only == part);
            if is_due && dead_letters::resting_does(table, flow_id, part) == Some(true) {
                self.give_up(&code, job, Some(part), &reason, 0).await;
            }
        }
    }

    /// Carries out one part; a panic is laid to its message, and a message that has done that twice is given up.
    async fn risk(&self, flow: &Flow, job: &DeliveryJob, part: ActionKind, work: impl Future<Output = ()>) {
        let delivery = ActionDelivery { flow_id: flow.id, seq: job.seq, part };
        if self.deaths.is_deadly(delivery) {
            let reason = "this message has stopped the poster twice";
            return self.give_up(&flow.code, job, Some(part), reason, 0).await;
        }
        self.deaths.risk_all(|| [delivery], work).await;
    }

    async fn post(&self, flow: &Arc<Flow>, job: &DeliveryJob) {
        #[cfg(feature = "fault-injection")]
        assert!(!job.topic.ends_with("/fault/post"), "injected by the topic");
        let counters = self.counters(flow);
        let message_id = self.message_id(flow, job);
        let mut flow = Arc::clone(flow);
        let (reason, attempts) = loop {
            let Some(endpoint) = &flow.endpoint else {
                break (dead_letters::lacks(&flow, ActionKind::Post).unwrap_or_default(), 0);
            };
            match self.posting.post(&flow, endpoint, job, &message_id, &counters).await {
                PostingEnd::Delivered => {
                    self.tell(&flow, job, Told::Delivered, "");
                    return counters.delivered.add(1);
                }
                PostingEnd::GivenUp { reason, attempts } => break (reason, attempts),
                PostingEnd::Gone { reason, attempts } => {
                    Box::pin(self.switch_off(&flow)).await;
                    break (reason, attempts);
                }
                PostingEnd::Outdated => match self.in_force(&flow) {
                    Ok(changed) => flow = changed,
                    Err(reason) => break (reason, 0),
                },
            }
        };
        counters.dead.add(1);
        self.give_up(&flow.code, job, Some(ActionKind::Post), &reason, attempts).await;
    }

    /// The flow as it is now; or that it is in force no more, in words.
    fn in_force(&self, flow: &Flow) -> Result<Arc<Flow>, String> {
        let table = self.endpoints.table.as_ref().map(|table| Arc::clone(&table.borrow()));
        let table = table.unwrap_or_else(|| Arc::new(RoutingTable::new(Vec::new())));
        table.flow(flow.id).cloned().ok_or_else(|| dead_letters::rests(&table, flow.id))
    }

    /// Boxed, as all that is rare.
    fn notify<'a>(
        &'a self,
        flow: &'a Arc<Flow>,
        job: &'a DeliveryJob,
        action: &'a NotifyAction<'a>,
    ) -> LocalBoxFuture<'a, ()> {
        Box::pin(async move {
            let (counters, message_id) = (self.counters(flow), self.message_id(flow, job));
            match self.notifying.notify(flow, action, job, &message_id, &counters).await {
                NotifyEnd::Throttled => self.tell(flow, job, Told::KeptBack, "the same was told not long before"),
                NotifyEnd::Settled(PostingEnd::Delivered) => {
                    self.tell(flow, job, Told::Delivered, "");
                    counters.delivered.add(1);
                }
                // Whom it tells is in the configuration: it never waits for a secret.
                NotifyEnd::Settled(PostingEnd::Outdated) => {
                    counters.dead.add(1);
                    self.give_up(&flow.code, job, Some(ActionKind::Notify), "the flow was changed", 0).await;
                }
                NotifyEnd::Settled(
                    PostingEnd::GivenUp { reason, attempts } | PostingEnd::Gone { reason, attempts },
                ) => {
                    counters.dead.add(1);
                    self.give_up(&flow.code, job, Some(ActionKind::Notify), &reason, attempts).await;
                }
            }
        })
    }

    /// The same in every attempt, also after a crash.
    fn message_id(&self, flow: &Flow, job: &DeliveryJob) -> String {
        format!("{}-{}-{}", self.journal.origin_of(job.seq).simple(), job.seq, flow.id)
    }

    async fn publish(&self, flow: &Arc<Flow>, job: &DeliveryJob, action: &FlowAction) {
        #[cfg(feature = "fault-injection")]
        assert!(!job.topic.ends_with("/fault/publish"), "injected by the topic");
        let message_id = self.message_id(flow, job);
        let delivery = ActionDelivery { flow_id: flow.id, seq: job.seq, part: ActionKind::Publish };
        let making = || {
            #[cfg(feature = "fault-injection")]
            if job.topic.ends_with("/fault/abort") {
                std::process::abort();
            }
            self.publication(flow, job, action, &message_id)
        };
        let published = match self.deaths.hold(delivery, making) {
            Ok(message) => self.publish_until_settled(flow, job, &message).await,
            Err(failure) => {
                let reason = failure.to_string();
                if matches!(failure, PublicationFailure::Circle { .. }) {
                    self.counters(flow).dead.add(1);
                }
                return self.give_up(&flow.code, job, Some(ActionKind::Publish), &reason, 0).await;
            }
        };
        match published {
            Ok(()) => {
                self.tell(flow, job, Told::Delivered, "");
                self.counters(flow).delivered.add(1);
            }
            Err(BrokerRefusal(reason)) => {
                self.counters(flow).dead.add(1);
                self.give_up(&flow.code, job, Some(ActionKind::Publish), &reason, 1).await;
            }
        }
    }

    /// What `PUBLISH` makes of a message.
    fn publication(
        &self,
        flow: &Flow,
        job: &DeliveryJob,
        action: &FlowAction,
        message_id: &str,
    ) -> Result<OutboundMessage, PublicationFailure> {
        let message = publishing::outbound(flow, job, action, message_id)?;
        let hops = self.hops.borrow().of(&job.topic, &job.payload) + 1;
        if hops > hops::MOST {
            return Err(PublicationFailure::Circle { topic: message.topic.to_string(), hops: hops::MOST });
        }
        self.hops.borrow_mut().note(&message.topic, &message.payload, hops);
        Ok(message)
    }

    /// Publishes until the broker has acknowledged or refused the message, also over a new connection or a restart of the
    /// part that keeps it.
    async fn publish_until_settled(
        &self,
        flow: &Flow,
        job: &DeliveryJob,
        message: &OutboundMessage,
    ) -> Result<(), BrokerRefusal> {
        let turn = Rc::clone(self.turns.borrow_mut().entry(flow.id).or_default());
        let mut pace = RestartDelay::new();
        loop {
            let place = turn.take_place(job.seq);
            place.reached().await;
            let receipt = match self.endpoints.publish.send(PublishTracked(message.clone())).await {
                Ok(Ok(receipt)) => receipt,
                Ok(Err(reason)) => {
                    debug!(flow = %flow.code, %reason, "publishing waits");
                    pace.pause().await;
                    continue;
                }
                Err(reason) => {
                    debug!(flow = %flow.code, %reason, "publishing waits");
                    pace.pause().await;
                    continue;
                }
            };
            drop(place);
            match receipt.outcome().await {
                PublishOutcome::Acknowledged => return Ok(()),
                PublishOutcome::Refused(reason) => return Err(BrokerRefusal(reason)),
                PublishOutcome::GivenUp => {
                    debug!(flow = %flow.code, seq = job.seq, "not acknowledged, it will be published again");
                    // With a place, so that nobody of a later number comes first.
                    let _place = turn.take_place(job.seq);
                    pace.pause().await;
                }
            }
        }
    }

    /// For those who look on.
    fn tell(&self, flow: &Flow, job: &DeliveryJob, outcome: Told, reason: &str) {
        self.endpoints.traffic.tell_later(job.seq, job.received_at, &flow.code, outcome, reason);
    }

    /// Keeps a message as a dead letter; tried until it is kept, since it must not get lost. Boxed, as all that is rare:
    /// each message's future is as large as the largest thing that can become of it.
    fn give_up<'a>(
        &'a self,
        code: &'a str,
        job: &'a DeliveryJob,
        part: Option<ActionKind>,
        reason: &'a str,
        attempts: usize,
    ) -> LocalBoxFuture<'a, ()> {
        Box::pin(async move {
            warn!(flow = %code, seq = job.seq, reason, "dead letter");
            self.endpoints.traffic.tell_later(job.seq, job.received_at, code, Told::Dead, reason);
            let letter = NewDeadLetter {
                journal: self.journal.origin_of(job.seq),
                seq: Some(job.seq),
                flow_code: Some(code.to_owned()),
                topic: job.topic.to_string(),
                payload: job.payload.clone(),
                reason: reason.to_owned(),
                pointer: None,
                received_at: job.received_at,
                dead_at: dead_letters::now(),
                attempts: u32::try_from(attempts).unwrap_or(u32::MAX),
                part,
            };
            let mut pace = RestartDelay::new();
            while let Err(reason) = dead_letters::keep(&self.endpoints.letters, std::slice::from_ref(&letter)).await {
                error!(%reason, "a dead letter can not be kept yet");
                pace.pause().await;
            }
        })
    }

    /// The endpoint said 410: nobody will ever take these messages.
    async fn switch_off(&self, flow: &Flow) {
        let database = self.endpoints.database.borrow().clone();
        let Some(database) = database else { return };
        match database.set_flow_enabled(flow.id, false).await {
            Ok(_) => {
                info!(flow = %flow.code, "switched off: its endpoint answered 410 Gone");
                if let Err(reason) = self.endpoints.reload.try_send(ReloadFlows) {
                    warn!(%reason, "the next reload of the flows will take it out");
                }
            }
            Err(reason) => error!(flow = %flow.code, %reason, "could not be switched off after 410 Gone"),
        }
    }

    fn counters(&self, flow: &Flow) -> Rc<DeliveryCounters> {
        let new = || {
            Rc::new(DeliveryCounters {
                delivered: MetricCounter::delivered(&flow.code, Counted::Ok),
                retried: MetricCounter::delivered(&flow.code, Counted::Retried),
                dead: MetricCounter::delivered(&flow.code, Counted::Dead),
            })
        };
        Rc::clone(self.counters.borrow_mut().entry(flow.id).or_insert_with(new))
    }
}

impl DeliveryJob {
    /// What goes out where no template says.
    pub(super) fn outgoing(&self, flow: &Flow) -> Result<bytes::Bytes, ReadingProblem> {
        match flow.outgoing(&self.topic, &self.payload)? {
            Cow::Borrowed(_) => Ok(self.payload.clone()),
            Cow::Owned(record) => Ok(record.into()),
        }
    }

    pub(super) fn rendered<'a>(&'a self, flow: &'a Flow, message_id: &'a str) -> RenderedCall<'a> {
        RenderedCall { flow, topic: &self.topic, payload: &self.payload, received_at: self.received_at, message_id }
    }
}

fn log(flow: &Flow, job: &DeliveryJob, level: LogLevel) {
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
