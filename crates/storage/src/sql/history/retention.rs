//! Retention: rows that are older than a flow wants them go, in small batches, never before what is to outlive them is
//! durable.

use super::flow::FlowHistory;
use super::rollup::{RollupStep, lock, of_rollup};
use super::statement::{HistoryStatement, StatementWork, WindowCell, integer_of, text_of};
use super::window::window_start;
use crate::sql::error::DatabaseError;
use crate::sql::error::ErrorContext as _;
use crate::sql::pools::ConnectionPools;
use crate::sql::{Database, SqlDialect, TypedTable};
use hearthgate_domain::delivery::UnixMicros;

/// Rows that go in one transaction.
const BATCH: i64 = 500;
/// Pages of an SQLite file that are given back at once.
const PAGES: u32 = 256;

/// What would go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrunableRows {
    /// From which table.
    pub table: String,
    /// Rows of the flow that are older than its retention.
    pub rows: i64,
    /// Older than this: microseconds since 1970.
    pub before: UnixMicros,
}

impl Database {
    /// Removes the next batch of rows of a flow, of its windows too, that are older than they are kept.
    ///
    /// # Errors
    /// The database fails, or this account may not.
    pub async fn prune(&self, history: &FlowHistory, now: UnixMicros) -> Result<RollupStep, DatabaseError> {
        let mut pruned = 0;
        if let Some(retention) = history.retention {
            let before = now.saturating_sub(retention);
            if let Some(table) = &history.table
                && self.has_table(table.name()).await?
            {
                pruned += self.prune_table(history, table, before).await?;
            }
            if history.attributes {
                pruned += self.prune_attributes(&history.code, before).await?;
            }
        }
        for windows in &history.rollups {
            let Some(keep) = windows.keep else { continue };
            if self.has_table(&windows.table).await? {
                let oldest = window_start(now.saturating_sub(keep), windows.length);
                pruned += self.prune_windows(&history.code, &windows.table, oldest).await?;
            }
        }
        if pruned == 0 {
            return Ok(RollupStep::Idle);
        }
        self.give_space_back().await?;
        Ok(RollupStep::Done)
    }

    /// What [`Self::prune`] would remove, all in all. Counts, so it takes a while.
    ///
    /// # Errors
    /// The database fails.
    pub async fn prunable(&self, history: &FlowHistory, now: UnixMicros) -> Result<Vec<PrunableRows>, DatabaseError> {
        let mut answer = Vec::new();
        let dialect = self.dialect();
        let count = |table: &str, time: &str, before: UnixMicros| {
            let count = HistoryStatement::new(dialect, "SELECT ").push(integer_of(dialect, "count(*)")).push(" FROM ");
            let count = count.name(table).push(" WHERE flow_code = ").bind(&*history.code);
            count.push(format!(" AND {time} < ")).bind_time(before)
        };
        let mut wanted = Vec::new();
        if let Some(retention) = history.retention {
            let before = now.saturating_sub(retention);
            if let Some(table) = &history.table {
                let before = aligned(history, before);
                let is_old = older_event(count(table.name(), "received_at", before), table, before);
                wanted.push((table.name().to_owned(), before, is_old));
            }
            if history.attributes {
                wanted.push(("data".to_owned(), before, count("data", "received_at", before)));
            }
        }
        for windows in &history.rollups {
            let Some(keep) = windows.keep else { continue };
            let oldest = window_start(now.saturating_sub(keep), windows.length);
            wanted.push((windows.table.clone(), oldest, count(&windows.table, "window_start", oldest)));
        }
        for (table, before, count) in wanted {
            if self.has_table(&table).await? {
                let rows = self.ask(count).await?.first().and_then(|row| row[0].integer()).unwrap_or(0);
                answer.push(PrunableRows { table, rows, before });
            }
        }
        Ok(answer)
    }

    /// Rows of the flow's own table; none before its windows are computed.
    async fn prune_table(
        &self,
        history: &FlowHistory,
        table: &TypedTable,
        before: UnixMicros,
    ) -> Result<u64, DatabaseError> {
        let dialect = self.dialect();
        let code = &*history.code;
        let before = aligned(history, before);
        let old = |after: i64, through: i64| {
            let query = HistoryStatement::new(dialect, "SELECT ").push(integer_of(dialect, "id")).push(" FROM ");
            let query = query.name(table.name()).push(" WHERE flow_code = ").bind(code);
            let query = older_event(query.push(" AND received_at < ").bind_time(before), table, before);
            let query = query.push(" AND id > ").bind(after).push(" AND id <= ").bind(through);
            query.push(" ORDER BY received_at LIMIT ").bind(BATCH)
        };
        if self.ask(old(i64::MIN, i64::MAX)).await?.is_empty() {
            return Ok(0);
        }
        let mut through = i64::MAX;
        let mut work = StatementWork::begin(self).await?;
        for windows in &history.rollups {
            let progress = lock(&mut work.target(), dialect, table.name(), code, windows.length).await?;
            let marked = HistoryStatement::new(dialect, "SELECT 1 FROM hearthgate_rollup_windows WHERE ");
            let marked = of_rollup(marked, table.name(), code, windows.length);
            let marked = marked.push(" AND window_start < ").bind(before).push(" LIMIT 1");
            let unnoticed = old(progress.position, i64::MAX);
            if !work.fetch(marked).await?.is_empty() || !work.fetch(unnoticed).await?.is_empty() {
                return Ok(0);
            }
            // All that are old are in their windows; what comes from now on is added to these.
            let update = HistoryStatement::new(dialect, "UPDATE hearthgate_rollups SET pruned_before = ").bind(before);
            let update = of_rollup(update.push(" WHERE "), table.name(), code, windows.length);
            work.execute(update.push(" AND pruned_before < ").bind(before)).await?;
            through = through.min(progress.position);
        }
        if !history.rollups.is_empty() && dialect == SqlDialect::Sqlite {
            // The id of the newest row would come back in a table that was made by hand, without AUTOINCREMENT.
            let highest = HistoryStatement::new(dialect, "SELECT max(id) FROM ").name(table.name());
            let highest = work.fetch(highest).await?.first().and_then(|row| row[0].integer()).unwrap_or(0);
            through = through.min(highest - 1);
        }
        let ids = work.fetch(old(i64::MIN, through)).await?;
        let removed = remove(&mut work, dialect, table.name(), &ids).await?;
        work.commit().await?;
        Ok(removed)
    }

