//! MqttActor: hands what the broker sends to the consumers, and acknowledges it once each of them has settled it.
//!
//! Every batch is kept until it is settled. A consumer that has crashed announces itself with [`ConsumerStarted`] and gets the
//! unsettled batches again, in order; what it had done already it passes over ([`crate::mqtt::progress::ConsumerProgress`]).

pub mod broker;
pub mod progress;
pub mod subscription_ids;
use crate::condition::Condition;
use crate::messages::{
    AcknowledgementsSent, ArrivalConsumer, AttachGateway, CloseConnection, ConsumerStarted, MessagesArrived,
    MessagesSettled, PublishMessages, PublishTracked,
};
use crate::traffic::TrafficTap;
use actix::prelude::*;
use futures_util::future::LocalBoxFuture;
use hearthgate_domain::delivery::{OutboundMessage, QoS};
use hearthgate_mqtt::link::{
    self, DeliveryTag, LinkEvent, LinkHandle, LinkPort, LinkSubscription, MessageBatch, PublishError, PublishReceipt,
};
use hearthgate_supervision::{ActorExit, ActorFailure};
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Task, Poll, Waker};
use tokio::sync::{mpsc, watch};
use tracing::{debug, info, warn};

/// Unsettled messages above this number stop the intake; the session bounds their bytes.
const UNSETTLED_MESSAGES: usize = 20_000;
/// Batches that may wait on a link, each way.
const LINK_ROOM: usize = 16;
/// A consumer's mailbox must hold at least this many batches.
pub const ARRIVED_MAILBOX: usize = 64;

/// The broker's side of the link.
pub enum LinkSource {
    /// A session with a remote broker, run beside this actor; its future ends with the reason.
    Remote(Box<dyn FnMut(LinkPort) -> LocalBoxFuture<'static, String>>),
    /// The embedded broker, which goes on when this actor is restarted.
    Embedded(Recipient<AttachGateway>),
}

/// What is known of the link, for readiness, metrics and status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkStatus {
    /// Whether a connection stands.
    pub connected: bool,
    /// Why not, in words.
    pub reason: String,
    /// Whether the broker has all that is wanted: what comes before, it may have for nobody.
    pub subscribed: bool,
    /// Filters that the broker refused, with the reason.
    pub refused: Vec<(String, String)>,
}

/// What must outlive the process for redeliveries to be recognised and left-over subscriptions to be removed.
pub trait SessionMemory {
    /// Stores the session's identity, before anything of it is acknowledged.
    ///
    /// # Errors
    /// In words; the actor fails and is restarted.
    fn session(&mut self, session: u64) -> Result<(), String>;

    /// Stores the filters that the broker holds for us.
    ///
    /// # Errors
    /// In words; reported and otherwise harmless.
    fn subscribed(&mut self, filters: &[String]) -> Result<(), String>;
}

/// What the actor works with.
pub struct MqttDeps {
    /// Where messages come from.
    pub source: LinkSource,
    /// Where the session's identity is kept.
    pub memory: Box<dyn SessionMemory>,
    /// Who takes part in arrivals. A subsystem that is off is absent.
    pub consumers: Vec<(ArrivalConsumer, Recipient<MessagesArrived>)>,
    /// Who overhears arrivals without taking part in them.
    pub listeners: Vec<BatchListener>,
    /// Who wants to know what senders have our acknowledgement for.
    pub confirmed: Option<Recipient<AcknowledgementsSent>>,
    /// Published whenever a connection stands.
    pub greeting: Vec<OutboundMessage>,
    /// What is known of the link.
    pub status: watch::Sender<LinkStatus>,
    /// Where it is noticed what comes in.
    pub traffic: TrafficTap,
}

/// Somebody for whom no acknowledgement waits: when it is too busy it misses a batch.
pub struct BatchListener {
    /// What it wants to be subscribed to, besides what the consumers want.
    pub filters: Vec<LinkSubscription>,
    /// Where arrivals go.
    pub to: Recipient<MessagesArrived>,
}

