//! MapperActor: translates between the broker's messages and the device interfaces' internal ones.
//!
//! A command is handed over now or refused and answered; nothing is kept for later, because a gate must not open an hour
//! late.

use crate::flows::dead_letters;
use crate::mapping::refusal::OrderRefusal;
use crate::messages::{
    ArrivalConsumer, ConsumerStarted, DeviceEmissions, MessagesArrived, MessagesSettled, OrderCommand, PublishMessages,
    ReplaceMap, SendCommands,
};
use crate::metrics::{CountedOutcome, MetricCounter};
use crate::mqtt::progress::{BatchAdmission, ConsumerProgress};
use crate::mqtt::subscription_ids::SubscriptionRegistry;
use crate::traffic::TrafficTap;
use actix::prelude::*;
use hearthgate_domain::delivery::{InboundMessage, OutboundMessage, QoS, UnixMicros};
use hearthgate_domain::fate::FateOutcome as Told;
use hearthgate_domain::mapping::MessageCodec;
use hearthgate_domain::mapping::internal_msg::InternalMsg;
use hearthgate_domain::routing::FilterTree;
use hearthgate_domain::topic::TopicFilter;
use hearthgate_interfaces::replies;
use hearthgate_interfaces::{DeviceCommand, DeviceMessage, InterfaceConfig};
use hearthgate_mqtt::link::{DeliveryTag, LinkSubscription, PublishError, subscription_identifier};
use hearthgate_supervision::{ActorHealth, ActorStatus};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tracing::{debug, warn};

/// One interface as the mapper sees it.
pub struct MappedInterface {
    /// For logs and metrics.
    pub name: Arc<str>,
    /// Its keyword maps under its own name.
    pub codec: Arc<MessageCodec>,
    /// Its options.
    pub config: Arc<InterfaceConfig>,
    /// The topic filters of its map or its configuration.
    pub filters: Vec<TopicFilter>,
    /// The interface.
    pub to: Recipient<SendCommands>,
    /// How its actor is.
    pub health: watch::Receiver<ActorHealth>,
}

impl MappedInterface {
    /// Why it will not take commands for a long time, if so. One that is restarted soon keeps its queue.
    fn is_down(&self) -> Option<String> {
        let health = self.health.borrow();
        match health.status {
            ActorStatus::Parked => {
                let reason = health.last_error.as_deref().unwrap_or("it failed too often");
                Some(format!("the interface is parked: {reason}"))
            }
            ActorStatus::Stopped => Some("the interface is stopped".into()),
            ActorStatus::Starting | ActorStatus::Running | ActorStatus::BackingOff | ActorStatus::Unresponsive => None,
        }
    }

    /// Hands commands over; gives them back, with the reason, when there is no room or nobody to take them.
    fn take(&self, commands: Vec<DeviceCommand>) -> Result<(), (Vec<DeviceCommand>, String)> {
        if let Some(why) = self.is_down() {
            return Err((commands, why));
        }
        self.to.try_send(SendCommands(commands)).map_err(|refused| match refused {
            SendError::Full(SendCommands(commands)) => (commands, "the interface's queue is full".into()),
            SendError::Closed(SendCommands(commands)) => (commands, "the interface is stopped".into()),
        })
    }
}

/// What the actor works with.
pub struct MapperDeps {
    /// The interfaces, each in its place.
    pub interfaces: Vec<MappedInterface>,
    /// Where progress is reported.
    pub settled: Recipient<MessagesSettled>,
    /// Where filters are announced.
    pub wanted: Recipient<ConsumerStarted>,
    /// Where messages are published.
    pub publish: Recipient<PublishMessages>,
    /// Shared by the incarnations.
    pub progress: Arc<ConsumerProgress>,
    /// Where the router sees our filters.
    pub interests: Arc<SubscriptionRegistry>,
    /// Where it is told what became of messages.
    pub traffic: TrafficTap,
}

/// See the module.
pub struct MapperActor {
    deps: MapperDeps,
    /// Which interface, and by which of our subscriptions.
    tree: FilterTree<(usize, u32)>,
    counters: Vec<InterfaceCounters>,
}

