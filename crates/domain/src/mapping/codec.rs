//! From the wire to an interface's message, and back.

use crate::mapping::field::MapField;
use crate::mapping::internal_msg::{InternalMsg, MessageArguments};
use crate::mapping::keywords::{KeywordMaps, KeywordRule};
use crate::payload::python;
use crate::payload::{JsonKind, JsonPayload, PayloadError, RawJson};
use crate::topic::MAX_TOPIC_BYTES;
use indexmap::IndexMap;
use serde_json::Value;
use std::sync::Arc;
use thiserror::Error;

/// One interface's way of reading and writing messages: its maps and its own name.
#[derive(Clone, Debug, PartialEq)]
pub struct MessageCodec {
    maps: Arc<KeywordMaps>,
    name: Box<str>,
}

/// A message as it goes out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedMessage {
    /// The topic name.
    pub topic: String,
    /// The payload, as Python's `json.dumps` would write it when it is an object.
    pub payload: String,
}

/// A message that came in was refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("message on {topic:?} refused: {reason}")]
pub struct DecodeError {
    /// Its topic.
    pub topic: Box<str>,
    /// Why.
    pub reason: DecodeReason,
}

/// Why a message that came in was refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DecodeReason {
    /// The topic has another form.
    #[error("its topic has {levels} levels instead of the seven of root/function/gateway/location/device/sender/type")]
    Levels {
        /// How many it has.
        levels: usize,
    },
    /// The last level.
    #[error("its last level is {found:?}, neither C for a command nor S for a status")]
    Type {
        /// What stands there.
        found: Box<str>,
    },
    /// No action at all.
    #[error("its payload is empty; it needs at least an action")]
    Empty,
    /// Not UTF-8, or a `{` without a valid object.
    #[error(transparent)]
    Payload(PayloadError),
    /// An object without `action`.
    #[error("its payload has no \"action\"")]
    NoAction,
    /// `{"action": 7}`.
    #[error("its \"action\" must be a text, not {found}")]
    ActionNotText {
        /// What it is.
        found: JsonKind,
    },
    /// A strict map does not hold the keyword.
    #[error("{field} {keyword:?} is not in the map, which is strict")]
    Unknown {
        /// Which map.
        field: MapField,
        /// The MQTT keyword.
        keyword: Box<str>,
    },
    /// A value that is no text where the map of values is strict.
    #[error("argument {key:?} is {found}, but the map of argument values is strict and holds texts only")]
    ArgumentNotText {
        /// The argument, as it was sent.
        key: Box<str>,
        /// What its value is.
        found: JsonKind,
    },
    /// A number that would not arrive unchanged.
    #[error("argument {key:?} is a number beyond 64 bits; send it as a text")]
    NumberTooLarge {
        /// The argument, as it was sent.
        key: Box<str>,
    },
}

/// A message of an interface cannot be published.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EncodeError {
    /// A strict map does not hold the keyword.
    #[error("{field} {keyword:?} is not in the map, which is strict")]
    Unknown {
        /// Which map.
        field: MapField,
        /// The internal keyword.
        keyword: Box<str>,
    },
    /// The keyword would change the topic's levels.
    #[error("{field} {keyword:?} holds {character:?}, which no topic level may hold")]
    NotALevel {
        /// Which level.
        field: MapField,
        /// The MQTT keyword.
        keyword: Box<str>,
        /// `/`, `+`, `#` or NUL.
        character: char,
    },
    /// A value that is no text where the map of values is strict.
    #[error("argument {key:?} is no text, but the map of argument values is strict and holds texts only")]
    ArgumentNotText {
        /// The argument, as the interface calls it.
        key: Box<str>,
    },
    /// Longer than MQTT allows.
    #[error("the topic would have {bytes} bytes; 65535 are possible")]
    TopicTooLong {
        /// How many it would have.
        bytes: usize,
    },
}

/// Fields of a message in the order of the topic's levels.
const LEVEL_FIELDS: [MapField; 5] =
    [MapField::Function, MapField::Gateway, MapField::Location, MapField::Device, MapField::Sender];
/// Up to this many arguments a repeated name is looked for by walking through them.
const FEW_ARGUMENTS: usize = 16;

impl MessageCodec {
    /// A codec for the interface called `name`.
    #[must_use]
    pub fn new(maps: Arc<KeywordMaps>, name: &str) -> Self {
        Self { maps, name: name.into() }
    }

    /// The interface's maps.
    #[must_use]
    pub fn maps(&self) -> &Arc<KeywordMaps> {
        &self.maps
    }

