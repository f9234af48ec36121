//! The rows that the flow's table has of old messages, beside those that it should have.

use super::super::statement::{HistoryStatement, WindowCell, integer_of, micros_of, real_of, text_of};
use super::counts::BackfillCounts;
use super::source::OldMessage;
use crate::sql::column_fit::is_same_value;
use crate::sql::error::DatabaseError;
use crate::sql::records::BackfillSession;
use crate::sql::typed::{ColumnKind, quote};
use crate::sql::{SqlDialect, TypedRow, TypedTable};
use hearthgate_domain::delivery::UnixMicros;
use std::collections::HashMap;
use std::sync::Arc;

/// `data` of another gateway may have whole seconds.
const SECOND: UnixMicros = 1_000_000;

/// A row that is there.
pub(super) struct ExistingRow {
    id: i64,
    pub(super) event_time: Option<UnixMicros>,
    cells: Vec<WindowCell>,
}

/// What is to be done with a message.
pub(super) enum RowVerdict {
    Missing(TypedRow),
    Different { row: TypedRow, id: i64, changes: Vec<String> },
    Equal,
    Refused(String),
}

impl RowVerdict {
    pub(super) fn counts(&self) -> BackfillCounts {
        let none = BackfillCounts::default();
        match self {
            RowVerdict::Missing(_) => BackfillCounts { missing: 1, ..none },
            RowVerdict::Different { .. } => BackfillCounts { different: 1, ..none },
            RowVerdict::Equal => BackfillCounts { equal: 1, ..none },
            RowVerdict::Refused(_) => BackfillCounts { refused: 1, ..none },
        }
    }
}

/// The rows of these messages, by their numbers.
pub(super) async fn existing_rows(
    session: &mut BackfillSession,
    table: &TypedTable,
    code: &str,
    messages: &[OldMessage],
) -> Result<HashMap<i64, ExistingRow>, DatabaseError> {
    let received = || messages.iter().map(|message| message.received_at);
    let numbers = || messages.iter().map(|message| message.number);
    let (Some(first), Some(last), Some(low), Some(high)) =
        (received().min(), received().max(), numbers().min(), numbers().max())
    else {
        return Ok(HashMap::new());
    };
    let dialect = session.dialect();
    let mut columns = vec![integer_of(dialect, "id"), integer_of(dialect, "last_msg_id")];
    columns.push(micros_of(dialect, "event_time"));
    columns.extend(table.kinds().map(|(name, kind)| column_of(dialect, name, kind)));
    let query = HistoryStatement::new(dialect, format!("SELECT {} FROM ", columns.join(", "))).name(table.name());
    let query = query.push(" WHERE flow_code = ").bind(code).push(" AND received_at >= ").bind_time(first);
    let query = query.push(" AND received_at < ").bind_time(last.saturating_add(SECOND));
    let query = query.push(" AND last_msg_id >= ").bind(low).push(" AND last_msg_id <= ").bind(high);
    let rows = session.fetch(query).await?;
    let existing = rows.into_iter().filter_map(|row| {
        let (id, number, event_time) = (row[0].integer()?, row[1].integer()?, row[2].integer());
        Some((number, ExistingRow { id, event_time, cells: row[3..].to_vec() }))
    });
    Ok(existing.collect())
}

fn column_of(dialect: SqlDialect, name: &str, kind: ColumnKind) -> String {
    let column = quote(dialect, name);
    match kind {
        ColumnKind::Real => real_of(dialect, &column),
        ColumnKind::Integer => integer_of(dialect, &column),
        ColumnKind::Boolean if dialect == SqlDialect::Postgres => format!("CAST(CAST({column} AS int) AS bigint)"),
        ColumnKind::Boolean => integer_of(dialect, &column),
        ColumnKind::Text | ColumnKind::Json => text_of(dialect, &column),
    }
}

/// Compares the row that should be with the one that is. What `data` says nothing of stays as it is.
pub(super) fn judge(table: &TypedTable, existing: Option<&ExistingRow>, mut wanted: TypedRow) -> RowVerdict {
    let Some(existing) = existing else { return RowVerdict::Missing(wanted) };
    let mut changes = Vec::new();
    for ((name, kind), (cell, value)) in table.kinds().zip(existing.cells.iter().zip(&mut wanted.values)) {
        match value {
            Some(text) if !is_same_value(kind, cell, text) => {
                changes.push(format!("{name} from {} to {text}", shown(cell)));
            }
            Some(_) => {}
            None => *value = text(kind, cell),
        }
    }
    match changes.is_empty() {
        true => RowVerdict::Equal,
        false => RowVerdict::Different { row: wanted, id: existing.id, changes },
    }
}

/// A cell as it is written.
fn text(kind: ColumnKind, cell: &WindowCell) -> Option<Arc<str>> {
    match (kind, cell) {
        (_, WindowCell::Null) => None,
        (ColumnKind::Boolean, WindowCell::Integer(number)) => Some(if *number == 0 { "0" } else { "1" }.into()),
        (_, cell) => Some(shown(cell).into()),
    }
}

fn shown(cell: &WindowCell) -> String {
    match cell {
        WindowCell::Null => "nothing".to_owned(),
        WindowCell::Integer(number) => number.to_string(),
        // The shortest text that is this very number.
        WindowCell::Real(number) => format!("{number:?}"),
        WindowCell::Text(text) => text.clone(),
    }
}

/// A row in words.
pub(super) fn told(row: &TypedRow) -> String {
    let cells = row.cells().filter_map(|(name, value)| Some(format!("{name} {}", value?)));
    cells.collect::<Vec<_>>().join(", ")
}
