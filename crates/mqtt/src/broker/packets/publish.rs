//! PUBLISH from a client (MQTT 5.0, section 3.3).

use crate::broker::topic;
use crate::codec::properties;
use crate::codec::properties::id;
use crate::codec::reader::BodyReader;
use crate::codec::reason::ReasonCode;
use crate::codec::{ProtocolLevel, ProtocolViolation};
use hearthgate_domain::delivery::QoS;

/// A PUBLISH as it lies in the network buffer.
#[derive(Debug)]
pub(crate) struct ClientPublish<'a> {
    pub(crate) dup: bool,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    /// Empty where a topic alias stands for it.
    pub(crate) topic: &'a str,
    /// 0 at QoS 0.
    pub(crate) packet_id: u16,
    pub(crate) alias: Option<u16>,
    /// Seconds.
    pub(crate) expiry: Option<u32>,
    /// Payload format, content type, response topic, correlation data and user properties, to pass on unchanged.
    pub(crate) properties: PassedProperties<'a>,
    /// The payload is said to be UTF-8, and is not.
    pub(crate) format_invalid: bool,
    pub(crate) payload: &'a [u8],
}

/// Properties to pass on.
#[derive(Debug)]
pub(crate) enum PassedProperties<'a> {
    /// The section as it came.
    Whole(&'a [u8]),
    /// What is left without alias and expiry.
    Rest(Vec<u8>),
}

const ALLOWED: &[u8] = &[
    id::PAYLOAD_FORMAT,
    id::MESSAGE_EXPIRY,
    id::CONTENT_TYPE,
    id::RESPONSE_TOPIC,
    id::CORRELATION_DATA,
    id::TOPIC_ALIAS,
    id::USER_PROPERTY,
];

impl<'a> ClientPublish<'a> {
    pub(crate) fn read(version: ProtocolLevel, header: u8, body: &'a [u8]) -> Result<Self, ProtocolViolation> {
        let qos = QoS::try_from((header >> 1) & 3).map_err(|_| ProtocolViolation::malformed("QoS is 3"))?;
        let dup = header & 8 != 0;
        if dup && qos == QoS::AtMostOnce {
            return Err(ProtocolViolation::malformed("DUP is set at QoS 0"));
        }
        let mut from = BodyReader::new(body);
        let topic = from.text()?;
        let packet_id = if qos == QoS::AtMostOnce { 0 } else { from.packet_id()? };
        let mut publish = ClientPublish {
            dup,
            qos,
            retain: header & 1 != 0,
            topic,
            packet_id,
            alias: None,
            expiry: None,
            properties: PassedProperties::Whole(&[]),
            format_invalid: false,
            payload: &[],
        };
        let mut utf8 = false;
        if version == ProtocolLevel::V5 {
            let section = from.section()?;
            if !section.is_empty() {
                utf8 = publish.read_properties(section)?;
            }
        }
        publish.payload = from.rest();
        publish.format_invalid = utf8 && std::str::from_utf8(publish.payload).is_err();
        if topic.is_empty() {
            if publish.alias.is_none() {
                let reason =
                    if version == ProtocolLevel::V5 { ReasonCode::ProtocolError } else { ReasonCode::TopicNameInvalid };
                return Err(ProtocolViolation { reason, what: "topic name is empty" });
            }
        } else if !topic::is_name(topic) {
            return Err(ProtocolViolation {
                reason: ReasonCode::TopicNameInvalid,
                what: "topic name contains a wildcard",
            });
        }
        Ok(publish)
    }

    /// Returns whether the payload is said to be UTF-8.
    fn read_properties(&mut self, section: BodyReader<'a>) -> Result<bool, ProtocolViolation> {
        let mut utf8 = false;
        let mut own = false;
        properties::walk(section, ALLOWED, |property, value, _| {
            match property {
                id::PAYLOAD_FORMAT => utf8 = value.number() == 1,
                id::MESSAGE_EXPIRY => {
                    self.expiry = Some(value.number());
                    own = true;
                }
                id::TOPIC_ALIAS => {
                    // Two bytes on the wire, so it fits.
                    self.alias = Some(value.number() as u16);
                    own = true;
                }
                id::RESPONSE_TOPIC if !topic::is_name(value.text()) => {
                    return Err(ProtocolViolation::protocol("response topic is not a topic name"));
                }
                _ => {}
            }
            Ok(())
        })?;
        self.properties =
            if own { PassedProperties::Rest(without_own(section)?) } else { PassedProperties::Whole(section.rest()) };
        Ok(utf8)
    }
}

fn without_own(section: BodyReader<'_>) -> Result<Vec<u8>, ProtocolViolation> {
    let mut rest = Vec::new();
    properties::walk(section, ALLOWED, |property, _, raw| {
        if property != id::MESSAGE_EXPIRY && property != id::TOPIC_ALIAS {
            rest.extend_from_slice(raw);
        }
        Ok(())
    })?;
    Ok(rest)
}
