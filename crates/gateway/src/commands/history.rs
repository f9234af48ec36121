//! `db size|index|purge`: what the history takes, and what keeps it small and fast.

use crate::database::connect;
use crate::exit::{CommandFailure, ExitStatus};
use anyhow::Context as _;
use chrono::DateTime;
use hearthgate_actors::flows::catalog;
use hearthgate_domain::flow::Flow;
use hearthgate_settings::{DatabaseUrl, GatewaySettings};
use hearthgate_storage::sql::{Database, FlowHistory, PrunableRows, RollupStep, TableSize};
use serde_json::json;
use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

/// Now, in microseconds since 1970.
pub(super) fn now() -> anyhow::Result<i64> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock stands before 1970")?;
    i64::try_from(since.as_micros()).context("the clock stands too far in the future")
}

/// The database, or the finding that there is none.
pub(super) async fn opened(settings: &GatewaySettings) -> anyhow::Result<Database> {
    connect(settings).await?.ok_or_else(|| {
        CommandFailure::Unavailable(format!("{} does not exist yet; the first start creates it", settings.database.url))
            .into()
    })
}

/// The flows that can run, disabled ones too: their readings are kept as well.
pub(super) async fn flows(database: &Database) -> anyhow::Result<Vec<Flow>> {
    let rows = database.load_flows().await.map_err(unavailable)?;
    Ok(rows.into_iter().filter_map(|row| catalog::compile(row).ok()).collect())
}

/// Tells how large each table is and how fast it grows.
///
/// # Errors
/// The database can't be reached.
pub(super) async fn size(settings: &GatewaySettings, as_json: bool, out: &mut dyn Write) -> anyhow::Result<ExitStatus> {
    let database = opened(settings).await?;
    let answer = sizes(&database).await;
    database.close().await;
    let (sizes, total) = answer?;
    let rows: i64 = sizes.iter().map(|size| size.rows).sum();
    let rows_last_day: i64 = sizes.iter().map(|size| size.rows_last_day).sum();
    let all = TableSize { table: "all".into(), rows, bytes: Some(total), rows_last_day };
    let free = free_bytes(settings)?;
    let growth = all.growth_a_day().unwrap_or(0);
    let full_in = free.filter(|_| growth > 0).map(|free| free / growth);
    if as_json {
        let table = |size: &TableSize| {
            json!({"table": size.table, "rows": size.rows, "bytes": size.bytes, "rows_last_day": size.rows_last_day,
                "bytes_a_day": size.growth_a_day()})
        };
        let tables: Vec<_> = sizes.iter().map(table).collect();
        let answer = json!({"tables": tables, "bytes": total, "bytes_a_day": growth, "free_bytes": free,
            "full_in_days": full_in});
        writeln!(out, "{answer}")?;
        return Ok(ExitStatus::Ok);
    }
    let width = sizes.iter().map(|size| size.table.len()).max().unwrap_or(0).max(5);
    writeln!(out, "{:width$}  {:>12}  {:>10}  {:>12}", "table", "rows", "bytes", "rows a day")?;
    for size in sizes.iter().chain([&all]) {
        let bytes = size.bytes.map_or_else(|| "-".to_owned(), shown);
        writeln!(out, "{:width$}  {:>12}  {bytes:>10}  {:>12}", size.table, size.rows, size.rows_last_day)?;
    }
    writeln!(out, "grows by {} a day", shown(growth))?;
    match (free, full_in) {
        (Some(free), Some(days)) => writeln!(out, "{} are free: enough for {days} days", shown(free))?,
        (Some(free), None) => writeln!(out, "{} are free", shown(free))?,
        (None, _) => writeln!(out, "how much the server has left it does not tell")?,
    }
    Ok(ExitStatus::Ok)
}

async fn sizes(database: &Database) -> anyhow::Result<(Vec<TableSize>, i64)> {
    let flows = flows(database).await?;
    let mut tables: Vec<&str> = flows.iter().filter_map(|flow| flow.store.as_ref()?.table.as_deref()).collect();
    tables.push("data");
    tables.sort_unstable();
    tables.dedup();
    let sizes = database.table_sizes(&tables, now()?).await.map_err(unavailable)?;
    Ok((sizes, database.database_bytes().await.map_err(unavailable)?))
}

/// What is left on the disk of an SQLite file.
fn free_bytes(settings: &GatewaySettings) -> anyhow::Result<Option<i64>> {
    let DatabaseUrl::Sqlite(file) = &settings.database.url else { return Ok(None) };
    let disk = rustix::fs::statvfs(file).with_context(|| format!("asking for the disk of {}", file.display()))?;
    Ok(i64::try_from(disk.f_bavail.saturating_mul(disk.f_frsize)).ok())
}

/// Bytes for people.
pub(super) fn shown(bytes: i64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut value, mut unit) = (bytes as f64, 0);
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

/// Shows the statement of the index of `data` and what it costs; makes it.
///
/// # Errors
/// The database can't be reached, or refuses the index.
pub(super) async fn index(settings: &GatewaySettings, apply: bool, out: &mut dyn Write) -> anyhow::Result<ExitStatus> {
    let database = opened(settings).await?;
    let answer = async {
        let state = database.index_state().await.map_err(unavailable)?;
        if state.exists {
            writeln!(out, "data has its index")?;
            return Ok(ExitStatus::Ok);
        }
        writeln!(out, "{};", state.statement)?;
        writeln!(out, "-- about {} for {} rows", shown(state.estimated_bytes), state.rows)?;
        if !apply {
            writeln!(out, "-- `hearthgate db index --apply` makes it, while readings go on coming in")?;
            return Ok(ExitStatus::Findings);
        }
        database.make_index().await.map_err(unavailable)?;
        writeln!(out, "made")?;
        Ok(ExitStatus::Ok)
    }
    .await;
    database.close().await;
    answer
}

/// Removes what is too old, or tells what would go.
///
/// # Errors
/// The database can't be reached, or the account may not.
pub(super) async fn purge(
    settings: &GatewaySettings,
    dry_run: bool,
    out: &mut dyn Write,
) -> anyhow::Result<ExitStatus> {
    let database = opened(settings).await?;
    let answer = async {
        let mut is_any = false;
        for flow in flows(&database).await? {
            let Some(history) = FlowHistory::of(&flow)
                .map_err(|error| CommandFailure::Refused(error.to_string()))?
                .filter(FlowHistory::is_kept)
            else {
                continue;
            };
            for PrunableRows { table, rows, before } in
                database.prunable(&history, now()?).await.map_err(unavailable)?
            {
                is_any = true;
                let before = DateTime::from_timestamp_micros(before).map_or_else(String::new, |time| time.to_rfc3339());
                writeln!(out, "{}: {rows} rows of {table} from before {before}", history.code())?;
            }
            if dry_run {
                continue;
            }
            // Windows first: no row goes before what is to outlive it is there.
            while database.roll_up(&history, now()?).await.map_err(unavailable)? == RollupStep::Done {}
            while database.prune(&history, now()?).await.map_err(unavailable)? == RollupStep::Done {}
        }
        if !is_any {
            writeln!(out, "no flow has a retention, and no rollup a time to be kept")?;
        }
        Ok(ExitStatus::Ok)
    }
    .await;
    database.close().await;
    answer
}

pub(super) fn unavailable(error: impl std::fmt::Display) -> CommandFailure {
    CommandFailure::Unavailable(error.to_string())
}