    /// The interface's own name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether a message with this topic is one that the interface itself sent. Cheaper than decoding it: all that an
    /// interface says comes back to it when its subscription covers its own root.
    #[must_use]
    pub fn is_echo(&self, topic: &str) -> bool {
        let Ok([.., sender, _]) = seven_levels(topic) else { return false };
        self.internal(MapField::Sender, sender).is_ok_and(|sender| *sender == *self.name)
    }

    /// Reads a message from the wire. The root level is not looked at: the subscription selected it.
    ///
    /// # Errors
    /// The topic or the payload has another form, or a strict map does not know a keyword.
    pub fn decode(&self, topic: &str, payload: &[u8]) -> Result<InternalMsg, DecodeError> {
        self.read(topic, payload).map_err(|reason| DecodeError { topic: topic.into(), reason })
    }

    /// Writes a message for the wire. An empty sender becomes the interface's name.
    ///
    /// # Errors
    /// A strict map does not know a keyword, or the topic would not be a valid one.
    pub fn encode(&self, message: &InternalMsg) -> Result<EncodedMessage, EncodeError> {
        Ok(EncodedMessage { topic: self.topic(message)?, payload: self.payload(message)? })
    }

    fn read(&self, topic: &str, payload: &[u8]) -> Result<InternalMsg, DecodeReason> {
        let levels = seven_levels(topic)?;
        let iscmd = match levels[6] {
            "C" => true,
            "S" => false,
            other => return Err(DecodeReason::Type { found: other.into() }),
        };
        if payload.is_empty() {
            return Err(DecodeReason::Empty);
        }
        let text = std::str::from_utf8(payload)
            .map_err(|error| DecodeReason::Payload(PayloadError::NotUtf8 { offset: error.valid_up_to() }))?;
        let (action, arguments) = if text.starts_with('{') {
            self.read_object(text)?
        } else {
            (self.internal(MapField::Action, text)?.to_string(), MessageArguments::new())
        };
        Ok(InternalMsg {
            iscmd,
            function: self.internal(MapField::Function, levels[1])?.to_string(),
            gateway: self.internal(MapField::Gateway, levels[2])?.to_string(),
            location: self.internal(MapField::Location, levels[3])?.to_string(),
            device: self.internal(MapField::Device, levels[4])?.to_string(),
            sender: self.internal(MapField::Sender, levels[5])?.to_string(),
            action,
            arguments,
        })
    }

    fn read_object(&self, text: &str) -> Result<(String, MessageArguments), DecodeReason> {
        let payload = JsonPayload::parse_text(text).map_err(DecodeReason::Payload)?;
        let mut action = None;
        let mut arguments = MessageArguments::with_capacity(payload.fields().len());
        for field in payload.fields() {
            if field.name == "action" {
                let found = field.value.kind();
                let keyword = field.value.as_str().ok_or(DecodeReason::ActionNotText { found })?;
                action = Some(self.internal(MapField::Action, &keyword)?.to_string());
            } else {
                let key = self.internal(MapField::ArgKey, &field.name)?.to_string();
                let value = self.read_value(&field.name, &field.value)?;
                arguments.insert(key, value);
            }
        }
        Ok((action.ok_or(DecodeReason::NoAction)?, arguments))
    }

    fn read_value(&self, key: &str, value: &RawJson<'_>) -> Result<Value, DecodeReason> {
        if let Some(text) = value.as_str() {
            let same = matches!(self.maps.table(MapField::ArgValue).rule, KeywordRule::None);
            let text = if same { text.into_owned() } else { self.internal(MapField::ArgValue, &text)?.to_string() };
            return Ok(Value::String(text));
        }
        if self.maps.table(MapField::ArgValue).rule == KeywordRule::Strict {
            return Err(DecodeReason::ArgumentNotText { key: key.into(), found: value.kind() });
        }
        let too_large = || DecodeReason::NumberTooLarge { key: key.into() };
        let number = value.to_value().map_err(|_| too_large())?;
        // serde_json makes a double of an integer beyond 64 bits.
        if value.kind() == JsonKind::Integer && number.is_f64() && value.text() != "-0" {
            return Err(too_large());
        }
        Ok(number)
    }

    fn internal<'a>(&'a self, field: MapField, keyword: &'a str) -> Result<&'a str, DecodeReason> {
        let known = self.maps.table(field).to_internal(keyword);
        known.map_err(|_| DecodeReason::Unknown { field, keyword: keyword.into() })
    }

    fn mqtt<'a>(&'a self, field: MapField, keyword: &'a str) -> Result<&'a str, EncodeError> {
        let known = self.maps.table(field).to_mqtt(keyword);
        known.map_err(|_| EncodeError::Unknown { field, keyword: keyword.into() })
    }

