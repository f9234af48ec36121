//! Packets from the broker: bytes become [`Incoming`].
//!
//! PUBLISH and the four acknowledgements, which come by the hundred thousand, are read here without copying the payload
//! and without allocating known topics again; everything else is read by rumqttc's codec. A packet that is too large is
//! read past instead of refused: on 3.1.1 a refusal would have the broker send it again with each connection, for ever.

use super::control::{control_v3, control_v5};
use super::topics::TopicCache;
use crate::session::options::Protocol;
use bytes::{Buf, Bytes, BytesMut};
use hearthgate_domain::delivery::{QoS, Via};
use std::sync::Arc;

/// What a broker can send.
#[derive(Debug)]
pub(crate) enum Incoming {
    ConnAck(Accepted),
    /// CONNACK with a code other than success.
    Refused {
        code: u8,
        reason: String,
    },
    Publish(Publish),
    /// A PUBLISH that nobody can use, but that must be acknowledged.
    Unusable(Unusable),
    PubAck {
        packet_id: u16,
        answer: Answer,
    },
    PubRec {
        packet_id: u16,
        answer: Answer,
    },
    PubRel {
        packet_id: u16,
    },
    PubComp {
        packet_id: u16,
    },
    SubAck {
        packet_id: u16,
        results: Vec<Result<QoS, String>>,
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
pub(crate) struct Answer {
    /// Reason code; 0 on 3.1.1.
    pub(crate) code: u8,
    /// The broker's own words.
    pub(crate) reason: Option<String>,
}

impl Answer {
    pub(crate) fn is_refusal(&self) -> bool {
        self.code >= 0x80
    }

    pub(crate) fn in_words(self) -> String {
        super::control::with_reason_string(self.code, self.reason)
    }
}

/// What CONNACK granted; limits that a 3.1.1 broker can't state are the protocol's own.
#[derive(Debug, Clone)]
pub(crate) struct Accepted {
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
pub(crate) struct Publish {
    pub(crate) topic: Arc<str>,
    pub(crate) payload: Bytes,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) dup: bool,
    /// 0 at QoS 0.
    pub(crate) packet_id: u16,
    pub(crate) via: Via,
}

#[derive(Debug)]
pub(crate) struct Unusable {
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

/// Why the byte stream can't be read any further.
#[derive(Debug, thiserror::Error)]
#[error("the broker sent what is not MQTT: {0}")]
pub(crate) struct Malformed(pub(crate) String);

const PUBLISH: u8 = 3;
/// So much is kept of the payload of a message that nobody can use.
const FIRST_BYTES: usize = 1_024;
/// So much of it is waited for.
const LEAST_FIRST_BYTES: usize = 64;

/// Cuts the byte stream of one connection into packets.
pub(crate) struct Parser {
    protocol: Protocol,
    limit: usize,
    /// Bytes of an oversized packet that are still to be read past.
    skip: usize,
    topics: TopicCache,
}

/// A fixed header (MQTT 3.1.1, section 2.2).
pub(crate) struct Header {
    pub(crate) kind: u8,
    flags: u8,
    /// Its own length.
    pub(crate) length: usize,
    /// Length of the whole packet.
    total: usize,
}

impl Parser {
    pub(crate) fn new(protocol: Protocol, limit: usize) -> Self {
        Parser { protocol, limit, skip: 0, topics: TopicCache::default() }
    }

    /// Takes the next packet off `input`; `None` when more bytes are needed.
    pub(crate) fn next(&mut self, input: &mut BytesMut) -> Result<Option<Incoming>, Malformed> {
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
        let mut via = Via::Any;
        if self.protocol == Protocol::V5 {
            let (length, width) = variable_length(&frame)?.ok_or_else(too_short)?;
            if frame.len() < width + length {
                return Err(too_short());
            }
            via = subscription_identifiers(&frame[width..width + length])?;
            frame.advance(width + length);
        }
        let (retain, dup) = (header.flags & 1 != 0, header.flags & 8 != 0);
        let Some(name) = self.topics.get(&topic) else {
            return Ok(Incoming::Unusable(Unusable {
                topic: String::from_utf8_lossy(&topic).into_owned(),
                qos,
                packet_id,
                bytes: header.total,
                reason: "its topic is not valid".into(),
                first: Bytes::copy_from_slice(&frame[..frame.len().min(FIRST_BYTES)]),
                retain,
                dup,
            }));
        };
        Ok(Incoming::Publish(Publish { topic: name, payload: frame, qos, retain, dup, packet_id, via }))
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
        let needed = header.total.min(end + LEAST_FIRST_BYTES);
        if input.len() < needed {
            input.reserve(needed - input.len());
            return Ok(None);
        }
        let topic = String::from_utf8_lossy(&input[start + 2..topic_end]).into_owned();
        let packet_id = if end == topic_end { 0 } else { u16::from_be_bytes([input[topic_end], input[topic_end + 1]]) };
        let here = header.total.min(input.len());
        let first = self.first_bytes(&input[end..here]);
        input.advance(here);
        self.skip = header.total - here;
        let reason = format!("larger than max_incoming_packet, {} bytes", self.limit);
        let (retain, dup) = (header.flags & 1 != 0, header.flags & 8 != 0);
        let bytes = header.total;
        Ok(Some(Incoming::Unusable(Unusable { topic, qos, packet_id, bytes, reason, first, retain, dup })))
    }

    /// The beginning of a payload, of what follows a PUBLISH's packet identifier and is there already.
    fn first_bytes(&self, body: &[u8]) -> Bytes {
        let payload = match (self.protocol, variable_length(body)) {
            (Protocol::V3, _) => body,
            (Protocol::V5, Ok(Some((length, width)))) => body.get(width + length..).unwrap_or_default(),
            (Protocol::V5, _) => &[],
        };
        Bytes::copy_from_slice(&payload[..payload.len().min(FIRST_BYTES)])
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

/// The subscription identifiers among a PUBLISH's properties (MQTT 5.0, section 3.3.2.3).
fn subscription_identifiers(mut properties: &[u8]) -> Result<Via, Malformed> {
    let mut via = Via::Any;
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
            other => return Err(Malformed(format!("a PUBLISH with the property 0x{other:02x}"))),
        };
        properties = rest.get(value..).ok_or_else(too_short)?;
    }
    Ok(via)
}

fn and(via: Via, identifier: u32) -> Via {
    match via {
        Via::Any => Via::One(identifier),
        Via::One(one) => Via::Several([one, identifier].into()),
        Via::Several(several) => Via::Several(several.iter().copied().chain([identifier]).collect()),
    }
}

/// Bytes that a text or binary value takes, its length included.
fn text_length(value: &[u8]) -> Result<usize, Malformed> {
    let [high, low, ..] = value else { return Err(too_short()) };
    Ok(2 + usize::from(u16::from_be_bytes([*high, *low])))
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
    // Words are only looked for where something went wrong.
    let reason = if code >= 0x80 { reason_string(rest.get(1..).unwrap_or_default()) } else { None };
    let answer = Answer { code, reason };
    Ok(match header.kind {
        4 => Incoming::PubAck { packet_id, answer },
        5 => Incoming::PubRec { packet_id, answer },
        6 => Incoming::PubRel { packet_id },
        _ => Incoming::PubComp { packet_id },
    })
}

/// The reason string among an acknowledgement's properties (MQTT 5.0, section 3.4.2.2.2).
fn reason_string(body: &[u8]) -> Option<String> {
    let (length, width) = variable_length(body).ok()??;
    let mut properties = body.get(width..width + length)?;
    while let Some((&property, rest)) = properties.split_first() {
        let first = text_length(rest).ok()?;
        let end = match property {
            0x1f => return rest.get(2..first).map(|text| String::from_utf8_lossy(text).into_owned()),
            0x26 => first + text_length(rest.get(first..)?).ok()?,
            _ => return None,
        };
        properties = rest.get(end..)?;
    }
    None
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
    fn subscription_identifiers_are_found_among_other_properties() {
        let user = [&[0x26, 0, 1][..], b"n", &[0, 2], b"vv"].concat();
        let all = [&user[..], &[0x0b, 5, 0x01, 1, 0x0b, 0x80, 1, 0x23, 0, 9]].concat();
        assert_eq!(subscription_identifiers(&user).unwrap(), Via::Any);
        assert_eq!(subscription_identifiers(&[0x0b, 5]).unwrap(), Via::One(5));
        let both = subscription_identifiers(&all).unwrap();
        assert_eq!(both, Via::Several([5, 128].into()));
        assert!(both.includes(128) && !both.includes(6) && Via::Any.includes(6));
        for cut in 1..all.len() {
            let _ = subscription_identifiers(&all[..cut]); // must not panic
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

    #[test]
    fn the_brokers_words_are_found_in_a_refusal() {
        let user = [&[0x26, 0, 1][..], b"n", &[0, 1], b"v"].concat();
        let words = [&[0x1f, 0, 2][..], b"no"].concat();
        let section = [user, words].concat();
        let body = [&[0, 9, 0x87, section.len() as u8][..], &section].concat();
        let mut packet = BytesMut::from(&[&[0x40, body.len() as u8][..], &body].concat()[..]);
        match Parser::new(Protocol::V5, 1000).next(&mut packet).unwrap() {
            Some(Incoming::PubAck { packet_id: 9, answer }) => {
                assert_eq!(answer, Answer { code: 0x87, reason: Some("no".into()) });
            }
            other => panic!("unexpected {other:?}"),
        }
        for cut in 0..section.len() {
            let _ = reason_string(&[&[section.len() as u8], &section[..cut]].concat()); // must not panic
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
