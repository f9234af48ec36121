//! Packets that a server sends, appended to a connection's output.

use crate::broker::state::message::BrokerMessage;
use crate::codec::ProtocolLevel;
use crate::codec::properties::id;
use crate::codec::reason::ReasonCode;
use bytes::{BufMut, BytesMut};
use hearthgate_domain::delivery::QoS;

/// What CONNACK announces in MQTT 5; `None` leaves a property out.
#[derive(Debug, Default)]
pub(crate) struct ConnackProperties<'a> {
    pub(crate) session_expiry: Option<u32>,
    pub(crate) receive_maximum: Option<u16>,
    pub(crate) maximum_packet_size: Option<u32>,
    pub(crate) assigned_client_id: Option<&'a str>,
    pub(crate) topic_alias_maximum: u16,
    pub(crate) server_keep_alive: Option<u16>,
    pub(crate) reason_string: Option<&'a str>,
}

/// CONNACK. Nothing is written where MQTT 3 has no code for the reason.
pub(crate) fn connack(
    out: &mut BytesMut,
    version: ProtocolLevel,
    present: bool,
    reason: ReasonCode,
    with: &ConnackProperties<'_>,
) {
    if version != ProtocolLevel::V5 {
        if let Some(code) = reason.return_code() {
            out.put_slice(&[0x20, 2, u8::from(present), code]);
        }
        return;
    }
    let mut properties = BytesMut::new();
    put_u32(&mut properties, id::SESSION_EXPIRY, with.session_expiry);
    put_u16(&mut properties, id::RECEIVE_MAXIMUM, with.receive_maximum);
    put_u32(&mut properties, id::MAXIMUM_PACKET_SIZE, with.maximum_packet_size);
    put_text(&mut properties, id::ASSIGNED_CLIENT_ID, with.assigned_client_id);
    if with.topic_alias_maximum > 0 {
        put_u16(&mut properties, id::TOPIC_ALIAS_MAXIMUM, Some(with.topic_alias_maximum));
    }
    put_text(&mut properties, id::REASON_STRING, with.reason_string);
    put_u16(&mut properties, id::SERVER_KEEP_ALIVE, with.server_keep_alive);
    out.put_u8(0x20);
    variable(out, 2 + variable_length(properties.len()) + properties.len());
    out.put_slice(&[u8::from(present), reason as u8]);
    variable(out, properties.len());
    out.put_slice(&properties);
}

/// PUBACK (4), PUBREC (5), PUBREL (6) or PUBCOMP (7).
pub(crate) fn acknowledgement(
    out: &mut BytesMut,
    version: ProtocolLevel,
    kind: u8,
    packet_id: u16,
    reason: ReasonCode,
) {
    let header = kind << 4 | if kind == 6 { 2 } else { 0 };
    let [high, low] = packet_id.to_be_bytes();
    if version == ProtocolLevel::V5 && reason != ReasonCode::Success {
        out.put_slice(&[header, 3, high, low, reason as u8]);
    } else {
        out.put_slice(&[header, 2, high, low]);
    }
}

/// SUBACK; codes above 2 become 0x80 in MQTT 3.
pub(crate) fn suback(out: &mut BytesMut, version: ProtocolLevel, packet_id: u16, codes: &[u8]) {
    out.put_u8(0x90);
    let properties = usize::from(version == ProtocolLevel::V5);
    variable(out, 2 + properties + codes.len());
    out.put_u16(packet_id);
    out.put_bytes(0, properties);
    for &code in codes {
        out.put_u8(if version == ProtocolLevel::V5 || code <= 2 { code } else { 0x80 });
    }
}

/// UNSUBACK.
pub(crate) fn unsuback(out: &mut BytesMut, version: ProtocolLevel, packet_id: u16, codes: &[u8]) {
    out.put_u8(0xb0);
    if version == ProtocolLevel::V5 {
        variable(out, 3 + codes.len());
        out.put_u16(packet_id);
        out.put_u8(0);
        out.put_slice(codes);
    } else {
        out.put_u8(2);
        out.put_u16(packet_id);
    }
}

