//! The fields of payloads of one shape.

use crate::event_time::{TimeFormat, read_time};
use crate::payload::{JsonKind, JsonPayload};
use crate::schema::FieldType;
use indexmap::IndexMap;
use serde_json::{Map, Value};

/// Fields beyond these are left out.
const MAX_FIELDS: usize = 500;
/// What devices call the time of a reading.
const TIME_NAMES: [&str; 8] = ["time", "timestamp", "ts", "tst", "datetime", "last_seen", "measured_at", "date"];

/// Values of several types, or of none but null.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or "))]
struct OpenField(Vec<JsonKind>);

/// What was seen of the fields.
#[derive(Debug, Default)]
pub(super) struct SeenFields {
    messages: u64,
    fields: IndexMap<Box<str>, SeenField>,
}

#[derive(Debug)]
struct SeenField {
    count: u64,
    kinds: Vec<JsonKind>,
    /// Every value so far could be read as a time.
    is_time: bool,
}

impl SeenFields {
    pub(super) fn observe(&mut self, payload: &JsonPayload<'_>) {
        self.messages += 1;
        for field in payload.fields() {
            if self.fields.len() >= MAX_FIELDS && !self.fields.contains_key(&*field.name) {
                continue;
            }
            let seen = self.fields.entry(field.name.as_ref().into()).or_insert_with(|| SeenField {
                count: 0,
                kinds: Vec::new(),
                is_time: TIME_NAMES.iter().any(|name| field.name.eq_ignore_ascii_case(name)),
            });
            seen.count += 1;
            seen.is_time &= read_time(&field.value, TimeFormat::Auto).is_some();
            if !seen.kinds.contains(&field.value.kind()) {
                seen.kinds.push(field.value.kind());
            }
        }
    }

    pub(super) fn messages(&self) -> u64 {
        self.messages
    }

    /// Whether a payload has at least half of the keys of all in common with those that were seen.
    pub(super) fn resemble(&self, payload: &JsonPayload<'_>) -> bool {
        let shared = payload.fields().iter().filter(|field| self.fields.contains_key(&*field.name)).count();
        let fewer = payload.fields().len().min(self.fields.len());
        shared * 2 >= fewer && (shared > 0 || fewer == 0)
    }

    /// A payload schema in the short form. What was not in every message is optional, what was null once is nullable.
    pub(super) fn schema(&self) -> Value {
        let named = self.fields.iter().filter_map(|(name, seen)| {
            let kind = seen.kind().ok()?;
            let optional = if seen.count < self.messages { "?" } else { "" };
            let nullable = if seen.kinds.contains(&JsonKind::Null) { "|null" } else { "" };
            Some((name.to_string(), Value::from(format!("{kind}{optional}{nullable}"))))
        });
        Value::Object(named.collect::<Map<_, _>>())
    }

    /// Fields that the schema leaves open, each with the reason. They are stored all the same.
    pub(super) fn left_open(&self) -> Vec<String> {
        let open = |seen: &SeenField| seen.kind().err();
        self.fields.iter().filter_map(|(name, seen)| Some(format!("{name:?}: {}", open(seen)?))).collect()
    }

    /// The field with the time of the reading, if every message had one.
    pub(super) fn event_time(&self) -> Option<&str> {
        let is_time = |seen: &SeenField| seen.is_time && seen.count == self.messages;
        self.fields.iter().find(|(_, seen)| is_time(seen)).map(|(name, _)| &**name)
    }
}

impl SeenField {
    fn kind(&self) -> Result<FieldType, OpenField> {
        let kinds: Vec<JsonKind> = self.kinds.iter().copied().filter(|kind| *kind != JsonKind::Null).collect();
        match kinds[..] {
            // A sensor's reading is whole by chance: `integer` would refuse the first one that is not.
            [JsonKind::Integer | JsonKind::Number]
            | [JsonKind::Integer, JsonKind::Number]
            | [JsonKind::Number, JsonKind::Integer] => Ok(FieldType::Number),
            [JsonKind::String] => Ok(FieldType::String),
            [JsonKind::Boolean] => Ok(FieldType::Boolean),
            [JsonKind::Object] => Ok(FieldType::Object),
            [JsonKind::Array] => Ok(FieldType::Array),
            _ => Err(OpenField(self.kinds.clone())),
        }
    }
}
