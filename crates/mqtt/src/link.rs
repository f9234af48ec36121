//! The link between the gateway and a broker: one type with two sources, a remote broker and the embedded one.
//!
//! Everything that goes towards the broker either replaces what was there (acknowledgements, subscriptions) or is
//! refused when there is no room (publishing), so that no one ever waits for the other side: waiting both ways deadlocks.

use crate::stable_hash::stable_hash;
use hearthgate_domain::delivery::{InboundMessage, OutboundMessage, QoS};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};

/// Counts the connections of a process; an acknowledgement that belongs to an earlier one is void.
pub type ConnectionNumber = u64;

/// A place in the order of arrival on one connection. Numbers start at 1 and rise by one for each message, QoS 0 included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct DeliveryTag {
    /// The connection on which the message arrived.
    pub connection: ConnectionNumber,
    /// Its number on that connection.
    pub number: u64,
}

/// Messages in order of arrival.
#[derive(Debug)]
pub struct MessageBatch {
    /// Ticket of the first message; the others follow by one.
    pub first: DeliveryTag,
    /// Never empty.
    pub messages: Vec<InboundMessage>,
    /// What became known of the messages' senders, in order. It is part of the batch, and no event of its own, so that it
    /// keeps its place in the order of arrival also when batches are handed out again.
    pub news: Vec<SenderNews>,
}

/// Something that became known of a sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SenderNews {
    /// Index of the message before which it became known; the number of messages at the end of a batch.
    pub before: usize,
    /// As in the origin of the sender's messages.
    pub session: u64,
    /// What.
    pub what: SenderEvent,
}

/// What became known of a sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SenderEvent {
    /// The next message is its first with an origin on its connection: what it must send again begins there.
    Connected,
    /// It has our acknowledgement of the message with this packet identifier (PUBREL at QoS 2), and of all before.
    Released {
        /// Packet identifier of the message.
        packet_id: u16,
    },
    /// Its session is over, and nothing of it will be sent again.
    Gone,
}

impl MessageBatch {
    /// The messages from this index on, with their indices. Releases of identifiers, which take a place among them, are left out.
    pub fn arrivals(&self, from: usize) -> impl Iterator<Item = (usize, &InboundMessage)> {
        self.messages.iter().enumerate().skip(from).filter(|(_, message)| !message.is_release)
    }

    /// Ticket of the last message: what to acknowledge once all of them are safe.
    #[must_use]
    pub fn last(&self) -> DeliveryTag {
        let count = self.messages.len() as u64;
        DeliveryTag { connection: self.first.connection, number: self.first.number + count.saturating_sub(1) }
    }
}

/// What the broker's side reports.
#[derive(Debug)]
pub enum LinkEvent {
    /// A connection stands.
    Connected {
        /// The number that its tickets carry.
        connection: ConnectionNumber,
        /// Whether the broker still had our session. If not, it owes us nothing from before.
        session_present: bool,
        /// Identifies the session; the messages' [`hearthgate_domain::delivery::MessageOrigin`] carries it. Keep it where it
        /// survives a restart *before* acknowledging anything, and hand it back to the next run: only so can a
        /// redelivery be recognised after a crash. 0 where the sessions are the senders' own (the embedded broker).
        session: u64,
    },
    /// The connection is gone, or an attempt to make one failed.
    Disconnected {
        /// In words, for log and status.
        reason: String,
        /// When the next attempt is made; `None` when there will be none.
        retry_in: Option<Duration>,
    },
    /// Messages came in.
    Messages(MessageBatch),
    /// The sender, a remote broker, has our acknowledgements up to this ticket: it will not send those messages again.
    Confirmed(DeliveryTag),
    /// Subscriptions that the broker refused, each with its reason.
    Refused(Vec<(String, String)>),
    /// The filters that the broker now holds for us, all of them: remember them, so that the next run can remove those
    /// that are no longer wanted.
    Subscribed(Vec<String>),
    /// A message could not pass, in one direction or the other, and was let go: too large, or refused by the broker.
    /// Reported once for a topic and reason.
    Dropped {
        /// Its topic; replacement characters stand for bytes that are not UTF-8.
        topic: String,
        /// Size of the packet in bytes.
        bytes: usize,
        /// In words, with the remedy.
        reason: String,
    },
}