/// One consumer's part in the arrivals.
struct Lane {
    by: ArrivalConsumer,
    to: Recipient<MessagesArrived>,
    /// None until it has said so: filters that an earlier run left must not be given up before.
    wanted: Option<Vec<LinkSubscription>>,
    settled: DeliveryTag,
    /// Index in `unsettled` of the first batch that it was not given.
    next: usize,
}

/// See the module.
pub struct MqttActor {
    deps: MqttDeps,
    exit: ActorExit,
    lanes: Vec<Lane>,
    link: Option<(LinkHandle, mpsc::Receiver<LinkEvent>)>,
    unsettled: VecDeque<Arc<MessageBatch>>,
    unsettled_messages: usize,
    intake: Option<Waker>,
    closing: bool,
    /// The filters that were asked for; none before every consumer has said what it wants.
    asked: Option<Vec<String>>,
    held: Held,
    /// Why there is no connection.
    away: Condition,
}

/// The filters that the broker holds for us.
enum Held {
    /// Those of an earlier connection, which it still has.
    Kept,
    /// As it has told on this one.
    Told(HashSet<String>),
}

impl MqttActor {
    /// An actor that connects when it is started.
    #[must_use]
    pub fn new(mut deps: MqttDeps, exit: ActorExit) -> Self {
        let lanes = std::mem::take(&mut deps.consumers)
            .into_iter()
            .map(|(by, to)| Lane { by, to, wanted: None, settled: DeliveryTag::default(), next: 0 })
            .collect();
        MqttActor {
            deps,
            exit,
            lanes,
            link: None,
            unsettled: VecDeque::new(),
            unsettled_messages: 0,
            intake: None,
            closing: false,
            asked: None,
            away: Condition::new().0,
            held: Held::Told(HashSet::new()),
        }
    }

    /// Says whether the broker has all that is wanted.
    fn note_subscribed(&self) {
        let is_held = |filter: &String| match &self.held {
            Held::Kept => true,
            Held::Told(held) => held.contains(filter),
        };
        let all = match &self.asked {
            Some(asked) => asked.iter().all(is_held),
            None => self.lanes.is_empty(),
        };
        self.deps.status.send_if_modified(|status| std::mem::replace(&mut status.subscribed, all) != all);
    }

    fn connect(&mut self, ctx: &mut Context<Self>) {
        let (handle, port, events) = link::link(LINK_ROOM, LINK_ROOM);
        self.forget_unsettled();
        self.link = Some((handle, events));
        match &mut self.deps.source {
            LinkSource::Remote(run) => {
                let ended = run(port).into_actor(self);
                ctx.spawn(ended.map(|reason, act, ctx| {
                    if !act.closing {
                        act.exit.fail(ctx, ActorFailure::dependency(reason));
                    }
                }));
            }
            LinkSource::Embedded(broker) => {
                let attached = broker.send(AttachGateway(port)).into_actor(self);
                ctx.spawn(attached.map(|end, act, ctx| {
                    if end.is_err() {
                        act.exit.fail(ctx, ActorFailure::dependency("the embedded broker is down"));
                    }
                }));
            }
        }
    }

    fn on_event(&mut self, event: LinkEvent, ctx: &mut Context<Self>) {
        match event {
            LinkEvent::Messages(batch) => self.on_messages(batch),
            LinkEvent::Confirmed(ticket) => self.on_confirmed(ticket),
            LinkEvent::Connected { session_present, session, .. } => self.on_connected(session_present, session, ctx),
            LinkEvent::Disconnected { reason, retry_in } => {
                match retry_in {
                    Some(pause) if self.away.is_news(&reason) => {
                        warn!(%reason, retry_in = ?pause, "no connection to the broker");
                    }
                    Some(pause) => debug!(%reason, retry_in = ?pause, "still no connection to the broker"),
                    None => info!(%reason, "connection to the broker ended"),
                }
                self.deps.status.send_modify(|status| {
                    status.connected = false;
                    status.reason = reason;
                });
            }
            LinkEvent::Subscribed(filters) => {
                if let Err(reason) = self.deps.memory.subscribed(&filters) {
                    warn!(%reason, "could not remember the subscriptions");
                }
                self.held = Held::Told(filters.into_iter().collect());
                self.note_subscribed();
            }
            LinkEvent::Refused(refused) => {
                for (filter, reason) in &refused {
                    warn!(%filter, %reason, "the broker refuses a subscription: check its access list");
                }
                self.deps.status.send_modify(|status| status.refused = refused);
            }
            LinkEvent::Dropped { topic, bytes, reason } => warn!(%topic, bytes, %reason, "a message could not pass"),
        }
    }

