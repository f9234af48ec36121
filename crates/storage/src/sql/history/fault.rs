//! What keeps rows out of a flow's table and is no fault of theirs: somebody dropped or changed the table. They wait in the
//! journal until it is mended.

use super::statement::{HistoryStatement, WindowCell, text_of};
use crate::sql::error::DatabaseError;
use crate::sql::{Database, SqlDialect, TypedTable};
use std::sync::Arc;

/// A flow's table does not take rows.
#[derive(Debug, thiserror::Error)]
#[error("table {}: {problem}", table.name())]
pub(crate) struct TableFault {
    pub(crate) table: Arc<TypedTable>,
    /// What is wrong, and what helps.
    pub(crate) problem: String,
}

impl TableFault {
    /// The fault that an error tells of.
    pub(crate) fn of(error: &DatabaseError) -> Option<&Self> {
        match error {
            DatabaseError::Sql { source: sqlx::Error::AnyDriverError(cause), .. } => cause.downcast_ref(),
            _ => None,
        }
    }
}

impl From<TableFault> for sqlx::Error {
    fn from(fault: TableFault) -> Self {
        sqlx::Error::AnyDriverError(Box::new(fault))
    }
}

/// A statement for the name and the type of each column of a table.
pub(crate) fn column_types(dialect: SqlDialect, table: &str) -> HistoryStatement {
    match dialect {
        SqlDialect::Sqlite => {
            HistoryStatement::new(dialect, "SELECT name, lower(type) FROM pragma_table_info(").bind(table).push(")")
        }
        SqlDialect::MySql => HistoryStatement::new(
            dialect,
            format!(
                "SELECT {}, {} FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = ",
                text_of(dialect, "column_name"),
                text_of(dialect, "data_type")
            ),
        )
        .bind(table),
        SqlDialect::Postgres => HistoryStatement::new(
            dialect,
            "SELECT attname::text, format_type(atttypid, NULL)::text FROM pg_attribute \
             WHERE attnum > 0 AND NOT attisdropped AND attrelid = to_regclass(quote_ident(",
        )
        .bind(table)
        .push("))"),
    }
}

impl Database {
    /// What is wrong with a flow's table, as far as its columns show it; none when they are as they have to be, or the
    /// gateway makes what is missing (`makes_tables`).
    ///
    /// # Errors
    /// The database fails.
    pub(crate) async fn table_problem(
        &self,
        table: &TypedTable,
        makes_tables: bool,
    ) -> Result<Option<String>, DatabaseError> {
        let rows = self.ask(column_types(self.dialect(), table.name())).await?;
        let text = |row: &[WindowCell], at: usize| row[at].text().unwrap_or_default().to_lowercase();
        let types: Vec<(String, String)> = rows.iter().map(|row| (text(row, 0), text(row, 1))).collect();
        Ok(table.problem(self.dialect(), &types, makes_tables))
    }
}