struct InterfaceCounters {
    received: MetricCounter,
    refused: MetricCounter,
    echoes: MetricCounter,
    empty: MetricCounter,
    emitted: MetricCounter,
    unsendable: MetricCounter,
}

impl MapperActor {
    /// An actor that maps for these interfaces.
    #[must_use]
    pub fn new(deps: MapperDeps) -> Self {
        let mut tree = FilterTree::new();
        for (place, interface) in deps.interfaces.iter().enumerate() {
            for filter in &interface.filters {
                tree.insert(filter, (place, subscription_identifier(filter.as_str())));
            }
        }
        let counters = deps.interfaces.iter().map(|interface| InterfaceCounters::new(&interface.name)).collect();
        MapperActor { deps, tree, counters }
    }

    /// Decodes a message for each interface that it is for.
    fn map(&self, message: &InboundMessage, queues: &mut [Vec<DeviceCommand>], answers: &mut Vec<OutboundMessage>) {
        // It may have waited for this mapper, which was stopped or resting: its age counts from its arrival.
        let received_at = arrival(message.kept_since.unwrap_or(message.received_at));
        let is_repeated = message.origin.is_some_and(|origin| origin.dup);
        // Of several copies of one message an interface gets the one of its lowest identifier.
        let mut places: Vec<(usize, u32)> = Vec::new();
        self.tree.for_each_match(&message.topic, |(place, identifier)| {
            match places.iter_mut().find(|(known, _)| known == place) {
                Some((_, lowest)) => *lowest = (*lowest).min(*identifier),
                None => places.push((*place, *identifier)),
            }
        });
        for (place, _) in places.into_iter().filter(|(_, identifier)| message.via.includes(*identifier)) {
            let interface = &self.deps.interfaces[place];
            let counters = &self.counters[place];
            if message.unusable.is_some() {
                counters.refused.add(1);
                continue;
            }
            // A retained message was removed (MQTT 3.1.1, section 3.3.1.3): that is no command, and nothing is wrong.
            if message.payload.is_empty() {
                counters.empty.add(1);
                continue;
            }
            if interface.codec.is_echo(&message.topic) {
                counters.echoes.add(1);
                continue;
            }
            let decoded = match interface.codec.decode(&message.topic, &message.payload) {
                Ok(decoded) => decoded,
                Err(reason) => {
                    counters.refused.add(1);
                    warn!(interface = %interface.name, %reason, "message refused");
                    self.tell(interface, message, Told::Refused, || reason.to_string());
                    answers.extend(self.answer_undecodable(interface, message, &reason.to_string()));
                    continue;
                }
            };
            match replies::admit(&interface.config, &decoded, message.retain) {
                replies::ReplyAdmission::Accept if is_repeated && decoded.iscmd => {
                    counters.refused.add(1);
                    warn!(interface = %interface.name, topic = %message.topic, "command refused: it was delivered again");
                    let reason = "not executed: it was delivered again, and may have been executed the first time";
                    let answer = replies::refusal(&interface.config, &decoded, reason);
                    answers.extend(answer.and_then(|answer| self.encode(place, &DeviceMessage::from(answer))));
                }
                replies::ReplyAdmission::Accept => {
                    self.tell(interface, message, Told::Accepted, || serde_json::json!(decoded).to_string());
                    queues[place].push(DeviceCommand { message: decoded, received_at });
                }
                replies::ReplyAdmission::DropRetained => {
                    debug!(interface = %interface.name, topic = %message.topic, "retained command dropped");
                    counters.refused.add(1);
                }
            }
        }
    }

    /// For those who look on.
    fn tell(
        &self,
        interface: &MappedInterface,
        message: &InboundMessage,
        outcome: Told,
        reason: impl FnOnce() -> String,
    ) {
        if self.deps.traffic.is_watched() {
            let by = format!("interface {}", interface.name);
            self.deps.traffic.tell_message(message, &by, outcome, &reason());
        }
    }

