//! Noticing that somebody changed flows or servers: told by PostgreSQL, asked for elsewhere.

use super::error::{DatabaseError, ErrorContext as _};
use super::pools::ConnectionPools;
use super::{Database, FeatureSupport};
use sqlx::postgres::PgListener;

/// Changes when flows, their options or the servers change, and not when messages are counted. Compare for equality only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeMark(String);

/// Notifications of changes, on a connection of their own.
pub struct ChangeNotifications {
    listener: PgListener,
}

impl Database {
    /// A mark that differs from an earlier one when flows or servers changed meanwhile; one cheap query.
    ///
    /// # Errors
    /// The database fails.
    pub async fn change_mark(&self) -> Result<ChangeMark, DatabaseError> {
        let attempted = format!("ask {} whether flows changed", self.label());
        let guest = self.layout.is_guest();
        let (mark,): (String,) = match &self.inner.pools {
            ConnectionPools::Sqlite { read, .. } if !guest => {
                sqlx::query_as("SELECT value FROM hearthgate_meta WHERE name = 'change_mark'").fetch_one(read).await
            }
            ConnectionPools::Sqlite { read, .. } => sqlx::query_as(SQLITE_GUEST).fetch_one(read).await,
            ConnectionPools::MySql(pool) => {
                sqlx::query_as(sqlx::AssertSqlSafe(mysql_mark(guest))).fetch_one(pool).await
            }
            ConnectionPools::Postgres(pool) => {
                sqlx::query_as(sqlx::AssertSqlSafe(postgres_mark(guest))).fetch_one(pool).await
            }
        }
        .attempted(attempted)?;
        Ok(ChangeMark(mark))
    }

    /// Listens for changes where the database tells of them (PostgreSQL), `None` where it has to be asked.
    ///
    /// # Errors
    /// The connection fails.
    pub async fn changes(&self) -> Result<Option<ChangeNotifications>, DatabaseError> {
        match (&self.inner.pools, &self.capabilities().notifications) {
            (ConnectionPools::Postgres(pool), FeatureSupport::Available) => {
                let attempted = format!("listen for changes of {}", self.label());
                let mut listener = PgListener::connect_with(pool).await.attempted(attempted.clone())?;
                listener.listen("hearthgate_changes").await.attempted(attempted)?;
                Ok(Some(ChangeNotifications { listener }))
            }
            _ => Ok(None),
        }
    }
}

impl ChangeNotifications {
    /// Waits for the next change; several at once may be told as one. A connection that broke and came back counts as
    /// a change, since one may have been missed.
    ///
    /// # Errors
    /// The connection broke and could not be made again: wait, then call again.
    pub async fn next(&mut self) -> Result<(), DatabaseError> {
        self.listener.try_recv().await.attempted("listen for changes")?;
        while self.listener.next_buffered().is_some() {}
        Ok(())
    }
}

const SQLITE_GUEST: &str = "SELECT (SELECT coalesce(group_concat(json_array(id, code, description, topic, action, \
    payload_schema, endpoint_url, enabled)), '') FROM flows) || (SELECT coalesce(group_concat(json_array(id, host, port, \
    username, password, enabled, is_default)), '') FROM mqtt_servers)";

fn mysql_mark(guest: bool) -> String {
    let sum = |table: &str, columns: &str| {
        format!("(SELECT CONCAT(COUNT(*), ':', COALESCE(SUM(CRC32(CONCAT_WS('|', {columns}))), 0)) FROM {table})")
    };
    let mut sums = vec![
        sum("flows", "id, code, description, topic, action, payload_schema, COALESCE(endpoint_url, '-'), enabled"),
        sum("mqtt_servers", "id, host, port, COALESCE(username, '-'), COALESCE(password, '-'), enabled, is_default"),
    ];
    if !guest {
        sums.push(sum("hearthgate_flow_options", "flow_id, flow_code, options"));
    }
    format!("SELECT CAST(CONCAT_WS('/', {}) AS CHAR)", sums.join(", "))
}

fn postgres_mark(guest: bool) -> String {
    let sum = |table: &str, columns: &str| {
        format!(
            "(SELECT count(*) || ':' || coalesce(sum(hashtext(concat_ws('|', {columns}))::bigint), 0) FROM {table})"
        )
    };
    let mut sums = vec![
        sum("flows", "id, code, description, topic, action, payload_schema, coalesce(endpoint_url, '-'), enabled"),
        sum("mqtt_servers", "id, host, port, coalesce(username, '-'), coalesce(password, '-'), enabled, is_default"),
    ];
    if !guest {
        sums.push(sum("hearthgate_flow_options", "flow_id, flow_code, options"));
    }
    format!("SELECT concat_ws('/', {})", sums.join(", "))
}
