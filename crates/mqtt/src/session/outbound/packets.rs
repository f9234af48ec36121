//! Packets to the broker, written into one buffer that goes out in one piece.

use crate::link::LinkSubscription;
use crate::session::options::{ProtocolVersion, SessionOptions};
use bytes::{BufMut, Bytes, BytesMut};
use hearthgate_domain::delivery::{OutboundMessage, QoS};
use hearthgate_domain::redelivery::CLIENT_WINDOW;
use rumqttc::mqttbytes::v4;
use rumqttc::v5::mqttbytes::v5;
use std::time::Duration;

/// Room for any packet: our own limits were checked before.
const NO_LIMIT: usize = usize::MAX;

pub(crate) const PINGREQ: [u8; 2] = [0xc0, 0];
/// Normal disconnection; the short form is the same in both versions.
pub(crate) const DISCONNECT: [u8; 2] = [0xe0, 0];

/// Why rumqttc's codec does not write a packet.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PacketWriteError {
    #[error(transparent)]
    V3(#[from] rumqttc::mqttbytes::Error),
    #[error(transparent)]
    V5(#[from] rumqttc::v5::mqttbytes::Error),
}

/// The four acknowledgements in their short form, which means success in MQTT 5.
#[expect(clippy::enum_variant_names, reason = "MQTT's own names")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AckPacket {
    PubAck = 0x40,
    PubRec = 0x50,
    PubRel = 0x62,
    PubComp = 0x70,
}

impl AckPacket {
    /// What a PUBLISH is answered with first.
    pub(crate) fn of(qos: QoS) -> Option<Self> {
        match qos {
            QoS::AtMostOnce => None,
            QoS::AtLeastOnce => Some(AckPacket::PubAck),
            QoS::ExactlyOnce => Some(AckPacket::PubRec),
        }
    }
}

pub(crate) fn ack(out: &mut BytesMut, ack: AckPacket, packet_id: u16) {
    let [high, low] = packet_id.to_be_bytes();
    out.extend_from_slice(&[ack as u8, 2, high, low]);
}

/// Writes CONNECT; with `keeps_will` the will is retained if the options say so.
pub(crate) fn connect(out: &mut BytesMut, options: &SessionOptions, keeps_will: bool) -> Result<(), PacketWriteError> {
    match options.protocol {
        ProtocolVersion::V3 => connect_v3(options).write(out, NO_LIMIT)?,
        ProtocolVersion::V5 => connect_v5(options, keeps_will).write(out, None)?,
    };
    Ok(())
}

fn seconds(duration: Duration) -> u16 {
    u16::try_from(duration.as_secs()).unwrap_or(u16::MAX)
}

fn connect_v3(options: &SessionOptions) -> v4::Packet {
    let mut connect = v4::Connect::new(options.client_id.clone());
    connect.keep_alive = seconds(options.keep_alive);
    connect.clean_session = options.clean;
    connect.login = options
        .credentials
        .as_ref()
        .map(|it| v4::Login { username: it.username.clone(), password: it.password.clone() });
    connect.last_will = options.will.as_ref().map(|will| v4::LastWill {
        topic: will.topic.clone(),
        message: will.payload.clone(),
        qos: qos_v3(will.qos),
        retain: will.retain,
    });
    v4::Packet::Connect(connect)
}

