//! The history of one flow: its tables, and how long what is in them stays.

use super::statement::{HistoryStatement, StatementValue, micros_of, real_of, text_of};
use super::window::{NUMBER_COLUMNS, TRUTH_COLUMN, WindowSum};
use crate::sql::typed::{NAME_LIMIT, quote};
use crate::sql::{SqlDialect, TableDesignError, TypedTable};
use hearthgate_domain::delivery::UnixMicros;
use hearthgate_domain::flow::Flow;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// What a flow's history consists of.
#[derive(Clone, Debug)]
pub struct FlowHistory {
    pub(crate) code: Arc<str>,
    pub(crate) table: Option<Arc<TypedTable>>,
    /// Whether it has rows in `data`.
    pub(crate) attributes: bool,
    pub(crate) retention: Option<UnixMicros>,
    pub(crate) rollups: Vec<WindowRange>,
}

/// A table of windows.
#[derive(Clone, Debug)]
pub(crate) struct WindowRange {
    pub(crate) table: String,
    pub(crate) length: UnixMicros,
    pub(crate) keep: Option<UnixMicros>,
}

impl FlowHistory {
    /// The history of a flow; `None` when it stores nothing.
    ///
    /// # Errors
    /// Its tables can't be.
    pub fn of(flow: &Flow) -> Result<Option<Self>, TableDesignError> {
        let Some(store) = &flow.store else { return Ok(None) };
        let table = TypedTable::of(flow)?;
        let mut rollups = Vec::new();
        if let Some(table) = &table {
            for rollup in &flow.history.rollups {
                let name = format!("{}_{}", table.name(), rollup.every);
                check_names(table, &name)?;
                let keep = rollup.keep.map(|keep| micros(keep.duration()));
                rollups.push(WindowRange { table: name, length: micros(rollup.every.duration()), keep });
            }
        }
        Ok(Some(FlowHistory {
            code: Arc::clone(&flow.code),
            table,
            attributes: store.attributes,
            retention: flow.history.retention.map(micros),
            rollups,
        }))
    }

    /// The flow's code.
    #[must_use]
    pub fn code(&self) -> &str {
        &self.code
    }

    /// Whether there is anything to be done with it.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.retention.is_some() || !self.rollups.is_empty()
    }

    /// The tables of its windows, by name.
    pub fn window_tables(&self) -> impl Iterator<Item = &str> {
        self.rollups.iter().map(|windows| &*windows.table)
    }
}

fn micros(time: Duration) -> UnixMicros {
    UnixMicros::try_from(time.as_micros()).unwrap_or(UnixMicros::MAX / 4)
}

fn check_names(table: &TypedTable, windows: &str) -> Result<(), TableDesignError> {
    let columns = window_columns(table);
    let names = table.levels().iter().map(|level| level.to_lowercase()).chain(columns.iter().map(|c| c.to_lowercase()));
    let mut known = BTreeSet::from(["flow_code".to_owned(), "window_start".to_owned()]);
    for name in names {
        if name.len() > NAME_LIMIT || !known.insert(name.clone()) {
            return Err(TableDesignError::WindowColumn { windows: windows.to_owned(), column: name });
        }
    }
    if windows.len() > NAME_LIMIT {
        return Err(TableDesignError::WindowName { windows: windows.to_owned() });
    }
    Ok(())
}

/// The columns of a table of windows that hold what the readings come to.
pub(crate) fn window_columns(table: &TypedTable) -> Vec<String> {
    let mut columns = Vec::new();
    for (name, is_truth) in table.measures() {
        match is_truth {
            true => columns.push(format!("{name}_{TRUTH_COLUMN}")),
            false => columns.extend(NUMBER_COLUMNS.iter().map(|suffix| format!("{name}_{suffix}"))),
        }
    }
    columns
}

