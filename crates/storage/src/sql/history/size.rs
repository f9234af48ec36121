//! How large tables are.

use super::statement::{HistoryStatement, WindowCell};
use crate::sql::error::DatabaseError;
use crate::sql::{Database, SqlDialect};
use hearthgate_domain::delivery::UnixMicros;

const DAY: UnixMicros = 86_400_000_000;

/// The size of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableSize {
    /// Its name.
    pub table: String,
    /// About how many rows.
    pub rows: i64,
    /// Bytes on disk with its indexes; none where the database can't tell.
    pub bytes: Option<i64>,
    /// Rows that came within the last day.
    pub rows_last_day: i64,
}

impl TableSize {
    /// Bytes that were added within the last day, as far as the mean size of a row tells.
    #[must_use]
    pub fn growth_a_day(&self) -> Option<i64> {
        let bytes = i128::from(self.bytes?);
        let grown = bytes * i128::from(self.rows_last_day) / i128::from(self.rows.max(1));
        i64::try_from(grown).ok()
    }
}

impl Database {
    /// The sizes of these tables; one that is not there is left out.
    ///
    /// # Errors
    /// The database fails.
    pub async fn table_sizes(&self, tables: &[&str], now: UnixMicros) -> Result<Vec<TableSize>, DatabaseError> {
        let mut sizes = Vec::new();
        for table in tables {
            if !self.has_table(table).await? {
                continue;
            }
            let rows = self.row_estimate(table).await?;
            let bytes = self.table_bytes(table).await?;
            let rows_last_day = self.rows_since(table, now - DAY).await?;
            sizes.push(TableSize { table: (*table).to_owned(), rows, bytes, rows_last_day });
        }
        Ok(sizes)
    }

    /// About how many rows a table has, without counting them: the span of its ids, or what the server estimates.
    pub(crate) async fn row_estimate(&self, table: &str) -> Result<i64, DatabaseError> {
        let dialect = self.dialect();
        let column = |function: &str| super::statement::integer_of(dialect, &format!("{function}(id)"));
        let query =
            HistoryStatement::new(dialect, format!("SELECT {}, {} FROM ", column("min"), column("max"))).name(table);
        let rows = self.ask(query).await?;
        let bounds = rows.first().and_then(|row| Some((row[0].integer()?, row[1].integer()?)));
        Ok(bounds.map_or(0, |(lowest, highest)| highest - lowest + 1))
    }

    /// How many rows came since then, by their ids: the first of them is found by the time of receipt, and ids grow with it.
    async fn rows_since(&self, table: &str, since: UnixMicros) -> Result<i64, DatabaseError> {
        let dialect = self.dialect();
        let time = super::statement::micros_of(dialect, "received_at");
        let id = super::statement::integer_of(dialect, "id");
        let bounds = HistoryStatement::new(
            dialect,
            format!(
                "SELECT {}, {} FROM ",
                super::statement::integer_of(dialect, "min(id)"),
                super::statement::integer_of(dialect, "max(id)")
            ),
        )
        .name(table);
        let rows = self.ask(bounds).await?;
        let Some((mut low, highest)) = rows.first().and_then(|row| Some((whole(&row[0])?, whole(&row[1])?))) else {
            return Ok(0);
        };
        // Halving by the primary key: no index on the time is needed.
        let mut high = highest.saturating_add(1);
        while low < high {
            let middle = low + (high - low) / 2;
            let probe = HistoryStatement::new(dialect, format!("SELECT {id}, {time} FROM "))
                .name(table)
                .push(" WHERE id >= ")
                .bind(middle)
                .push(" ORDER BY id LIMIT 1");
            let rows = self.ask(probe).await?;
            match rows.first().and_then(|row| Some((row[0].integer()?, row[1].integer()?))) {
                Some((found, at)) if at < since => low = found + 1,
                _ => high = middle,
            }
        }
        Ok(highest.saturating_add(1).saturating_sub(low))
    }

    async fn table_bytes(&self, table: &str) -> Result<Option<i64>, DatabaseError> {
        let dialect = self.dialect();
        let query = match dialect {
            SqlDialect::Sqlite => return Ok(None),
            SqlDialect::MySql => HistoryStatement::new(
                dialect,
                "SELECT CAST(data_length + index_length AS SIGNED) FROM information_schema.tables \
                 WHERE table_schema = DATABASE() AND table_name = ",
            )
            .bind(table),
            SqlDialect::Postgres => {
                HistoryStatement::new(dialect, "SELECT pg_total_relation_size(to_regclass(quote_ident(")
                    .bind(table)
                    .push(")))")
            }
        };
        let rows = self.ask(query).await?;
        Ok(rows.first().and_then(|row| row[0].integer()))
    }

    /// Bytes of all that is in the database; of a file, without what is free in it.
    ///
    /// # Errors
    /// The database fails.
    pub async fn database_bytes(&self) -> Result<i64, DatabaseError> {
        let dialect = self.dialect();
        let query = match dialect {
            SqlDialect::Sqlite => {
                "SELECT (p.page_count - f.freelist_count) * s.page_size FROM pragma_page_count p, \
                 pragma_freelist_count f, pragma_page_size s"
            }
            SqlDialect::MySql => {
                "SELECT CAST(COALESCE(SUM(data_length + index_length), 0) AS SIGNED) FROM information_schema.tables \
                 WHERE table_schema = DATABASE()"
            }
            SqlDialect::Postgres => "SELECT pg_database_size(current_database())",
        };
        let rows = self.ask(HistoryStatement::new(dialect, query)).await?;
        Ok(rows.first().and_then(|row| row[0].integer()).unwrap_or(0))
    }
}

fn whole(cell: &WindowCell) -> Option<i64> {
    cell.integer()
}
