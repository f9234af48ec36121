//! All messages between the actors. They cross threads in batches; `Debug` prints counts, never payloads.

use crate::flows::poster::DeliveryAttempt;
use crate::flows::{ReloadFailure, ReplayRefusal};
use crate::mapping::refusal::OrderRefusal;
use crate::operation::discovery::RestartTarget;
use actix::Message;
use hearthgate_domain::delivery::{OutboundMessage, UnixMicros};
use hearthgate_domain::mapping::MessageCodec;
use hearthgate_domain::mapping::internal_msg::InternalMsg;
use hearthgate_domain::routing::RoutingTable;
use hearthgate_interfaces::{DeviceCommand, DeviceMessage};
use hearthgate_mqtt::link::{DeliveryTag, LinkPort, LinkSubscription, MessageBatch, PublishError, PublishReceipt};
use hearthgate_storage::dead_letters::NewDeadLetter;
use std::sync::Arc;

/// Who takes part in an arrival: the broker is acknowledged when each of them has settled it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ArrivalConsumer {
    /// The mapper, for the device interfaces.
    Mapper,
    /// The flow router.
    Router,
}

/// Messages came in from the broker.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct MessagesArrived(pub Arc<MessageBatch>);

/// A consumer is done with everything through a ticket: mapped and handed over, or durable in the journal.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct MessagesSettled {
    /// Who.
    pub by: ArrivalConsumer,
    /// How far.
    pub through: DeliveryTag,
}

/// A consumer has (re)started: it wants these filters, and everything that it has not settled once more.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct ConsumerStarted {
    /// Who.
    pub by: ArrivalConsumer,
    /// All its filters.
    pub filters: Vec<LinkSubscription>,
    /// Whether unsettled messages must be sent again: at a start, not at a mere change of the filters.
    pub send_again: bool,
}

/// The senders have our acknowledgements through this ticket.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct AcknowledgementsSent(pub DeliveryTag);

/// Publish these; answered once the session has taken them.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<(), PublishError>")]
pub struct PublishMessages(pub Vec<OutboundMessage>);

/// Publish this; answered once the session has taken it, with the receipt on which its outcome will be told.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<PublishReceipt, PublishError>")]
pub struct PublishTracked(pub OutboundMessage);

/// Messages for one device interface, in order.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct SendCommands(pub Vec<DeviceCommand>);

/// Hand this over as if it had come in for an interface; answered with what its map made of it.
#[derive(Clone, Message)]
#[rtype(result = "Result<InternalMsg, OrderRefusal>")]
pub struct OrderCommand {
    /// The interface, as its place among all of them.
    pub interface: usize,
    /// A topic that it listens to.
    pub topic: String,
    /// In the words of its map.
    pub payload: Vec<u8>,
}

/// What a device interface has to say; answered once the broker's side has taken it, so that a flood is held back.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<(), PublishError>")]
pub struct DeviceEmissions {
    /// The interface, as its place among all of them.
    pub interface: usize,
    /// In order.
    pub messages: Vec<DeviceMessage>,
}

/// A new keyword map for an interface; the old one goes on until then.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct ReplaceMap {
    /// The interface, as its place among all of them.
    pub interface: usize,
    /// The codec with the new map.
    pub codec: Arc<MessageCodec>,
}

/// Read the keyword maps again now.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct ReloadMaps;

/// The flows as they are from now on.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct ReplaceFlows(pub Arc<RoutingTable>);

/// Read the flows again now; answered once the router has them, or with the reason why it has not.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Result<(), ReloadFailure>")]
pub struct ReloadFlows;

/// Take a dead letter through its flow once more, as the flow is now; answered once that is durable, with the number of
/// flows that took it, or with the reason why none did.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Result<usize, ReplayRefusal>")]
pub struct ReplayLetter {
    /// The letter's number.
    pub id: i64,
    /// Also when it was replayed before.
    pub again: bool,
}

/// Route this message of a dead letter; answered as [`ReplayLetter`] is.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<usize, ReplayRefusal>")]
pub struct RouteAgain(pub NewDeadLetter);

/// Call the endpoint of the flow of this code once, for a trial; answered with what became of it, or why it can't be called.
#[derive(Clone, Message)]
#[rtype(result = "Result<DeliveryAttempt, String>")]
pub struct TryEndpoint {
    /// The flow's code.
    pub code: String,
    /// Topic of the message.
    pub topic: String,
    /// Its payload.
    pub payload: Vec<u8>,
}

/// Something that went wrong in the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayNotice {
    /// As the log tells it.
    pub text: String,
    /// When.
    pub at: UnixMicros,
}

/// Make these durable, for everybody who is told of the gateway itself; answered once they are.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<(), ReplayRefusal>")]
pub struct KeepNotices(pub Vec<GatewayNotice>);

/// The gateway's own place at the embedded broker.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct AttachGateway(pub LinkPort);

/// End the connection in order: what is acknowledged is sent first. Answered when it is done.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct CloseConnection;

/// Restart this, by order of somebody who is allowed to.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct RestartGateway(pub RestartTarget);