/// The statements that create a table of windows.
pub(crate) fn create_windows(dialect: SqlDialect, table: &TypedTable, windows: &str) -> Vec<String> {
    let (time, text, level, suffix) = match dialect {
        SqlDialect::Sqlite => ("DATETIME", "VARCHAR(100)", "TEXT", ""),
        SqlDialect::MySql => (
            "DATETIME(6)",
            "VARCHAR(100)",
            "MEDIUMTEXT COLLATE utf8mb4_bin",
            " ENGINE = InnoDB DEFAULT CHARSET = utf8mb4",
        ),
        SqlDialect::Postgres => ("TIMESTAMPTZ", "VARCHAR(100)", "TEXT", ""),
    };
    let name = |name: &str| quote(dialect, name);
    let mut columns =
        vec![format!("{} {text} NOT NULL", name("flow_code")), format!("{} {time} NOT NULL", name("window_start"))];
    columns.extend(table.levels().iter().map(|column| format!("{} {level} NULL", name(column))));
    columns.extend(window_columns(table).iter().map(|column| format!("{} DOUBLE PRECISION NULL", name(column))));
    let short: String = windows.chars().take(NAME_LIMIT - 7).collect();
    let mut indexes =
        vec![(name(&format!("{short}_window")), format!("{}, {}", name("flow_code"), name("window_start")))];
    if let Some(levels) = table.index_levels(dialect) {
        indexes.push((name(&format!("{short}_key")), format!("{levels}{}", name("window_start"))));
    }
    if dialect == SqlDialect::MySql {
        columns.extend(indexes.iter().map(|(index, columns)| format!("INDEX {index} ({columns})")));
    }
    let mut statements = vec![format!("CREATE TABLE IF NOT EXISTS {} ({}){suffix}", name(windows), columns.join(", "))];
    if dialect != SqlDialect::MySql {
        let create = |(index, columns)| format!("CREATE INDEX IF NOT EXISTS {index} ON {} ({columns})", name(windows));
        statements.extend(indexes.into_iter().map(create));
    }
    statements
}

/// The time of a reading: that of its event where there is one.
pub(crate) fn reading_time(table: &TypedTable) -> &'static str {
    if table.has_event_time() { "COALESCE(event_time, received_at)" } else { "received_at" }
}

/// Appends the condition that a reading lies in a span of time, so that indexes serve it.
pub(crate) fn within(
    statement: HistoryStatement,
    table: &TypedTable,
    from: UnixMicros,
    to: UnixMicros,
) -> HistoryStatement {
    if !table.has_event_time() {
        return statement.push("(received_at >= ").bind_time(from).push(" AND received_at < ").bind_time(to).push(")");
    }
    statement
        .push("((event_time >= ")
        .bind_time(from)
        .push(" AND event_time < ")
        .bind_time(to)
        .push(") OR (event_time IS NULL AND received_at >= ")
        .bind_time(from)
        .push(" AND received_at < ")
        .bind_time(to)
        .push("))")
}

/// Appends the condition that the levels are these.
pub(crate) fn with_key(
    mut statement: HistoryStatement,
    table: &TypedTable,
    key: &[Option<String>],
) -> HistoryStatement {
    for (level, value) in table.levels().iter().zip(key) {
        statement = statement.push(" AND ").name(level);
        statement = match value {
            Some(text) => statement.push(" = ").bind(StatementValue::Text(text.clone())),
            None => statement.push(" IS NULL"),
        };
    }
    statement
}

/// The columns of a reading, for [`HistoryReading::read`]: id, time, levels, measures.
pub(crate) fn reading_columns(dialect: SqlDialect, table: &TypedTable) -> String {
    let mut columns = vec!["id".to_owned(), micros_of(dialect, reading_time(table))];
    columns.extend(table.levels().iter().map(|level| text_of(dialect, &quote(dialect, level))));
    for (name, is_truth) in table.measures() {
        let column = quote(dialect, name);
        let number =
            if is_truth && dialect == SqlDialect::Postgres { format!("CAST({column} AS int)") } else { column };
        columns.push(real_of(dialect, &number));
    }
    columns.join(", ")
}

/// A row of a flow's table, as far as windows are concerned.
#[derive(Clone, Debug)]
pub(crate) struct HistoryReading {
    pub(crate) id: i64,
    pub(crate) at: UnixMicros,
    pub(crate) key: Vec<Option<String>>,
    pub(crate) values: Vec<Option<f64>>,
}

impl HistoryReading {
    pub(crate) fn read(table: &TypedTable, row: &[super::statement::WindowCell]) -> Option<Self> {
        let levels = table.levels().len();
        Some(HistoryReading {
            id: row.first()?.integer()?,
            at: row.get(1)?.integer()?,
            key: row.get(2..2 + levels)?.iter().map(|cell| cell.text().map(str::to_owned)).collect(),
            values: row.get(2 + levels..)?.iter().map(super::statement::WindowCell::real).collect(),
        })
    }
}

/// Empty sums, one for each measure.
pub(crate) fn sums(table: &TypedTable) -> Vec<WindowSum> {
    table.measures().map(|(_, is_truth)| WindowSum::new(is_truth)).collect()
}