    /// Rows of `data`, attribute by attribute, as its index has them.
    async fn prune_attributes(&self, code: &str, before: UnixMicros) -> Result<u64, DatabaseError> {
        let dialect = self.dialect();
        let mut last: Option<String> = None;
        loop {
            let name = text_of(dialect, "min(attribute_name)");
            let next = HistoryStatement::new(dialect, format!("SELECT {name} FROM data WHERE flow_code = ")).bind(code);
            let next = match &last {
                Some(last) => next.push(" AND attribute_name > ").bind(&**last),
                None => next,
            };
            let rows = self.ask(next).await?;
            let Some(attribute) = rows.first().and_then(|row| row[0].text()).map(str::to_owned) else { return Ok(0) };
            let query =
                HistoryStatement::new(dialect, "SELECT ").push(integer_of(dialect, "id")).push(" FROM data WHERE ");
            let query = query.push("flow_code = ").bind(code).push(" AND attribute_name = ").bind(&*attribute);
            let query = query.push(" AND received_at < ").bind_time(before).push(" ORDER BY received_at LIMIT ");
            let ids = self.ask(query.bind(BATCH)).await?;
            if !ids.is_empty() {
                let mut work = StatementWork::begin(self).await?;
                let removed = remove(&mut work, dialect, "data", &ids).await?;
                work.commit().await?;
                return Ok(removed);
            }
            last = Some(attribute);
        }
    }

    async fn prune_windows(&self, code: &str, table: &str, before: UnixMicros) -> Result<u64, DatabaseError> {
        let dialect = self.dialect();
        let oldest = super::statement::micros_of(dialect, "min(window_start)");
        let query = HistoryStatement::new(dialect, format!("SELECT {oldest} FROM ")).name(table);
        let rows = self.ask(query.push(" WHERE flow_code = ").bind(code)).await?;
        let Some(oldest) = rows.first().and_then(|row| row[0].integer()).filter(|oldest| *oldest < before) else {
            return Ok(0);
        };
        let mut work = StatementWork::begin(self).await?;
        let remove = HistoryStatement::new(dialect, "DELETE FROM ").name(table).push(" WHERE flow_code = ").bind(code);
        let removed = work.execute(remove.push(" AND window_start = ").bind_time(oldest)).await?;
        work.commit().await?;
        Ok(removed)
    }

    /// Gives pages of an SQLite file that are free back to the system, some at a time. A file from before this was
    /// possible keeps them, and fills them with new rows.
    async fn give_space_back(&self) -> Result<(), DatabaseError> {
        let ConnectionPools::Sqlite { write, .. } = &self.inner.pools else { return Ok(()) };
        let vacuum = format!("PRAGMA incremental_vacuum({PAGES})");
        sqlx::raw_sql(sqlx::AssertSqlSafe(vacuum)).fetch_all(write).await.map(drop).attempted("give space back")
    }
}

/// The latest time not after `before` at which a window of each rollup begins.
fn aligned(history: &FlowHistory, mut before: UnixMicros) -> UnixMicros {
    loop {
        let lower = history.rollups.iter().fold(before, |time, windows| window_start(time, windows.length));
        if lower == before {
            return before;
        }
        before = lower;
    }
}

fn older_event(statement: HistoryStatement, table: &TypedTable, before: UnixMicros) -> HistoryStatement {
    if !table.has_event_time() {
        return statement;
    }
    statement.push(" AND (event_time IS NULL OR event_time < ").bind_time(before).push(")")
}

async fn remove(
    work: &mut StatementWork,
    dialect: SqlDialect,
    table: &str,
    ids: &[Vec<WindowCell>],
) -> Result<u64, DatabaseError> {
    let ids: Vec<String> = ids.iter().filter_map(|row| row[0].integer()).map(|id| id.to_string()).collect();
    if ids.is_empty() {
        return Ok(0);
    }
    work.execute(
        HistoryStatement::new(dialect, "DELETE FROM ").name(table).push(format!(" WHERE id IN ({})", ids.join(","))),
    )
    .await
}
