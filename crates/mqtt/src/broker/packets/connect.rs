//! CONNECT (MQTT 5.0 and 3.1.1, section 3.1).

use crate::broker::topic;
use crate::codec::properties;
use crate::codec::properties::id;
use crate::codec::reader::BodyReader;
use crate::codec::reason::ReasonCode;
use crate::codec::{ProtocolLevel, ProtocolViolation};
use hearthgate_domain::delivery::QoS;

/// What a client asks for when it connects.
#[derive(Debug)]
pub(crate) struct ConnectRequest {
    pub(crate) version: ProtocolLevel,
    /// A bridge of another broker: it sets the highest bit of the protocol level.
    pub(crate) is_bridge: bool,
    pub(crate) client_id: String,
    pub(crate) clean_start: bool,
    /// Seconds; 0 is off.
    pub(crate) keep_alive: u16,
    pub(crate) user: Option<String>,
    pub(crate) password: Option<Vec<u8>>,
    pub(crate) will: Option<ConnectWill>,
    /// Seconds; `None` where the protocol has no such property or the client did not give it.
    pub(crate) session_expiry: Option<u32>,
    pub(crate) receive_maximum: u16,
    /// Bytes; `u32::MAX` when the client set no limit.
    pub(crate) maximum_packet_size: u32,
    pub(crate) topic_alias_maximum: u16,
    pub(crate) problem_information: bool,
    pub(crate) authentication: bool,
}

/// The message that is published when the client is lost.
#[derive(Clone, Debug)]
pub(crate) struct ConnectWill {
    pub(crate) topic: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    /// Seconds.
    pub(crate) delay: u32,
    /// Seconds.
    pub(crate) expiry: Option<u32>,
    /// Properties to pass on.
    pub(crate) properties: Vec<u8>,
}

/// A CONNECT that cannot be read; the version, where it was understood, says how to answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct UnreadableConnect {
    pub(crate) version: Option<ProtocolLevel>,
    pub(crate) violation: ProtocolViolation,
}

impl ConnectRequest {
    /// Reads the body of a CONNECT packet whose first byte is `header`.
    pub(crate) fn read(header: u8, body: &[u8]) -> Result<ConnectRequest, UnreadableConnect> {
        let mut from = BodyReader::new(body);
        if header != 0x10 {
            let violation = ProtocolViolation::protocol("the first packet is not CONNECT");
            return Err(UnreadableConnect { version: None, violation });
        }
        let (version, is_bridge) = version(&mut from)?;
        let connect =
            content(version, from).map_err(|violation| UnreadableConnect { version: Some(version), violation })?;
        Ok(ConnectRequest { is_bridge, ..connect })
    }
}

/// The version, and whether a bridge connects.
fn version(from: &mut BodyReader<'_>) -> Result<(ProtocolLevel, bool), UnreadableConnect> {
    let unreadable = |violation| UnreadableConnect { version: None, violation };
    let name = from.binary().map_err(unreadable)?;
    let level = from.u8().map_err(unreadable)?;
    match (name, level) {
        (b"MQIsdp", 3) => Ok((ProtocolLevel::V31, false)),
        (b"MQIsdp", 0x83) => Ok((ProtocolLevel::V31, true)),
        (b"MQTT", 4) => Ok((ProtocolLevel::V311, false)),
        (b"MQTT", 0x84) => Ok((ProtocolLevel::V311, true)),
        (b"MQTT", 5) => Ok((ProtocolLevel::V5, false)),
        (b"MQTT" | b"MQIsdp", level) => Err(UnreadableConnect {
            // A later protocol is answered in the latest form that we know, an older one in the older form; and so is a
            // bridge, which then tries again as a client.
            version: Some(if (6..0x80).contains(&level) { ProtocolLevel::V5 } else { ProtocolLevel::V311 }),
            violation: ProtocolViolation {
                reason: ReasonCode::UnsupportedProtocolVersion,
                what: "unknown protocol version",
            },
        }),
        _ => Err(unreadable(ProtocolViolation {
            reason: ReasonCode::UnsupportedProtocolVersion,
            what: "the protocol is not MQTT",
        })),
    }
}

fn content(version: ProtocolLevel, mut from: BodyReader<'_>) -> Result<ConnectRequest, ProtocolViolation> {
    let flags = from.u8()?;
    check_flags(version, flags)?;
    let keep_alive = from.u16()?;
    let mut connect = ConnectRequest {
        version,
        is_bridge: false,
        client_id: String::new(),
        clean_start: flags & 0x02 != 0,
        keep_alive,
        user: None,
        password: None,
        will: None,
        session_expiry: None,
        receive_maximum: u16::MAX,
        maximum_packet_size: u32::MAX,
        topic_alias_maximum: 0,
        problem_information: true,
        authentication: false,
    };
    if version == ProtocolLevel::V5 {
        read_properties(&mut connect, from.section()?)?;
    }
    connect.client_id = from.text()?.to_owned();
    if flags & 0x04 != 0 {
        connect.will = Some(read_will(version, flags, &mut from)?);
    }
    if flags & 0x80 != 0 {
        connect.user = Some(from.text()?.to_owned());
    }
    if flags & 0x40 != 0 {
        connect.password = Some(from.binary()?.to_vec());
    }
    from.end()?;
    Ok(connect)
}

