//! `db migrate|status|size|index|purge`: the tables of the configured database.

use super::history;
use crate::cli::DbCommand;
use crate::database::{block_on, connect, options};
use crate::exit::{CommandFailure, ExitStatus};
use hearthgate_settings::GatewaySettings;
use hearthgate_storage::sql::{Database, FeatureSupport};
use std::io::Write;

/// Changes or shows the tables.
///
/// # Errors
/// [`CommandFailure::Unavailable`] when the database can't be reached or a right is missing.
pub fn run(settings: &GatewaySettings, command: &DbCommand, out: &mut dyn Write) -> anyhow::Result<ExitStatus> {
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

async fn migrate(settings: &GatewaySettings, out: &mut dyn Write) -> anyhow::Result<ExitStatus> {
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
    Ok(ExitStatus::Ok)
}

async fn status(settings: &GatewaySettings, out: &mut dyn Write) -> anyhow::Result<ExitStatus> {
    let Some(database) = connect(settings).await? else {
        writeln!(out, "{} does not exist yet; the first start creates it", settings.database.url)?;
        return Ok(ExitStatus::Findings);
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
            FeatureSupport::Available => writeln!(out, "  {what}: available")?,
            FeatureSupport::Unavailable(reason) => writeln!(out, "  {what}: not available: {reason}")?,
        }
    }
    for warning in &capabilities.warnings {
        writeln!(out, "  warning: {warning}")?;
    }
    Ok(if states.iter().all(|state| state.applied) { ExitStatus::Ok } else { ExitStatus::Findings })
}

fn unavailable(error: impl std::fmt::Display) -> CommandFailure {
    CommandFailure::Unavailable(error.to_string())
}
