//! Rollups: windows that equal what a recomputation from all rows gives, after any number of crashes.
//!
//! Rows are noticed by their ids: those of one flow are committed in the order of their ids, since whoever writes holds the
//! flow's lock. A row that is noticed marks its window, in one transaction with the place that was reached. A window that
//! is marked is computed from all of its rows in the order of their times, and written in one transaction with the removal
//! of the mark, unless the mark has moved meanwhile: then again later. So a late row corrects its window by itself.
//!
//! Rows are pruned only once their windows bear no mark. A row that comes later still, for a window whose rows are gone, is
//! added to the window in the transaction that notices it.

use super::flow::{FlowHistory, Reading, Windows, create_windows, reading_columns, sums, window_columns, with_key};
use super::statement::{Cell, Statement, Value, Work, integer_of, micros_of, real_of};
use super::window::{NUMBER_COLUMNS, Numbers, Sum, Truth, window_start};
use crate::sql::error::DatabaseError;
use crate::sql::typed::quote;
use crate::sql::{Database, Dialect, TypedTable};
use hearthgate_domain::delivery::Micros;
use std::collections::BTreeSet;

/// Rows that are noticed in one transaction.
const NOTICED: i64 = 2_000;
/// How long after its end a window is computed first: what is under way to the database arrives meanwhile.
const SETTLING: Micros = 10_000_000;

/// What a step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Something; there may be more to do.
    Done,
    /// There is nothing to do now.
    Idle,
}

/// How far a rollup has come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Progress {
    pub(crate) position: i64,
    pub(crate) pruned_before: Micros,
}

/// The values of the named levels.
pub(crate) type Key = Vec<Option<String>>;

impl Database {
    /// Does the next small piece of work on a flow's rollups: notices new rows, or computes one window.
    ///
    /// # Errors
    /// The database fails, or a table may not be made.
    pub async fn roll_up(&self, history: &FlowHistory, now: Micros) -> Result<Step, DatabaseError> {
        let Some(table) = &history.table else { return Ok(Step::Idle) };
        if history.rollups.is_empty() || !self.has_table(table.name()).await? {
            return Ok(Step::Idle);
        }
        let mut done = Step::Idle;
        for windows in &history.rollups {
            if self.notice(history, table, windows).await? == Step::Done
                || self.compute_next(history, table, windows, now).await? == Step::Done
            {
                done = Step::Done;
            }
        }
        Ok(done)
    }

