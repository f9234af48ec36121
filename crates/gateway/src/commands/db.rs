//! `db migrate|status|size|index|purge`: the tables of the configured database.

use super::history;
use crate::cli::DbCommand;
use crate::database::{block_on, connect, options};
use crate::exit::{Exit, Failure};
use hearthgate_settings::Settings;
use hearthgate_storage::sql::{Availability, Database};
use std::io::Write;

/// Changes or shows the tables.
///
/// # Errors
/// [`Failure::Unavailable`] when the database can't be reached or a right is missing.
pub fn run(settings: &Settings, command: &DbCommand, out: &mut dyn Write) -> anyhow::Result<Exit> {
    block_on(async {
        match command {
            DbCommand::Migrate => migrate(settings, out).await,
            DbCommand::Status => status(settings, out).await,
            DbCommand::Size { json } => history::size(settings, *json, out).await,
            DbCommand::Purge { dry_run } => history::purge(settings, *dry_run, out).await,
            DbCommand::Index { apply } => history::index(settings, *apply, out).await,
        }
    })
}

async fn migrate(settings: &Settings, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let mut database = Database::connect(&options(settings)).await.map_err(unavailable)?;
    let report = database.migrate().await.map_err(unavailable)?;
    let label = database.label().to_owned();
    database.close().await;
    if report.applied.is_empty() {
        writeln!(out, "{label} is up to date")?;
    } else {
        let applied: Vec<String> = report.applied.iter().map(ToString::to_string).collect();
        writeln!(out, "{label}: applied {}", applied.join(", "))?;
    }
    Ok(Exit::Ok)
}

async fn status(settings: &Settings, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let Some(database) = connect(settings).await? else {
        writeln!(out, "{} does not exist yet; the first start creates it", settings.database.url)?;
        return Ok(Exit::Findings);
    };
    writeln!(out, "{}", database.label())?;
    let states = database.migration_status();
    for state in &states {
        let mark = if state.applied { "applied" } else { "missing" };
        writeln!(out, "  {mark}  {:04} {}", state.version, state.description)?;
    }
    let capabilities = database.capabilities().clone();
    database.close().await;
    for (what, availability) in [
        ("own tables", &capabilities.own_tables),
        ("creating tables", &capabilities.create_tables),
        ("notifications", &capabilities.notifications),
    ] {
        match availability {
            Availability::Available => writeln!(out, "  {what}: available")?,
            Availability::Unavailable(reason) => writeln!(out, "  {what}: not available: {reason}")?,
        }
    }
    for warning in &capabilities.warnings {
        writeln!(out, "  warning: {warning}")?;
    }
    Ok(if states.iter().all(|state| state.applied) { Exit::Ok } else { Exit::Findings })
}

fn unavailable(error: impl std::fmt::Display) -> Failure {
    Failure::Unavailable(error.to_string())
}
