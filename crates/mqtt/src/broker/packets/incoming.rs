//! The other packets that a client sends once it is connected.

use super::publish::Publish;
use crate::codec::properties;
use crate::codec::properties::id;
use crate::codec::reader::Reader;
use crate::codec::reason::Reason;
use crate::codec::{Version, Violation};
use hearthgate_domain::delivery::QoS;

/// Filters that one SUBSCRIBE or UNSUBSCRIBE may name.
const MAX_FILTERS: usize = 4096;

/// A packet of a connected client.
#[derive(Debug)]
pub(crate) enum Packet<'a> {
    Publish(Publish<'a>),
    /// PUBACK.
    Acknowledged(u16),
    /// PUBREC; `true` when its reason code is a refusal.
    Received(u16, bool),
    /// PUBREL.
    Released(u16),
    /// PUBCOMP.
    Completed(u16),
    Subscribe(Subscribe<'a>),
    Unsubscribe {
        packet_id: u16,
        filters: Vec<&'a str>,
    },
    Ping,
    Disconnect {
        reason: u8,
        session_expiry: Option<u32>,
    },
}

/// SUBSCRIBE.
#[derive(Debug)]
pub(crate) struct Subscribe<'a> {
    pub(crate) packet_id: u16,
    /// Subscription identifier.
    pub(crate) identifier: Option<u32>,
    pub(crate) filters: Vec<(&'a str, Options)>,
}

/// Subscription options (MQTT 5.0, section 3.8.3.1); 3.1.1 knows the QoS only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) qos: QoS,
    pub(crate) no_local: bool,
    pub(crate) retain_as_published: bool,
    /// 0 send retained messages, 1 only for a new subscription, 2 never.
    pub(crate) retain_handling: u8,
}

impl Options {
    pub(crate) fn from_byte(version: Version, byte: u8) -> Result<Options, Violation> {
        let reserved = if version == Version::V5 { 0xc0 } else { 0xfc };
        let retain_handling = (byte >> 4) & 3;
        if byte & reserved != 0 {
            return Err(Violation::malformed("a reserved subscription option is set"));
        }
        if retain_handling == 3 {
            return Err(Violation::protocol("retain handling is 3"));
        }
        let qos = QoS::try_from(byte & 3).map_err(|_| Violation::protocol("QoS is 3"))?;
        Ok(Options { qos, no_local: byte & 4 != 0, retain_as_published: byte & 8 != 0, retain_handling })
    }

    pub(crate) fn to_byte(self) -> u8 {
        self.qos as u8
            | u8::from(self.no_local) << 2
            | u8::from(self.retain_as_published) << 3
            | self.retain_handling << 4
    }
}

