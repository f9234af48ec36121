//! Tables of flows, made and kept by the gateway where it may.

use super::statement::{HistoryStatement, StatementWork};
use crate::sql::error::DatabaseError;
use crate::sql::typed::quote;
use crate::sql::{Database, SqlDialect, TypedTable};
use std::collections::BTreeSet;

/// What was done to a flow's table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TableChange {
    /// It was as it has to be.
    None,
    /// It was created.
    Created,
    /// These columns were added.
    Grown(Vec<String>),
}

impl Database {
    /// Creates a flow's table where it is missing, and adds the columns that it lacks. Nothing that is there is changed.
    ///
    /// # Errors
    /// This account may not, or the database fails.
    pub async fn make_table(&self, table: &TypedTable) -> Result<TableChange, DatabaseError> {
        let there = self.columns(table.name()).await?;
        let change = if there.is_empty() {
            self.note_from_the_start(table.name()).await?;
            // With its indexes or not at all.
            let mut work = StatementWork::begin(self).await?;
            for statement in table.create(self.dialect()) {
                work.execute(HistoryStatement::new(self.dialect(), statement)).await?;
            }
            work.commit().await?;
            TableChange::Created
        } else {
            let missing: Vec<_> = table
                .definitions(self.dialect())
                .into_iter()
                .filter(|(name, _)| !there.contains(&name.to_lowercase()))
                .collect();
            for (_, definition) in &missing {
                let statement = format!("ALTER TABLE {} ADD COLUMN {definition}", quote(self.dialect(), table.name()));
                let mut work = StatementWork::begin(self).await?;
                work.execute(HistoryStatement::new(self.dialect(), statement)).await?;
                work.commit().await?;
            }
            match missing.is_empty() {
                true => TableChange::None,
                false => TableChange::Grown(missing.into_iter().map(|(name, _)| name).collect()),
            }
        };
        if change != TableChange::None {
            tracing::info!(table = table.name(), ?change, database = self.label(), "the table of a flow was made");
        }
        Ok(change)
    }

    /// A table is not there: the ids of the next one begin anew, and its rollups have to notice them from the first.
    pub(crate) async fn note_from_the_start(&self, table: &str) -> Result<(), DatabaseError> {
        if self.layout.is_guest() {
            return Ok(());
        }
        let update =
            HistoryStatement::new(self.dialect(), "UPDATE hearthgate_rollups SET position = 0 WHERE table_name = ");
        let mut work = StatementWork::begin(self).await?;
        work.execute(update.bind(table).push(" AND position > 0")).await?;
        work.commit().await
    }

    /// Whether tables of flows are made without being asked for.
    #[must_use]
    pub fn makes_tables(&self) -> bool {
        self.inner.options.migrate && self.layout.may_migrate()
    }

    pub(crate) async fn has_table(&self, table: &str) -> Result<bool, DatabaseError> {
        Ok(!self.columns(table).await?.is_empty())
    }

    /// The columns of a table, in lower case; none when it is not there.
    pub(crate) async fn columns(&self, table: &str) -> Result<BTreeSet<String>, DatabaseError> {
        let dialect = self.dialect();
        let query = match dialect {
            SqlDialect::Sqlite => {
                HistoryStatement::new(dialect, "SELECT name FROM pragma_table_info(").bind(table).push(")")
            }
            SqlDialect::MySql => HistoryStatement::new(
                dialect,
                "SELECT CAST(column_name AS CHAR) FROM information_schema.columns \
                 WHERE table_schema = DATABASE() AND table_name = ",
            )
            .bind(table),
            SqlDialect::Postgres => HistoryStatement::new(
                dialect,
                "SELECT attname::text FROM pg_attribute WHERE attnum > 0 AND NOT attisdropped \
                 AND attrelid = to_regclass(quote_ident(",
            )
            .bind(table)
            .push("))"),
        };
        let rows = self.ask(query).await?;
        Ok(rows.iter().filter_map(|row| row[0].text()).map(str::to_lowercase).collect())
    }
}
