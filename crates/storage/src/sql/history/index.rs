//! The index of `data` that reading needs. A `data` that we made gets it by itself; an adopted one when somebody asks.

use super::statement::HistoryStatement;
use crate::sql::error::{DatabaseError, ErrorContext as _};
use crate::sql::pools::{ConnectionPools, on_pool};
use crate::sql::{Database, SqlDialect};

/// Its name.
const INDEX: &str = "data_flow_attribute_received";
/// What it begins with, whatever it is called.
const COLUMNS: [&str; 3] = ["flow_code", "attribute_name", "received_at"];
/// Bytes of an entry beside its texts: the time, the row's id, the tree.
const ENTRY_OVERHEAD: i64 = 40;

/// Whether `data` has the index, and what it would take to make it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexState {
    /// An index with these columns in front is there.
    pub exists: bool,
    /// The table is ours: the index is made without being asked for.
    pub is_ours: bool,
    /// The statement that makes it.
    pub statement: &'static str,
    /// About what it takes on disk, in bytes.
    pub estimated_bytes: i64,
    /// About how many rows the table has.
    pub rows: i64,
}

/// Names the making of the index among PostgreSQL's advisory locks.
const INDEX_LOCK: i64 = 0x6867_6461_7461_6978;
/// How long to wait before asking for the lock again.
const INDEX_RETRY: std::time::Duration = std::time::Duration::from_millis(100);

impl Database {
    /// Looks at the index of `data`.
    ///
    /// # Errors
    /// The database fails.
    pub async fn index_state(&self) -> Result<IndexState, DatabaseError> {
        let exists = self.has_index("data", &COLUMNS).await?;
        let is_ours = !self.layout.is_guest() && self.made_data().await?;
        let rows = self.row_estimate("data").await?;
        let estimated_bytes = rows.saturating_mul(self.entry_bytes().await?);
        Ok(IndexState { exists, is_ours, statement: statement(self.dialect()), estimated_bytes, rows })
    }

    /// Makes the index of `data`, while rows go on being written where the database can do that (SQLite can not: the
    /// journal holds what comes meanwhile). One that an interrupted attempt left unusable is made again.
    ///
    /// # Errors
    /// The account may not, or the database fails.
    pub async fn make_index(&self) -> Result<(), DatabaseError> {
        if self.has_index("data", &COLUMNS).await? {
            return Ok(());
        }
        let attempted = format!("make an index on data in {}", self.label());
        if let ConnectionPools::Postgres(pool) = &self.inner.pools {
            return self.make_postgres_index(pool).await.attempted(attempted);
        }
        let made = on_pool!(&self.inner.pools, pool => {
            sqlx::raw_sql(statement(self.dialect())).execute(pool).await.map(drop).attempted(attempted)
        });
        match made {
            // Another gateway was quicker.
            Err(_) if self.has_index("data", &COLUMNS).await? => Ok(()),
            made => made,
        }
    }

    /// One gateway at a time: two that make an index concurrently wait for each other. Asked again and again, since who
    /// waits in a statement is waited for, too.
    async fn make_postgres_index(&self, pool: &sqlx::PgPool) -> Result<(), sqlx::Error> {
        let mut connection = pool.acquire().await?;
        let connection = &mut *connection;
        while !sqlx::query_scalar::<_, bool>("SELECT pg_try_advisory_lock($1)")
            .bind(INDEX_LOCK)
            .fetch_one(&mut *connection)
            .await?
        {
            tokio::time::sleep(INDEX_RETRY).await;
        }
        let made = async {
            // What is left of an attempt that was cut off serves nobody, and has the name.
            let invalid = "SELECT count(*) > 0 FROM pg_index WHERE NOT indisvalid AND indexrelid = to_regclass($1)";
            let is_invalid: bool = sqlx::query_scalar(invalid).bind(INDEX).fetch_one(&mut *connection).await?;
            if is_invalid {
                let drop = format!("DROP INDEX CONCURRENTLY IF EXISTS {INDEX}");
                sqlx::raw_sql(sqlx::AssertSqlSafe(drop)).execute(&mut *connection).await?;
            }
            sqlx::raw_sql(statement(SqlDialect::Postgres)).execute(&mut *connection).await.map(drop)
        }
        .await;
        sqlx::query("SELECT pg_advisory_unlock($1)").bind(INDEX_LOCK).execute(connection).await?;
        made
    }

