//! The packets that a broker sends, as the session sees them.

use crate::codec::reason::ReasonCode;
use bytes::Bytes;
use hearthgate_domain::delivery::{QoS, SubscriptionIds};
use std::sync::Arc;

/// What a broker can send.
#[derive(Debug)]
pub(crate) enum BrokerPacket {
    ConnAck(ConnackLimits),
    /// CONNACK with a code other than success.
    Refused {
        code: u8,
        reason: String,
    },
    Publish(BrokerPublish),
    /// A PUBLISH that nobody can use, but that must be acknowledged.
    Unusable(UnusableMessage),
    PubAck {
        packet_id: u16,
        answer: PublishAnswer,
    },
    PubRec {
        packet_id: u16,
        answer: PublishAnswer,
    },
    PubRel {
        packet_id: u16,
    },
    PubComp {
        packet_id: u16,
    },
    SubAck {
        packet_id: u16,
        results: Vec<Result<QoS, GrantRefusal>>,
    },
    UnsubAck {
        packet_id: u16,
    },
    PingResp,
    /// MQTT 5: the broker says why it ends the connection.
    Disconnect {
        code: u8,
        reason: String,
    },
}

/// What the broker says of a message that we published.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PublishAnswer {
    /// Reason code; 0 on 3.1.1.
    pub(crate) code: u8,
    /// The broker's own words.
    pub(crate) reason: Option<String>,
}

impl PublishAnswer {
    pub(crate) fn is_refusal(&self) -> bool {
        self.code >= 0x80
    }

    pub(crate) fn in_words(self) -> String {
        with_reason_string(self.code, self.reason)
    }
}

/// What CONNACK granted; limits that a 3.1.1 broker can't state are the protocol's own.
#[derive(Debug, Clone)]
pub(crate) struct ConnackLimits {
    pub(crate) session_present: bool,
    pub(crate) receive_maximum: u16,
    pub(crate) max_packet: usize,
    pub(crate) max_qos: QoS,
    pub(crate) retain_available: bool,
    pub(crate) keep_alive_seconds: Option<u16>,
    /// MQTT 5, and the broker says by which subscription a message comes.
    pub(crate) subscription_identifiers: bool,
    /// MQTT 5, and the broker has shared subscriptions.
    pub(crate) shared_subscriptions: bool,
}

#[derive(Debug)]
pub(crate) struct BrokerPublish {
    pub(crate) topic: Arc<str>,
    pub(crate) payload: Bytes,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) dup: bool,
    /// 0 at QoS 0.
    pub(crate) packet_id: u16,
    pub(crate) via: SubscriptionIds,
}

#[derive(Debug)]
pub(crate) struct UnusableMessage {
    /// The beginning of the payload.
    pub(crate) first: Bytes,
    pub(crate) retain: bool,
    pub(crate) dup: bool,
    pub(crate) topic: String,
    pub(crate) qos: QoS,
    pub(crate) packet_id: u16,
    pub(crate) bytes: usize,
    pub(crate) reason: String,
}

/// Why we do not get what a filter asks for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum GrantRefusal {
    /// MQTT 3.1.1 has no room for a reason.
    #[error("refused by the broker (0x80)")]
    Unexplained,
    #[error("{} (0x{:02x})", .0.in_words(), *.0 as u8)]
    Explained(ReasonCode),
    #[error("the broker did not answer for this filter")]
    Unanswered,
    /// We do not even ask: each member of a group would get everything.
    #[error("the broker has no shared subscriptions with identifiers (MQTT 5), which a group of gateways needs")]
    Unshareable,
}

/// Why the byte stream can't be read any further.
#[derive(Debug, thiserror::Error)]
#[error("the broker sent what is not MQTT: {0}")]
pub(crate) struct MalformedPacket(pub(crate) String);

/// A fixed header (MQTT 3.1.1, section 2.2).
pub(crate) struct FixedHeader {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    /// Its own length.
    pub(crate) length: usize,
    /// Length of the whole packet.
    pub(crate) total: usize,
}

pub(crate) fn too_short() -> MalformedPacket {
    MalformedPacket("a packet that ends too early".into())
}

/// A variable byte integer and its width (MQTT 5.0, section 1.5.5); `None` when it is not complete.
pub(crate) fn variable_length(input: &[u8]) -> Result<Option<(usize, usize)>, MalformedPacket> {
    let mut value = 0;
    for (at, byte) in input.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Ok(Some((value, at + 1)));
        }
    }
    if input.len() >= 4 { Err(MalformedPacket("a length of more than four bytes".into())) } else { Ok(None) }
}

/// The subscription identifiers among a PUBLISH's properties (MQTT 5.0, section 3.3.2.3).
pub(crate) fn subscription_identifiers(mut properties: &[u8]) -> Result<SubscriptionIds, MalformedPacket> {
    let mut via = SubscriptionIds::Any;
    while let Some((&property, rest)) = properties.split_first() {
        let value = match property {
            0x01 => 1,
            0x02 => 4,
            0x23 => 2,
            0x03 | 0x08 | 0x09 => text_length(rest)?,
            0x26 => {
                let name = text_length(rest)?;
                name + text_length(rest.get(name..).ok_or_else(too_short)?)?
            }
            0x0b => {
                let (identifier, width) = variable_length(rest)?.ok_or_else(too_short)?;
                via = and(via, u32::try_from(identifier).unwrap_or(0));
                width
            }
            other => return Err(MalformedPacket(format!("a PUBLISH with the property 0x{other:02x}"))),
        };
        properties = rest.get(value..).ok_or_else(too_short)?;
    }
    Ok(via)
}

pub(crate) fn and(via: SubscriptionIds, identifier: u32) -> SubscriptionIds {
    match via {
        SubscriptionIds::Any => SubscriptionIds::One(identifier),
        SubscriptionIds::One(one) => SubscriptionIds::Several([one, identifier].into()),
        SubscriptionIds::Several(several) => {
            SubscriptionIds::Several(several.iter().copied().chain([identifier]).collect())
        }
    }
}

/// Bytes that a text or binary value takes, its length included.
pub(crate) fn text_length(value: &[u8]) -> Result<usize, MalformedPacket> {
    let [high, low, ..] = value else { return Err(too_short()) };
    Ok(2 + usize::from(u16::from_be_bytes([*high, *low])))
}

pub(crate) fn with_reason_string(code: u8, said: Option<String>) -> String {
    let words = ReasonCode::from_byte(code).map_or("unknown reason code", ReasonCode::in_words);
    match said {
        Some(said) => format!("{words} (0x{code:02x}): {said}"),
        None => format!("{words} (0x{code:02x})"),
    }
}