    fn topic(&self, message: &InternalMsg) -> Result<String, EncodeError> {
        let internal = [&message.function, &message.gateway, &message.location, &message.device, &message.sender];
        let mut levels = [""; 5];
        for ((level, field), keyword) in levels.iter_mut().zip(LEVEL_FIELDS).zip(internal) {
            *level = self.mqtt(field, keyword)?;
        }
        if levels[4].is_empty() {
            levels[4] = &self.name;
        }
        let bytes = self.maps.root.len() + levels.iter().map(|level| level.len() + 1).sum::<usize>() + 2;
        if bytes > MAX_TOPIC_BYTES {
            return Err(EncodeError::TopicTooLong { bytes });
        }
        let mut topic = String::with_capacity(bytes);
        topic.push_str(&self.maps.root);
        for (level, field) in levels.into_iter().zip(LEVEL_FIELDS) {
            if let Some(byte) = level.bytes().find(|byte| matches!(byte, b'/' | b'+' | b'#' | 0)) {
                let character = char::from(byte);
                return Err(EncodeError::NotALevel { field, keyword: level.into(), character });
            }
            topic.push('/');
            topic.push_str(level);
        }
        topic.push_str(if message.iscmd { "/C" } else { "/S" });
        Ok(topic)
    }

    fn payload(&self, message: &InternalMsg) -> Result<String, EncodeError> {
        let action = self.mqtt(MapField::Action, &message.action)?;
        if message.arguments.is_empty() {
            return Ok(action.to_string());
        }
        let mut members = Members::with_capacity(message.arguments.len() + 1);
        for (key, value) in &message.arguments {
            members.put(self.mqtt(MapField::ArgKey, key)?, self.write_value(key, value)?);
        }
        if !action.is_empty() {
            members.put("action", ArgumentValue::Text(action));
        }
        Ok(members.dump())
    }

    fn write_value<'a>(&'a self, key: &str, value: &'a Value) -> Result<ArgumentValue<'a>, EncodeError> {
        match value {
            Value::String(text) => Ok(ArgumentValue::Text(self.mqtt(MapField::ArgValue, text)?)),
            _ if self.maps.table(MapField::ArgValue).rule == KeywordRule::Strict => {
                Err(EncodeError::ArgumentNotText { key: key.into() })
            }
            other => Ok(ArgumentValue::Other(other)),
        }
    }
}

fn seven_levels(topic: &str) -> Result<[&str; 7], DecodeReason> {
    let mut levels = [""; 7];
    let (mut count, mut start) = (0, 0);
    // By bytes: on levels as short as these a search for a character costs more than it saves.
    for (end, _) in topic.bytes().enumerate().filter(|(_, byte)| *byte == b'/') {
        if let Some(level) = levels.get_mut(count) {
            *level = &topic[start..end];
        }
        count += 1;
        start = end + 1;
    }
    if count != 6 {
        return Err(DecodeReason::Levels { levels: count + 1 });
    }
    levels[6] = &topic[start..];
    Ok(levels)
}

#[derive(Clone, Copy)]
enum ArgumentValue<'a> {
    Text(&'a str),
    Other(&'a Value),
}

/// The members of the object to write. Two internal names can become one on the wire; as in a Python dictionary the
/// last value counts, in the place of the first.
enum Members<'a> {
    Few(Vec<(&'a str, ArgumentValue<'a>)>),
    Many(IndexMap<&'a str, ArgumentValue<'a>>),
}

impl<'a> Members<'a> {
    fn with_capacity(count: usize) -> Self {
        if count <= FEW_ARGUMENTS {
            Members::Few(Vec::with_capacity(count))
        } else {
            Members::Many(IndexMap::with_capacity(count))
        }
    }

    fn put(&mut self, key: &'a str, value: ArgumentValue<'a>) {
        match self {
            Members::Few(members) => match members.iter_mut().find(|(known, _)| *known == key) {
                Some(known) => known.1 = value,
                None => members.push((key, value)),
            },
            Members::Many(members) => {
                members.insert(key, value);
            }
        }
    }

    fn dump(&self) -> String {
        match self {
            Members::Few(members) => dump_object(members.iter().map(|(key, value)| (*key, *value))),
            Members::Many(members) => dump_object(members.iter().map(|(key, value)| (*key, *value))),
        }
    }
}

