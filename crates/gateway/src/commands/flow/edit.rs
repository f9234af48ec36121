//! `flow add`, `edit`, `copy` and `rename`: what the flags name is changed, and nothing else.

use super::difference::{definition, differences};
use crate::cli::{ActionName, FlowFields};
use crate::commands::explain;
use crate::exit::CommandFailure;
use hearthgate_domain::flow::FlowRow;
use serde_json::{Map, Value, json};
use std::io::{BufRead, IsTerminal, Write};

/// The row with what the flags say.
///
/// # Errors
/// A new flow lacks a topic or a schema, a file can't be read, or the options are no JSON object.
pub(super) fn with_fields(mut row: FlowRow, fields: &FlowFields) -> anyhow::Result<FlowRow> {
    let FlowFields { code, topic, description, action, schema, endpoint_url, options, retention, rollups, disabled } =
        fields;
    row.code.clone_from(code);
    if let Some(topic) = topic {
        row.topic.clone_from(topic);
    }
    if let Some(description) = description {
        row.description.clone_from(description);
    }
    match action {
        Some(action) => row.action = action_name(*action).to_owned(),
        None if row.action.is_empty() => row.action = action_name(ActionName::StoreDb).to_owned(),
        None => {}
    }
    if let Some(schema) = schema {
        row.payload_schema = text_argument(schema)?;
    } else if row.payload_schema.is_empty() {
        return Err(
            CommandFailure::Usage("a flow needs --schema, such as '{\"temperature\": \"float\"}'".into()).into()
        );
    }
    if row.topic.is_empty() {
        return Err(CommandFailure::Usage("a flow needs --topic".into()).into());
    }
    if let Some(url) = endpoint_url {
        row.endpoint_url = Some(url.clone()).filter(|url| !url.is_empty());
    }
    if let Some(options) = options {
        row.options = Some(text_argument(options)?).filter(|options| !options.is_empty());
    }
    if let Some(retention) = retention {
        let value = Some(retention.as_str()).filter(|retention| !retention.is_empty()).map(Value::from);
        row.options = with_option(row.options, "retention", value)?;
    }
    if let Some(rollups) = rollups {
        row.options = with_option(row.options, "rollups", rollup_list(rollups))?;
    }
    row.enabled &= !disabled;
    Ok(row)
}

fn action_name(action: ActionName) -> &'static str {
    match action {
        ActionName::StoreDb => "STORE_DB",
        ActionName::PostEndpoint => "POST_ENDPOINT",
        ActionName::Publish => "PUBLISH",
        ActionName::Notify => "NOTIFY",
        ActionName::Log => "LOG",
    }
}

/// `15m:5y,1d` as the option has it; none for an empty text.
fn rollup_list(text: &str) -> Option<Value> {
    let rollup = |text: &str| match text.split_once(':') {
        Some((every, keep)) => json!({"every": every, "keep": keep}),
        None => json!({"every": text}),
    };
    let rollups: Vec<Value> = text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(rollup).collect();
    (!rollups.is_empty()).then(|| rollups.into())
}

/// The options with one of them set or removed, and the others as they were.
fn with_option(options: Option<String>, name: &str, value: Option<Value>) -> Result<Option<String>, CommandFailure> {
    let text = options.filter(|options| !options.is_empty()).unwrap_or_else(|| "{}".into());
    let mut options: Map<String, Value> =
        serde_json::from_str(&text).map_err(|error| CommandFailure::Refused(format!("options: {error}")))?;
    match value {
        Some(value) => drop(options.insert(name.to_owned(), value)),
        None => drop(options.shift_remove(name)),
    }
    Ok((!options.is_empty()).then(|| Value::Object(options).to_string()))
}

fn text_argument(argument: &str) -> anyhow::Result<String> {
    String::from_utf8(explain::payload_bytes(argument)?)
        .map_err(|_| CommandFailure::Usage("this is not UTF-8".into()).into())
}

/// Says what differs, a line for each thing.
///
/// # Errors
/// Writing fails.
pub(super) fn tell_differences(old: &FlowRow, new: &FlowRow, out: &mut dyn Write) -> std::io::Result<()> {
    for line in differences(&definition(old), &definition(new)) {
        writeln!(out, "  {line}")?;
    }
    Ok(())
}

/// Asks whether what a change does to stored data is meant; `--yes`, or nothing to ask about, answers it.
///
/// # Errors
/// The answer is not yes, or nobody is there to ask.
pub(crate) fn confirm(consequences: &[String], is_agreed: bool) -> anyhow::Result<()> {
    if consequences.is_empty() {
        return Ok(());
    }
    for consequence in consequences {
        eprintln!("this concerns stored data: {consequence}");
    }
    if is_agreed {
        return Ok(());
    }
    let input = std::io::stdin();
    if !input.is_terminal() {
        return Err(CommandFailure::Usage("nothing was changed; say --yes if that is meant".into()).into());
    }
    eprint!("go on? [y/N] ");
    let mut answer = String::new();
    input.lock().read_line(&mut answer)?;
    match answer.trim().to_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(CommandFailure::Usage("nothing was changed".into()).into()),
    }
}
