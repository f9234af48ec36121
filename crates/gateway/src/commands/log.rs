//! `log`: the level of the running gateway's log.

use crate::cli::LogArgs;
use crate::commands::control::{client, failure};
use crate::exit::{CommandFailure, ExitStatus};
use chrono::Local;
use hearthgate_api::wire::LogWanted;
use hearthgate_settings::GatewaySettings;
use std::io::Write;

const MINUTE: u64 = 60;
/// A day.
const MOST_MINUTES: u64 = 1_440;

/// Shows the level, or sets another one for some time.
///
/// # Errors
/// No gateway answers, or it refuses: an unknown level or component, a missing token.
pub fn run(settings: &GatewaySettings, args: &LogArgs, out: &mut dyn Write) -> anyhow::Result<ExitStatus> {
    let client = client(settings)?;
    let now = match wanted(args)? {
        Some(wanted) => client.set_log_level(&wanted),
        None => client.log_level(),
    };
    let now = now.map_err(failure)?;
    match now.until {
        Some(until) => {
            let until = until.with_timezone(&Local).format("%H:%M:%S");
            writeln!(out, "{} until {until}, then {} as configured", now.level, now.configured)?;
        }
        None => writeln!(out, "{} as configured", now.level)?,
    }
    Ok(ExitStatus::Ok)
}

fn wanted(args: &LogArgs) -> anyhow::Result<Option<LogWanted>> {
    if args.reset {
        return Ok(Some(LogWanted { level: String::new(), minutes: 0, component: None }));
    }
    let Some(level) = args.level.clone() else { return Ok(None) };
    let minutes = args.time.duration().as_secs().div_ceil(MINUTE);
    let is_possible = (1..=MOST_MINUTES).contains(&minutes);
    let minutes = u32::try_from(minutes).ok().filter(|_| is_possible);
    let Some(minutes) = minutes else {
        return Err(CommandFailure::Usage(format!("--for {}: 1m to 1d are possible", args.time)).into());
    };
    Ok(Some(LogWanted { level, minutes, component: args.component.clone() }))
}
