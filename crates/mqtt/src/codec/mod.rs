//! MQTT on the wire, as a server sees it: packets that clients send are read, packets that a server sends are written.
//!
//! Reading borrows from the network buffer and checks everything that the specifications call malformed or a protocol
//! error. We read and write ourselves because the codecs that exist allocate for each PUBLISH and let pass what a
//! server has to refuse (reserved bits, NUL, repeated properties), or refuse what it has to accept (an empty client
//! id in MQTT 5, a message expiry of 0).

pub(crate) mod properties;
pub(crate) mod reader;
pub(crate) mod reason;

use reason::ReasonCode;
use std::fmt;

/// The protocol level of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ProtocolLevel {
    /// MQTT 3.1, "MQIsdp" level 3.
    V31,
    /// MQTT 3.1.1, level 4.
    V311,
    /// MQTT 5.0, level 5.
    V5,
}

/// What a client did wrong, and with which reason the connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProtocolViolation {
    pub(crate) reason: ReasonCode,
    pub(crate) what: &'static str,
}

impl ProtocolViolation {
    pub(crate) const fn malformed(what: &'static str) -> Self {
        ProtocolViolation { reason: ReasonCode::MalformedPacket, what }
    }

    pub(crate) const fn protocol(what: &'static str) -> Self {
        ProtocolViolation { reason: ReasonCode::ProtocolError, what }
    }
}

impl fmt::Display for ProtocolViolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (0x{:02x})", self.what, self.reason as u8)
    }
}

/// Where a packet lies at the beginning of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PacketFrame {
    /// More bytes are needed; `total` is the packet's whole length, once it is known.
    Partial {
        /// 0 while the fixed header is incomplete.
        total: usize,
    },
    /// A whole packet.
    Whole {
        /// First byte: packet type and flags.
        header: u8,
        /// Where its variable header begins.
        body: usize,
        /// One past its last byte.
        end: usize,
    },
}

/// Looks at the fixed header (MQTT 5.0, section 2.1). `limit` bounds the whole packet.
pub(crate) fn frame(bytes: &[u8], limit: usize) -> Result<PacketFrame, ProtocolViolation> {
    let Some(&header) = bytes.first() else { return Ok(PacketFrame::Partial { total: 0 }) };
    let mut remaining = 0usize;
    for index in 0..4 {
        let Some(&byte) = bytes.get(1 + index) else { return Ok(PacketFrame::Partial { total: 0 }) };
        remaining |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            if byte == 0 && index > 0 {
                return Err(ProtocolViolation::malformed("remaining length is not in its shortest form"));
            }
            let body = 2 + index;
            let end = body + remaining;
            if end > limit {
                return Err(ProtocolViolation {
                    reason: ReasonCode::PacketTooLarge,
                    what: "packet exceeds the maximum size",
                });
            }
            return Ok(if bytes.len() < end {
                PacketFrame::Partial { total: end }
            } else {
                PacketFrame::Whole { header, body, end }
            });
        }
    }
    Err(ProtocolViolation::malformed("remaining length has more than four bytes"))
}
