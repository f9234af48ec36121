//! The log of changes of flows: who, when, what. Written in the transaction of the change itself. What another program
//! changes by its own SQL is not in it.

use super::Database;
use super::error::{DatabaseError, ErrorContext as _};
use super::pools::ConnectionPools;
use hearthgate_domain::delivery::{UnixMicros, unix_micros};
use hearthgate_domain::flow::FlowRow;
use std::sync::Arc;
use std::time::SystemTime;

/// Changes of one flow that are kept.
const MOST_CHANGES: i64 = 200;
/// The column's width, in characters.
const AUTHOR_LENGTH: usize = 100;

/// One change of a flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowChange {
    /// When, in microseconds since 1970.
    pub at: UnixMicros,
    /// Who, as [`Database::on_behalf_of`] was told.
    pub author: String,
    /// What the flow was; none when it was added.
    pub before: Option<FlowRow>,
    /// What it is since; none when it was removed.
    pub after: Option<FlowRow>,
}

type ChangeColumns = (i64, String, Option<String>, Option<String>);

const PRUNE: &str = "DELETE FROM hearthgate_flow_changes WHERE flow_id = ? AND id NOT IN (SELECT id FROM (SELECT id \
    FROM hearthgate_flow_changes WHERE flow_id = ? ORDER BY id DESC LIMIT ?) kept)";
const PRUNE_POSTGRES: &str = "DELETE FROM hearthgate_flow_changes WHERE flow_id = $1 AND id NOT IN (SELECT id FROM \
    (SELECT id FROM hearthgate_flow_changes WHERE flow_id = $2 ORDER BY id DESC LIMIT $3) kept)";
const APPEND: &str = "INSERT INTO hearthgate_flow_changes (changed_at, author, flow_id, flow_code, before_row, after_row) \
    VALUES (?, ?, ?, ?, ?, ?)";
const APPEND_POSTGRES: &str = "INSERT INTO hearthgate_flow_changes (changed_at, author, flow_id, flow_code, before_row, \
    after_row) VALUES ($1, $2, $3, $4, $5, $6)";

impl Database {
    /// The same database; what is changed through it stands in the log under this name.
    #[must_use]
    pub fn on_behalf_of(&self, author: &str) -> Database {
        Database { author: author.chars().take(AUTHOR_LENGTH).collect::<String>().into(), ..self.clone() }
    }

    /// The changes of the flow that has or had this code, the oldest first. Without tables of our own there are none.
    ///
    /// # Errors
    /// The database fails.
    pub async fn flow_changes(&self, code: &str) -> Result<Vec<FlowChange>, DatabaseError> {
        if self.layout.is_guest() {
            return Ok(Vec::new());
        }
        let query = |placeholder: &str, text: &str| {
            sqlx::AssertSqlSafe(format!(
                "SELECT changed_at, CAST(author AS {text}), CAST(before_row AS {text}), CAST(after_row AS {text}) \
                 FROM hearthgate_flow_changes WHERE flow_id IN (SELECT flow_id FROM hearthgate_flow_changes \
                 WHERE flow_code = {placeholder}) ORDER BY id"
            ))
        };
        let rows: Vec<ChangeColumns> = match &self.inner.pools {
            ConnectionPools::Sqlite { read, .. } => sqlx::query_as(query("?", "TEXT")).bind(code).fetch_all(read).await,
            ConnectionPools::MySql(pool) => sqlx::query_as(query("?", "CHAR")).bind(code).fetch_all(pool).await,
            ConnectionPools::Postgres(pool) => sqlx::query_as(query("$1", "TEXT")).bind(code).fetch_all(pool).await,
        }
        .attempted(format!("read the changes of the flow {code} from {}", self.label()))?;
        Ok(rows.into_iter().map(change).collect())
    }

    /// What a flow is before it is changed; it goes into the log.
    pub(super) async fn before_change(&self, id: i64) -> Result<Option<FlowRow>, DatabaseError> {
        if self.layout.is_guest() {
            return Ok(None);
        }
        Ok(self.load_flows().await?.into_iter().find(|row| row.id == id))
    }

    /// Notes a change, in its own transaction.
    pub(super) async fn log_change<K: ChangeLog>(
        &self,
        transaction: &mut sqlx::Transaction<'_, K>,
        before: Option<&FlowRow>,
        after: Option<&FlowRow>,
    ) -> Result<(), sqlx::Error> {
        let Some(row) = after.or(before).filter(|_| !self.layout.is_guest()) else { return Ok(()) };
        let text = |row: Option<&FlowRow>| row.map(serde_json::to_string).transpose();
        let texts = text(before).and_then(|before| Ok((before, text(after)?)));
        let (before, after) = texts.map_err(|error| sqlx::Error::Encode(Box::new(error)))?;
        let author: Arc<str> = Arc::clone(&self.author);
        K::append(transaction, NewChange { author: &author, row, before, after }).await
    }
}

/// A change on its way into the log.
pub(super) struct NewChange<'a> {
    author: &'a str,
    /// Which flow it is.
    row: &'a FlowRow,
    before: Option<String>,
    after: Option<String>,
}

/// What differs between the databases when a change is noted.
pub(super) trait ChangeLog: sqlx::Database {
    async fn append(transaction: &mut sqlx::Transaction<'_, Self>, change: NewChange<'_>) -> Result<(), sqlx::Error>;
}

macro_rules! change_log {
    ($database:ty, $append:expr, $prune:expr) => {
        impl ChangeLog for $database {
            async fn append(
                transaction: &mut sqlx::Transaction<'_, Self>,
                change: NewChange<'_>,
            ) -> Result<(), sqlx::Error> {
                let NewChange { author, row, before, after } = change;
                sqlx::query($append)
                    .bind(unix_micros(SystemTime::now()))
                    .bind(author)
                    .bind(row.id)
                    .bind(&row.code)
                    .bind(before)
                    .bind(after)
                    .execute(&mut **transaction)
                    .await?;
                let prune = sqlx::query($prune).bind(row.id).bind(row.id).bind(MOST_CHANGES);
                prune.execute(&mut **transaction).await.map(drop)
            }
        }
    };
}

change_log!(sqlx::Sqlite, APPEND, PRUNE);
change_log!(sqlx::MySql, APPEND, PRUNE);
change_log!(sqlx::Postgres, APPEND_POSTGRES, PRUNE_POSTGRES);

/// A row that a later version wrote with more in it is left out, not the change.
fn change((at, author, before, after): ChangeColumns) -> FlowChange {
    let row = |text: Option<String>| text.and_then(|text| serde_json::from_str(&text).ok());
    FlowChange { at, author, before: row(before), after: row(after) }
}
