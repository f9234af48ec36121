//! `dlq list|show|replay|drop|undo`: what could not be delivered. The file is shared with a running gateway.

use super::control;
use crate::cli::{DeadLetterChoice, DlqCommand};
use crate::database::{block_on, dead_letter_options};
use crate::exit::{CommandFailure, ExitStatus};
use chrono::{DateTime, Utc};
use hearthgate_api::ApiClientError;
use hearthgate_domain::delivery::UnixMicros;
use hearthgate_domain::flow::ActionKind;
use hearthgate_settings::GatewaySettings;
use hearthgate_storage::dead_letters::{DeadLetter, DeadLetterFilter, DeadLetters};
use serde_json::{Value, json};
use std::io::Write;

/// Letters fetched at a time.
const PAGE: u32 = 1000;

/// Lists, shows or drops dead letters.
///
/// # Errors
/// The file can't be read or written; there is no letter of that number.
pub fn run(settings: &GatewaySettings, command: &DlqCommand, out: &mut dyn Write) -> anyhow::Result<ExitStatus> {
    let options = dead_letter_options(settings);
    if !options.path.exists() {
        eprintln!("there are no dead letters");
        return Ok(ExitStatus::Ok);
    }
    block_on(async {
        let letters = DeadLetters::open(&options).await.map_err(unavailable)?;
        let outcome = match command {
            DlqCommand::List { flow, limit, json } => list(&letters, flow.clone(), *limit, *json, out).await,
            DlqCommand::Show { id, json } => show(&letters, *id, *json, out).await,
            DlqCommand::Replay { choice, again } => replay(settings, &letters, choice, *again, out).await,
            DlqCommand::Drop(choice) => give_up(&letters, choice, out).await,
            DlqCommand::Undo => bring_back(&letters, out).await,
        };
        letters.close().await;
        outcome
    })
}

async fn list(
    letters: &DeadLetters,
    flow_code: Option<String>,
    limit: u32,
    as_json: bool,
    out: &mut dyn Write,
) -> anyhow::Result<ExitStatus> {
    let filter = DeadLetterFilter { flow_code, ..DeadLetterFilter::default() };
    for letter in letters.list(&filter, limit).await.map_err(unavailable)? {
        if as_json {
            writeln!(out, "{}", in_json(&letter))?;
        } else {
            let flow = letter.letter.flow_code.as_deref().unwrap_or("(every flow)");
            let DeadLetter { id, letter, payload_len, .. } = &letter;
            writeln!(
                out,
                "{id:>6}  {}  {flow}  {}  {payload_len} B  {}",
                time(letter.dead_at),
                letter.topic,
                letter.reason
            )?;
        }
    }
    let totals = letters.totals().await.map_err(unavailable)?;
    if !as_json {
        writeln!(
            out,
            "{} in all, {} bytes; {} were given up to make room",
            totals.letters, totals.bytes, totals.evicted
        )?;
    }
    Ok(ExitStatus::Ok)
}

async fn show(letters: &DeadLetters, id: i64, as_json: bool, out: &mut dyn Write) -> anyhow::Result<ExitStatus> {
    let found = letters.get(id).await.map_err(unavailable)?;
    let found = found
        .ok_or_else(|| CommandFailure::Usage(format!("there is no dead letter {id}; see `hearthgate dlq list`")))?;
    if as_json {
        writeln!(out, "{}", in_json(&found))?;
        return Ok(ExitStatus::Ok);
    }
    let letter = &found.letter;
    writeln!(out, "number    {}", found.id)?;
    writeln!(out, "flow      {}", letter.flow_code.as_deref().unwrap_or("(every flow)"))?;
    writeln!(out, "topic     {}", letter.topic)?;
    if let Some(part) = letter.part {
        writeln!(out, "failed    {}", part.name())?;
    }
    writeln!(out, "reason    {}", letter.reason)?;
    if let Some(pointer) = &letter.pointer {
        writeln!(out, "at        {pointer}")?;
    }
    writeln!(out, "received  {}", time(letter.received_at))?;
    writeln!(out, "given up  {} after {} attempts", time(letter.dead_at), letter.attempts)?;
    if let Some(at) = found.replayed_at {
        writeln!(out, "replayed  {}", time(at))?;
    }
    writeln!(out, "payload   {} bytes", found.payload_len)?;
    out.write_all(&letter.payload)?;
    writeln!(out)?;
    Ok(ExitStatus::Ok)
}