fn check_flags(version: ProtocolLevel, flags: u8) -> Result<(), ProtocolViolation> {
    if flags & 0x01 != 0 {
        return Err(ProtocolViolation::malformed("the reserved connect flag is set"));
    }
    if flags & 0x04 == 0 && flags & 0x38 != 0 {
        return Err(ProtocolViolation::malformed("will QoS or will retain is set without a will"));
    }
    if flags & 0x18 == 0x18 {
        return Err(ProtocolViolation::malformed("will QoS is 3"));
    }
    if version != ProtocolLevel::V5 && flags & 0xc0 == 0x40 {
        return Err(ProtocolViolation::malformed("a password comes without a user name"));
    }
    Ok(())
}

fn read_properties(connect: &mut ConnectRequest, section: BodyReader<'_>) -> Result<(), ProtocolViolation> {
    const ALLOWED: &[u8] = &[
        id::SESSION_EXPIRY,
        id::RECEIVE_MAXIMUM,
        id::MAXIMUM_PACKET_SIZE,
        id::TOPIC_ALIAS_MAXIMUM,
        id::REQUEST_RESPONSE,
        id::REQUEST_PROBLEM,
        id::USER_PROPERTY,
        id::AUTH_METHOD,
        id::AUTH_DATA,
    ];
    let mut data = false;
    properties::walk(section, ALLOWED, |property, value, _| {
        match property {
            id::SESSION_EXPIRY => connect.session_expiry = Some(value.number()),
            id::RECEIVE_MAXIMUM => connect.receive_maximum = value.number() as u16,
            id::MAXIMUM_PACKET_SIZE => connect.maximum_packet_size = value.number(),
            id::TOPIC_ALIAS_MAXIMUM => connect.topic_alias_maximum = value.number() as u16,
            id::REQUEST_PROBLEM => connect.problem_information = value.number() == 1,
            id::AUTH_METHOD => connect.authentication = true,
            id::AUTH_DATA => data = true,
            _ => {}
        }
        Ok(())
    })?;
    if data && !connect.authentication {
        return Err(ProtocolViolation::protocol("authentication data comes without a method"));
    }
    Ok(())
}

fn read_will(version: ProtocolLevel, flags: u8, from: &mut BodyReader<'_>) -> Result<ConnectWill, ProtocolViolation> {
    const ALLOWED: &[u8] = &[
        id::WILL_DELAY,
        id::PAYLOAD_FORMAT,
        id::MESSAGE_EXPIRY,
        id::CONTENT_TYPE,
        id::RESPONSE_TOPIC,
        id::CORRELATION_DATA,
        id::USER_PROPERTY,
    ];
    let (mut delay, mut expiry, mut passed, mut utf8) = (0, None, Vec::new(), false);
    if version == ProtocolLevel::V5 {
        properties::walk(from.section()?, ALLOWED, |property, value, raw| {
            match property {
                id::WILL_DELAY => delay = value.number(),
                id::MESSAGE_EXPIRY => expiry = Some(value.number()),
                _ => passed.extend_from_slice(raw),
            }
            match property {
                id::PAYLOAD_FORMAT => utf8 = value.number() == 1,
                id::RESPONSE_TOPIC if !topic::is_name(value.text()) => {
                    return Err(ProtocolViolation::protocol("response topic is not a topic name"));
                }
                _ => {}
            }
            Ok(())
        })?;
    }
    let topic = from.text()?;
    let payload = from.binary()?;
    if !topic::is_name(topic) {
        return Err(ProtocolViolation { reason: ReasonCode::TopicNameInvalid, what: "will topic is not a topic name" });
    }
    if utf8 && std::str::from_utf8(payload).is_err() {
        return Err(ProtocolViolation {
            reason: ReasonCode::PayloadFormatInvalid,
            what: "will payload is not UTF-8 as announced",
        });
    }
    let qos = QoS::try_from((flags >> 3) & 3).map_err(|_| ProtocolViolation::malformed("will QoS is 3"))?;
    Ok(ConnectWill {
        topic: topic.to_owned(),
        payload: payload.to_vec(),
        qos,
        retain: flags & 0x20 != 0,
        delay,
        expiry,
        properties: passed,
    })
}
