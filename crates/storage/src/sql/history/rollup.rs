//! Rollups: windows that equal what a recomputation from all rows gives, after any number of crashes.
//!
//! Rows are noticed by their ids: those of one flow are committed in the order of their ids, since whoever writes holds the
//! flow's lock. A row that is noticed marks its window, in one transaction with the place that was reached. A window that
//! is marked is computed from all of its rows in the order of their times, and written in one transaction with the removal
//! of the mark, unless the mark has moved meanwhile: then again later. So a late row corrects its window by itself.
//!
//! Rows are pruned only once their windows bear no mark. A row that comes later still, for a window whose rows are gone, is
//! added to the window in the transaction that notices it.

use super::flow::{
    FlowHistory, HistoryReading, WindowRange, create_windows, reading_columns, sums, window_columns, with_key,
};
use super::statement::{
    HistoryStatement, StatementTarget, StatementValue, StatementWork, WindowCell, integer_of, micros_of, real_of,
};
use super::window::{BooleanSummary, NUMBER_COLUMNS, NumberSummary, WindowSum, window_start};
use crate::sql::error::DatabaseError;
use crate::sql::typed::quote;
use crate::sql::{Database, SqlDialect, TypedTable};
use hearthgate_domain::delivery::UnixMicros;
use std::collections::BTreeSet;

/// Rows that are noticed in one transaction.
const NOTICED: i64 = 2_000;
/// How long after its end a window is computed first: what is under way to the database arrives meanwhile.
const SETTLING: UnixMicros = 10_000_000;

/// What a step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RollupStep {
    /// Something; there may be more to do.
    Done,
    /// There is nothing to do now.
    Idle,
}

/// How far a rollup has come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RollupProgress {
    pub(crate) position: i64,
    pub(crate) pruned_before: UnixMicros,
}

/// The values of the named levels.
pub(crate) type SeriesKey = Vec<Option<String>>;

impl Database {
    /// Does the next small piece of work on a flow's rollups: notices new rows, or computes one window.
    ///
    /// # Errors
    /// The database fails, or a table may not be made.
    pub async fn roll_up(&self, history: &FlowHistory, now: UnixMicros) -> Result<RollupStep, DatabaseError> {
        let Some(table) = &history.table else { return Ok(RollupStep::Idle) };
        if history.rollups.is_empty() {
            return Ok(RollupStep::Idle);
        }
        if !self.has_table(table.name()).await? {
            self.note_from_the_start(table.name()).await?;
            return Ok(RollupStep::Idle);
        }
        let mut done = RollupStep::Idle;
        for windows in &history.rollups {
            self.keep_windows(history, table, windows).await?;
            if self.notice(history, table, windows).await? == RollupStep::Done
                || self.compute_next(history, table, windows, now).await? == RollupStep::Done
            {
                done = RollupStep::Done;
            }
        }
        Ok(done)
    }

    /// Marks the windows of rows that are new.
    async fn notice(
        &self,
        history: &FlowHistory,
        table: &TypedTable,
        windows: &WindowRange,
    ) -> Result<RollupStep, DatabaseError> {
        let dialect = self.dialect();
        let code = &*history.code;
        // Without a lock first: mostly there is nothing new.
        let known = self.progress(table.name(), code, windows.length).await?;
        let position = known.map_or(0, |known| known.position);
        let is_new =
            HistoryStatement::new(dialect, "SELECT ").push(integer_of(dialect, "id")).push(" FROM ").name(table.name());
        let is_new = is_new.push(" WHERE id > ").bind(position).push(" AND flow_code = ").bind(code).push(" LIMIT 1");
        if self.ask(is_new).await?.is_empty() {
            return self.follow_back(table, code, windows, known).await;
        }
        let mut work = StatementWork::begin(self).await?;
        let RollupProgress { position, pruned_before } =
            lock(&mut work.target(), dialect, table.name(), code, windows.length).await?;
        let rows = HistoryStatement::new(dialect, "SELECT ").push(reading_columns(dialect, table)).push(" FROM ");
        let rows = rows.name(table.name()).push(" WHERE id > ").bind(position).push(" AND flow_code = ").bind(code);
        let rows = work.fetch(rows.push(" ORDER BY id LIMIT ").bind(NOTICED)).await?;
        let (mut marked, mut reached) = (BTreeSet::new(), position);
        for row in &rows {
            reached = row[0].integer().unwrap_or(reached);
            // Without a time that can be read it belongs to no window.
            let Some(reading) = HistoryReading::read(table, row) else { continue };
            let start = window_start(reading.at, windows.length);
            if reading.at < pruned_before {
                add_late(&mut work, dialect, code, table, windows, &reading).await?;
            } else {
                marked.insert(start);
            }
        }
        for start in marked {
            mark(&mut work, dialect, table.name(), code, windows.length, start, reached).await?;
        }
        let update = HistoryStatement::new(dialect, "UPDATE hearthgate_rollups SET position = ").bind(reached);
        work.execute(of_rollup(update.push(" WHERE "), table.name(), code, windows.length)).await?;
        work.commit().await?;
        Ok(if reached > position { RollupStep::Done } else { RollupStep::Idle })
    }

