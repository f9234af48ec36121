//! `flow test`: sample payloads through a flow of the database, or of a file that is not there yet.

use super::checks::compile_flow;
use super::import::read_file;
use crate::commands::explain;
use crate::exit::{CommandFailure, ExitStatus};
use anyhow::Context;
use hearthgate_domain::flow::{Flow, FlowRow};
use hearthgate_settings::GatewaySettings;
use std::io::{BufRead, Write};
use std::path::Path;

/// What the command line says of a test.
pub(super) struct TestOrder<'a> {
    /// None where the flow's topic has no wildcard.
    pub(super) topic: Option<&'a str>,
    /// None for lines of standard input.
    pub(super) payload: Option<&'a str>,
    /// JSON instead of words.
    pub(super) as_json: bool,
}

/// The file that the argument names: `@FILE`, or a name that ends with `.toml`.
pub(super) fn flow_file(argument: &str) -> Option<&Path> {
    argument.strip_prefix('@').or(argument.ends_with(".toml").then_some(argument)).map(Path::new)
}

/// The one flow of a file that takes the topic; the only one where no topic is named.
///
/// # Errors
/// The file can't be read, or has no such flow, or several.
pub(super) fn flow_of_file(file: &Path, topic: Option<&str>) -> anyhow::Result<FlowRow> {
    let rows = read_file(Some(file))?;
    let takes = |row: &FlowRow| {
        let Some(topic) = topic else { return true };
        compile_flow(row).is_ok_and(|flow| flow.topic.filter().matches(topic))
    };
    let mut found: Vec<FlowRow> = rows.iter().filter(|row| rows.len() == 1 || takes(row)).cloned().collect();
    match (found.pop(), found.is_empty()) {
        (Some(row), true) => Ok(row),
        (None, _) => Err(CommandFailure::Usage(format!("no flow of {} takes this topic", file.display())).into()),
        (Some(_), false) => {
            Err(CommandFailure::Usage(format!("several flows of {} take it; leave one in it", file.display())).into())
        }
    }
}

/// Says what would become of the payload, or of each line of standard input; nothing is written or counted.
///
/// # Errors
/// The flow could not run, or does not listen to the topic.
pub(super) fn run(
    row: &FlowRow,
    order: &TestOrder<'_>,
    settings: &GatewaySettings,
    out: &mut dyn Write,
) -> anyhow::Result<ExitStatus> {
    let flow = compile_flow(row).map_err(CommandFailure::from)?;
    let topic = topic_of(&flow, order.topic)?;
    let mut number = row.last_msg_id;
    if let Some(payload) = order.payload {
        let answer = explain::of_flow(&flow, topic, &explain::payload_bytes(payload)?, number + 1, &settings.flows);
        let is_taken = answer["valid"] == true;
        match order.as_json {
            true => writeln!(out, "{answer}")?,
            false => explain::in_words(&[], &[answer], &[], out)?,
        }
        return Ok(if is_taken { ExitStatus::Ok } else { ExitStatus::Findings });
    }
    for line in std::io::stdin().lock().split(b'\n') {
        let line = line.context("reading standard input")?;
        let answer = explain::of_flow(&flow, topic, &line, number + 1, &settings.flows);
        if answer["valid"] == true {
            number += 1;
        }
        writeln!(out, "{answer}")?;
    }
    Ok(ExitStatus::Ok)
}

fn topic_of<'a>(flow: &'a Flow, topic: Option<&'a str>) -> Result<&'a str, CommandFailure> {
    let filter = flow.topic.filter();
    match topic {
        Some(topic) if filter.matches(topic) => Ok(topic),
        Some(topic) => Err(CommandFailure::Usage(format!("the flow listens to {filter}, not to {topic}"))),
        None if filter.has_wildcard() => {
            Err(CommandFailure::Usage(format!("the flow listens to {filter}; name one topic with --topic")))
        }
        None => Ok(filter.as_str()),
    }
}
