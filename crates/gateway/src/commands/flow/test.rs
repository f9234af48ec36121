//! `flow test`: sample payloads through a flow of the database, or of a file that is not there yet.

use super::checks::compile_flow;
use super::import::read_file;
use crate::commands::explain;
use crate::exit::{CommandFailure, ExitStatus};
use anyhow::Context;
use hearthgate_domain::flow::{Flow, FlowRow};
use hearthgate_settings::GatewaySettings;
use serde_json::Value;
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

/// The flows of a file that take the topic; all of them where no topic is named, or there is only one.
///
/// # Errors
/// The file can't be read, or has no such flow.
pub(super) fn flows_of_file(file: &Path, topic: Option<&str>) -> anyhow::Result<Vec<FlowRow>> {
    let rows = read_file(Some(file))?;
    let is_only = rows.len() == 1;
    let takes = |row: &FlowRow| {
        let Some(topic) = topic.filter(|_| !is_only) else { return true };
        compile_flow(row).is_ok_and(|flow| flow.topic.filter().matches(topic))
    };
    let found: Vec<FlowRow> = rows.into_iter().filter(takes).collect();
    if found.is_empty() {
        return Err(CommandFailure::Usage(format!("no flow of {} takes this topic", file.display())).into());
    }
    Ok(found)
}

/// Says what would become of the payload, or of each line of standard input, in each of the flows; nothing is written or
/// counted.
///
/// # Errors
/// A flow could not run, or does not listen to the topic.
pub(super) fn run(
    rows: &[FlowRow],
    order: &TestOrder<'_>,
    settings: &GatewaySettings,
    out: &mut dyn Write,
) -> anyhow::Result<ExitStatus> {
    let flows = rows.iter().map(compile_flow).collect::<Result<Vec<_>, _>>().map_err(CommandFailure::from)?;
    let topics = flows.iter().map(|flow| topic_of(flow, order.topic)).collect::<Result<Vec<_>, _>>()?;
    let mut numbers: Vec<i64> = rows.iter().map(|row| row.last_msg_id).collect();
    let mut answers_to = |payload: &[u8]| {
        let mut answers = Vec::with_capacity(flows.len());
        for ((flow, topic), number) in flows.iter().zip(&topics).zip(&mut numbers) {
            let answer = explain::of_flow_with_gate(flow, topic, payload, *number + 1, settings);
            *number += i64::from(answer["valid"] == true);
            answers.push(answer);
        }
        answers
    };
    let Some(payload) = order.payload else {
        for line in std::io::stdin().lock().split(b'\n') {
            tell(&answers_to(&line.context("reading standard input")?), out)?;
        }
        return Ok(ExitStatus::Ok);
    };
    let answers = answers_to(&explain::payload_bytes(payload)?);
    match order.as_json {
        true => tell(&answers, out)?,
        false => explain::in_words(&[], &answers, &[], out)?,
    }
    let is_taken = answers.iter().any(|answer| answer["valid"] == true);
    let is_refused = answers.iter().any(|answer| answer["valid"] == false);
    Ok(if is_taken && !is_refused { ExitStatus::Ok } else { ExitStatus::Findings })
}

/// A line for each answer.
fn tell(answers: &[Value], out: &mut dyn Write) -> std::io::Result<()> {
    answers.iter().try_for_each(|answer| writeln!(out, "{answer}"))
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