    fn on_connected(&mut self, session_present: bool, session: u64, ctx: &mut Context<Self>) {
        if let Err(reason) = self.deps.memory.session(session) {
            let text = format_args!("could not store the MQTT session's identity: {reason}");
            self.exit.fail(ctx, ActorFailure::resource(text));
            return;
        }
        match self.away.clear() {
            Some(lasted) => info!(session_present, "connected to the broker again after {lasted}"),
            None => info!(session_present, "connected to the broker"),
        }
        self.forget_unsettled(); // the broker sends them again on this connection
        self.held = if session_present { Held::Kept } else { Held::Told(HashSet::new()) };
        self.note_subscribed();
        self.deps.status.send_modify(|status| {
            status.connected = true;
            status.reason.clear();
        });
        if let Some((handle, _)) = &self.link
            && !self.deps.greeting.is_empty()
            && let Err(reason) = handle.publish(self.deps.greeting.clone())
        {
            warn!(%reason, "could not publish the gateway's state");
        }
    }

    fn on_messages(&mut self, batch: MessageBatch) {
        self.unsettled_messages += batch.messages.len();
        let batch = Arc::new(batch);
        self.deps.traffic.note_arrival(&batch);
        for listener in &self.deps.listeners {
            if listener.to.try_send(MessagesArrived(Arc::clone(&batch))).is_err() {
                tracing::debug!("a listener is busy or down and misses messages");
            }
        }
        self.unsettled.push_back(batch);
        self.hand_out();
        self.acknowledge(); // when there is no consumer at all
    }

    fn on_confirmed(&mut self, ticket: DeliveryTag) {
        if let Some(router) = &self.deps.confirmed
            && router.try_send(AcknowledgementsSent(ticket)).is_err()
        {
            // The next confirmation includes this one.
            tracing::debug!("the router is busy; a confirmation waits for the next one");
        }
    }

    /// Gives each consumer what it was not given yet, as far as its mailbox has room; it settles, then we come here again.
    fn hand_out(&mut self) {
        for lane in &mut self.lanes {
            while let Some(batch) = self.unsettled.get(lane.next) {
                match lane.to.try_send(MessagesArrived(Arc::clone(batch))) {
                    Ok(()) => lane.next += 1,
                    Err(SendError::Full(_) | SendError::Closed(_)) => break,
                }
            }
        }
    }

    /// Lets go of what all consumers have settled, and acknowledges it.
    fn acknowledge(&mut self) {
        let mut through = None;
        while let Some(batch) = self.unsettled.front() {
            let last = batch.last();
            let is_settled =
                |lane: &Lane| lane.settled.connection == last.connection && lane.settled.number >= last.number;
            if !self.lanes.iter().all(is_settled) {
                break;
            }
            through = Some(last);
            self.unsettled_messages -= batch.messages.len();
            self.unsettled.pop_front();
            for lane in &mut self.lanes {
                lane.next = lane.next.saturating_sub(1);
            }
        }
        if let (Some(through), Some((handle, _))) = (through, &self.link) {
            handle.acknowledge(through);
            self.resume_intake();
        }
    }

    fn forget_unsettled(&mut self) {
        self.unsettled.clear();
        self.unsettled_messages = 0;
        for lane in &mut self.lanes {
            lane.next = 0;
        }
        self.resume_intake();
    }

    fn resume_intake(&mut self) {
        if let Some(intake) = self.intake.take() {
            intake.wake();
        }
    }