/// One after the other, the oldest first; one that is refused keeps no other from its turn.
async fn replay(
    settings: &GatewaySettings,
    letters: &DeadLetters,
    choice: &DeadLetterChoice,
    again: bool,
    out: &mut dyn Write,
) -> anyhow::Result<ExitStatus> {
    let mut ids = choice.ids.clone();
    if ids.is_empty() {
        let replayed = (!again).then_some(false);
        let mut filter = DeadLetterFilter { flow_code: choice.flow.clone(), replayed, ..DeadLetterFilter::default() };
        loop {
            let page = letters.list(&filter, PAGE).await.map_err(unavailable)?;
            let Some(oldest) = page.last() else { break };
            filter.before = Some(oldest.id);
            ids.extend(page.iter().map(|letter| letter.id));
        }
        ids.reverse();
    }
    let client = control::client(settings)?;
    let mut refused = 0;
    for id in &ids {
        match client.replay(*id, again) {
            Ok(done) => writeln!(out, "replayed {id}: taken by {} flow(s)", done.flows)?,
            Err(ApiClientError::Refused(problem)) => {
                refused += 1;
                writeln!(out, "not replayed {id}: {}", problem.detail)?;
            }
            Err(error) => return Err(control::failure(error)),
        }
    }
    if ids.is_empty() {
        writeln!(out, "there is nothing to replay")?;
    }
    Ok(if refused == 0 { ExitStatus::Ok } else { ExitStatus::Findings })
}

async fn give_up(letters: &DeadLetters, choice: &DeadLetterChoice, out: &mut dyn Write) -> anyhow::Result<ExitStatus> {
    let (mut dropped, now) = (0, Utc::now().timestamp_micros());
    if choice.ids.is_empty() {
        let filter = DeadLetterFilter { flow_code: choice.flow.clone(), ..DeadLetterFilter::default() };
        loop {
            let page = letters.list(&filter, PAGE).await.map_err(unavailable)?;
            if page.is_empty() {
                break;
            }
            let ids: Vec<i64> = page.iter().map(|letter| letter.id).collect();
            dropped += letters.drop_letters(&ids, now).await.map_err(unavailable)?;
        }
    } else {
        dropped = letters.drop_letters(&choice.ids, now).await.map_err(unavailable)?;
    }
    writeln!(out, "dropped {dropped}; for ten minutes `hearthgate dlq undo` brings them back")?;
    Ok(ExitStatus::Ok)
}

async fn bring_back(letters: &DeadLetters, out: &mut dyn Write) -> anyhow::Result<ExitStatus> {
    let restored = letters.restore_dropped(Utc::now().timestamp_micros()).await.map_err(unavailable)?;
    writeln!(out, "brought back {restored}")?;
    Ok(ExitStatus::Ok)
}

fn in_json(found: &DeadLetter) -> Value {
    let letter = &found.letter;
    let (key, payload) = match std::str::from_utf8(&letter.payload) {
        Ok(text) => ("payload", text.to_owned()),
        Err(_) => ("payload_hex", letter.payload.iter().map(|byte| format!("{byte:02x}")).collect()),
    };
    json!({
        "id": found.id, "flow": letter.flow_code, "topic": letter.topic,
        "part": letter.part.map(ActionKind::name), "reason": letter.reason,
        "pointer": letter.pointer, "received_at": time(letter.received_at), "dead_at": time(letter.dead_at),
        "attempts": letter.attempts, "replayed_at": found.replayed_at.map(time), "bytes": found.payload_len, key: payload,
    })
}

fn time(at: UnixMicros) -> String {
    let time: Option<DateTime<Utc>> = DateTime::from_timestamp_micros(at);
    time.map_or_else(|| at.to_string(), |time| time.to_rfc3339_opts(chrono::SecondsFormat::Millis, true))
}

fn unavailable(error: impl std::fmt::Display) -> CommandFailure {
    CommandFailure::Unavailable(error.to_string())
}
