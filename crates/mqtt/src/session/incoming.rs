//! Packets from the broker: bytes become [`Incoming`].
//!
//! PUBLISH and the four acknowledgements, which come by the hundred thousand, are read here without copying the payload
//! and without allocating known topics again; everything else is read by rumqttc's codec. A packet that is too large is
//! read past instead of refused: on 3.1.1 a refusal would have the broker send it again with each connection, for ever.

use super::options::Protocol;
use super::reason;
use bytes::{Buf, Bytes, BytesMut};
use hearthgate_domain::delivery::QoS;
use rumqttc::mqttbytes::v4;
use rumqttc::v5::mqttbytes::v5;
use std::sync::Arc;

/// What a broker can send.
#[derive(Debug)]
pub(super) enum Incoming {
    ConnAck(Accepted),
    /// CONNACK with a code other than success.
    Refused { code: u8, reason: String },
    Publish(Publish),
    /// A PUBLISH that we can't hand over, but must acknowledge.
    Unusable(Unusable),
    PubAck { packet_id: u16, code: u8 },
    PubRec { packet_id: u16, code: u8 },
    PubRel { packet_id: u16 },
    PubComp { packet_id: u16 },
    SubAck { packet_id: u16, results: Vec<Result<QoS, String>> },
    UnsubAck { packet_id: u16 },
    PingResp,
    /// MQTT 5: the broker says why it ends the connection.
    Disconnect { code: u8, reason: String },
}

/// What CONNACK granted; limits that a 3.1.1 broker can't state are the protocol's own.
#[derive(Debug, Clone)]
pub(super) struct Accepted {
    pub(super) session_present: bool,
    pub(super) receive_maximum: u16,
    pub(super) max_packet: usize,
    pub(super) max_qos: QoS,
    pub(super) retain_available: bool,
    pub(super) keep_alive_seconds: Option<u16>,
}

#[derive(Debug)]
pub(super) struct Publish {
    pub(super) topic: Arc<str>,
    pub(super) payload: Bytes,
    pub(super) qos: QoS,
    pub(super) retain: bool,
    pub(super) dup: bool,
    /// 0 at QoS 0.
    pub(super) packet_id: u16,
}

#[derive(Debug)]
pub(super) struct Unusable {
    pub(super) topic: String,
    pub(super) qos: QoS,
    pub(super) packet_id: u16,
    pub(super) bytes: usize,
    pub(super) reason: String,
}

/// Why the byte stream can't be read any further.
#[derive(Debug, thiserror::Error)]
#[error("the broker sent what is not MQTT: {0}")]
pub(super) struct Malformed(String);

const PROTOCOL_MAX_PACKET: usize = 268_435_460;
const PUBLISH: u8 = 3;

/// Cuts the byte stream of one connection into packets.
pub(super) struct Parser {
    protocol: Protocol,
    limit: usize,
    /// Bytes of an oversized packet that are still to be read past.
    skip: usize,
    topics: TopicCache,
}

struct Header {
    kind: u8,
    flags: u8,
    length: usize,
    total: usize,
}

impl Parser {
    pub(super) fn new(protocol: Protocol, limit: usize) -> Self {
        Parser { protocol, limit, skip: 0, topics: TopicCache::default() }
    }

    /// Takes the next packet off `input`; `None` when more bytes are needed.
    pub(super) fn next(&mut self, input: &mut BytesMut) -> Result<Option<Incoming>, Malformed> {
        if self.skip > 0 {
            let now = self.skip.min(input.len());
            input.advance(now);
            self.skip -= now;
        }
        let Some(header) = header(input)? else { return Ok(None) };
        if header.total > self.limit {
            return self.oversized(input, &header);
        }
        if input.len() < header.total {
            input.reserve(header.total - input.len());
            return Ok(None);
        }
        let frame = input.split_to(header.total);
        self.packet(&header, frame).map(Some)
    }

    fn packet(&mut self, header: &Header, frame: BytesMut) -> Result<Incoming, Malformed> {
        match header.kind {
            PUBLISH => self.publish(header, frame.freeze()),
            4..=7 => acknowledgement(header, &frame[header.length..]),
            13 => Ok(Incoming::PingResp),
            _ => match self.protocol {
                Protocol::V3 => control_v3(header, frame),
                Protocol::V5 => control_v5(header, frame),
            },
        }
    }