    /// Somebody removed the newest rows, or made the table anew: ids may come back, and must be noticed then. From the first
    /// one on, unless a row that is about to be pruned could be added to its window a second time.
    async fn follow_back(
        &self,
        table: &TypedTable,
        code: &str,
        windows: &WindowRange,
        known: Option<RollupProgress>,
    ) -> Result<RollupStep, DatabaseError> {
        let dialect = self.dialect();
        let Some(RollupProgress { position, pruned_before }) = known.filter(|known| known.position > 0) else {
            return Ok(RollupStep::Idle);
        };
        let highest = HistoryStatement::new(dialect, "SELECT ").push(integer_of(dialect, "max(id)")).push(" FROM ");
        let rows = self.ask(highest.name(table.name())).await?;
        let highest = rows.first().and_then(|row| row[0].integer()).unwrap_or(0);
        if highest < position {
            let back_to = if pruned_before == UnixMicros::MIN { 0 } else { highest };
            let mut work = StatementWork::begin(self).await?;
            let update = HistoryStatement::new(dialect, "UPDATE hearthgate_rollups SET position = ").bind(back_to);
            let update = of_rollup(update.push(" WHERE "), table.name(), code, windows.length);
            work.execute(update.push(" AND position = ").bind(position)).await?;
            work.commit().await?;
        }
        Ok(RollupStep::Idle)
    }

    /// Computes the oldest marked window that is over.
    async fn compute_next(
        &self,
        history: &FlowHistory,
        table: &TypedTable,
        windows: &WindowRange,
        now: UnixMicros,
    ) -> Result<RollupStep, DatabaseError> {
        let dialect = self.dialect();
        let code = &*history.code;
        let due = HistoryStatement::new(dialect, "SELECT window_start, mark FROM hearthgate_rollup_windows WHERE ");
        let due = of_rollup(due, table.name(), code, windows.length).push(" AND window_start <= ");
        let due = due.bind(now.saturating_sub(windows.length).saturating_sub(SETTLING));
        let rows = self.ask(due.push(" ORDER BY window_start LIMIT 1")).await?;
        let Some((start, mark)) = rows.first().and_then(|row| Some((row[0].integer()?, row[1].integer()?))) else {
            return Ok(RollupStep::Idle);
        };
        let computed = self.compute(code, table, windows, start).await?;
        let mut work = StatementWork::begin(self).await?;
        lock(&mut work.target(), dialect, table.name(), code, windows.length).await?;
        let remove = HistoryStatement::new(dialect, "DELETE FROM hearthgate_rollup_windows WHERE ");
        let remove = of_rollup(remove, table.name(), code, windows.length).push(" AND window_start = ").bind(start);
        let is_current = work.execute(remove.push(" AND mark = ").bind(mark)).await? == 1;
        if is_current {
            let remove =
                HistoryStatement::new(dialect, "DELETE FROM ").name(&windows.table).push(" WHERE flow_code = ");
            work.execute(remove.bind(code).push(" AND window_start = ").bind_time(start)).await?;
            for (key, sums) in &computed {
                insert(&mut work, dialect, code, table, windows, start, key, sums).await?;
            }
            work.commit().await?;
        }
        Ok(RollupStep::Done)
    }

    pub(crate) async fn progress(
        &self,
        table: &str,
        code: &str,
        length: UnixMicros,
    ) -> Result<Option<RollupProgress>, DatabaseError> {
        let query =
            HistoryStatement::new(self.dialect(), "SELECT position, pruned_before FROM hearthgate_rollups WHERE ");
        let rows = self.ask(of_rollup(query, table, code, length)).await?;
        Ok(rows.first().and_then(|row| read_progress(row)))
    }

