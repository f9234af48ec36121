//! The packets that come seldom, read by rumqttc's codec: CONNACK, SUBACK, UNSUBACK, DISCONNECT.

use crate::codec::reason::{ReasonCode, return_code_in_words};
use crate::session::inbound::packet::{
    BrokerPacket, ConnackLimits, FixedHeader, GrantRefusal, MalformedPacket, with_reason_string,
};
use bytes::BytesMut;
use hearthgate_domain::delivery::QoS;
use rumqttc::mqttbytes::v4;
use rumqttc::v5::mqttbytes::v5;

/// The largest packet that MQTT knows, fixed header included (MQTT 3.1.1, section 2.2.3).
const PROTOCOL_MAX_PACKET: usize = 268_435_460;

pub(crate) fn control_v3(header: &FixedHeader, mut frame: BytesMut) -> Result<BrokerPacket, MalformedPacket> {
    if let (2, Some(&code @ 1..)) = (header.kind, frame.get(header.length + 1)) {
        return Ok(BrokerPacket::Refused { code, reason: return_code_in_words(code).into() });
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

fn granted_v3(code: v4::SubscribeReasonCode) -> Result<QoS, GrantRefusal> {
    use rumqttc::mqttbytes::QoS as Granted;
    match code {
        v4::SubscribeReasonCode::Success(Granted::AtMostOnce) => Ok(QoS::AtMostOnce),
        v4::SubscribeReasonCode::Success(Granted::AtLeastOnce) => Ok(QoS::AtLeastOnce),
        v4::SubscribeReasonCode::Success(Granted::ExactlyOnce) => Ok(QoS::ExactlyOnce),
        v4::SubscribeReasonCode::Failure => Err(GrantRefusal::Unexplained),
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

fn granted_v5(code: v5::SubscribeReasonCode) -> Result<QoS, GrantRefusal> {
    use rumqttc::v5::mqttbytes::QoS as Granted;
    use v5::SubscribeReasonCode as Code;
    Err(GrantRefusal::Explained(match code {
        Code::Success(Granted::AtMostOnce) => return Ok(QoS::AtMostOnce),
        Code::Success(Granted::AtLeastOnce) => return Ok(QoS::AtLeastOnce),
        Code::Success(Granted::ExactlyOnce) => return Ok(QoS::ExactlyOnce),
        Code::Failure | Code::Unspecified => ReasonCode::UnspecifiedError,
        Code::ImplementationSpecific => ReasonCode::ImplementationSpecificError,
        Code::NotAuthorized => ReasonCode::NotAuthorized,
        Code::TopicFilterInvalid => ReasonCode::TopicFilterInvalid,
        Code::PkidInUse => ReasonCode::PacketIdentifierInUse,
        Code::QuotaExceeded => ReasonCode::QuotaExceeded,
        Code::SharedSubscriptionsNotSupported => ReasonCode::SharedSubscriptionsNotSupported,
        Code::SubscriptionIdNotSupported => ReasonCode::SubscriptionIdentifiersNotSupported,
        Code::WildcardSubscriptionsNotSupported => ReasonCode::WildcardSubscriptionsNotSupported,
    }))
}
