//! The packets that come seldom, read by rumqttc's codec: CONNACK, SUBACK, UNSUBACK, DISCONNECT.

use crate::session::inbound::packet::with_reason_string;
use crate::session::inbound::packet::{BrokerPacket, ConnackLimits, FixedHeader, MalformedPacket};
use crate::session::reason;
use bytes::BytesMut;
use hearthgate_domain::delivery::QoS;
use rumqttc::mqttbytes::v4;
use rumqttc::v5::mqttbytes::v5;

/// The largest packet that MQTT knows, fixed header included (MQTT 3.1.1, section 2.2.3).
const PROTOCOL_MAX_PACKET: usize = 268_435_460;

pub(crate) fn control_v3(header: &FixedHeader, mut frame: BytesMut) -> Result<BrokerPacket, MalformedPacket> {
    if let (2, Some(&code @ 1..)) = (header.kind, frame.get(header.length + 1)) {
        return Ok(BrokerPacket::Refused { code, reason: reason::connack_v3(code).into() });
    }
    match v4::Packet::read(&mut frame, PROTOCOL_MAX_PACKET).map_err(|error| MalformedPacket(error.to_string()))? {
        v4::Packet::ConnAck(ack) => Ok(BrokerPacket::ConnAck(ConnackLimits::by_v3(ack.session_present))),
        v4::Packet::SubAck(ack) => Ok(BrokerPacket::SubAck {
            packet_id: ack.pkid,
            results: ack.return_codes.into_iter().map(granted_v3).collect(),
        }),
        v4::Packet::UnsubAck(ack) => Ok(BrokerPacket::UnsubAck { packet_id: ack.pkid }),
        other => Err(MalformedPacket(format!("an unexpected packet, {other:?}"))),
    }
}

impl ConnackLimits {
    /// What the CONNACK of 3.1.1 leaves unsaid is as the protocol has it.
    pub(crate) fn by_v3(session_present: bool) -> Self {
        ConnackLimits {
            session_present,
            receive_maximum: u16::MAX,
            max_packet: PROTOCOL_MAX_PACKET,
            max_qos: QoS::ExactlyOnce,
            retain_available: true,
            keep_alive_seconds: None,
            subscription_identifiers: false,
            shared_subscriptions: false,
        }
    }
}

fn granted_v3(code: v4::SubscribeReasonCode) -> Result<QoS, String> {
    match code {
        v4::SubscribeReasonCode::Success(qos) => QoS::try_from(qos as u8),
        v4::SubscribeReasonCode::Failure => Err("refused by the broker (0x80)".into()),
    }
}

pub(crate) fn control_v5(header: &FixedHeader, mut frame: BytesMut) -> Result<BrokerPacket, MalformedPacket> {
    let first = frame.get(header.length).copied();
    if header.kind == 14 {
        return Ok(disconnect_v5(first.unwrap_or(0), &mut frame));
    }
    if let (2, Some(&code @ 1..)) = (header.kind, frame.get(header.length + 1)) {
        return Ok(refused_v5(code, &mut frame));
    }
    match v5::Packet::read(&mut frame, None).map_err(|error| MalformedPacket(error.to_string()))? {
        v5::Packet::ConnAck(ack) => Ok(BrokerPacket::ConnAck(accepted_v5(&ack))),
        v5::Packet::SubAck(ack) => Ok(BrokerPacket::SubAck {
            packet_id: ack.pkid,
            results: ack.return_codes.into_iter().map(granted_v5).collect(),
        }),
        v5::Packet::UnsubAck(ack) => Ok(BrokerPacket::UnsubAck { packet_id: ack.pkid }),
        other => Err(MalformedPacket(format!("an unexpected packet, {other:?}"))),
    }
}

fn accepted_v5(ack: &v5::ConnAck) -> ConnackLimits {
    let given = ack.properties.as_ref();
    ConnackLimits {
        session_present: ack.session_present,
        receive_maximum: given.and_then(|p| p.receive_max).unwrap_or(u16::MAX).max(1),
        max_packet: given.and_then(|p| p.max_packet_size).map_or(PROTOCOL_MAX_PACKET, |size| size as usize),
        max_qos: given.and_then(|p| p.max_qos).and_then(|qos| QoS::try_from(qos).ok()).unwrap_or(QoS::ExactlyOnce),
        retain_available: given.and_then(|p| p.retain_available) != Some(0),
        keep_alive_seconds: given.and_then(|p| p.server_keep_alive),
        subscription_identifiers: given.and_then(|p| p.subscription_identifiers_available) != Some(0),
        shared_subscriptions: given.and_then(|p| p.shared_subscription_available) != Some(0),
    }
}

fn refused_v5(code: u8, frame: &mut BytesMut) -> BrokerPacket {
    let said = match v5::Packet::read(frame, None) {
        Ok(v5::Packet::ConnAck(ack)) => ack.properties.and_then(|p| p.reason_string),
        _ => None,
    };
    BrokerPacket::Refused { code, reason: with_reason_string(code, said) }
}

fn disconnect_v5(code: u8, frame: &mut BytesMut) -> BrokerPacket {
    let said = match v5::Packet::read(frame, None) {
        Ok(v5::Packet::Disconnect(packet)) => packet.properties.and_then(|p| p.reason_string),
        _ => None,
    };
    BrokerPacket::Disconnect { code, reason: with_reason_string(code, said) }
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