    /// Makes the table of windows, and the columns that it lacks: the flow has got more fields, or somebody dropped some.
    /// One that was dropped is filled again from the rows that are there.
    async fn keep_windows(
        &self,
        history: &FlowHistory,
        table: &TypedTable,
        windows: &WindowRange,
    ) -> Result<(), DatabaseError> {
        let dialect = self.dialect();
        let there = self.columns(&windows.table).await?;
        let is_new = there.is_empty();
        let statements = if is_new {
            create_windows(dialect, table, &windows.table)
        } else {
            let missing = window_columns(table).into_iter().filter(|column| !there.contains(&column.to_lowercase()));
            let add = |column: String| {
                let (windows, column) = (quote(dialect, &windows.table), quote(dialect, &column));
                format!("ALTER TABLE {windows} ADD COLUMN {column} DOUBLE PRECISION NULL")
            };
            missing.map(add).collect()
        };
        if statements.is_empty() {
            return Ok(());
        }
        let mut work = StatementWork::begin(self).await?;
        // First, since MySQL commits with each change of a table.
        let again = HistoryStatement::new(dialect, "UPDATE hearthgate_rollups SET position = 0 WHERE ");
        let again = of_rollup(again, table.name(), &history.code, windows.length);
        // A row from before what was pruned would be added a second time to a window that is there.
        let again = if is_new { again } else { again.push(" AND pruned_before = ").bind(UnixMicros::MIN) };
        work.execute(again).await?;
        for statement in statements {
            work.execute(HistoryStatement::new(dialect, statement)).await?;
        }
        work.commit().await
    }
}

fn read_progress(row: &[WindowCell]) -> Option<RollupProgress> {
    Some(RollupProgress { position: row.first()?.integer()?, pruned_before: row.get(1)?.integer()? })
}

/// Appends the condition that names a rollup.
pub(crate) fn of_rollup(statement: HistoryStatement, table: &str, code: &str, length: UnixMicros) -> HistoryStatement {
    let statement = statement.push("table_name = ").bind(table).push(" AND flow_code = ").bind(code);
    statement.push(" AND window_length = ").bind(length)
}

/// Locks a rollup, so that no other gateway works on it, and answers how far it has come. It begins here if it is new.
pub(crate) async fn lock(
    work: &mut StatementTarget<'_>,
    dialect: SqlDialect,
    table: &str,
    code: &str,
    length: UnixMicros,
) -> Result<RollupProgress, DatabaseError> {
    let (insert, end) = match dialect {
        SqlDialect::Sqlite => ("INSERT OR IGNORE INTO", ""),
        SqlDialect::MySql => ("INSERT IGNORE INTO", ""),
        SqlDialect::Postgres => ("INSERT INTO", " ON CONFLICT DO NOTHING"),
    };
    let begin = HistoryStatement::new(dialect, insert)
        .push(" hearthgate_rollups (table_name, flow_code, window_length, position, pruned_before) VALUES (")
        .bind(table)
        .push(", ")
        .bind(code)
        .push(", ")
        .bind(length)
        .push(", 0, ")
        .bind(UnixMicros::MIN)
        .push(")")
        .push(end);
    work.execute(begin).await?;
    let query = HistoryStatement::new(dialect, "SELECT position, pruned_before FROM hearthgate_rollups WHERE ");
    let query = of_rollup(query, table, code, length);
    let query = if dialect == SqlDialect::Sqlite { query } else { query.push(" FOR UPDATE") };
    let rows = work.fetch(query).await?;
    let gone = || DatabaseError::Schema(format!("the rollup of {table} for {code} is gone from hearthgate_rollups"));
    rows.first().and_then(|row| read_progress(row)).ok_or_else(gone)
}

/// Locks a flow's rollups; rows from before the answer may be gone, and are in their windows.
pub(crate) async fn pruned_before(
    work: &mut StatementTarget<'_>,
    dialect: SqlDialect,
    table: &TypedTable,
    history: &FlowHistory,
) -> Result<UnixMicros, DatabaseError> {
    let mut before = UnixMicros::MIN;
    for windows in &history.rollups {
        let progress = lock(work, dialect, table.name(), &history.code, windows.length).await?;
        before = before.max(progress.pruned_before);
    }
    Ok(before)
}

