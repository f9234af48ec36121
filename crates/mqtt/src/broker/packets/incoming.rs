//! The other packets that a client sends once it is connected.

use super::publish::ClientPublish;
use crate::codec::properties;
use crate::codec::properties::id;
use crate::codec::reader::BodyReader;
use crate::codec::reason::ReasonCode;
use crate::codec::{ProtocolLevel, ProtocolViolation};
use hearthgate_domain::delivery::QoS;

/// Filters that one SUBSCRIBE or UNSUBSCRIBE may name.
const MAX_FILTERS: usize = 4096;

/// A packet of a connected client.
#[derive(Debug)]
pub(crate) enum ClientPacket<'a> {
    Publish(ClientPublish<'a>),
    /// PUBACK.
    Acknowledged(u16),
    /// PUBREC; `true` when its reason code is a refusal.
    Received(u16, bool),
    /// PUBREL.
    Released(u16),
    /// PUBCOMP.
    Completed(u16),
    Subscribe(SubscribeRequest<'a>),
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
pub(crate) struct SubscribeRequest<'a> {
    pub(crate) packet_id: u16,
    /// Subscription identifier.
    pub(crate) identifier: Option<u32>,
    pub(crate) filters: Vec<(&'a str, SubscriptionOptions)>,
}

/// Subscription options (MQTT 5.0, section 3.8.3.1); 3.1.1 knows the QoS only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SubscriptionOptions {
    pub(crate) qos: QoS,
    pub(crate) no_local: bool,
    pub(crate) retain_as_published: bool,
    /// 0 send retained messages, 1 only for a new subscription, 2 never.
    pub(crate) retain_handling: u8,
}

impl SubscriptionOptions {
    pub(crate) fn from_byte(version: ProtocolLevel, byte: u8) -> Result<SubscriptionOptions, ProtocolViolation> {
        let reserved = if version == ProtocolLevel::V5 { 0xc0 } else { 0xfc };
        let retain_handling = (byte >> 4) & 3;
        if byte & reserved != 0 {
            return Err(ProtocolViolation::malformed("a reserved subscription option is set"));
        }
        if retain_handling == 3 {
            return Err(ProtocolViolation::protocol("retain handling is 3"));
        }
        let qos = QoS::try_from(byte & 3).map_err(|_| ProtocolViolation::protocol("QoS is 3"))?;
        Ok(SubscriptionOptions { qos, no_local: byte & 4 != 0, retain_as_published: byte & 8 != 0, retain_handling })
    }

    pub(crate) fn to_byte(self) -> u8 {
        self.qos as u8
            | u8::from(self.no_local) << 2
            | u8::from(self.retain_as_published) << 3
            | self.retain_handling << 4
    }
}

impl<'a> ClientPacket<'a> {
    /// Reads the packet with the first byte `header`.
    pub(crate) fn read(
        version: ProtocolLevel,
        header: u8,
        body: &'a [u8],
    ) -> Result<ClientPacket<'a>, ProtocolViolation> {
        let kind = header >> 4;
        if kind == 3 {
            return Ok(ClientPacket::Publish(ClientPublish::read(version, header, body)?));
        }
        check_flags(version, kind, header & 0x0f)?;
        match kind {
            4 => Ok(ClientPacket::Acknowledged(acknowledgement(version, body)?.0)),
            5 => acknowledgement(version, body).map(|(id, code)| ClientPacket::Received(id, code >= 0x80)),
            6 => Ok(ClientPacket::Released(acknowledgement(version, body)?.0)),
            7 => Ok(ClientPacket::Completed(acknowledgement(version, body)?.0)),
            8 => subscribe(version, body),
            10 => unsubscribe(version, body),
            12 => BodyReader::new(body).end().map(|()| ClientPacket::Ping),
            14 => disconnect(version, body),
            1 => Err(ProtocolViolation::protocol("a second CONNECT")),
            15 if version == ProtocolLevel::V5 => {
                Err(ProtocolViolation::protocol("AUTH without an authentication method"))
            }
            2 | 9 | 11 | 13 => Err(ProtocolViolation::protocol("only a server sends this packet")),
            _ => Err(ProtocolViolation::malformed("unknown packet type")),
        }
    }
}

/// Bits 3 to 0 of the first byte are fixed (MQTT 5.0, table 2-2).
fn check_flags(version: ProtocolLevel, kind: u8, flags: u8) -> Result<(), ProtocolViolation> {
    let expected = match kind {
        6 | 8 | 10 => 2,
        _ => 0,
    };
    // MQTT 3.1 knew DUP on PUBREL, SUBSCRIBE and UNSUBSCRIBE.
    let dup_of_31 = version == ProtocolLevel::V31 && expected == 2 && flags & !8 == 2;
    if flags == expected || dup_of_31 {
        return Ok(());
    }
    Err(ProtocolViolation::malformed("reserved bits of the fixed header are wrong"))
}

fn acknowledgement(version: ProtocolLevel, body: &[u8]) -> Result<(u16, u8), ProtocolViolation> {
    let mut from = BodyReader::new(body);
    let packet_id = from.packet_id()?;
    let mut code = 0;
    if version == ProtocolLevel::V5 && !from.is_empty() {
        code = from.u8()?;
        if !from.is_empty() {
            properties::walk(from.section()?, &[id::REASON_STRING, id::USER_PROPERTY], |_, _, _| Ok(()))?;
        }
    }
    from.end()?;
    Ok((packet_id, code))
}

/// Bounds the time that one packet takes from everybody else.
fn check_count(count: usize) -> Result<(), ProtocolViolation> {
    if count < MAX_FILTERS {
        return Ok(());
    }
    Err(ProtocolViolation { reason: ReasonCode::QuotaExceeded, what: "more than 4,096 filters in one packet" })
}

fn subscribe(version: ProtocolLevel, body: &[u8]) -> Result<ClientPacket<'_>, ProtocolViolation> {
    let mut from = BodyReader::new(body);
    let packet_id = from.packet_id()?;
    let mut identifier = None;
    if version == ProtocolLevel::V5 {
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
        let options = SubscriptionOptions::from_byte(version, from.u8()?)?;
        if options.no_local && filter.starts_with("$share/") {
            return Err(ProtocolViolation::protocol("no local on a shared subscription"));
        }
        filters.push((filter, options));
    }
    if filters.is_empty() {
        return Err(ProtocolViolation::protocol("SUBSCRIBE without a filter"));
    }
    Ok(ClientPacket::Subscribe(SubscribeRequest { packet_id, identifier, filters }))
}

fn unsubscribe(version: ProtocolLevel, body: &[u8]) -> Result<ClientPacket<'_>, ProtocolViolation> {
    let mut from = BodyReader::new(body);
    let packet_id = from.packet_id()?;
    if version == ProtocolLevel::V5 {
        properties::walk(from.section()?, &[id::USER_PROPERTY], |_, _, _| Ok(()))?;
    }
    let mut filters = Vec::new();
    while !from.is_empty() {
        check_count(filters.len())?;
        filters.push(from.text()?);
    }
    if filters.is_empty() {
        return Err(ProtocolViolation::protocol("UNSUBSCRIBE without a filter"));
    }
    Ok(ClientPacket::Unsubscribe { packet_id, filters })
}

fn disconnect(version: ProtocolLevel, body: &[u8]) -> Result<ClientPacket<'_>, ProtocolViolation> {
    let mut from = BodyReader::new(body);
    let (mut reason, mut session_expiry) = (ReasonCode::Success as u8, None);
    if version == ProtocolLevel::V5 && !from.is_empty() {
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
    Ok(ClientPacket::Disconnect { reason, session_expiry })
}