    fn publish(&mut self, header: &Header, mut frame: Bytes) -> Result<Incoming, Malformed> {
        let qos = publish_qos(header)?;
        frame.advance(header.length);
        let topic = take_string(&mut frame)?;
        let packet_id = if qos == QoS::AtMostOnce { 0 } else { take_u16(&mut frame)? };
        if qos != QoS::AtMostOnce && packet_id == 0 {
            return Err(Malformed("a PUBLISH without packet identifier".into()));
        }
        if self.protocol == Protocol::V5 {
            let (length, width) = variable_length(&frame)?.ok_or_else(too_short)?;
            if frame.len() < width + length {
                return Err(too_short());
            }
            frame.advance(width + length);
        }
        let Some(name) = self.topics.get(&topic) else {
            return Ok(Incoming::Unusable(Unusable {
                topic: String::from_utf8_lossy(&topic).into_owned(),
                qos,
                packet_id,
                bytes: header.total,
                reason: "its topic is not valid".into(),
            }));
        };
        let (retain, dup) = (header.flags & 1 != 0, header.flags & 8 != 0);
        Ok(Incoming::Publish(Publish { topic: name, payload: frame, qos, retain, dup, packet_id }))
    }

    /// Reads topic and packet identifier of a PUBLISH over the limit, and arranges for the rest to be read past.
    fn oversized(&mut self, input: &mut BytesMut, header: &Header) -> Result<Option<Incoming>, Malformed> {
        if header.kind != PUBLISH {
            return Err(Malformed(format!("a packet of type {} with {} bytes", header.kind, header.total)));
        }
        let qos = publish_qos(header)?;
        let start = header.length;
        if input.len() < start + 2 {
            return Ok(None);
        }
        let topic_end = start + 2 + usize::from(u16::from_be_bytes([input[start], input[start + 1]]));
        let end = if qos == QoS::AtMostOnce { topic_end } else { topic_end + 2 };
        if end > header.total {
            return Err(too_short());
        }
        if input.len() < end {
            input.reserve(end - input.len());
            return Ok(None);
        }
        let topic = String::from_utf8_lossy(&input[start + 2..topic_end]).into_owned();
        let packet_id =
            if end == topic_end { 0 } else { u16::from_be_bytes([input[topic_end], input[topic_end + 1]]) };
        let here = header.total.min(input.len());
        input.advance(here);
        self.skip = header.total - here;
        let reason = format!("larger than max_incoming_packet, {} bytes", self.limit);
        Ok(Some(Incoming::Unusable(Unusable { topic, qos, packet_id, bytes: header.total, reason })))
    }
}

fn too_short() -> Malformed {
    Malformed("a packet that ends too early".into())
}

fn header(input: &[u8]) -> Result<Option<Header>, Malformed> {
    let Some(&first) = input.first() else { return Ok(None) };
    let Some((remaining, width)) = variable_length(&input[1..])? else { return Ok(None) };
    Ok(Some(Header { kind: first >> 4, flags: first & 0x0f, length: 1 + width, total: 1 + width + remaining }))
}

/// A variable byte integer and its width (MQTT 5.0, section 1.5.5); `None` when it is not complete.
fn variable_length(input: &[u8]) -> Result<Option<(usize, usize)>, Malformed> {
    let mut value = 0;
    for (at, byte) in input.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Ok(Some((value, at + 1)));
        }
    }
    if input.len() >= 4 { Err(Malformed("a length of more than four bytes".into())) } else { Ok(None) }
}

fn publish_qos(header: &Header) -> Result<QoS, Malformed> {
    QoS::try_from((header.flags >> 1) & 3).map_err(Malformed)
}

fn take_u16(frame: &mut Bytes) -> Result<u16, Malformed> {
    if frame.len() < 2 { Err(too_short()) } else { Ok(frame.get_u16()) }
}

fn take_string(frame: &mut Bytes) -> Result<Bytes, Malformed> {
    let length = usize::from(take_u16(frame)?);
    if frame.len() < length { Err(too_short()) } else { Ok(frame.split_to(length)) }
}

fn acknowledgement(header: &Header, body: &[u8]) -> Result<Incoming, Malformed> {
    let [high, low, rest @ ..] = body else { return Err(too_short()) };
    let packet_id = u16::from_be_bytes([*high, *low]);
    let code = rest.first().copied().unwrap_or(0);
    Ok(match header.kind {
        4 => Incoming::PubAck { packet_id, code },
        5 => Incoming::PubRec { packet_id, code },
        6 => Incoming::PubRel { packet_id },
        _ => Incoming::PubComp { packet_id },
    })
}

