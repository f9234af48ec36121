//! The fields of payloads of one shape: the leaves of their objects, each with its JSON Pointer. Lists are leaves.

use crate::event_time::{TimeFormat, read_time};
use crate::payload::{JsonKind, RawJson};
use crate::schema::FieldType;
use indexmap::IndexMap;
use serde_json::{Map, Value, json};
use std::collections::{BTreeSet, HashSet};

/// Fields beyond these are left out.
const MAX_FIELDS: usize = 500;
/// Objects in deeper ones are left as they are.
const MAX_DEPTH: usize = 6;
/// Different devices that are told apart, at most.
const MAX_DEVICES: usize = 16;
/// What devices call the time of a reading.
const TIME_NAMES: [&str; 8] = ["time", "timestamp", "ts", "tst", "datetime", "last_seen", "measured_at", "date"];
/// What they call themselves, where several speak on one topic.
const DEVICE_NAMES: [&str; 9] =
    ["id", "device", "device_id", "deviceid", "dev_id", "dev_eui", "mac", "serial", "sensor_id"];
/// Of so many values one may be no number: `nan`, `unavailable`.
const NUMBERS_TO_OTHERS: u64 = 20;

/// Values of several types, or of none but null.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or "))]
struct OpenField(Vec<JsonKind>);

/// What was seen of the fields.
#[derive(Debug, Default)]
pub(super) struct SeenFields {
    messages: u64,
    /// By pointer.
    fields: IndexMap<Box<str>, SeenField>,
}

#[derive(Debug)]
struct SeenField {
    /// The last step of its pointer.
    name: Box<str>,
    count: u64,
    kinds: Vec<(JsonKind, u64)>,
    /// Every value so far could be read as a time.
    is_time: bool,
    /// Its values, if it may name a device.
    devices: Option<BTreeSet<Box<str>>>,
}

impl SeenField {
    fn new(name: &str) -> Self {
        let is_one_of = |names: &[&str]| names.iter().any(|known| name.eq_ignore_ascii_case(known));
        SeenField {
            name: name.into(),
            count: 0,
            kinds: Vec::new(),
            is_time: is_one_of(&TIME_NAMES),
            devices: is_one_of(&DEVICE_NAMES).then(BTreeSet::new),
        }
    }

    fn observe(&mut self, value: RawJson<'_>) {
        self.count += 1;
        self.is_time &= read_time(&value, TimeFormat::Auto).is_some();
        let kind = value.kind();
        match self.kinds.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, count)) => *count += 1,
            None => self.kinds.push((kind, 1)),
        }
        if let Some(devices) = self.devices.as_mut().filter(|devices| devices.len() < MAX_DEVICES) {
            devices.insert(value.text().chars().take(64).collect());
        }
    }

    fn is_nullable(&self) -> bool {
        self.kinds.iter().any(|(kind, _)| *kind == JsonKind::Null)
    }

    fn kind(&self) -> Result<FieldType, OpenField> {
        let kinds: Vec<JsonKind> =
            self.kinds.iter().map(|(kind, _)| *kind).filter(|kind| *kind != JsonKind::Null).collect();
        match kinds[..] {
            // A sensor's reading is whole by chance: `integer` would refuse the first one that is not.
            [JsonKind::Integer | JsonKind::Number]
            | [JsonKind::Integer, JsonKind::Number]
            | [JsonKind::Number, JsonKind::Integer] => Ok(FieldType::Number),
            [JsonKind::String] => Ok(FieldType::String),
            [JsonKind::Boolean] => Ok(FieldType::Boolean),
            [JsonKind::Object] => Ok(FieldType::Object),
            [JsonKind::Array] => Ok(FieldType::Array),
            _ => Err(OpenField(self.kinds.iter().map(|(kind, _)| *kind).collect())),
        }
    }

    /// Nearly all values are numbers.
    fn is_mostly_number(&self) -> bool {
        let is_number = |kind: JsonKind| matches!(kind, JsonKind::Integer | JsonKind::Number);
        let numbers: u64 = self.kinds.iter().filter(|(kind, _)| is_number(*kind)).map(|(_, count)| count).sum();
        numbers >= (self.count - numbers) * NUMBERS_TO_OTHERS
    }
}

impl SeenFields {
    pub(super) fn observe(&mut self, object: RawJson<'_>) {
        self.messages += 1;
        for (pointer, name, value) in leaves(object) {
            self.observe_field(&pointer, &name, value);
        }
    }

    /// Of a payload that is a bare value.
    pub(super) fn observe_value(&mut self, value: RawJson<'_>) {
        self.messages += 1;
        self.observe_field("/value", "value", value);
    }

    fn observe_field(&mut self, pointer: &str, name: &str, value: RawJson<'_>) {
        if self.fields.len() >= MAX_FIELDS && !self.fields.contains_key(pointer) {
            return;
        }
        self.fields.entry(pointer.into()).or_insert_with(|| SeenField::new(name)).observe(value);
    }

