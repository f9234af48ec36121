//! What we read and write, held against a codec that others have written; and against noise.

use crate::broker::packets::connect::ConnectRequest;
use crate::broker::packets::incoming::ClientPacket;
use crate::broker::packets::outgoing;
use crate::broker::packets::outgoing::{ConnackProperties, DeliveryHeader};
use crate::broker::state::message::BrokerMessage;
use crate::codec::reason::ReasonCode;
use crate::codec::{PacketFrame, ProtocolLevel, frame};
use bytes::{Bytes, BytesMut};
use hearthgate_domain::delivery::QoS;
use proptest::prelude::*;
use rmqtt_codec::{v3, v5};
use std::num::{NonZeroU16, NonZeroU32};
use tokio_util::codec::{Decoder, Encoder};

fn five(packet: v5::Packet) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    v5::Codec::new(0, 0).encode(packet, &mut bytes).unwrap();
    bytes.to_vec()
}

fn three(packet: v3::Packet) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    v3::Codec::new(0).encode(packet, &mut bytes).unwrap();
    bytes.to_vec()
}

fn whole(bytes: &[u8]) -> (u8, &[u8]) {
    match frame(bytes, usize::MAX) {
        Ok(PacketFrame::Whole { header, body, end }) if end == bytes.len() => (header, &bytes[body..]),
        other => panic!("{other:?}"),
    }
}

fn id(number: u16) -> NonZeroU16 {
    NonZeroU16::new(number).unwrap()
}

#[test]
fn a_connect_of_mqtt_5_is_read_field_by_field() {
    let will = v5::LastWill {
        qos: rmqtt_codec::types::QoS::AtLeastOnce,
        retain: true,
        topic: "will".into(),
        message: Bytes::from_static(b"gone"),
        will_delay_interval_sec: Some(7),
        correlation_data: Some(Bytes::from_static(b"c")),
        message_expiry_interval: NonZeroU32::new(9),
        content_type: Some("text/plain".into()),
        user_properties: vec![("k".into(), "v".into())],
        is_utf8_payload: Some(true),
        response_topic: Some("reply".into()),
    };
    let connect = v5::Connect {
        clean_start: true,
        keep_alive: 33,
        session_expiry_interval_secs: 44,
        receive_max: NonZeroU16::new(55),
        topic_alias_max: 66,
        max_packet_size: NonZeroU32::new(777),
        request_problem_info: false,
        last_will: Some(will),
        client_id: "id".into(),
        username: Some("ann".into()),
        password: Some(Bytes::from_static(b"secret")),
        ..v5::Connect::default()
    };
    let bytes = five(v5::Packet::Connect(Box::new(connect)));
    let (header, body) = whole(&bytes);
    let read = ConnectRequest::read(header, body).unwrap();
    assert_eq!(
        (read.version, &*read.client_id, read.clean_start, read.keep_alive),
        (ProtocolLevel::V5, "id", true, 33)
    );
    assert_eq!((read.session_expiry, read.receive_maximum), (Some(44), 55));
    assert_eq!((read.topic_alias_maximum, read.maximum_packet_size), (66, 777));
    assert_eq!((read.user.as_deref(), read.password.as_deref()), (Some("ann"), Some(b"secret".as_slice())));
    let will = read.will.unwrap();
    assert_eq!(
        (&*will.topic, &*will.payload, will.qos, will.retain),
        ("will", b"gone".as_slice(), QoS::AtLeastOnce, true)
    );
    assert_eq!((will.delay, will.expiry), (7, Some(9)));
}

#[test]
fn a_connect_of_mqtt_3_1_1_is_read_field_by_field() {
    let connect = v3::Connect {
        clean_session: false,
        keep_alive: 12,
        client_id: "id".into(),
        username: Some("ann".into()),
        password: Some(Bytes::from_static(b"secret")),
        ..v3::Connect::default()
    };
    let bytes = three(v3::Packet::Connect(Box::new(connect)));
    let (header, body) = whole(&bytes);
    let read = ConnectRequest::read(header, body).unwrap();
    assert_eq!((read.version, read.clean_start, read.keep_alive), (ProtocolLevel::V311, false, 12));
    assert_eq!((&*read.client_id, read.user.as_deref()), ("id", Some("ann")));
}

