//! The options of a row, with all that is wrong with them told at once.

use super::options::{FlowOptions, OnChange};
use super::problem::RowProblem;
use crate::event_time::EventTimeReading;
use crate::reading::{READING_OPTIONS, RecordReading};
use crate::schema::PayloadSchema;
use crate::suggestion::unknown_word;
use serde_json::{Map, Value};

/// Every option's name beside [`READING_OPTIONS`].
const OTHER_OPTIONS: [&str; 20] = [
    "actions",
    "event_time",
    "table",
    "attributes",
    "headers",
    "auth",
    "webhook_secret",
    "timeout",
    "retry",
    "concurrency",
    "url_template",
    "body_template",
    "retained",
    "on_change",
    "min_interval",
    "silence",
    "silent_actions",
    "value_format",
    "retention",
    "rollups",
];

/// The options of a row, and what is made of those that are small languages of their own.
#[derive(Debug, Default)]
pub(super) struct RowOptions {
    pub(super) options: FlowOptions,
    pub(super) reading: Option<RecordReading>,
    pub(super) event_time: Option<EventTimeReading>,
}

/// Reads the options' text.
///
/// # Errors
/// All problems, in one text.
pub(super) fn read(text: Option<&str>, schema: &PayloadSchema) -> Result<RowOptions, RowProblem> {
    let text = text.filter(|text| !text.is_empty());
    let Some(text) = text else { return Ok(RowOptions::default()) };
    let refuse = |problems: Vec<String>| ("options", problems.join("; "));
    let options: FlowOptions = serde_json::from_str(text).map_err(|error| refuse(all_problems(text, &error)))?;
    let read = compile(options).map_err(refuse)?;
    let problems = unknown_fields(&read, schema);
    if problems.is_empty() { Ok(read) } else { Err(refuse(problems)) }
}

fn compile(options: FlowOptions) -> Result<RowOptions, Vec<String>> {
    let reading = RecordReading::compile(&options.reading());
    let event_time = options.event_time.as_ref().map(EventTimeReading::compile).transpose();
    match (reading, event_time) {
        (Ok(reading), Ok(event_time)) => Ok(RowOptions { options, reading, event_time }),
        (reading, event_time) => {
            let problems = [reading.err(), event_time.err()];
            Err(problems.into_iter().flatten().flatten().collect())
        }
    }
}

/// What is wrong besides the first thing that stopped the reader.
fn all_problems(text: &str, first: &serde_json::Error) -> Vec<String> {
    let Ok(Value::Object(given)) = serde_json::from_str(text) else { return vec![first.to_string()] };
    let known: Vec<&str> = OTHER_OPTIONS.into_iter().chain(READING_OPTIONS).collect();
    let (good, unknown): (Map<_, _>, Map<_, _>) = given.into_iter().partition(|(name, _)| known.contains(&&**name));
    let mut problems: Vec<String> =
        unknown.keys().map(|name| format!("unknown field `{name}`: {}", unknown_word(name, &known))).collect();
    // One option by itself, so that each says what is wrong with it.
    for (name, value) in good {
        let alone = Value::Object(Map::from_iter([(name.clone(), value)]));
        match serde_json::from_value::<FlowOptions>(alone) {
            Err(error) => problems.push(format!("{name}: {error}")),
            Ok(alone) => problems.extend(compile(alone).err().unwrap_or_default()),
        }
    }
    if problems.is_empty() { vec![first.to_string()] } else { problems }
}

/// Fields that the schema or other options ask for, and that no record can have.
fn unknown_fields(read: &RowOptions, schema: &PayloadSchema) -> Vec<String> {
    let Some(known) = read.reading.as_ref().and_then(RecordReading::field_names) else { return Vec::new() };
    let changing = match &read.options.on_change {
        Some(OnChange::Fields(names)) => names.as_slice(),
        Some(OnChange::All) | None => &[],
    };
    let of_schema = schema.required().map(|name| ("the schema", name));
    let of_changes = changing.iter().map(|name| ("on_change", name.as_str()));
    let of_time = read.event_time.as_ref().and_then(EventTimeReading::field).map(|name| ("event_time", name));
    let missing = of_schema.chain(of_changes).chain(of_time).filter(|(_, name)| !known.contains(name));
    missing
        .map(|(who, name)| format!("fields: {who} names a field that is not there: {}", unknown_word(name, &known)))
        .collect()
}