fn connect_v5(options: &SessionOptions, keeps_will: bool) -> v5::Packet {
    let mut properties = v5::ConnectProperties::new();
    if !options.clean {
        let expiry = u32::try_from(options.session_expiry.as_secs()).unwrap_or(u32::MAX);
        properties.session_expiry_interval = Some(expiry);
    }
    // What the broker may send ahead of our acknowledgements must all be recognised when it comes again.
    let recognised = u16::try_from(CLIENT_WINDOW).unwrap_or(u16::MAX);
    properties.receive_maximum = Some(options.receive_maximum.clamp(1, recognised));
    properties.max_packet_size = Some(u32::try_from(options.max_incoming_packet).unwrap_or(u32::MAX).max(1));
    let connect = v5::Connect {
        keep_alive: seconds(options.keep_alive),
        client_id: options.client_id.clone(),
        clean_start: options.clean,
        properties: Some(properties),
    };
    let login = options
        .credentials
        .as_ref()
        .map(|it| v5::Login { username: it.username.clone(), password: it.password.clone() });
    let will = options.will.as_ref().map(|will| v5::LastWill {
        topic: Bytes::from(will.topic.clone()),
        message: will.payload.clone(),
        qos: qos_v5(will.qos),
        retain: will.retain && keeps_will,
        properties: (!will.delay.is_zero()).then(|| v5::LastWillProperties {
            delay_interval: Some(u32::try_from(will.delay.as_secs()).unwrap_or(u32::MAX)),
            payload_format_indicator: None,
            message_expiry_interval: None,
            content_type: None,
            response_topic: None,
            correlation_data: None,
            user_properties: Vec::new(),
        }),
    });
    v5::Packet::Connect(connect, will, login)
}

fn qos_v3(qos: QoS) -> rumqttc::mqttbytes::QoS {
    match qos {
        QoS::AtMostOnce => rumqttc::mqttbytes::QoS::AtMostOnce,
        QoS::AtLeastOnce => rumqttc::mqttbytes::QoS::AtLeastOnce,
        QoS::ExactlyOnce => rumqttc::mqttbytes::QoS::ExactlyOnce,
    }
}

fn qos_v5(qos: QoS) -> rumqttc::v5::mqttbytes::QoS {
    match qos {
        QoS::AtMostOnce => rumqttc::v5::mqttbytes::QoS::AtMostOnce,
        QoS::AtLeastOnce => rumqttc::v5::mqttbytes::QoS::AtLeastOnce,
        QoS::ExactlyOnce => rumqttc::v5::mqttbytes::QoS::ExactlyOnce,
    }
}

/// Writes SUBSCRIBE. In MQTT 5 retained messages come only for filters that are new to the broker: stating a filter
/// again after a restart must not deliver them again. A shared subscription never gets any (MQTT 5.0, section 4.8.2).
/// `identifier` is that of all these filters; MQTT 5 only.
pub(crate) fn subscribe(
    out: &mut BytesMut,
    protocol: ProtocolVersion,
    packet_id: u16,
    filters: &[LinkSubscription],
    identifier: Option<u32>,
) -> Result<(), PacketWriteError> {
    match protocol {
        ProtocolVersion::V3 => {
            let each = filters.iter().map(|it| v4::SubscribeFilter::new(it.filter.clone(), qos_v3(it.qos)));
            let mut packet = v4::Subscribe::new_many(each);
            packet.pkid = packet_id;
            v4::Packet::Subscribe(packet).write(out, NO_LIMIT)?;
        }
        ProtocolVersion::V5 => {
            let each = filters.iter().map(|it| {
                let mut filter = v5::Filter::new(it.filter.clone(), qos_v5(it.qos));
                if !it.filter.starts_with("$share/") {
                    filter.retain_forward_rule = v5::RetainForwardRule::OnNewSubscribe;
                }
                filter
            });
            let properties =
                identifier.map(|id| v5::SubscribeProperties { id: Some(id as usize), user_properties: Vec::new() });
            let mut packet = v5::Subscribe::new_many(each, properties);
            packet.pkid = packet_id;
            v5::Packet::Subscribe(packet).write(out, None)?;
        }
    }
    Ok(())
}

/// Writes UNSUBSCRIBE.
pub(crate) fn unsubscribe(
    out: &mut BytesMut,
    protocol: ProtocolVersion,
    packet_id: u16,
    filters: &[String],
) -> Result<(), PacketWriteError> {
    match protocol {
        ProtocolVersion::V3 => {
            let packet = v4::Unsubscribe { pkid: packet_id, topics: filters.to_vec() };
            v4::Packet::Unsubscribe(packet).write(out, NO_LIMIT)?;
        }
        ProtocolVersion::V5 => {
            let packet = v5::Unsubscribe { pkid: packet_id, filters: filters.to_vec(), properties: None };
            v5::Packet::Unsubscribe(packet).write(out, None)?;
        }
    }
    Ok(())
}