#[test]
fn what_we_send_is_read_by_the_other_codec() {
    let message = BrokerMessage {
        topic: "a/b".into(),
        payload: Bytes::from_static(b"payload"),
        qos: QoS::AtLeastOnce,
        retain: false,
        properties: Bytes::from_static(b"\x03\x00\x01t\x26\x00\x01k\x00\x01v"),
        expires: None,
    };
    let how = DeliveryHeader {
        qos: QoS::ExactlyOnce,
        retain: true,
        dup: true,
        packet_id: 300,
        identifiers: &[5, 300],
        expiry: Some(60),
        alias: Some((7, false)),
    };
    let mut bytes = BytesMut::new();
    assert!(outgoing::publish_header(&mut bytes, ProtocolLevel::V5, &message, &how, u32::MAX));
    bytes.extend_from_slice(&message.payload);
    let (packet, _) = v5::Codec::new(0, 0).decode(&mut bytes).unwrap().unwrap();
    let v5::Packet::Publish(publish) = packet else { panic!("{packet:?}") };
    let properties = publish.properties.clone().unwrap();
    assert_eq!((&*publish.topic, &*publish.payload, publish.packet_id), ("a/b", b"payload".as_slice(), Some(id(300))));
    assert!(publish.retain && publish.dup);
    assert_eq!(properties.message_expiry_interval, NonZeroU32::new(60));
    assert_eq!(properties.topic_alias, Some(id(7)));
    assert_eq!(properties.content_type.as_deref(), Some("t"));
    assert_eq!(properties.subscription_ids, [NonZeroU32::new(5).unwrap(), NonZeroU32::new(300).unwrap()]);
    assert_eq!(properties.user_properties.len(), 1);

    let announcement = ConnackProperties {
        session_expiry: Some(1),
        receive_maximum: Some(2),
        maximum_packet_size: Some(3),
        assigned_client_id: Some("four"),
        topic_alias_maximum: 5,
        server_keep_alive: Some(6),
        reason_string: Some("seven"),
    };
    outgoing::connack(&mut bytes, ProtocolLevel::V5, true, ReasonCode::Success, &announcement);
    let (packet, _) = v5::Codec::new(0, 0).decode(&mut bytes).unwrap().unwrap();
    let v5::Packet::ConnectAck(connack) = packet else { panic!("{packet:?}") };
    assert!(connack.session_present);
    assert_eq!(connack.session_expiry_interval_secs, Some(1));
    assert_eq!(connack.assigned_client_id.as_deref(), Some("four"));
    assert_eq!((connack.topic_alias_max, connack.server_keepalive_sec), (5, Some(6)));
}

#[test]
fn a_packet_that_would_be_too_large_is_not_written() {
    let message = BrokerMessage {
        topic: "a".into(),
        payload: Bytes::from(vec![0; 300]),
        qos: QoS::AtMostOnce,
        retain: false,
        properties: Bytes::new(),
        expires: None,
    };
    let how = DeliveryHeader {
        qos: QoS::AtMostOnce,
        retain: false,
        dup: false,
        packet_id: 0,
        identifiers: &[],
        expiry: None,
        alias: None,
    };
    let mut bytes = BytesMut::new();
    assert!(outgoing::publish_header(&mut bytes, ProtocolLevel::V5, &message, &how, 307));
    assert_eq!(bytes.len() + message.payload.len(), 307);
    bytes.clear();
    assert!(!outgoing::publish_header(&mut bytes, ProtocolLevel::V5, &message, &how, 306));
    assert!(bytes.is_empty());
}

proptest! {
    #[test]
    fn a_publish_of_the_other_codec_is_read_as_it_was_written(
        topic in "[a-z]{1,8}(/[a-z]{0,8}){0,3}",
        payload in proptest::collection::vec(any::<u8>(), 0..300),
        qos in 0u8..3,
        number in 1u16..,
        retain: bool,
        content_type in proptest::option::of("[a-z]{0,10}"),
        alias in proptest::option::of(1u16..),
        expiry in proptest::option::of(1u32..),
    ) {
        let packet_id = (qos > 0).then(|| id(number));
        let properties = v5::PublishProperties {
            content_type: content_type.clone().map(Into::into),
            topic_alias: alias.map(id),
            message_expiry_interval: expiry.and_then(NonZeroU32::new),
            ..v5::PublishProperties::default()
        };
        let publish = rmqtt_codec::types::Publish {
            dup: false,
            retain,
            qos: qos.try_into().unwrap(),
            topic: topic.clone().into(),
            packet_id,
            payload: payload.clone().into(),
            properties: Some(properties),
        };
        let bytes = five(v5::Packet::Publish(Box::new(publish.clone())));
        let (header, body) = whole(&bytes);
        let Ok(ClientPacket::Publish(read)) = ClientPacket::read(ProtocolLevel::V5, header, body) else { panic!("not read") };
        prop_assert_eq!((read.topic, read.payload, read.retain), (&*topic, &*payload, retain));
        prop_assert_eq!((read.qos as u8, read.packet_id), (qos, if qos > 0 { number } else { 0 }));
        prop_assert_eq!((read.alias, read.expiry), (alias, expiry));
        let bytes = three(v3::Packet::Publish(Box::new(publish)));
        let (header, body) = whole(&bytes);
        let Ok(ClientPacket::Publish(read)) = ClientPacket::read(ProtocolLevel::V311, header, body) else { panic!("not read") };
        prop_assert_eq!((read.topic, read.payload, read.retain), (&*topic, &*payload, retain));
    }

    #[test]
    fn noise_is_refused_and_never_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), header: u8) {
        for version in [ProtocolLevel::V31, ProtocolLevel::V311, ProtocolLevel::V5] {
            // Whether it is refused is its own affair; that it returns is ours.
            let _ = ClientPacket::read(version, header, &bytes);
        }
        let _ = ConnectRequest::read(0x10, &bytes);
        for start in [b"\x00\x04MQTT\x05".as_slice(), b"\x00\x04MQTT\x04"] {
            let _ = ConnectRequest::read(0x10, &[start, &bytes].concat());
        }
        let _ = frame(&bytes, 1000);
    }
}