/// The identifier under which a remote broker that has them is asked for a filter (MQTT 5, section 3.8.2.1.2), so that
/// [`hearthgate_domain::delivery::SubscriptionIds`] tells by which of them a message came. It follows from the filter alone: a session
/// that outlives us delivers with the identifiers of an earlier run. Two filters with one identifier (one pair in
/// 268 million) only matter when both match a topic.
#[must_use]
pub fn subscription_identifier(filter: &str) -> u32 {
    // Folded to the range 1 to 268,435,455 that a variable byte integer has.
    let hash = stable_hash(filter.bytes());
    u32::try_from((hash ^ (hash >> 32)) % 268_435_455).map_or(1, |identifier| identifier + 1)
}

/// One filter that we want to receive.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LinkSubscription {
    /// Topic filter.
    pub filter: String,
    /// Highest QoS wanted.
    pub qos: QoS,
}

/// Why something could not be published.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PublishError {
    /// Too much is waiting already.
    #[error("the outgoing queue is full")]
    Full,
    /// The link was closed.
    #[error("the link to the broker is closed")]
    Closed,
}

/// What became of a message that was handed over to be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublishOutcome {
    /// The broker has it: it has acknowledged it, or it was written at QoS 0, where nothing is acknowledged.
    Acknowledged,
    /// It can't be published, now or later, for this reason: the broker refuses it, or it is over a limit.
    Refused(String),
    /// The link ended before the broker acknowledged it: whoever still wants it published hands it over again.
    GivenUp,
}

/// Where the outcome of one message is told. Nobody may have asked for it; letting go of it means [`PublishOutcome::GivenUp`].
#[derive(Debug, Default)]
pub struct OutcomeSender(Option<oneshot::Sender<PublishOutcome>>);

impl OutcomeSender {
    /// Tells the outcome.
    pub fn tell(self, outcome: PublishOutcome) {
        if let Some(sender) = self.0 {
            // Who asked may have gone: then nobody waits for it.
            let _ = sender.send(outcome);
        }
    }
}

/// Where the outcome of one message will be told.
#[derive(Debug)]
pub struct PublishReceipt(oneshot::Receiver<PublishOutcome>);

impl PublishReceipt {
    /// Waits for the outcome, however long that takes.
    pub async fn outcome(self) -> PublishOutcome {
        self.0.await.unwrap_or(PublishOutcome::GivenUp)
    }
}

/// A message on its way to the broker's side.
#[derive(Debug)]
pub struct OutgoingPublish {
    /// The message.
    pub message: OutboundMessage,
    /// Where its outcome is told.
    pub told: OutcomeSender,
}

impl From<OutboundMessage> for OutgoingPublish {
    fn from(message: OutboundMessage) -> Self {
        OutgoingPublish { message, told: OutcomeSender::default() }
    }
}

impl OutgoingPublish {
    /// A message, and where its outcome will be told.
    #[must_use]
    pub fn with_receipt(message: OutboundMessage) -> (Self, PublishReceipt) {
        let (sender, receiver) = oneshot::channel();
        (OutgoingPublish { message, told: OutcomeSender(Some(sender)) }, PublishReceipt(receiver))
    }
}

/// The gateway's end. Cloning it is cheap; nothing on it ever waits.
#[derive(Clone, Debug)]
pub struct LinkHandle {
    acknowledged: Arc<watch::Sender<DeliveryTag>>,
    wanted: Arc<watch::Sender<Arc<[LinkSubscription]>>>,
    outgoing: mpsc::Sender<Vec<OutgoingPublish>>,
    closing: Arc<watch::Sender<bool>>,
}