    /// Makes the index where the table is ours and nobody has to be asked. Tells whether it did.
    ///
    /// # Errors
    /// The database fails.
    pub async fn make_own_index(&self) -> Result<bool, DatabaseError> {
        let is_due = self.layout.may_migrate()
            && self.inner.options.migrate
            && !self.layout.is_guest()
            && !self.has_index("data", &COLUMNS).await?
            && self.made_data().await?;
        if is_due {
            self.make_index().await?;
        }
        Ok(is_due)
    }

    /// Whether `data` was made by us: only then was it noted that the sample flows are due.
    async fn made_data(&self) -> Result<bool, DatabaseError> {
        let query = HistoryStatement::new(self.dialect(), "SELECT 1 FROM hearthgate_meta WHERE name = 'sample_flows'");
        Ok(!self.ask(query).await?.is_empty())
    }

    /// Whether a usable index of this table begins with these columns.
    pub(crate) async fn has_index(&self, table: &str, columns: &[&str]) -> Result<bool, DatabaseError> {
        let dialect = self.dialect();
        let query = match dialect {
            SqlDialect::Sqlite => {
                HistoryStatement::new(dialect, "SELECT l.name, c.name, c.seqno FROM pragma_index_list(")
                    .bind(table)
                    .push(") l JOIN pragma_index_info(l.name) c WHERE l.partial = 0 ORDER BY l.name, c.seqno")
            }
            SqlDialect::MySql => HistoryStatement::new(
                dialect,
                "SELECT CAST(index_name AS CHAR), CAST(LOWER(column_name) AS CHAR), CAST(seq_in_index AS SIGNED) \
                 FROM information_schema.statistics WHERE table_schema = DATABASE() AND table_name = ",
            )
            .bind(table)
            .push(" ORDER BY index_name, seq_in_index"),
            SqlDialect::Postgres => HistoryStatement::new(
                dialect,
                "SELECT x.indexrelid::text, a.attname::text, k.at::bigint FROM pg_index x \
                 CROSS JOIN LATERAL unnest(x.indkey::int2[]) WITH ORDINALITY AS k(attribute, at) \
                 JOIN pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = k.attribute \
                 WHERE x.indisvalid AND x.indpred IS NULL AND x.indrelid = to_regclass(quote_ident(",
            )
            .bind(table)
            .push(")) ORDER BY x.indexrelid, k.at"),
        };
        let rows = self.ask(query).await?;
        let mut indexes: Vec<(String, Vec<String>)> = Vec::new();
        for row in rows {
            let (Some(index), Some(column)) = (row[0].text(), row[1].text()) else { continue };
            match indexes.last_mut().filter(|(name, _)| name == index) {
                Some((_, columns)) => columns.push(column.to_lowercase()),
                None => indexes.push((index.to_owned(), vec![column.to_lowercase()])),
            }
        }
        let begins = |found: &[String]| {
            found.len() >= columns.len()
                && found.iter().zip(columns).all(|(found, wanted)| *found == wanted.to_lowercase())
        };
        Ok(indexes.iter().any(|(_, found)| begins(found)))
    }

    /// The size of an index entry, from the rows at the end of the table.
    async fn entry_bytes(&self) -> Result<i64, DatabaseError> {
        let dialect = self.dialect();
        let length = "avg(length(flow_code) + length(attribute_name))";
        let query = HistoryStatement::new(dialect, "SELECT ")
            .push(super::statement::integer_of(dialect, length))
            .push(" FROM (SELECT flow_code, attribute_name FROM data ORDER BY id DESC LIMIT 1000) t");
        let rows = self.ask(query).await?;
        let texts = rows.first().and_then(|row| row[0].integer()).unwrap_or(0);
        Ok(texts + ENTRY_OVERHEAD)
    }
}

fn statement(dialect: SqlDialect) -> &'static str {
    match dialect {
        SqlDialect::Sqlite => {
            "CREATE INDEX IF NOT EXISTS data_flow_attribute_received ON data (flow_code, attribute_name, received_at)"
        }
        // Refused, rather than done with a lock on the table, where the server can't do it beside the writers.
        SqlDialect::MySql => {
            "ALTER TABLE data ADD INDEX data_flow_attribute_received (flow_code, attribute_name, received_at), \
             ALGORITHM = INPLACE, LOCK = NONE"
        }
        SqlDialect::Postgres => {
            "CREATE INDEX CONCURRENTLY IF NOT EXISTS data_flow_attribute_received ON data (flow_code, attribute_name, received_at)"
        }
    }
}