    pub(super) fn messages(&self) -> u64 {
        self.messages
    }

    /// Whether a payload has at least half of the keys of all in common with those that were seen.
    pub(super) fn resemble(&self, object: RawJson<'_>) -> bool {
        let keys = leaves(object);
        let shared = keys.iter().filter(|(pointer, ..)| self.fields.contains_key(&**pointer)).count();
        let fewer = keys.len().min(self.fields.len());
        shared * 2 >= fewer && (shared > 0 || fewer == 0)
    }

    /// Whether a bare value is a number as the others are, or none as they are.
    pub(super) fn is_like_value(&self, value: RawJson<'_>) -> bool {
        let is_number = matches!(value.kind(), JsonKind::Integer | JsonKind::Number);
        self.fields.values().all(|seen| seen.is_mostly_number() == is_number)
    }

    /// A payload schema in the short form. What was not in every message is optional, what was null once is nullable.
    pub(super) fn schema(&self) -> Value {
        let named = self.named().filter_map(|(name, _, seen)| {
            let kind = seen.kind().ok()?;
            let optional = if seen.count < self.messages { "?" } else { "" };
            let nullable = if seen.is_nullable() { "|null" } else { "" };
            Some((name, Value::from(format!("{kind}{optional}{nullable}"))))
        });
        Value::Object(named.collect::<Map<_, _>>())
    }

    /// Of bare values: the type of nearly all of them.
    pub(super) fn value_schema(&self) -> Value {
        match self.fields.values().next() {
            Some(seen) if seen.is_mostly_number() => json!({"value": "number"}),
            _ => self.schema(),
        }
    }

    /// The option `fields`, if any of them stands in a nested object.
    pub(super) fn nested(&self) -> Option<Value> {
        if self.fields.keys().all(|pointer| pointer.matches('/').count() == 1) {
            return None;
        }
        let rule = |(name, pointer, seen): (String, &str, &SeenField)| match seen.count < self.messages {
            true => (name, json!({"from": pointer, "optional": true})),
            false => (name, json!(pointer)),
        };
        Some(Value::Object(self.named().map(rule).collect()))
    }

    /// Fields that the schema leaves open, each with the reason. They are stored all the same.
    pub(super) fn left_open(&self) -> Vec<String> {
        let open = |seen: &SeenField| seen.kind().err();
        self.named().filter_map(|(name, _, seen)| Some(format!("{name:?}: {}", open(seen)?))).collect()
    }

    /// The field with the time of the reading, if every message had one.
    pub(super) fn event_time(&self) -> Option<String> {
        let is_time = |seen: &SeenField| seen.is_time && seen.count == self.messages;
        self.named().find(|(_, _, seen)| is_time(seen)).map(|(name, ..)| name)
    }

    /// An expression that tells the devices of one topic apart, if there were several.
    pub(super) fn device_key(&self) -> Option<String> {
        let is_key = |seen: &SeenField| {
            seen.count == self.messages && seen.devices.as_ref().is_some_and(|devices| devices.len() > 1)
        };
        let (pointer, _) = self.fields.iter().find(|(_, seen)| is_key(seen))?;
        let is_plain = |step: &str| step.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'_');
        pointer.split('/').all(is_plain).then(|| format!("payload{}", pointer.replace('/', ".")))
    }

    /// Name, pointer, and what was seen: a name is the path of its field, and different from all others.
    fn named(&self) -> impl Iterator<Item = (String, &str, &SeenField)> {
        let mut taken = HashSet::new();
        self.fields.iter().map(move |(pointer, seen)| {
            let is_nested = pointer.matches('/').count() > 1;
            let path = if is_nested { name_of(pointer) } else { seen.name.to_string() };
            let numbered = (2..).map(|number| format!("{path}_{number}"));
            let name = std::iter::once(path.clone()).chain(numbered).find(|name| !taken.contains(name));
            let name = name.unwrap_or(path);
            taken.insert(name.clone());
            (name, &**pointer, seen)
        })
    }
}

/// `/ENERGY/Power` is `ENERGY_Power`.
fn name_of(pointer: &str) -> String {
    pointer.trim_start_matches('/').replace('/', "_").replace("~1", "/").replace("~0", "~")
}

/// Pointer, last name and value of each field; empty objects have none.
fn leaves<'a>(object: RawJson<'a>) -> Vec<(String, String, RawJson<'a>)> {
    let mut found = Vec::new();
    let mut rest = vec![(String::new(), object, 0)];
    while let Some((path, object, depth)) = rest.pop() {
        let mut nested = Vec::new();
        for (name, value) in object.members().unwrap_or_default() {
            let pointer = format!("{path}/{}", name.replace('~', "~0").replace('/', "~1"));
            match value.kind() == JsonKind::Object && depth < MAX_DEPTH {
                true => nested.push((pointer, value, depth + 1)),
                false => found.push((pointer, name.into_owned(), value)),
            }
        }
        rest.extend(nested.into_iter().rev());
    }
    found
}