impl LinkHandle {
    /// Acknowledges every message up to and including `through`. Later calls include earlier ones.
    pub fn acknowledge(&self, through: DeliveryTag) {
        self.acknowledged.send_replace(through);
    }

    /// States the whole set of filters that we want from now on; the broker's side makes the difference.
    pub fn subscribe_exactly(&self, wanted: Vec<LinkSubscription>) {
        self.wanted.send_replace(wanted.into());
    }

    /// Hands over messages to publish.
    ///
    /// # Errors
    /// [`PublishError::Full`] when there is no room now, [`PublishError::Closed`] after the end; nothing was taken then.
    pub fn publish(&self, messages: Vec<OutboundMessage>) -> Result<(), PublishError> {
        self.outgoing.try_send(messages.into_iter().map(OutgoingPublish::from).collect()).map_err(|refused| {
            match refused {
                mpsc::error::TrySendError::Full(_) => PublishError::Full,
                mpsc::error::TrySendError::Closed(_) => PublishError::Closed,
            }
        })
    }

    /// As [`LinkHandle::publish`], but waits until there is room: for callers who may be held back.
    ///
    /// # Errors
    /// [`PublishError::Closed`] after the end.
    pub async fn publish_when_room(&self, messages: Vec<OutboundMessage>) -> Result<(), PublishError> {
        let messages = messages.into_iter().map(OutgoingPublish::from).collect();
        self.outgoing.send(messages).await.map_err(|_| PublishError::Closed)
    }

    /// Hands over one message as soon as there is room, and answers where its outcome will be told.
    ///
    /// # Errors
    /// [`PublishError::Closed`] after the end.
    pub async fn publish_with_receipt(&self, message: OutboundMessage) -> Result<PublishReceipt, PublishError> {
        let (outgoing, receipt) = OutgoingPublish::with_receipt(message);
        self.outgoing.send(vec![outgoing]).await.map_err(|_| PublishError::Closed)?;
        Ok(receipt)
    }

    /// Whether the broker's side is gone.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.outgoing.is_closed()
    }

    /// Waits until the broker's side is gone.
    pub async fn closed(&self) {
        self.outgoing.closed().await;
    }

    /// Asks for an orderly end: what is acknowledged is sent, then DISCONNECT. Events end when it is done.
    pub fn close(&self) {
        self.closing.send_replace(true);
    }
}

/// The broker's end.
#[derive(Debug)]
pub struct LinkPort {
    /// The newest acknowledgement; it includes all before it.
    pub acknowledged: watch::Receiver<DeliveryTag>,
    /// The newest set of wanted filters.
    pub wanted: watch::Receiver<Arc<[LinkSubscription]>>,
    /// Messages to publish.
    pub outgoing: mpsc::Receiver<Vec<OutgoingPublish>>,
    /// Turns true once.
    pub closing: watch::Receiver<bool>,
    /// Where to report; bounded, so the broker's side waits here, and only here.
    pub events: mpsc::Sender<LinkEvent>,
}

/// Makes a link. `outgoing` is the room for batches to publish, `events` the room for reports.
#[must_use]
pub fn link(outgoing: usize, events: usize) -> (LinkHandle, LinkPort, mpsc::Receiver<LinkEvent>) {
    let (acknowledged, acknowledged_rx) = watch::channel(DeliveryTag::default());
    let (wanted, wanted_rx) = watch::channel(Arc::from([]));
    let (outgoing, outgoing_rx) = mpsc::channel(outgoing);
    let (closing, closing_rx) = watch::channel(false);
    let (events, events_rx) = mpsc::channel(events);
    let handle = LinkHandle {
        acknowledged: Arc::new(acknowledged),
        wanted: Arc::new(wanted),
        outgoing,
        closing: Arc::new(closing),
    };
    let port = LinkPort {
        acknowledged: acknowledged_rx,
        wanted: wanted_rx,
        outgoing: outgoing_rx,
        closing: closing_rx,
        events,
    };
    (handle, port, events_rx)
}
