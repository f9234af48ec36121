//! `backfill CODE`: old messages through a flow as it is now, into the flow's own table.

use super::flow::confirm;
use super::history::{now, opened, unavailable};
use crate::cli::BackfillArgs;
use crate::database::{block_on, dead_letter_options};
use crate::exit::{CommandFailure, ExitStatus};
use chrono::{DateTime, SecondsFormat};
use hearthgate_actors::flows::catalog;
use hearthgate_domain::delivery::UnixMicros;
use hearthgate_settings::{DurationText, GatewaySettings};
use hearthgate_storage::dead_letters::{DeadLetterFilter, DeadLetters};
use hearthgate_storage::sql::{BackfillCounts, BackfillOrder, BackfillPreview, BackfillWork, Database};
use std::io::{IsTerminal as _, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Dead letters that are counted.
const LETTERS: u32 = 1_000;
/// Time between two lines of progress where nobody watches.
const PROGRESS: Duration = Duration::from_secs(10);

/// Tells what would be done, asks, and does it.
///
/// # Errors
/// There is no such flow, it has no table, nobody agreed, or the database fails: then it goes on when it is called again.
pub fn run(settings: &GatewaySettings, args: &BackfillArgs, out: &mut dyn Write) -> anyhow::Result<ExitStatus> {
    block_on(async {
        let database = opened(settings).await?;
        let done = backfill(settings, &database, args, out).await;
        database.close().await;
        done
    })
}

async fn backfill(
    settings: &GatewaySettings,
    database: &Database,
    args: &BackfillArgs,
    out: &mut dyn Write,
) -> anyhow::Result<ExitStatus> {
    let rows = database.load_flows().await.map_err(unavailable)?;
    let row = rows
        .into_iter()
        .find(|row| row.code == args.code)
        .ok_or_else(|| CommandFailure::Usage(format!("there is no flow {}", args.code)))?;
    let fingerprint = row.fingerprint();
    let flow = Arc::new(catalog::compile(row).map_err(|error| CommandFailure::Refused(error.to_string()))?);
    let now = now()?;
    let (since, until) = (ago(now, Some(args.since)), ago(now, args.until));
    if since >= until {
        return Err(CommandFailure::Usage("--until is not shorter ago than --since: no time is left".into()).into());
    }
    let zone = settings.flows.time_zone.0.clone();
    let order = BackfillOrder { flow, fingerprint, since, until, zone };
    let mut work = BackfillWork::open(database, order, now, args.anew).await.map_err(unavailable)?;
    if work.is_resumed() {
        writeln!(out, "one that was cut off goes on: {} messages are done", work.counts().messages())?;
    }
    let preview = work.preview().await.map_err(unavailable)?;
    tell_preview(&preview, &args.code, out)?;
    tell_letters(settings, &args.code, since, until, out).await?;
    let BackfillCounts { missing, different, .. } = preview.counts;
    if args.dry_run {
        return Ok(if missing + different == 0 { ExitStatus::Ok } else { ExitStatus::Findings });
    }
    if missing + different > 0 {
        out.flush()?;
        confirm(&[format!("{missing} rows are added, and {different} are changed")], args.yes)?;
    }
    write_all(&mut work).await?;
    let BackfillCounts { missing, different, equal, refused } = work.counts();
    writeln!(out, "done: {missing} added, {different} changed, {equal} as they were, {refused} refused")?;
    Ok(ExitStatus::Ok)
}

fn ago(now: UnixMicros, period: Option<DurationText>) -> UnixMicros {
    let period = period.map_or(0, |period| period.0.as_micros());
    now.saturating_sub(UnixMicros::try_from(period).unwrap_or(UnixMicros::MAX))
}

fn tell_preview(preview: &BackfillPreview, code: &str, out: &mut dyn Write) -> anyhow::Result<()> {
    let BackfillCounts { missing, different, equal, refused } = preview.counts;
    writeln!(out, "{code}: {} messages in data", preview.counts.messages())?;
    for (count, what) in [
        (missing, "have no row in the flow's table"),
        (different, "have a row that differs"),
        (equal, "have the row that they should have"),
        (refused, "the flow refuses now: they are left alone"),
    ] {
        writeln!(out, "{count:>12}  {what}")?;
    }
    for example in &preview.examples {
        let at = DateTime::from_timestamp_micros(example.received_at)
            .map_or_else(String::new, |time| time.to_rfc3339_opts(SecondsFormat::Secs, true));
        writeln!(out, "  number {} of {at}: {}", example.number, example.text)?;
    }
    Ok(())
}

/// Dead letters hold whole messages: replaying takes those through the flow as it is now.
async fn tell_letters(
    settings: &GatewaySettings,
    code: &str,
    since: UnixMicros,
    until: UnixMicros,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let options = dead_letter_options(settings);
    if !options.path.exists() {
        return Ok(());
    }
    let letters = DeadLetters::open(&options).await.map_err(unavailable)?;
    let filter =
        DeadLetterFilter { flow_code: Some(code.to_owned()), replayed: Some(false), ..DeadLetterFilter::default() };
    let listed = letters.list(&filter, LETTERS).await;
    letters.close().await;
    let is_meant = |at: UnixMicros| (since..until).contains(&at);
    let count = listed.map_err(unavailable)?.iter().filter(|letter| is_meant(letter.letter.received_at)).count();
    if count > 0 {
        writeln!(
            out,
            "{count} dead letters of that time were never stored: `hearthgate dlq replay --flow {code}` takes them, too"
        )?;
    }
    Ok(())
}

/// Page by page. Rests as long as each took, so that live messages have the database half of the time.
async fn write_all(work: &mut BackfillWork) -> anyhow::Result<()> {
    let is_watched = std::io::stderr().is_terminal();
    let mut told = Instant::now();
    loop {
        let begun = Instant::now();
        let is_more = work.write_next().await.map_err(unavailable)?;
        if !is_more {
            if is_watched {
                eprintln!();
            }
            return Ok(());
        }
        if is_watched {
            eprint!("\r{}", progress(work));
        } else if told.elapsed() > PROGRESS {
            told = Instant::now();
            eprintln!("{}", progress(work));
        }
        tokio::time::sleep(begun.elapsed()).await;
    }
}

fn progress(work: &BackfillWork) -> String {
    const WIDTH: usize = 30;
    let share = work.progress().clamp(0.0, 1.0);
    let full = (share * WIDTH as f64) as usize;
    let bar = format!("{}{}", "#".repeat(full), ".".repeat(WIDTH - full));
    format!("[{bar}] {:3.0} %  {} messages", share * 100.0, work.counts().messages())
}