fn dump_object<'a>(members: impl Iterator<Item = (&'a str, ArgumentValue<'a>)>) -> String {
    let mut out = String::with_capacity(128);
    let mut separator = "{";
    for (key, value) in members {
        out.push_str(separator);
        python::dump_text(key, &mut out);
        out.push_str(": ");
        match value {
            ArgumentValue::Text(text) => python::dump_text(text, &mut out),
            ArgumentValue::Other(value) => python::dump(value, &mut out),
        }
        separator = ", ";
    }
    out.push('}');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn codec(map: &str) -> MessageCodec {
        MessageCodec::new(Arc::new(KeywordMaps::from_json(map).unwrap()), "entry")
    }

    fn plain() -> MessageCodec {
        MessageCodec::new(Arc::new(KeywordMaps::none("home", Vec::new()).unwrap()), "entry")
    }

    #[test]
    fn a_bare_action_and_an_object_are_read() {
        let bare = plain().decode("any/security//hall/gate/me/C", b"GATE_OPEN").unwrap();
        assert!(bare.iscmd);
        assert_eq!(
            (bare.function.as_str(), bare.gateway.as_str(), bare.action.as_str()),
            ("security", "", "GATE_OPEN")
        );
        let object = plain().decode("home/f/g/l/d/s/S", br#"{"n": 2.50, "action": "A", "t": "x"}"#).unwrap();
        assert_eq!(Value::Object(object.arguments), json!({"n": 2.5, "t": "x"}));
        assert_eq!(plain().decode("home/f/g/l/d/s/S", b" {\"action\":\"A\"}").unwrap().action, " {\"action\":\"A\"}");
    }

    #[test]
    fn a_refusal_names_the_topic_and_the_reason() {
        let reason = |topic: &str, payload: &[u8]| plain().decode(topic, payload).unwrap_err();
        let error = reason("home/f/g/l/d/s", b"ON");
        assert_eq!(
            error.to_string(),
            "message on \"home/f/g/l/d/s\" refused: its topic has 6 levels instead of the seven of \
             root/function/gateway/location/device/sender/type"
        );
        let topic = "home/f/g/l/d/s/C";
        assert!(matches!(reason("home/f/g/l/d/s/X", b"ON").reason, DecodeReason::Type { .. }));
        assert_eq!(reason(topic, b"").reason, DecodeReason::Empty);
        assert!(matches!(reason(topic, b"\xff").reason, DecodeReason::Payload(PayloadError::NotUtf8 { offset: 0 })));
        assert!(matches!(reason(topic, b"{x").reason, DecodeReason::Payload(PayloadError::Syntax { .. })));
        assert_eq!(reason(topic, b"{}").reason, DecodeReason::NoAction);
        assert!(matches!(reason(topic, b"{\"action\":7}").reason, DecodeReason::ActionNotText { .. }));
        let large = b"{\"action\":\"A\",\"n\":123456789012345678901}";
        assert_eq!(reason(topic, large).reason, DecodeReason::NumberTooLarge { key: "n".into() });
    }

    #[test]
    fn a_token_that_would_change_the_topic_is_refused() {
        for (bad, character) in [("a/b", '/'), ("+", '+'), ("x#", '#'), ("\0", '\0')] {
            let message = InternalMsg { location: bad.into(), action: "ON".into(), ..Default::default() };
            let error = plain().encode(&message).unwrap_err();
            assert_eq!(error, EncodeError::NotALevel { field: MapField::Location, keyword: bad.into(), character },);
        }
        let long = InternalMsg { device: "d".repeat(70_000), ..Default::default() };
        assert!(matches!(plain().encode(&long), Err(EncodeError::TopicTooLong { .. })));
    }

    #[test]
    fn an_empty_sender_becomes_the_interfaces_name_and_its_own_message_is_an_echo() {
        let message = InternalMsg { action: "ON".into(), ..Default::default() };
        let encoded = plain().encode(&message).unwrap();
        assert_eq!((encoded.topic.as_str(), encoded.payload.as_str()), ("home/////entry/S", "ON"));
        let back = plain().decode(&encoded.topic, encoded.payload.as_bytes()).unwrap();
        assert_eq!(back.sender, "entry");
        assert!(plain().is_echo(&encoded.topic));
        for topic in ["home/////other/S", "home/////entry", "home//////entry/S", "entry"] {
            assert!(!plain().is_echo(topic), "{topic}");
        }
    }

    #[test]
    fn names_that_become_one_keep_the_first_place_and_the_last_value() {
        let map = r#"{"root": "r", "topics": [], "argkey": {"maptype": "loose", "map": {"A": ["x"]}}}"#;
        let arguments = json!({"A": "1", "b": "2", "x": "3"}).as_object().unwrap().clone();
        let message = InternalMsg { arguments, ..Default::default() };
        assert_eq!(codec(map).encode(&message).unwrap().payload, r#"{"x": "3", "b": "2"}"#);
        let many: MessageArguments = (0..40).map(|n| (format!("k{n}"), json!(n))).collect();
        let message = InternalMsg { arguments: many, action: "go".into(), ..Default::default() };
        assert!(codec(map).encode(&message).unwrap().payload.ends_with("\"k39\": 39, \"action\": \"go\"}"));
    }
}