impl<'a> Packet<'a> {
    /// Reads the packet with the first byte `header`.
    pub(crate) fn read(version: Version, header: u8, body: &'a [u8]) -> Result<Packet<'a>, Violation> {
        let kind = header >> 4;
        if kind == 3 {
            return Ok(Packet::Publish(Publish::read(version, header, body)?));
        }
        check_flags(version, kind, header & 0x0f)?;
        match kind {
            4 => Ok(Packet::Acknowledged(acknowledgement(version, body)?.0)),
            5 => acknowledgement(version, body).map(|(id, code)| Packet::Received(id, code >= 0x80)),
            6 => Ok(Packet::Released(acknowledgement(version, body)?.0)),
            7 => Ok(Packet::Completed(acknowledgement(version, body)?.0)),
            8 => subscribe(version, body),
            10 => unsubscribe(version, body),
            12 => Reader::new(body).end().map(|()| Packet::Ping),
            14 => disconnect(version, body),
            1 => Err(Violation::protocol("a second CONNECT")),
            15 if version == Version::V5 => Err(Violation::protocol("AUTH without an authentication method")),
            2 | 9 | 11 | 13 => Err(Violation::protocol("only a server sends this packet")),
            _ => Err(Violation::malformed("unknown packet type")),
        }
    }
}

/// Bits 3 to 0 of the first byte are fixed (MQTT 5.0, table 2-2).
fn check_flags(version: Version, kind: u8, flags: u8) -> Result<(), Violation> {
    let expected = match kind {
        6 | 8 | 10 => 2,
        _ => 0,
    };
    // MQTT 3.1 knew DUP on PUBREL, SUBSCRIBE and UNSUBSCRIBE.
    let dup_of_31 = version == Version::V31 && expected == 2 && flags & !8 == 2;
    if flags == expected || dup_of_31 {
        return Ok(());
    }
    Err(Violation::malformed("reserved bits of the fixed header are wrong"))
}

fn acknowledgement(version: Version, body: &[u8]) -> Result<(u16, u8), Violation> {
    let mut from = Reader::new(body);
    let packet_id = from.packet_id()?;
    let mut code = 0;
    if version == Version::V5 && !from.is_empty() {
        code = from.u8()?;
        if !from.is_empty() {
            properties::walk(from.section()?, &[id::REASON_STRING, id::USER_PROPERTY], |_, _, _| Ok(()))?;
        }
    }
    from.end()?;
    Ok((packet_id, code))
}

/// Bounds the time that one packet takes from everybody else.
fn check_count(count: usize) -> Result<(), Violation> {
    if count < MAX_FILTERS {
        return Ok(());
    }
    Err(Violation { reason: Reason::QuotaExceeded, what: "more than 4,096 filters in one packet" })
}

fn subscribe(version: Version, body: &[u8]) -> Result<Packet<'_>, Violation> {
    let mut from = Reader::new(body);
    let packet_id = from.packet_id()?;
    let mut identifier = None;
    if version == Version::V5 {
        properties::walk(from.section()?, &[id::SUBSCRIPTION_ID, id::USER_PROPERTY], |property, value, _| {
            if property == id::SUBSCRIPTION_ID {
                identifier = Some(value.number());
            }
            Ok(())
        })?;
    }
    let mut filters = Vec::new();
    while !from.is_empty() {
        check_count(filters.len())?;
        let filter = from.text()?;
        let options = Options::from_byte(version, from.u8()?)?;
        if options.no_local && filter.starts_with("$share/") {
            return Err(Violation::protocol("no local on a shared subscription"));
        }
        filters.push((filter, options));
    }
    if filters.is_empty() {
        return Err(Violation::protocol("SUBSCRIBE without a filter"));
    }
    Ok(Packet::Subscribe(Subscribe { packet_id, identifier, filters }))
}

fn unsubscribe(version: Version, body: &[u8]) -> Result<Packet<'_>, Violation> {
    let mut from = Reader::new(body);
    let packet_id = from.packet_id()?;
    if version == Version::V5 {
        properties::walk(from.section()?, &[id::USER_PROPERTY], |_, _, _| Ok(()))?;
    }
    let mut filters = Vec::new();
    while !from.is_empty() {
        check_count(filters.len())?;
        filters.push(from.text()?);
    }
    if filters.is_empty() {
        return Err(Violation::protocol("UNSUBSCRIBE without a filter"));
    }
    Ok(Packet::Unsubscribe { packet_id, filters })
}

fn disconnect(version: Version, body: &[u8]) -> Result<Packet<'_>, Violation> {
    let mut from = Reader::new(body);
    let (mut reason, mut session_expiry) = (Reason::Success as u8, None);
    if version == Version::V5 && !from.is_empty() {
        reason = from.u8()?;
        if !from.is_empty() {
            let allowed = [id::SESSION_EXPIRY, id::REASON_STRING, id::USER_PROPERTY];
            properties::walk(from.section()?, &allowed, |property, value, _| {
                if property == id::SESSION_EXPIRY {
                    session_expiry = Some(value.number());
                }
                Ok(())
            })?;
        }
    }
    from.end()?;
    Ok(Packet::Disconnect { reason, session_expiry })
}
