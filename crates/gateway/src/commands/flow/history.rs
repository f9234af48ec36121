//! `flow history`: who changed a flow, when, and how.

use super::difference::{definition, differences};
use crate::exit::ExitStatus;
use chrono::{DateTime, Local, SecondsFormat};
use hearthgate_domain::flow::FlowRow;
use hearthgate_storage::sql::FlowChange;
use serde_json::{Value, json};
use std::io::Write;

/// Writes the changes, the oldest first.
///
/// # Errors
/// Writing fails.
pub(super) fn run(changes: &[FlowChange], as_json: bool, out: &mut dyn Write) -> anyhow::Result<ExitStatus> {
    for change in changes {
        let at = DateTime::from_timestamp_micros(change.at).unwrap_or_default();
        let (what, lines) = (verb(change), lines(change));
        if as_json {
            let at = at.to_rfc3339_opts(SecondsFormat::Micros, true);
            writeln!(out, "{}", json!({"at": at, "author": change.author, "what": what, "differences": lines}))?;
            continue;
        }
        let at = at.with_timezone(&Local).format("%Y-%m-%d %H:%M:%S");
        writeln!(out, "{at}  {what:<8}  {}", change.author)?;
        for line in lines {
            writeln!(out, "  {line}")?;
        }
    }
    if changes.is_empty() {
        eprintln!("no change of it is known; the log begins with the version that keeps it");
        return Ok(ExitStatus::Findings);
    }
    Ok(ExitStatus::Ok)
}

fn verb(change: &FlowChange) -> &'static str {
    match (&change.before, &change.after) {
        (None, _) => "added",
        (Some(_), None) => "removed",
        (Some(before), Some(after)) if before.code != after.code => "renamed",
        (Some(before), Some(after)) => match (FlowRow { enabled: before.enabled, ..after.clone() }) == *before {
            true if after.enabled => "enabled",
            true => "disabled",
            false => "changed",
        },
    }
}

fn lines(change: &FlowChange) -> Vec<String> {
    match (&change.before, &change.after) {
        (Some(_), None) => Vec::new(),
        (before, after) => {
            let shown = |row: &Option<FlowRow>| row.as_ref().map_or(Value::Null, definition);
            differences(&shown(before), &shown(after))
        }
    }
}
