//! All messages between the actors. They cross threads in batches; `Debug` prints counts, never payloads.

use crate::operation::discovery::Target;
use actix::Message;
use hearthgate_domain::delivery::Outbound;
use hearthgate_domain::mapping::Codec;
use hearthgate_domain::routing::RoutingTable;
use hearthgate_interfaces::{Command, Emission};
use hearthgate_mqtt::link::{Batch, Port, PublishError, Receipt, Subscription, Ticket};
use hearthgate_storage::dead_letters::NewDeadLetter;
use std::sync::Arc;

/// Who takes part in an arrival: the broker is acknowledged when each of them has settled it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Consumer {
    /// The mapper, for the device interfaces.
    Mapper,
    /// The flow router.
    Router,
}

/// Messages came in from the broker.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct Arrived(pub Arc<Batch>);

/// A consumer is done with everything through a ticket: mapped and handed over, or durable in the journal.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Settled {
    /// Who.
    pub by: Consumer,
    /// How far.
    pub through: Ticket,
}

/// A consumer has (re)started: it wants these filters, and everything that it has not settled once more.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct Wanted {
    /// Who.
    pub by: Consumer,
    /// All its filters.
    pub filters: Vec<Subscription>,
    /// Whether unsettled messages must be sent again: at a start, not at a mere change of the filters.
    pub send_again: bool,
}

/// The senders have our acknowledgements through this ticket.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Confirmed(pub Ticket);

/// Publish these; answered once the session has taken them.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<(), PublishError>")]
pub struct Publish(pub Vec<Outbound>);

/// Publish this; answered once the session has taken it, with the receipt on which its outcome will be told.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<Receipt, PublishError>")]
pub struct PublishTracked(pub Outbound);

/// Messages for one device interface, in order.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct Commands(pub Vec<Command>);

/// What a device interface has to say; answered once the broker's side has taken it, so that a flood is held back.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<(), PublishError>")]
pub struct Emissions {
    /// The interface, as its place among all of them.
    pub interface: usize,
    /// In order.
    pub messages: Vec<Emission>,
}

/// A new keyword map for an interface; the old one goes on until then.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct ReplaceMap {
    /// The interface, as its place among all of them.
    pub interface: usize,
    /// The codec with the new map.
    pub codec: Arc<Codec>,
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
#[rtype(result = "Result<(), String>")]
pub struct Reload;

/// Take a dead letter through its flow once more, as the flow is now; answered once that is durable, with the number of
/// flows that took it, or with the reason why none did.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Result<usize, String>")]
pub struct ReplayLetter {
    /// The letter's number.
    pub id: i64,
    /// Also when it was replayed before.
    pub again: bool,
}

/// Route this message of a dead letter; answered as [`ReplayLetter`] is.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<usize, String>")]
pub struct RouteAgain(pub NewDeadLetter);

/// The gateway's own place at the embedded broker.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Attach(pub Port);

/// End the connection in order: what is acknowledged is sent first. Answered when it is done.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Close;

/// Restart this, by order of somebody who is allowed to.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct Restart(pub Target);