    fn subscribe(&mut self) {
        let Some((handle, _)) = &self.link else { return };
        if self.lanes.iter().any(|lane| lane.wanted.is_none()) {
            return;
        }
        let mut wanted: BTreeMap<&str, QoS> = BTreeMap::new();
        let overheard = self.deps.listeners.iter().flat_map(|listener| &listener.filters);
        for subscription in self.lanes.iter().flat_map(|lane| lane.wanted.iter().flatten()).chain(overheard) {
            let qos = wanted.entry(&subscription.filter).or_insert(subscription.qos);
            *qos = subscription.qos.max(*qos);
        }
        let wanted: Vec<LinkSubscription> =
            wanted.into_iter().map(|(filter, qos)| LinkSubscription { filter: filter.to_owned(), qos }).collect();
        let asked = wanted.iter().map(|subscription| subscription.filter.clone()).collect();
        handle.subscribe_exactly(wanted);
        self.asked = Some(asked);
        self.note_subscribed();
    }
}

impl Actor for MqttActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if self.link.as_ref().is_none_or(|(handle, _)| handle.is_closed()) {
            self.connect(ctx);
        }
        for lane in &mut self.lanes {
            lane.next = 0; // what it has already it passes over
        }
        self.subscribe();
        self.hand_out();
        ctx.spawn(Intake);
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        self.link = None;
        self.deps.status.send_modify(|status| {
            status.connected = false;
            status.reason = "stopped".into();
        });
    }
}

impl Supervised for MqttActor {}

/// Takes the link's events while there is room for what they bring.
struct Intake;

impl ActorFuture<MqttActor> for Intake {
    type Output = ();

    fn poll(self: Pin<&mut Self>, act: &mut MqttActor, ctx: &mut Context<MqttActor>, task: &mut Task<'_>) -> Poll<()> {
        while act.unsettled_messages < UNSETTLED_MESSAGES {
            let Some((_, events)) = &mut act.link else { return Poll::Ready(()) };
            match events.poll_recv(task) {
                Poll::Ready(Some(event)) => act.on_event(event, ctx),
                Poll::Ready(None) => {
                    if !act.closing {
                        act.exit.fail(ctx, ActorFailure::dependency("the broker's side of the link has ended"));
                    }
                    return Poll::Ready(());
                }
                Poll::Pending => return Poll::Pending,
            }
        }
        act.intake = Some(task.waker().clone());
        Poll::Pending
    }
}

impl Handler<MessagesSettled> for MqttActor {
    type Result = ();

    fn handle(&mut self, settled: MessagesSettled, _: &mut Self::Context) {
        if let Some(lane) = self.lanes.iter_mut().find(|lane| lane.by == settled.by) {
            lane.settled = settled.through;
        }
        self.acknowledge();
        self.hand_out();
    }
}

impl Handler<ConsumerStarted> for MqttActor {
    type Result = ();

    fn handle(&mut self, wanted: ConsumerStarted, _: &mut Self::Context) {
        if let Some(lane) = self.lanes.iter_mut().find(|lane| lane.by == wanted.by) {
            lane.wanted = Some(wanted.filters);
            if wanted.send_again {
                lane.next = 0;
            }
        }
        self.subscribe();
        self.hand_out();
    }
}

impl Handler<PublishMessages> for MqttActor {
    type Result = ResponseFuture<Result<(), PublishError>>;

    fn handle(&mut self, PublishMessages(messages): PublishMessages, _: &mut Self::Context) -> Self::Result {
        let handle = self.link.as_ref().map(|(handle, _)| handle.clone());
        Box::pin(async move {
            match handle {
                Some(handle) => handle.publish_when_room(messages).await,
                None => Err(PublishError::Closed),
            }
        })
    }
}

impl Handler<PublishTracked> for MqttActor {
    type Result = ResponseFuture<Result<PublishReceipt, PublishError>>;

    fn handle(&mut self, PublishTracked(message): PublishTracked, _: &mut Self::Context) -> Self::Result {
        let handle = self.link.as_ref().map(|(handle, _)| handle.clone());
        Box::pin(async move {
            match handle {
                Some(handle) => handle.publish_with_receipt(message).await,
                None => Err(PublishError::Closed),
            }
        })
    }
}

impl Handler<CloseConnection> for MqttActor {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: CloseConnection, _: &mut Self::Context) -> Self::Result {
        self.closing = true;
        let handle = self.link.as_ref().map(|(handle, _)| handle.clone());
        Box::pin(async move {
            if let Some(handle) = handle {
                handle.close();
                handle.closed().await;
            }
        })
    }
}