/// PINGRESP.
pub(crate) fn pingresp(out: &mut BytesMut) {
    out.put_slice(&[0xd0, 0]);
}

/// DISCONNECT, which a server can send in MQTT 5 only.
pub(crate) fn disconnect(out: &mut BytesMut, version: ProtocolLevel, reason: ReasonCode) {
    if version == ProtocolLevel::V5 {
        out.put_slice(&[0xe0, 1, reason as u8]);
    }
}

/// How a message goes to one subscriber.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DeliveryHeader<'a> {
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) dup: bool,
    /// 0 at QoS 0.
    pub(crate) packet_id: u16,
    pub(crate) identifiers: &'a [u32],
    /// Seconds that are left.
    pub(crate) expiry: Option<u32>,
    /// Topic alias, and whether the client knows it already.
    pub(crate) alias: Option<(u16, bool)>,
}

/// PUBLISH without its payload, which is to follow. Returns `false`, having written nothing, when the whole would exceed
/// `limit` bytes.
pub(crate) fn publish_header(
    out: &mut BytesMut,
    version: ProtocolLevel,
    message: &BrokerMessage,
    how: &DeliveryHeader<'_>,
    limit: u32,
) -> bool {
    let topic = if matches!(how.alias, Some((_, true))) { "" } else { &*message.topic };
    let mut remaining = 2 + topic.len() + message.payload.len() + if how.packet_id == 0 { 0 } else { 2 };
    let mut properties = 0;
    if version == ProtocolLevel::V5 {
        properties = message.properties.len()
            + how.expiry.map_or(0, |_| 5)
            + how.alias.map_or(0, |_| 3)
            + how.identifiers.iter().map(|&identifier| 1 + variable_length(identifier as usize)).sum::<usize>();
        remaining += variable_length(properties) + properties;
    }
    let total = 1 + variable_length(remaining) + remaining;
    if total > limit as usize || remaining > 268_435_455 {
        return false;
    }
    out.reserve(total - message.payload.len());
    out.put_u8(0x30 | u8::from(how.dup) << 3 | (how.qos as u8) << 1 | u8::from(how.retain));
    variable(out, remaining);
    // Topics are read from two-byte lengths, so they fit into one.
    out.put_u16(topic.len() as u16);
    out.put_slice(topic.as_bytes());
    if how.packet_id != 0 {
        out.put_u16(how.packet_id);
    }
    if version == ProtocolLevel::V5 {
        variable(out, properties);
        put_u32(out, id::MESSAGE_EXPIRY, how.expiry);
        put_u16(out, id::TOPIC_ALIAS, how.alias.map(|(alias, _)| alias));
        for &identifier in how.identifiers {
            out.put_u8(id::SUBSCRIPTION_ID);
            variable(out, identifier as usize);
        }
        out.put_slice(&message.properties);
    }
    true
}

fn put_u16(out: &mut BytesMut, property: u8, value: Option<u16>) {
    if let Some(value) = value {
        out.put_u8(property);
        out.put_u16(value);
    }
}

fn put_u32(out: &mut BytesMut, property: u8, value: Option<u32>) {
    if let Some(value) = value {
        out.put_u8(property);
        out.put_u32(value);
    }
}

fn put_text(out: &mut BytesMut, property: u8, value: Option<&str>) {
    if let Some(value) = value {
        out.put_u8(property);
        out.put_u16(value.len() as u16);
        out.put_slice(value.as_bytes());
    }
}

fn variable_length(value: usize) -> usize {
    match value {
        0..=127 => 1,
        128..=16_383 => 2,
        16_384..=2_097_151 => 3,
        _ => 4,
    }
}

fn variable(out: &mut BytesMut, mut value: usize) {
    loop {
        let byte = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            out.put_u8(byte);
            return;
        }
        out.put_u8(byte | 0x80);
    }
}