async fn mark(
    work: &mut StatementWork,
    dialect: SqlDialect,
    table: &str,
    code: &str,
    length: UnixMicros,
    start: UnixMicros,
    mark: i64,
) -> Result<(), DatabaseError> {
    let end = match dialect {
        SqlDialect::MySql => " ON DUPLICATE KEY UPDATE mark = VALUES(mark)",
        SqlDialect::Sqlite | SqlDialect::Postgres => {
            " ON CONFLICT (table_name, flow_code, window_length, window_start) DO UPDATE SET mark = excluded.mark"
        }
    };
    let insert = HistoryStatement::new(
        dialect,
        "INSERT INTO hearthgate_rollup_windows (table_name, flow_code, window_length, window_start, mark) VALUES (",
    );
    let insert = insert.bind(table).push(", ").bind(code).push(", ").bind(length).push(", ").bind(start).push(", ");
    work.execute(insert.bind(mark).push(")").push(end)).await.map(drop)
}

#[expect(clippy::too_many_arguments, reason = "a row has so many parts")]
async fn insert(
    work: &mut StatementWork,
    dialect: SqlDialect,
    code: &str,
    table: &TypedTable,
    windows: &WindowRange,
    start: UnixMicros,
    key: &SeriesKey,
    sums: &[WindowSum],
) -> Result<(), DatabaseError> {
    let names = ["flow_code", "window_start"].into_iter().map(str::to_owned);
    let names = names.chain(table.levels().iter().map(|level| level.to_string())).chain(window_columns(table));
    let names: Vec<String> = names.map(|name| quote(dialect, &name)).collect();
    let insert = HistoryStatement::new(dialect, "INSERT INTO ").name(&windows.table);
    let insert = insert.push(format!(" ({}) VALUES (", names.join(", "))).bind(code).push(", ").bind_time(start);
    let insert = key.iter().fold(insert, |insert, level| match level {
        Some(level) => insert.push(", ").bind(StatementValue::Text(level.clone())),
        None => insert.push(", NULL"),
    });
    let values = sums.iter().flat_map(WindowSum::values);
    let insert = values.fold(insert, |insert, value| insert.push(", ").bind(value));
    work.execute(insert.push(")")).await.map(drop)
}

/// Adds a reading to a window whose other readings may be gone. Its first and last are then as they were, unless it stands
/// alone; so is the share of time that something was true.
async fn add_late(
    work: &mut StatementWork,
    dialect: SqlDialect,
    code: &str,
    table: &TypedTable,
    windows: &WindowRange,
    reading: &HistoryReading,
) -> Result<(), DatabaseError> {
    let start = window_start(reading.at, windows.length);
    let condition = |statement: HistoryStatement| {
        let statement = statement.push(" WHERE flow_code = ").bind(code).push(" AND window_start = ").bind_time(start);
        with_key(statement, table, &reading.key)
    };
    let columns: Vec<String> =
        window_columns(table).iter().map(|column| real_of(dialect, &quote(dialect, column))).collect();
    let columns = [vec![micros_of(dialect, "window_start")], columns].concat().join(", ");
    let query = HistoryStatement::new(dialect, format!("SELECT {columns} FROM ")).name(&windows.table);
    let rows = work.fetch(condition(query)).await?;
    let mut cells = rows.first().map_or(&[][..], |row| &row[1..]);
    let mut sums = sums(table);
    for (sum, value) in sums.iter_mut().zip(&reading.values) {
        match sum {
            WindowSum::Numbers(numbers) => {
                let (own, rest) = cells.split_at(cells.len().min(NUMBER_COLUMNS.len()));
                let known = NumberSummary::read(own);
                *numbers = known;
                if let Some(value) = value {
                    numbers.add(*value);
                }
                if known.count > 0 {
                    (numbers.first, numbers.last) = (known.first, known.last);
                }
                cells = rest;
            }
            WindowSum::Truth(truth) => {
                let (own, rest) = cells.split_at(cells.len().min(1));
                *truth = BooleanSummary::of_share(own.first().and_then(WindowCell::real), windows.length);
                if let (0, Some(value)) = (truth.known_for, value) {
                    truth.add(reading.at, *value != 0.0);
                    truth.close(start.saturating_add(windows.length));
                }
                cells = rest;
            }
        }
    }
    let remove = HistoryStatement::new(dialect, "DELETE FROM ").name(&windows.table);
    work.execute(condition(remove)).await?;
    insert(work, dialect, code, table, windows, start, &reading.key, &sums).await
}