    /// A strict map refuses a command: the commander is told so, in its own keywords, on the status topic.
    fn answer_undecodable(
        &self,
        interface: &MappedInterface,
        message: &InboundMessage,
        reason: &str,
    ) -> Option<OutboundMessage> {
        if !interface.config.replies || message.retain {
            return None;
        }
        let levels: Vec<&str> = message.topic.split('/').collect();
        let [root, function, gateway, location, device, _, "C"] = levels[..] else { return None };
        let name = interface.codec.name();
        let answer = serde_json::json!({ "response": replies::ERROR, "reason": reason });
        Some(OutboundMessage {
            topic: format!("{root}/{function}/{gateway}/{location}/{device}/{name}/S").into(),
            payload: answer.to_string().into(),
            qos: interface.config.qos,
            retain: false,
        })
    }

    /// Hands the decoded messages over; what an interface has no room for is answered.
    fn hand_over(&self, queues: Vec<Vec<DeviceCommand>>, answers: &mut Vec<OutboundMessage>) {
        for (place, commands) in queues.into_iter().enumerate().filter(|(_, commands)| !commands.is_empty()) {
            let interface = &self.deps.interfaces[place];
            let count = commands.len() as u64;
            let Err((refused, why)) = interface.take(commands) else {
                self.counters[place].received.add(count);
                continue;
            };
            self.counters[place].refused.add(count);
            warn!(interface = %interface.name, count, why, "messages refused");
            for command in &refused {
                let answer = replies::refusal(&interface.config, &command.message, &why);
                answers.extend(answer.and_then(|answer| self.encode(place, &DeviceMessage::from(answer))));
            }
        }
    }

    fn encode(&self, place: usize, emission: &DeviceMessage) -> Option<OutboundMessage> {
        let interface = &self.deps.interfaces[place];
        let encoded = match interface.codec.encode(&emission.message) {
            Ok(encoded) => encoded,
            Err(reason) => {
                self.counters[place].unsendable.add(1);
                warn!(interface = %interface.name, %reason, "a message of the interface can not be published");
                return None;
            }
        };
        Some(OutboundMessage {
            topic: emission.topic.clone().unwrap_or(encoded.topic).into(),
            payload: encoded.payload.into(),
            qos: emission.qos.unwrap_or(interface.config.qos),
            retain: emission.retain.unwrap_or(interface.config.retain),
        })
    }

    fn publish_answers(&self, answers: Vec<OutboundMessage>, ctx: &mut Context<Self>) {
        if answers.is_empty() {
            return;
        }
        let sent = self.deps.publish.send(PublishMessages(answers)).into_actor(self);
        ctx.spawn(sent.map(|end, _, _| {
            if !matches!(end, Ok(Ok(()))) {
                warn!("answers to refused commands could not be published");
            }
        }));
    }

    fn announce(&self, send_again: bool, ctx: &mut Context<Self>) {
        let mut filters: Vec<LinkSubscription> = Vec::new();
        for filter in self.deps.interfaces.iter().flat_map(|interface| &interface.filters) {
            if !filters.iter().any(|known| known.filter == filter.as_str()) {
                filters.push(LinkSubscription { filter: filter.as_str().to_owned(), qos: QoS::AtLeastOnce });
            }
        }
        self.deps.interests.set("mapper", &filters);
        let wanted = ConsumerStarted { by: ArrivalConsumer::Mapper, filters, send_again };
        if self.deps.wanted.try_send(wanted).is_err() {
            // Its mailbox is full or it is being restarted; what we want must reach it some time.
            ctx.run_later(std::time::Duration::from_millis(50), move |act, ctx| act.announce(send_again, ctx));
        }
    }
}

/// When a message was published or came in, on the clock that commands' ages are measured with.
fn arrival(received_at: UnixMicros) -> Instant {
    let age = u64::try_from(dead_letters::now().saturating_sub(received_at)).unwrap_or_default();
    let now = Instant::now();
    now.checked_sub(Duration::from_micros(age)).unwrap_or(now)
}

impl InterfaceCounters {
    fn new(name: &str) -> Self {
        InterfaceCounters {
            received: MetricCounter::received(name, CountedOutcome::Ok),
            refused: MetricCounter::received(name, CountedOutcome::Refused),
            echoes: MetricCounter::received(name, CountedOutcome::Echo),
            empty: MetricCounter::received(name, CountedOutcome::Empty),
            emitted: MetricCounter::emitted(name, CountedOutcome::Ok),
            unsendable: MetricCounter::emitted(name, CountedOutcome::Refused),
        }
    }
}

