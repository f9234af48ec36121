//! `trace`: what became of messages, out of the file that the gateway keeps. Works without it.

use crate::cli::TraceArgs;
use crate::exit::{CommandFailure, ExitStatus};
use crate::fates::{FateSieve, file, view};
use hearthgate_api::wire::{FateQuestion, FateView};
use hearthgate_settings::GatewaySettings;
use hearthgate_storage::fates::FateLog;
use std::io::Write;

/// Prints the fates that are asked for, the newest last, as in a log.
///
/// # Errors
/// The filter is none; the file cannot be read.
pub fn run(settings: &GatewaySettings, args: &TraceArgs, out: &mut dyn Write) -> anyhow::Result<ExitStatus> {
    let TraceArgs { topic, flow, outcome, limit, json } = args;
    let (topic, flow, outcome) = (topic.clone(), flow.clone(), outcome.clone());
    let sieve = FateSieve::new(FateQuestion { topic, flow, outcome, limit: None })
        .map_err(|error| CommandFailure::Usage(format!("the topic filter: {error}")))?;
    let path = file(&settings.gateway.state_dir);
    let most = usize::try_from(*limit).unwrap_or(usize::MAX);
    let found = FateLog::read(&path, most, |fate| sieve.passes(fate))
        .map_err(|error| CommandFailure::Unavailable(format!("reading {}: {error}", path.display())))?;
    for fate in found.into_iter().rev().map(view) {
        if *json {
            writeln!(out, "{}", serde_json::to_string(&fate)?)?;
        } else {
            line(&fate, out)?;
        }
    }
    Ok(ExitStatus::Ok)
}

fn line(fate: &FateView, out: &mut dyn Write) -> anyhow::Result<()> {
    let at = fate.received_at.format("%Y-%m-%d %H:%M:%S%.3f");
    let flow = fate.flow.as_deref().unwrap_or("(every flow)");
    write!(out, "{at}  {:9}  {flow}  {}", fate.outcome, fate.topic.escape_debug())?;
    if !fate.pointer.is_empty() {
        write!(out, "  at {}", fate.pointer.escape_debug())?;
    }
    if !fate.reason.is_empty() {
        write!(out, "  {}", fate.reason.escape_debug())?;
    }
    Ok(writeln!(out)?)
}