fn control_v3(header: &Header, mut frame: BytesMut) -> Result<Incoming, Malformed> {
    if let (2, Some(&code @ 1..)) = (header.kind, frame.get(header.length + 1)) {
        return Ok(Incoming::Refused { code, reason: reason::connack_v3(code).into() });
    }
    match v4::Packet::read(&mut frame, PROTOCOL_MAX_PACKET).map_err(|error| Malformed(error.to_string()))? {
        v4::Packet::ConnAck(ack) => Ok(Incoming::ConnAck(Accepted {
            session_present: ack.session_present,
            receive_maximum: u16::MAX,
            max_packet: PROTOCOL_MAX_PACKET,
            max_qos: QoS::ExactlyOnce,
            retain_available: true,
            keep_alive_seconds: None,
        })),
        v4::Packet::SubAck(ack) => Ok(Incoming::SubAck {
            packet_id: ack.pkid,
            results: ack.return_codes.into_iter().map(granted_v3).collect(),
        }),
        v4::Packet::UnsubAck(ack) => Ok(Incoming::UnsubAck { packet_id: ack.pkid }),
        other => Err(Malformed(format!("an unexpected packet, {other:?}"))),
    }
}

fn granted_v3(code: v4::SubscribeReasonCode) -> Result<QoS, String> {
    match code {
        v4::SubscribeReasonCode::Success(qos) => QoS::try_from(qos as u8),
        v4::SubscribeReasonCode::Failure => Err("refused by the broker (0x80)".into()),
    }
}

fn control_v5(header: &Header, mut frame: BytesMut) -> Result<Incoming, Malformed> {
    let first = frame.get(header.length).copied();
    if header.kind == 14 {
        return Ok(disconnect_v5(first.unwrap_or(0), &mut frame));
    }
    if let (2, Some(&code @ 1..)) = (header.kind, frame.get(header.length + 1)) {
        return Ok(refused_v5(code, &mut frame));
    }
    match v5::Packet::read(&mut frame, None).map_err(|error| Malformed(error.to_string()))? {
        v5::Packet::ConnAck(ack) => Ok(Incoming::ConnAck(accepted_v5(&ack))),
        v5::Packet::SubAck(ack) => Ok(Incoming::SubAck {
            packet_id: ack.pkid,
            results: ack.return_codes.into_iter().map(granted_v5).collect(),
        }),
        v5::Packet::UnsubAck(ack) => Ok(Incoming::UnsubAck { packet_id: ack.pkid }),
        other => Err(Malformed(format!("an unexpected packet, {other:?}"))),
    }
}

fn accepted_v5(ack: &v5::ConnAck) -> Accepted {
    let given = ack.properties.as_ref();
    Accepted {
        session_present: ack.session_present,
        receive_maximum: given.and_then(|p| p.receive_max).unwrap_or(u16::MAX).max(1),
        max_packet: given.and_then(|p| p.max_packet_size).map_or(PROTOCOL_MAX_PACKET, |size| size as usize),
        max_qos: given.and_then(|p| p.max_qos).and_then(|qos| QoS::try_from(qos).ok()).unwrap_or(QoS::ExactlyOnce),
        retain_available: given.and_then(|p| p.retain_available) != Some(0),
        keep_alive_seconds: given.and_then(|p| p.server_keep_alive),
    }
}

fn refused_v5(code: u8, frame: &mut BytesMut) -> Incoming {
    let said = match v5::Packet::read(frame, None) {
        Ok(v5::Packet::ConnAck(ack)) => ack.properties.and_then(|p| p.reason_string),
        _ => None,
    };
    Incoming::Refused { code, reason: with_reason_string(code, said) }
}

fn disconnect_v5(code: u8, frame: &mut BytesMut) -> Incoming {
    let said = match v5::Packet::read(frame, None) {
        Ok(v5::Packet::Disconnect(packet)) => packet.properties.and_then(|p| p.reason_string),
        _ => None,
    };
    Incoming::Disconnect { code, reason: with_reason_string(code, said) }
}

fn with_reason_string(code: u8, said: Option<String>) -> String {
    let words = reason::reason_v5(code);
    match said {
        Some(said) => format!("{words} (0x{code:02x}): {said}"),
        None => format!("{words} (0x{code:02x})"),
    }
}

fn granted_v5(code: v5::SubscribeReasonCode) -> Result<QoS, String> {
    use v5::SubscribeReasonCode as Code;
    let code = match code {
        Code::Success(qos) => return QoS::try_from(qos as u8),
        Code::Failure | Code::Unspecified => 0x80,
        Code::ImplementationSpecific => 0x83,
        Code::NotAuthorized => 0x87,
        Code::TopicFilterInvalid => 0x8f,
        Code::PkidInUse => 0x91,
        Code::QuotaExceeded => 0x97,
        Code::SharedSubscriptionsNotSupported => 0x9e,
        Code::SubscriptionIdNotSupported => 0xa1,
        Code::WildcardSubscriptionsNotSupported => 0xa2,
    };
    Err(with_reason_string(code, None))
}

/// Topics come again and again: the last one seen in each slot is shared instead of allocated and checked anew.
#[derive(Default)]
struct TopicCache {
    slots: Vec<Option<Arc<str>>>,
}