/// Size of a message's PUBLISH in bytes, fixed header included.
pub(crate) fn publish_size(protocol: ProtocolVersion, message: &OutboundMessage) -> usize {
    let remaining = publish_remaining(protocol, message);
    1 + length_width(remaining) + remaining
}

fn publish_remaining(protocol: ProtocolVersion, message: &OutboundMessage) -> usize {
    let packet_id = if message.qos == QoS::AtMostOnce { 0 } else { 2 };
    let properties = if protocol == ProtocolVersion::V5 { 1 } else { 0 };
    2 + message.topic.len() + packet_id + properties + message.payload.len()
}

fn length_width(length: usize) -> usize {
    match length {
        0..128 => 1,
        128..16_384 => 2,
        16_384..2_097_152 => 3,
        _ => 4,
    }
}

/// Writes PUBLISH. The message was checked: its topic fits, its size is within the limits.
pub(crate) fn publish(
    out: &mut BytesMut,
    protocol: ProtocolVersion,
    message: &OutboundMessage,
    packet_id: u16,
    dup: bool,
) {
    let mut length = publish_remaining(protocol, message);
    out.reserve(5 + length);
    out.put_u8(0x30 | u8::from(dup) << 3 | u8::from(message.qos) << 1 | u8::from(message.retain));
    loop {
        let digit = (length & 0x7f) as u8;
        length >>= 7;
        if length == 0 {
            out.put_u8(digit);
            break;
        }
        out.put_u8(digit | 0x80);
    }
    out.put_u16(u16::try_from(message.topic.len()).unwrap_or(u16::MAX));
    out.put_slice(message.topic.as_bytes());
    if message.qos != QoS::AtMostOnce {
        out.put_u16(packet_id);
    }
    if protocol == ProtocolVersion::V5 {
        out.put_u8(0);
    }
    out.put_slice(&message.payload);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connect_announces_the_receive_maximum_that_is_configured() {
        let server = crate::session::options::BrokerServer::Tcp { host: "localhost".into(), port: 1883 };
        for (configured, announced) in [(7, 7), (0, 1), (u16::MAX, 32_767)] {
            let options = SessionOptions { receive_maximum: configured, ..SessionOptions::new(server.clone(), "test") };
            let v5::Packet::Connect(connect, ..) = connect_v5(&options, true) else { panic!("no CONNECT") };
            assert_eq!(connect.properties.unwrap().receive_maximum, Some(announced));
        }
    }

    #[test]
    fn a_published_message_is_what_rumqttc_reads() {
        for size in [0, 1, 120, 130, 20_000, 3_000_000] {
            let message = OutboundMessage {
                topic: "a/b".into(),
                payload: vec![7; size].into(),
                qos: QoS::AtLeastOnce,
                retain: true,
            };
            let mut out = BytesMut::new();
            publish(&mut out, ProtocolVersion::V3, &message, 9, true);
            assert_eq!(out.len(), publish_size(ProtocolVersion::V3, &message));
            let v4::Packet::Publish(read) = v4::Packet::read(&mut out, NO_LIMIT).unwrap() else { panic!("no PUBLISH") };
            assert_eq!((read.pkid, read.dup, read.retain, read.payload.len()), (9, true, true, size));

            publish(&mut out, ProtocolVersion::V5, &message, 9, false);
            assert_eq!(out.len(), publish_size(ProtocolVersion::V5, &message));
            let v5::Packet::Publish(read) = v5::Packet::read(&mut out, None).unwrap() else { panic!("no PUBLISH") };
            assert_eq!((read.pkid, read.dup, &read.topic[..], read.payload.len()), (9, false, &b"a/b"[..], size));
        }
    }
}
