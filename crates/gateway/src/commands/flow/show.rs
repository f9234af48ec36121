//! `flow list`, `show`, `export` and `diff`: flows as they are.

use super::checks::compile_flow;
use super::difference::definition;
use super::edit::tell_differences;
use super::file::write_flows;
use super::import::read_file;
use super::test::flow_file;
use crate::exit::{CommandFailure, ExitStatus};
use hearthgate_domain::flow::FlowRow;
use hearthgate_settings::mask_text;
use serde_json::Value;
use std::io::Write;

/// The flow of a code.
///
/// # Errors
/// There is none; the message names those that there are.
pub(super) fn find<'a>(rows: &'a [FlowRow], code: &str) -> Result<&'a FlowRow, CommandFailure> {
    rows.iter().find(|row| row.code == code).ok_or_else(|| {
        let codes: Vec<&str> = rows.iter().map(|row| row.code.as_str()).collect();
        CommandFailure::Usage(format!("there is no flow {code}; there are {}", codes.join(", ")))
    })
}

/// One flow a line.
///
/// # Errors
/// Writing fails.
pub(super) fn list(rows: &[FlowRow], as_json: bool, out: &mut dyn Write) -> anyhow::Result<ExitStatus> {
    let width = rows.iter().map(|row| row.code.len()).max().unwrap_or(0);
    for row in rows {
        if as_json {
            writeln!(out, "{}", in_json(row))?;
            continue;
        }
        let state = match (row.enabled, compile_flow(row)) {
            (_, Err(_)) => "broken",
            (true, Ok(_)) => "on",
            (false, Ok(_)) => "off",
        };
        writeln!(out, "{:width$}  {state:<6}  {:<13}  {:>8}  {}", row.code, row.action, row.last_msg_id, row.topic)?;
    }
    Ok(ExitStatus::Ok)
}

/// One flow, and why it can't run if so. What may be a password in its URL is masked; `export` is for whoever needs it.
///
/// # Errors
/// Writing fails.
pub(super) fn show(row: &FlowRow, as_json: bool, out: &mut dyn Write) -> anyhow::Result<ExitStatus> {
    if as_json {
        writeln!(out, "{}", in_json(row))?;
    } else {
        let masked = FlowRow { endpoint_url: row.endpoint_url.as_deref().map(mask_text), ..row.clone() };
        out.write_all(write_flows([&masked]).as_bytes())?;
        writeln!(out, "# last_msg_id = {}", row.last_msg_id)?;
    }
    match compile_flow(row) {
        Ok(_) => Ok(ExitStatus::Ok),
        Err(problem) => {
            eprintln!("this flow can't run: {problem}");
            Ok(ExitStatus::Findings)
        }
    }
}

fn in_json(row: &FlowRow) -> Value {
    let mut shown = definition(row);
    shown["last_msg_id"] = row.last_msg_id.into();
    shown["endpoint_url"] = row.endpoint_url.as_deref().map(mask_text).into();
    shown
}

/// The flows of these codes, or all, as a file.
///
/// # Errors
/// There is no flow of one of the codes.
pub(super) fn export(rows: &[FlowRow], codes: &[String], out: &mut dyn Write) -> anyhow::Result<ExitStatus> {
    let named = codes.iter().map(|code| find(rows, code)).collect::<Result<Vec<_>, _>>()?;
    let wanted = if codes.is_empty() { rows.iter().collect() } else { named };
    out.write_all(write_flows(wanted).as_bytes())?;
    Ok(ExitStatus::Ok)
}

/// What differs between two flows, or between a flow and what a file says of it.
///
/// # Errors
/// There is no such flow, or the file can't be read.
pub(super) fn diff(rows: &[FlowRow], code: &str, other: &str, out: &mut dyn Write) -> anyhow::Result<ExitStatus> {
    let row = find(rows, code)?;
    let other = match flow_file(other) {
        Some(file) => {
            let known = read_file(Some(file))?;
            find(&known, code)?.clone()
        }
        None => find(rows, other)?.clone(),
    };
    tell_differences(row, &other, out)?;
    Ok(ExitStatus::Ok)
}
