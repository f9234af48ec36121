//! The options of a row, with all that is wrong with them told at once.

use super::options::{FlowOptions, OnChange};
use super::problem::RowProblem;
use crate::reading::{READING_OPTIONS, RecordReading};
use crate::schema::PayloadSchema;
use crate::suggestion::unknown_word;
use serde_json::{Map, Value};

/// Every option's name beside [`READING_OPTIONS`].
const OTHER_OPTIONS: [&str; 18] = [
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
    "value_format",
    "retention",
    "rollups",
];

/// Reads the options' text.
///
/// # Errors
/// All problems, in one text.
pub(super) fn read(
    text: Option<&str>,
    schema: &PayloadSchema,
) -> Result<(FlowOptions, Option<RecordReading>), RowProblem> {
    let text = text.filter(|text| !text.is_empty());
    let Some(text) = text else { return Ok((FlowOptions::default(), None)) };
    let refuse = |problems: Vec<String>| ("options", problems.join("; "));
    let options: FlowOptions = serde_json::from_str(text).map_err(|error| refuse(all_problems(text, &error)))?;
    let reading = RecordReading::compile(&options.reading()).map_err(refuse)?;
    let Some(reading) = reading else { return Ok((options, None)) };
    let problems = unknown_fields(&options, &reading, schema);
    if problems.is_empty() { Ok((options, Some(reading))) } else { Err(refuse(problems)) }
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
            Ok(alone) => problems.extend(RecordReading::compile(&alone.reading()).err().unwrap_or_default()),
        }
    }
    if problems.is_empty() { vec![first.to_string()] } else { problems }
}

/// Fields that the schema or `on_change` asks for, and that no record can have.
fn unknown_fields(options: &FlowOptions, reading: &RecordReading, schema: &PayloadSchema) -> Vec<String> {
    let Some(known) = reading.field_names() else { return Vec::new() };
    let changing = match &options.on_change {
        Some(OnChange::Fields(names)) => names.as_slice(),
        Some(OnChange::All) | None => &[],
    };
    let of_schema = schema.required().map(|name| ("the schema", name));
    let of_changes = changing.iter().map(|name| ("on_change", name.as_str()));
    let missing = of_schema.chain(of_changes).filter(|(_, name)| !known.contains(name));
    missing
        .map(|(who, name)| format!("fields: {who} names a field that is not there: {}", unknown_word(name, &known)))
        .collect()
}
