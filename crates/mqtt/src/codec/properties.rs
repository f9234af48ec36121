//! Properties of MQTT 5 (section 2.2.2): one walk that checks each property's type, place and repetition.

use super::ProtocolViolation;
use super::reader::BodyReader;

/// Identifiers of properties (MQTT 5.0, table 2-4).
pub(crate) mod id {
    pub(crate) const PAYLOAD_FORMAT: u8 = 0x01;
    pub(crate) const MESSAGE_EXPIRY: u8 = 0x02;
    pub(crate) const CONTENT_TYPE: u8 = 0x03;
    pub(crate) const RESPONSE_TOPIC: u8 = 0x08;
    pub(crate) const CORRELATION_DATA: u8 = 0x09;
    pub(crate) const SUBSCRIPTION_ID: u8 = 0x0b;
    pub(crate) const SESSION_EXPIRY: u8 = 0x11;
    pub(crate) const ASSIGNED_CLIENT_ID: u8 = 0x12;
    pub(crate) const SERVER_KEEP_ALIVE: u8 = 0x13;
    pub(crate) const AUTH_METHOD: u8 = 0x15;
    pub(crate) const AUTH_DATA: u8 = 0x16;
    pub(crate) const REQUEST_PROBLEM: u8 = 0x17;
    pub(crate) const WILL_DELAY: u8 = 0x18;
    pub(crate) const REQUEST_RESPONSE: u8 = 0x19;
    pub(crate) const REASON_STRING: u8 = 0x1f;
    pub(crate) const RECEIVE_MAXIMUM: u8 = 0x21;
    pub(crate) const TOPIC_ALIAS_MAXIMUM: u8 = 0x22;
    pub(crate) const TOPIC_ALIAS: u8 = 0x23;
    pub(crate) const USER_PROPERTY: u8 = 0x26;
    pub(crate) const MAXIMUM_PACKET_SIZE: u8 = 0x27;
}

/// One property's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PropertyValue<'a> {
    Number(u32),
    Text(&'a str),
    Binary(&'a [u8]),
    Pair,
}

impl<'a> PropertyValue<'a> {
    pub(crate) fn number(self) -> u32 {
        match self {
            PropertyValue::Number(number) => number,
            PropertyValue::Text(_) | PropertyValue::Binary(_) | PropertyValue::Pair => 0,
        }
    }

    pub(crate) fn text(self) -> &'a str {
        match self {
            PropertyValue::Text(text) => text,
            PropertyValue::Number(_) | PropertyValue::Binary(_) | PropertyValue::Pair => "",
        }
    }
}

/// Walks a property section. `allowed` names the properties of this packet; `take` gets each with its raw bytes.
pub(crate) fn walk<'a>(
    mut section: BodyReader<'a>,
    allowed: &[u8],
    mut take: impl FnMut(u8, PropertyValue<'a>, &'a [u8]) -> Result<(), ProtocolViolation>,
) -> Result<(), ProtocolViolation> {
    let mut seen = 0u64;
    while !section.is_empty() {
        let before = section.rest();
        let property = section.variable()?;
        let property = u8::try_from(property).map_err(|_| ProtocolViolation::malformed("unknown property"))?;
        let value = read(property, &mut section)?;
        if !allowed.contains(&property) {
            return Err(ProtocolViolation::protocol("property does not belong to this packet"));
        }
        let bit = 1u64 << property;
        if property != id::USER_PROPERTY && seen & bit != 0 {
            return Err(ProtocolViolation::protocol("property is given twice"));
        }
        seen |= bit;
        take(property, value, &before[..before.len() - section.rest().len()])?;
    }
    Ok(())
}

fn read<'a>(property: u8, from: &mut BodyReader<'a>) -> Result<PropertyValue<'a>, ProtocolViolation> {
    match property {
        id::PAYLOAD_FORMAT | id::REQUEST_PROBLEM | id::REQUEST_RESPONSE => match from.u8()? {
            flag @ 0..=1 => Ok(PropertyValue::Number(flag.into())),
            _ => Err(ProtocolViolation::protocol("property is neither 0 nor 1")),
        },
        id::MESSAGE_EXPIRY | id::SESSION_EXPIRY | id::WILL_DELAY => Ok(PropertyValue::Number(from.u32()?)),
        id::MAXIMUM_PACKET_SIZE => not_zero(from.u32()?),
        id::RECEIVE_MAXIMUM => not_zero(from.u16()?.into()),
        id::SERVER_KEEP_ALIVE | id::TOPIC_ALIAS_MAXIMUM => Ok(PropertyValue::Number(from.u16()?.into())),
        // An alias of 0 has its own reason code, so the packet's reader judges it.
        id::TOPIC_ALIAS => Ok(PropertyValue::Number(from.u16()?.into())),
        id::SUBSCRIPTION_ID => not_zero(from.variable()?),
        id::CONTENT_TYPE | id::RESPONSE_TOPIC | id::ASSIGNED_CLIENT_ID | id::AUTH_METHOD | id::REASON_STRING => {
            Ok(PropertyValue::Text(from.text()?))
        }
        id::CORRELATION_DATA | id::AUTH_DATA => Ok(PropertyValue::Binary(from.binary()?)),
        id::USER_PROPERTY => {
            from.text()?;
            from.text()?;
            Ok(PropertyValue::Pair)
        }
        // Known, but only a server sends them: response information, server reference, and what a server offers.
        0x1a | 0x1c => Ok(PropertyValue::Text(from.text()?)),
        0x24 | 0x25 | 0x28 | 0x29 | 0x2a => Ok(PropertyValue::Number(from.u8()?.into())),
        _ => Err(ProtocolViolation::malformed("unknown property")),
    }
}

fn not_zero<'a>(number: u32) -> Result<PropertyValue<'a>, ProtocolViolation> {
    if number == 0 {
        Err(ProtocolViolation::protocol("property must not be 0"))
    } else {
        Ok(PropertyValue::Number(number))
    }
}
