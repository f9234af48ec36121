//! Packets from the broker: bytes become [`BrokerPacket`].
//!
//! PUBLISH and the four acknowledgements, which come by the hundred thousand, are read here without copying the payload
//! and without allocating known topics again; everything else is read by rumqttc's codec. A packet that is too large is
//! read past instead of refused: on 3.1.1 a refusal would have the broker send it again with each connection, for ever.

use super::control::{control_v3, control_v5};
use super::topics::TopicCache;
use crate::session::inbound::packet::{
    BrokerPacket, BrokerPublish, FixedHeader, MalformedPacket, PublishAnswer, UnusableMessage,
    subscription_identifiers, text_length, too_short, variable_length,
};
use crate::session::options::ProtocolVersion;
use bytes::{Buf, Bytes, BytesMut};
use hearthgate_domain::delivery::{QoS, SubscriptionIds};

const PUBLISH: u8 = 3;
/// So much is kept of the payload of a message that nobody can use.
const FIRST_BYTES: usize = 1_024;
/// So much of it is waited for.
const LEAST_FIRST_BYTES: usize = 64;

/// Cuts the byte stream of one connection into packets.
pub(crate) struct PacketParser {
    protocol: ProtocolVersion,
    limit: usize,
    /// Bytes of an oversized packet that are still to be read past.
    skip: usize,
    topics: TopicCache,
}

impl PacketParser {
    pub(crate) fn new(protocol: ProtocolVersion, limit: usize) -> Self {
        PacketParser { protocol, limit, skip: 0, topics: TopicCache::default() }
    }