const TOPIC_SLOTS: usize = 512;
const LONGEST_CACHED_TOPIC: usize = 256;

impl TopicCache {
    /// The topic as text; `None` when it is no valid topic name (MQTT 3.1.1, section 4.7).
    fn get(&mut self, bytes: &[u8]) -> Option<Arc<str>> {
        if bytes.len() > LONGEST_CACHED_TOPIC {
            return valid_topic(bytes).map(Arc::from);
        }
        if self.slots.is_empty() {
            self.slots.resize(TOPIC_SLOTS, None);
        }
        let slot = &mut self.slots[slot_of(bytes)];
        match slot {
            Some(topic) if topic.as_bytes() == bytes => Some(Arc::clone(topic)),
            _ => {
                let topic: Arc<str> = Arc::from(valid_topic(bytes)?);
                *slot = Some(Arc::clone(&topic));
                Some(topic)
            }
        }
    }
}

fn slot_of(bytes: &[u8]) -> usize {
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    // The low bits of FNV are its good ones; a few high ones folded in cost nothing.
    usize::try_from((hash ^ (hash >> 32)) % TOPIC_SLOTS as u64).unwrap_or(0)
}

fn valid_topic(bytes: &[u8]) -> Option<&str> {
    let topic = std::str::from_utf8(bytes).ok()?;
    (!topic.is_empty() && !topic.contains(['+', '#', '\0'])).then_some(topic)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publish(topic: &str, payload: &[u8], protocol: Protocol) -> BytesMut {
        let mut body = BytesMut::new();
        body.extend_from_slice(&u16::try_from(topic.len()).unwrap().to_be_bytes());
        body.extend_from_slice(topic.as_bytes());
        body.extend_from_slice(&7_u16.to_be_bytes());
        if protocol == Protocol::V5 {
            body.extend_from_slice(&[5, 2, 0, 0, 0, 9]);
        }
        body.extend_from_slice(payload);
        let mut frame = BytesMut::from(&[0x32][..]);
        let mut length = body.len();
        while length >= 128 {
            frame.extend_from_slice(&[u8::try_from(length % 128).unwrap() | 128]);
            length /= 128;
        }
        frame.extend_from_slice(&[u8::try_from(length).unwrap()]);
        frame.extend_from_slice(&body);
        frame
    }

    #[test]
    fn a_publish_is_read_however_the_bytes_are_cut() {
        for protocol in [Protocol::V3, Protocol::V5] {
            let whole = publish("a/b", &[1; 300], protocol);
            let (mut parser, mut input, mut found) = (Parser::new(protocol, 1 << 20), BytesMut::new(), 0);
            for byte in whole.iter().chain(whole.iter()) {
                input.extend_from_slice(&[*byte]);
                if let Some(Incoming::Publish(message)) = parser.next(&mut input).unwrap() {
                    assert_eq!((&*message.topic, message.packet_id, message.payload.len()), ("a/b", 7, 300));
                    found += 1;
                }
            }
            assert_eq!(found, 2);
        }
    }

    #[test]
    fn an_oversized_publish_is_read_past_and_the_next_one_is_whole() {
        let mut bytes = publish("big", &[1; 5000], Protocol::V3);
        bytes.extend_from_slice(&publish("small", b"x", Protocol::V3));
        let (mut parser, mut input, mut found) = (Parser::new(Protocol::V3, 1000), BytesMut::new(), Vec::new());
        for chunk in bytes.chunks(7) {
            input.extend_from_slice(chunk);
            assert!(input.len() < 100, "the oversized packet must not be buffered");
            while let Some(packet) = parser.next(&mut input).unwrap() {
                found.push(match packet {
                    Incoming::Unusable(it) => (it.topic, it.packet_id, it.bytes),
                    Incoming::Publish(it) => (it.topic.to_string(), it.packet_id, it.payload.len()),
                    other => panic!("unexpected {other:?}"),
                });
            }
        }
        assert_eq!(found, [("big".to_owned(), 7, 5010), ("small".to_owned(), 7, 1)]);
    }

    #[test]
    fn a_topic_that_is_not_utf8_can_still_be_acknowledged() {
        let mut bytes = publish("ab", b"x", Protocol::V3);
        bytes[4] = 0xff;
        match Parser::new(Protocol::V3, 1000).next(&mut bytes).unwrap() {
            Some(Incoming::Unusable(it)) => assert_eq!(it.packet_id, 7),
            other => panic!("unexpected {other:?}"),
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            for protocol in [Protocol::V3, Protocol::V5] {
                let (mut parser, mut input) = (Parser::new(protocol, 100), BytesMut::from(&bytes[..]));
                while let Ok(Some(_)) = parser.next(&mut input) {}
            }
        }
    }
}