impl Actor for MapperActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.deps.progress.restarted();
        self.announce(true, ctx);
    }
}

impl Supervised for MapperActor {}

impl Handler<MessagesArrived> for MapperActor {
    type Result = ();

    fn handle(&mut self, MessagesArrived(batch): MessagesArrived, ctx: &mut Self::Context) {
        let from = match self.deps.progress.admit(&batch) {
            BatchAdmission::From(index) => index,
            BatchAdmission::Duplicate | BatchAdmission::Gap => return self.settle(ctx),
        };
        let mut queues = vec![Vec::new(); self.deps.interfaces.len()];
        let mut answers = Vec::new();
        for (index, message) in batch.arrivals(from) {
            let ticket = DeliveryTag { connection: batch.first.connection, number: batch.first.number + index as u64 };
            if self.deps.progress.is_deadly(ticket) {
                warn!(topic = %message.topic, "this message has stopped the mapper twice; it is passed over");
                continue;
            }
            self.deps.progress.taking(ticket.number);
            self.map(message, &mut queues, &mut answers);
        }
        self.deps.progress.advance(batch.last());
        self.hand_over(queues, &mut answers);
        self.publish_answers(answers, ctx);
        self.settle(ctx);
    }
}

impl MapperActor {
    fn settle(&self, ctx: &mut Context<Self>) {
        let settled = MessagesSettled { by: ArrivalConsumer::Mapper, through: self.deps.progress.done() };
        if self.deps.settled.try_send(settled).is_err() {
            ctx.run_later(std::time::Duration::from_millis(5), |act, ctx| act.settle(ctx));
        }
    }
}

impl Handler<DeviceEmissions> for MapperActor {
    type Result = ResponseFuture<Result<(), PublishError>>;

    fn handle(&mut self, emissions: DeviceEmissions, _: &mut Self::Context) -> Self::Result {
        let place = emissions.interface;
        let outgoing: Vec<OutboundMessage> =
            emissions.messages.iter().filter_map(|emission| self.encode(place, emission)).collect();
        if outgoing.is_empty() {
            return Box::pin(std::future::ready(Ok(())));
        }
        self.counters[place].emitted.add(outgoing.len() as u64);
        let sent = self.deps.publish.send(PublishMessages(outgoing));
        Box::pin(async move { sent.await.unwrap_or(Err(PublishError::Closed)) })
    }
}

impl Handler<OrderCommand> for MapperActor {
    type Result = Result<InternalMsg, OrderRefusal>;

    fn handle(&mut self, order: OrderCommand, _: &mut Self::Context) -> Self::Result {
        let interface = self.deps.interfaces.get(order.interface).ok_or(OrderRefusal::NoInterface)?;
        if !interface.filters.iter().any(|filter| filter.matches(&order.topic)) {
            let filters: Vec<&str> = interface.filters.iter().map(TopicFilter::as_str).collect();
            return Err(OrderRefusal::OtherTopic(filters.join(", ")));
        }
        if interface.codec.is_echo(&order.topic) {
            return Err(OrderRefusal::OwnName);
        }
        let decoded = interface.codec.decode(&order.topic, &order.payload);
        let decoded = decoded.map_err(|error| OrderRefusal::Map(error.to_string()))?;
        let command = DeviceCommand { message: decoded.clone(), received_at: Instant::now() };
        interface.take(vec![command]).map_err(|(_, why)| OrderRefusal::NotTaken(why))?;
        self.counters[order.interface].received.add(1);
        Ok(decoded)
    }
}

impl Handler<ReplaceMap> for MapperActor {
    type Result = ();

    fn handle(&mut self, new: ReplaceMap, ctx: &mut Self::Context) {
        let Some(interface) = self.deps.interfaces.get_mut(new.interface) else { return };
        for filter in &interface.filters {
            self.tree.remove(filter, |(place, _)| *place == new.interface);
        }
        interface.filters = new.codec.maps().topics().to_vec();
        interface.codec = new.codec;
        for filter in &interface.filters {
            self.tree.insert(filter, (new.interface, subscription_identifier(filter.as_str())));
        }
        self.announce(false, ctx);
    }
}