    /// Takes the next packet off `input`; `None` when more bytes are needed.
    pub(crate) fn next(&mut self, input: &mut BytesMut) -> Result<Option<BrokerPacket>, MalformedPacket> {
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

    fn packet(&mut self, header: &FixedHeader, frame: BytesMut) -> Result<BrokerPacket, MalformedPacket> {
        match header.kind {
            PUBLISH => self.publish(header, frame.freeze()),
            4..=7 => acknowledgement(header, &frame[header.length..]),
            13 => Ok(BrokerPacket::PingResp),
            _ => match self.protocol {
                ProtocolVersion::V3 => control_v3(header, frame),
                ProtocolVersion::V5 => control_v5(header, frame),
            },
        }
    }

    fn publish(&mut self, header: &FixedHeader, mut frame: Bytes) -> Result<BrokerPacket, MalformedPacket> {
        let qos = publish_qos(header)?;
        frame.advance(header.length);
        let topic = take_string(&mut frame)?;
        let packet_id = if qos == QoS::AtMostOnce { 0 } else { take_u16(&mut frame)? };
        if qos != QoS::AtMostOnce && packet_id == 0 {
            return Err(MalformedPacket("a PUBLISH without packet identifier".into()));
        }
        let mut via = SubscriptionIds::Any;
        if self.protocol == ProtocolVersion::V5 {
            let (length, width) = variable_length(&frame)?.ok_or_else(too_short)?;
            if frame.len() < width + length {
                return Err(too_short());
            }
            via = subscription_identifiers(&frame[width..width + length])?;
            frame.advance(width + length);
        }
        let (retain, dup) = (header.flags & 1 != 0, header.flags & 8 != 0);
        let Some(name) = self.topics.get(&topic) else {
            return Ok(BrokerPacket::Unusable(UnusableMessage {
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
        Ok(BrokerPacket::Publish(BrokerPublish { topic: name, payload: frame, qos, retain, dup, packet_id, via }))
    }

    /// Reads topic and packet identifier of a PUBLISH over the limit, and arranges for the rest to be read past.
    fn oversized(
        &mut self,
        input: &mut BytesMut,
        header: &FixedHeader,
    ) -> Result<Option<BrokerPacket>, MalformedPacket> {
        if header.kind != PUBLISH {
            return Err(MalformedPacket(format!("a packet of type {} with {} bytes", header.kind, header.total)));
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
        Ok(Some(BrokerPacket::Unusable(UnusableMessage { topic, qos, packet_id, bytes, reason, first, retain, dup })))
    }

    /// The beginning of a payload, of what follows a PUBLISH's packet identifier and is there already.
    fn first_bytes(&self, body: &[u8]) -> Bytes {
        let payload = match (self.protocol, variable_length(body)) {
            (ProtocolVersion::V3, _) => body,
            (ProtocolVersion::V5, Ok(Some((length, width)))) => body.get(width + length..).unwrap_or_default(),
            (ProtocolVersion::V5, _) => &[],
        };
        Bytes::copy_from_slice(&payload[..payload.len().min(FIRST_BYTES)])
    }
}

fn header(input: &[u8]) -> Result<Option<FixedHeader>, MalformedPacket> {
    let Some(&first) = input.first() else { return Ok(None) };
    let Some((remaining, width)) = variable_length(&input[1..])? else { return Ok(None) };
    Ok(Some(FixedHeader { kind: first >> 4, flags: first & 0x0f, length: 1 + width, total: 1 + width + remaining }))
}

fn publish_qos(header: &FixedHeader) -> Result<QoS, MalformedPacket> {
    QoS::try_from((header.flags >> 1) & 3).map_err(|error| MalformedPacket(error.to_string()))
}

fn take_u16(frame: &mut Bytes) -> Result<u16, MalformedPacket> {
    if frame.len() < 2 { Err(too_short()) } else { Ok(frame.get_u16()) }
}

fn take_string(frame: &mut Bytes) -> Result<Bytes, MalformedPacket> {
    let length = usize::from(take_u16(frame)?);
    if frame.len() < length { Err(too_short()) } else { Ok(frame.split_to(length)) }
}

fn acknowledgement(header: &FixedHeader, body: &[u8]) -> Result<BrokerPacket, MalformedPacket> {
    let [high, low, rest @ ..] = body else { return Err(too_short()) };
    let packet_id = u16::from_be_bytes([*high, *low]);
    let code = rest.first().copied().unwrap_or(0);
    // Words are only looked for where something went wrong.
    let reason = if code >= 0x80 { reason_string(rest.get(1..).unwrap_or_default()) } else { None };
    let answer = PublishAnswer { code, reason };
    Ok(match header.kind {
        4 => BrokerPacket::PubAck { packet_id, answer },
        5 => BrokerPacket::PubRec { packet_id, answer },
        6 => BrokerPacket::PubRel { packet_id },
        _ => BrokerPacket::PubComp { packet_id },
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

    fn publish(topic: &str, payload: &[u8], protocol: ProtocolVersion) -> BytesMut {
        let mut body = BytesMut::new();
        body.extend_from_slice(&u16::try_from(topic.len()).unwrap().to_be_bytes());
        body.extend_from_slice(topic.as_bytes());
        body.extend_from_slice(&7_u16.to_be_bytes());
        if protocol == ProtocolVersion::V5 {
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
        for protocol in [ProtocolVersion::V3, ProtocolVersion::V5] {
            let whole = publish("a/b", &[1; 300], protocol);
            let (mut parser, mut input, mut found) = (PacketParser::new(protocol, 1 << 20), BytesMut::new(), 0);
            for byte in whole.iter().chain(whole.iter()) {
                input.extend_from_slice(&[*byte]);
                if let Some(BrokerPacket::Publish(message)) = parser.next(&mut input).unwrap() {
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
        assert_eq!(subscription_identifiers(&user).unwrap(), SubscriptionIds::Any);
        assert_eq!(subscription_identifiers(&[0x0b, 5]).unwrap(), SubscriptionIds::One(5));
        let both = subscription_identifiers(&all).unwrap();
        assert_eq!(both, SubscriptionIds::Several([5, 128].into()));
        assert!(both.includes(128) && !both.includes(6) && SubscriptionIds::Any.includes(6));
        for cut in 1..all.len() {
            let _ = subscription_identifiers(&all[..cut]); // must not panic
        }
    }

    #[test]
    fn an_oversized_publish_is_read_past_and_the_next_one_is_whole() {
        let mut bytes = publish("big", &[1; 5000], ProtocolVersion::V3);
        bytes.extend_from_slice(&publish("small", b"x", ProtocolVersion::V3));
        let (mut parser, mut input, mut found) =
            (PacketParser::new(ProtocolVersion::V3, 1000), BytesMut::new(), Vec::new());
        for chunk in bytes.chunks(7) {
            input.extend_from_slice(chunk);
            assert!(input.len() < 100, "the oversized packet must not be buffered");
            while let Some(packet) = parser.next(&mut input).unwrap() {
                found.push(match packet {
                    BrokerPacket::Unusable(it) => (it.topic, it.packet_id, it.bytes),
                    BrokerPacket::Publish(it) => (it.topic.to_string(), it.packet_id, it.payload.len()),
                    other => panic!("unexpected {other:?}"),
                });
            }
        }
        assert_eq!(found, [("big".to_owned(), 7, 5010), ("small".to_owned(), 7, 1)]);
    }

    #[test]
    fn a_topic_that_is_not_utf8_can_still_be_acknowledged() {
        let mut bytes = publish("ab", b"x", ProtocolVersion::V3);
        bytes[4] = 0xff;
        match PacketParser::new(ProtocolVersion::V3, 1000).next(&mut bytes).unwrap() {
            Some(BrokerPacket::Unusable(it)) => assert_eq!(it.packet_id, 7),
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
        match PacketParser::new(ProtocolVersion::V5, 1000).next(&mut packet).unwrap() {
            Some(BrokerPacket::PubAck { packet_id: 9, answer }) => {
                assert_eq!(answer, PublishAnswer { code: 0x87, reason: Some("no".into()) });
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
            for protocol in [ProtocolVersion::V3, ProtocolVersion::V5] {
                let (mut parser, mut input) = (PacketParser::new(protocol, 100), BytesMut::from(&bytes[..]));
                while let Ok(Some(_)) = parser.next(&mut input) {}
            }
        }
    }
}
