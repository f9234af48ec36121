//! What a flow for some traffic could look like: a proposal to review, from the payloads that came by.

use crate::payload::{JsonKind, JsonPayload};
use crate::schema::FieldType;
use indexmap::IndexMap;
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// Fields and topics beyond these are counted, not kept: traffic is other people's.
const MAX_FIELDS: usize = 500;
const MAX_TOPICS: usize = 1_000;

/// What has come by so far.
#[derive(Debug, Default)]
pub struct SchemaLearner {
    messages: u64,
    unusable: u64,
    fields: IndexMap<Box<str>, Seen>,
    topics: BTreeSet<Box<str>>,
}

/// The values of one field.
#[derive(Debug, Default)]
struct Seen {
    count: u64,
    kinds: Vec<JsonKind>,
}

/// Why a field gets no type.
#[derive(Debug, thiserror::Error)]
enum OpenField {
    #[error("in {count} of {messages} messages")]
    Sometimes { count: u64, messages: u64 },
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or "))]
    Mixed(Vec<JsonKind>),
}

impl SchemaLearner {
    /// Takes a message into account.
    pub fn observe(&mut self, topic: &str, payload: &[u8]) {
        let Ok(payload) = JsonPayload::parse(payload) else {
            self.unusable += 1;
            return;
        };
        self.messages += 1;
        if self.topics.len() < MAX_TOPICS && !self.topics.contains(topic) {
            self.topics.insert(topic.into());
        }
        for field in payload.fields() {
            if self.fields.len() >= MAX_FIELDS && !self.fields.contains_key(&*field.name) {
                continue;
            }
            let seen = self.fields.entry(field.name.as_ref().into()).or_default();
            seen.count += 1;
            if !seen.kinds.contains(&field.value.kind()) {
                seen.kinds.push(field.value.kind());
            }
        }
    }

    /// Messages that a flow could take.
    #[must_use]
    pub fn messages(&self) -> u64 {
        self.messages
    }

    /// Messages that are no JSON objects: every flow refuses them.
    #[must_use]
    pub fn unusable(&self) -> u64 {
        self.unusable
    }

    /// How many topics they came on, counted up to 1,000.
    #[must_use]
    pub fn topics(&self) -> usize {
        self.topics.len()
    }

    /// A payload schema in the short form: the fields that every message had, with the one type that they had.
    #[must_use]
    pub fn schema(&self) -> Value {
        let named = self.fields.iter().filter_map(|(name, seen)| Some((name.to_string(), self.type_of(seen).ok()?)));
        Value::Object(named.map(|(name, kind)| (name, Value::from(kind.to_string()))).collect::<Map<_, _>>())
    }

    /// Fields that the schema leaves open, each with the reason. They are stored all the same.
    #[must_use]
    pub fn left_open(&self) -> Vec<String> {
        let open = |seen: &Seen| self.type_of(seen).err();
        self.fields.iter().filter_map(|(name, seen)| Some(format!("{name:?}: {}", open(seen)?))).collect()
    }

    fn type_of(&self, seen: &Seen) -> Result<FieldType, OpenField> {
        if seen.count < self.messages {
            return Err(OpenField::Sometimes { count: seen.count, messages: self.messages });
        }
        match seen.kinds[..] {
            // A sensor's reading is whole by chance: `integer` would refuse the first one that is not.
            [JsonKind::Integer | JsonKind::Number]
            | [JsonKind::Integer, JsonKind::Number]
            | [JsonKind::Number, JsonKind::Integer] => Ok(FieldType::Number),
            [JsonKind::String] => Ok(FieldType::String),
            [JsonKind::Boolean] => Ok(FieldType::Boolean),
            [JsonKind::Object] => Ok(FieldType::Object),
            [JsonKind::Array] => Ok(FieldType::Array),
            _ => Err(OpenField::Mixed(seen.kinds.clone())),
        }
    }
}

/// A flow's code after its topic: `sensors/+/aht10` becomes `SENSORS_AHT10`.
#[must_use]
pub fn code_for(filter: &str) -> String {
    let level = |level: &str| {
        level.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect::<String>()
    };
    let named = filter.split('/').filter(|name| !matches!(*name, "+" | "#" | "") && !name.starts_with('{'));
    let code = named.map(level).collect::<Vec<_>>().join("_");
    if code.is_empty() { "LEARNED".into() } else { code.chars().take(100).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn fields_that_are_always_there_with_one_type_make_the_schema() {
        let mut learner = SchemaLearner::default();
        for payload in [
            r#"{"t": 21, "h": 40.5, "name": "a", "on": true, "raw": {"x": 1}, "tags": []}"#,
            r#"{"t": 21.5, "h": 41.0, "name": "b", "on": false, "raw": {}, "tags": [1], "note": "x"}"#,
        ] {
            learner.observe("a/b", payload.as_bytes());
        }
        let schema = json!({
            "t": "number", "h": "number", "name": "string", "on": "boolean", "raw": "object", "tags": "array"
        });
        assert_eq!(learner.schema(), schema);
        assert_eq!(learner.left_open(), [r#""note": in 1 of 2 messages"#]);
        assert!(crate::schema::PayloadSchema::compile(&schema).is_ok());
    }

    #[test]
    fn whole_readings_alone_make_a_number_that_may_have_a_fraction() {
        let mut learner = SchemaLearner::default();
        learner.observe("a", br#"{"humidity": 22}"#);
        learner.observe("a", br#"{"humidity": 23}"#);
        assert_eq!(learner.schema(), json!({"humidity": "number"}));
    }

    #[test]
    fn a_field_of_changing_type_is_left_open() {
        let mut learner = SchemaLearner::default();
        learner.observe("a", br#"{"v": 1, "n": null}"#);
        learner.observe("b", br#"{"v": "1", "n": null}"#);
        learner.observe("b", b"on");
        assert_eq!(learner.schema(), json!({}));
        assert_eq!(learner.left_open(), [r#""v": integer or string"#, r#""n": null"#]);
        assert_eq!((learner.messages(), learner.unusable(), learner.topics()), (2, 1, 2));
    }

    #[test]
    fn a_code_is_made_of_the_levels_that_are_named() {
        for (filter, code) in
            [("sensors/+/aht10", "SENSORS_AHT10"), ("a/{room}/t-1", "A_T_1"), ("#", "LEARNED"), ("+/x/#", "X")]
        {
            assert_eq!(code_for(filter), code);
        }
    }
}