    /// Marks the windows of rows that are new.
    async fn notice(
        &self,
        history: &FlowHistory,
        table: &TypedTable,
        windows: &Windows,
    ) -> Result<Step, DatabaseError> {
        let dialect = self.dialect();
        let code = &*history.code;
        // Without a lock first: mostly there is nothing new.
        let known = self.progress(table.name(), code, windows.length).await?;
        let position = known.map_or(0, |known| known.position);
        let is_new =
            Statement::new(dialect, "SELECT ").push(integer_of(dialect, "id")).push(" FROM ").name(table.name());
        let is_new = is_new.push(" WHERE id > ").bind(position).push(" AND flow_code = ").bind(code).push(" LIMIT 1");
        if self.ask(is_new).await?.is_empty() {
            return self.follow_back(table, code, windows, known).await;
        }
        if known.is_none() {
            self.make_windows(table, windows).await?;
        }
        let mut work = Work::begin(self).await?;
        let Progress { position, pruned_before } = lock(&mut work, dialect, table.name(), code, windows.length).await?;
        let rows = Statement::new(dialect, "SELECT ").push(reading_columns(dialect, table)).push(" FROM ");
        let rows = rows.name(table.name()).push(" WHERE id > ").bind(position).push(" AND flow_code = ").bind(code);
        let rows = work.fetch(rows.push(" ORDER BY id LIMIT ").bind(NOTICED)).await?;
        let (mut marked, mut reached) = (BTreeSet::new(), position);
        for row in &rows {
            reached = row[0].integer().unwrap_or(reached);
            // Without a time that can be read it belongs to no window.
            let Some(reading) = Reading::read(table, row) else { continue };
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
        let update = Statement::new(dialect, "UPDATE hearthgate_rollups SET position = ").bind(reached);
        work.execute(of_rollup(update.push(" WHERE "), table.name(), code, windows.length)).await?;
        work.commit().await?;
        Ok(if reached > position { Step::Done } else { Step::Idle })
    }

    /// Somebody removed the newest rows: their ids may come back, and must be noticed then.
    async fn follow_back(
        &self,
        table: &TypedTable,
        code: &str,
        windows: &Windows,
        known: Option<Progress>,
    ) -> Result<Step, DatabaseError> {
        let dialect = self.dialect();
        let Some(Progress { position, .. }) = known.filter(|known| known.position > 0) else { return Ok(Step::Idle) };
        let highest = Statement::new(dialect, "SELECT ").push(integer_of(dialect, "max(id)")).push(" FROM ");
        let rows = self.ask(highest.name(table.name())).await?;
        let highest = rows.first().and_then(|row| row[0].integer()).unwrap_or(0);
        if highest < position {
            let mut work = Work::begin(self).await?;
            let update = Statement::new(dialect, "UPDATE hearthgate_rollups SET position = ").bind(highest);
            let update = of_rollup(update.push(" WHERE "), table.name(), code, windows.length);
            work.execute(update.push(" AND position = ").bind(position)).await?;
            work.commit().await?;
        }
        Ok(Step::Idle)
    }

    /// Computes the oldest marked window that is over.
    async fn compute_next(
        &self,
        history: &FlowHistory,
        table: &TypedTable,
        windows: &Windows,
        now: Micros,
    ) -> Result<Step, DatabaseError> {
        let dialect = self.dialect();
        let code = &*history.code;
        let due = Statement::new(dialect, "SELECT window_start, mark FROM hearthgate_rollup_windows WHERE ");
        let due = of_rollup(due, table.name(), code, windows.length).push(" AND window_start <= ");
        let due = due.bind(now.saturating_sub(windows.length).saturating_sub(SETTLING));
        let rows = self.ask(due.push(" ORDER BY window_start LIMIT 1")).await?;
        let Some((start, mark)) = rows.first().and_then(|row| Some((row[0].integer()?, row[1].integer()?))) else {
            return Ok(Step::Idle);
        };
        let computed = self.compute(code, table, windows, start).await?;
        let mut work = Work::begin(self).await?;
        lock(&mut work, dialect, table.name(), code, windows.length).await?;
        let remove = Statement::new(dialect, "DELETE FROM hearthgate_rollup_windows WHERE ");
        let remove = of_rollup(remove, table.name(), code, windows.length).push(" AND window_start = ").bind(start);
        let is_current = work.execute(remove.push(" AND mark = ").bind(mark)).await? == 1;
        if is_current {
            let remove = Statement::new(dialect, "DELETE FROM ").name(&windows.table).push(" WHERE flow_code = ");
            work.execute(remove.bind(code).push(" AND window_start = ").bind_time(start)).await?;
            for (key, sums) in &computed {
                insert(&mut work, dialect, code, table, windows, start, key, sums).await?;
            }
            work.commit().await?;
        }
        Ok(Step::Done)
    }

    pub(crate) async fn progress(
        &self,
        table: &str,
        code: &str,
        length: Micros,
    ) -> Result<Option<Progress>, DatabaseError> {
        let query = Statement::new(self.dialect(), "SELECT position, pruned_before FROM hearthgate_rollups WHERE ");
        let rows = self.ask(of_rollup(query, table, code, length)).await?;
        Ok(rows.first().and_then(|row| read_progress(row)))
    }

    /// The table of windows and the note how far it has come, made when the first row comes.
    async fn make_windows(&self, table: &TypedTable, windows: &Windows) -> Result<(), DatabaseError> {
        let dialect = self.dialect();
        let there = self.columns(&windows.table).await?;
        let mut work = Work::begin(self).await?;
        if there.is_empty() {
            for statement in create_windows(dialect, table, &windows.table) {
                work.execute(Statement::new(dialect, statement)).await?;
            }
        }
        work.commit().await
    }
}

fn read_progress(row: &[Cell]) -> Option<Progress> {
    Some(Progress { position: row.first()?.integer()?, pruned_before: row.get(1)?.integer()? })
}

/// Appends the condition that names a rollup.
pub(crate) fn of_rollup(statement: Statement, table: &str, code: &str, length: Micros) -> Statement {
    let statement = statement.push("table_name = ").bind(table).push(" AND flow_code = ").bind(code);
    statement.push(" AND window_length = ").bind(length)
}

/// Locks a rollup, so that no other gateway works on it, and answers how far it has come. It begins here if it is new.
pub(crate) async fn lock(
    work: &mut Work,
    dialect: Dialect,
    table: &str,
    code: &str,
    length: Micros,
) -> Result<Progress, DatabaseError> {
    let (insert, end) = match dialect {
        Dialect::Sqlite => ("INSERT OR IGNORE INTO", ""),
        Dialect::MySql => ("INSERT IGNORE INTO", ""),
        Dialect::Postgres => ("INSERT INTO", " ON CONFLICT DO NOTHING"),
    };
    let begin = Statement::new(dialect, insert)
        .push(" hearthgate_rollups (table_name, flow_code, window_length, position, pruned_before) VALUES (")
        .bind(table)
        .push(", ")
        .bind(code)
        .push(", ")
        .bind(length)
        .push(", 0, ")
        .bind(Micros::MIN)
        .push(")")
        .push(end);
    work.execute(begin).await?;
    let query = Statement::new(dialect, "SELECT position, pruned_before FROM hearthgate_rollups WHERE ");
    let query = of_rollup(query, table, code, length);
    let query = if dialect == Dialect::Sqlite { query } else { query.push(" FOR UPDATE") };
    let rows = work.fetch(query).await?;
    let gone = || DatabaseError::Schema(format!("the rollup of {table} for {code} is gone from hearthgate_rollups"));
    rows.first().and_then(|row| read_progress(row)).ok_or_else(gone)
}

async fn mark(
    work: &mut Work,
    dialect: Dialect,
    table: &str,
    code: &str,
    length: Micros,
    start: Micros,
    mark: i64,
) -> Result<(), DatabaseError> {
    let end = match dialect {
        Dialect::MySql => " ON DUPLICATE KEY UPDATE mark = VALUES(mark)",
        Dialect::Sqlite | Dialect::Postgres => {
            " ON CONFLICT (table_name, flow_code, window_length, window_start) DO UPDATE SET mark = excluded.mark"
        }
    };
    let insert = Statement::new(
        dialect,
        "INSERT INTO hearthgate_rollup_windows (table_name, flow_code, window_length, window_start, mark) VALUES (",
    );
    let insert = insert.bind(table).push(", ").bind(code).push(", ").bind(length).push(", ").bind(start).push(", ");
    work.execute(insert.bind(mark).push(")").push(end)).await.map(drop)
}

#[expect(clippy::too_many_arguments, reason = "a row has so many parts")]
async fn insert(
    work: &mut Work,
    dialect: Dialect,
    code: &str,
    table: &TypedTable,
    windows: &Windows,
    start: Micros,
    key: &Key,
    sums: &[Sum],
) -> Result<(), DatabaseError> {
    let names = ["flow_code", "window_start"].into_iter().map(str::to_owned);
    let names = names.chain(table.levels().iter().map(|level| level.to_string())).chain(window_columns(table));
    let names: Vec<String> = names.map(|name| quote(dialect, &name)).collect();
    let insert = Statement::new(dialect, "INSERT INTO ").name(&windows.table);
    let insert = insert.push(format!(" ({}) VALUES (", names.join(", "))).bind(code).push(", ").bind_time(start);
    let insert = key.iter().fold(insert, |insert, level| match level {
        Some(level) => insert.push(", ").bind(Value::Text(level.clone())),
        None => insert.push(", NULL"),
    });
    let values = sums.iter().flat_map(Sum::values);
    let insert = values.fold(insert, |insert, value| insert.push(", ").bind(value));
    work.execute(insert.push(")")).await.map(drop)
}

/// Adds a reading to a window whose other readings may be gone. Its first and last are then as they were, unless it stands
/// alone; so is the share of time that something was true.
async fn add_late(
    work: &mut Work,
    dialect: Dialect,
    code: &str,
    table: &TypedTable,
    windows: &Windows,
    reading: &Reading,
) -> Result<(), DatabaseError> {
    let start = window_start(reading.at, windows.length);
    let condition = |statement: Statement| {
        let statement = statement.push(" WHERE flow_code = ").bind(code).push(" AND window_start = ").bind_time(start);
        with_key(statement, table, &reading.key)
    };
    let columns: Vec<String> =
        window_columns(table).iter().map(|column| real_of(dialect, &quote(dialect, column))).collect();
    let columns = [vec![micros_of(dialect, "window_start")], columns].concat().join(", ");
    let query = Statement::new(dialect, format!("SELECT {columns} FROM ")).name(&windows.table);
    let rows = work.fetch(condition(query)).await?;
    let mut cells = rows.first().map_or(&[][..], |row| &row[1..]);
    let mut sums = sums(table);
    for (sum, value) in sums.iter_mut().zip(&reading.values) {
        match sum {
            Sum::Numbers(numbers) => {
                let (own, rest) = cells.split_at(cells.len().min(NUMBER_COLUMNS.len()));
                let known = Numbers::read(own);
                *numbers = known;
                if let Some(value) = value {
                    numbers.add(*value);
                }
                if known.count > 0 {
                    (numbers.first, numbers.last) = (known.first, known.last);
                }
                cells = rest;
            }
            Sum::Truth(truth) => {
                let (own, rest) = cells.split_at(cells.len().min(1));
                *truth = Truth::of_share(own.first().and_then(Cell::real), windows.length);
                if let (0, Some(value)) = (truth.known_for, value) {
                    truth.add(reading.at, *value != 0.0);
                    truth.close(start.saturating_add(windows.length));
                }
                cells = rest;
            }
        }
    }
    let remove = Statement::new(dialect, "DELETE FROM ").name(&windows.table);
    work.execute(condition(remove)).await?;
    insert(work, dialect, code, table, windows, start, &reading.key, &sums).await
}
