//! Messages as they come from and go to a broker, whichever broker it is.

use bytes::Bytes;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

/// MQTT quality of service (MQTT 3.1.1 and 5.0, section 4.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(into = "u8", try_from = "u8")]
pub enum QoS {
    /// Delivered at most once.
    AtMostOnce = 0,
    /// Delivered at least once.
    #[default]
    AtLeastOnce = 1,
    /// Delivered exactly once.
    ExactlyOnce = 2,
}

impl From<QoS> for u8 {
    fn from(qos: QoS) -> u8 {
        qos as u8
    }
}

impl TryFrom<u8> for QoS {
    type Error = QosError;

    fn try_from(level: u8) -> Result<Self, QosError> {
        match level {
            0 => Ok(QoS::AtMostOnce),
            1 => Ok(QoS::AtLeastOnce),
            2 => Ok(QoS::ExactlyOnce),
            other => Err(QosError(other)),
        }
    }
}

/// A number that is no quality of service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("QoS is 0, 1 or 2, not {0}")]
pub struct QosError(pub u8);

/// Microseconds since 1970-01-01T00:00:00Z.
pub type UnixMicros = i64;

/// A time of the wall clock; 0 for what lies before 1970.
#[must_use]
pub fn unix_micros(time: SystemTime) -> UnixMicros {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    UnixMicros::try_from(since.as_micros()).unwrap_or(UnixMicros::MAX)
}

/// Who handed a message to us and may hand it over again: needed to recognise a redelivery. Absent at QoS 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageOrigin {
    /// One MQTT session: changes when the sender has forgotten what it still owed.
    pub session: u64,
    /// Packet identifier, 1 to 65535; reused by the sender after our acknowledgement.
    pub packet_id: u16,
    /// The sender's DUP flag (MQTT 3.1.1, section 3.3.1.1).
    pub dup: bool,
}

/// By which of our subscriptions a message came: a broker may send a copy for each that matches (MQTT 3.1.1, section
/// 3.3.5), and a shared subscription's copies go to one member each. Then each copy is only for those who asked for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SubscriptionIds {
    /// Not said: it is for everybody whose filter matches.
    #[default]
    Any,
    /// The subscription of this identifier (MQTT 5, section 3.3.2.3.8).
    One(u32),
    /// One copy for several subscriptions.
    Several(Arc<[u32]>),
}

impl SubscriptionIds {
    /// Whether the copy is for those who made the subscription of this identifier.
    #[must_use]
    pub fn includes(&self, identifier: u32) -> bool {
        *self == SubscriptionIds::Any || self.identifiers().contains(&identifier)
    }

    /// Of the subscriptions that it came by, as far as that was said.
    #[must_use]
    pub fn identifiers(&self) -> &[u32] {
        match self {
            SubscriptionIds::Any => &[],
            SubscriptionIds::One(one) => std::slice::from_ref(one),
            SubscriptionIds::Several(several) => several,
        }
    }
}

/// A PUBLISH that came in.
#[derive(Clone, PartialEq, Eq)]
pub struct InboundMessage {
    /// Topic name, valid UTF-8 without wildcards or NUL.
    pub topic: Arc<str>,
    /// The bytes as they were sent.
    pub payload: Bytes,
    /// QoS of this delivery.
    pub qos: QoS,
    /// Set on a message that was retained when we subscribed.
    pub retain: bool,
    /// Set on a retained one that the embedded broker had from before its process. It may be older than what came last, since
    /// the broker keeps what is retained beside the journal, and its publisher may send it again, since it may not have been
    /// acknowledged.
    pub is_restored: bool,
    /// When it was read from the network.
    pub received_at: UnixMicros,
    /// Present at QoS 1 and 2, unless nobody could send it again: it is of the embedded broker itself.
    pub origin: Option<MessageOrigin>,
    /// By which of our subscriptions it came.
    pub via: SubscriptionIds,
    /// Why nobody can use it, if so: too large, or on a topic that is none. It is kept as a dead letter with the first bytes of
    /// its payload, since its sender would send it again for ever if it were not acknowledged.
    pub unusable: Option<Arc<str>>,
    /// The broker may have kept it since this moment, 0 for one that is not known: we were not connected.
    pub kept_since: Option<UnixMicros>,
    /// No message, but the release of a QoS 2 message's packet identifier (PUBREL): topic and payload are empty. It takes a
    /// place in the order of arrival, so that it is answered with PUBCOMP once it is durable, and not before.
    pub is_release: bool,
}

/// A message to publish.
#[derive(Clone, PartialEq, Eq)]
pub struct OutboundMessage {
    /// Topic name.
    pub topic: Arc<str>,
    /// Payload.
    pub payload: Bytes,
    /// QoS to publish with.
    pub qos: QoS,
    /// Whether the broker keeps it for later subscribers.
    pub retain: bool,
}

impl InboundMessage {
    /// A message at QoS 1 that no sender waits for and none can send again.
    #[must_use]
    pub fn unsent(topic: Arc<str>, payload: Bytes, received_at: UnixMicros) -> Self {
        InboundMessage {
            topic,
            payload,
            qos: QoS::AtLeastOnce,
            retain: false,
            is_restored: false,
            received_at,
            origin: None,
            via: SubscriptionIds::Any,
            unusable: None,
            kept_since: None,
            is_release: false,
        }
    }
}

// Payloads stay out of logs: `Debug` prints their size.
impl fmt::Debug for InboundMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Inbound({} {} B qos{} {:?})", self.topic, self.payload.len(), self.qos as u8, self.origin)
    }
}

impl fmt::Debug for OutboundMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Outbound({} {} B qos{})", self.topic, self.payload.len(), self.qos as u8)
    }
}
