//! Flows and the MQTT server, as the tables have them.

use super::change_log::ChangeLog;
use super::error::{DatabaseError, ErrorContext as _};
use super::pools::{ConnectionPools, begin_immediate, on_pool};
use super::{Database, FeatureSupport};
use hearthgate_domain::flow::FlowRow;
use secrecy::{ExposeSecret, SecretString};
use sqlx::Row as _;

/// The broker to connect to, from `mqtt_servers`.
#[derive(Clone, Debug)]
pub struct MqttServer {
    /// Primary key.
    pub id: i64,
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// User name and password, when both are non-empty.
    pub credentials: Option<(String, SecretString)>,
}

impl PartialEq for MqttServer {
    fn eq(&self, other: &Self) -> bool {
        let shown = |credentials: &Option<(String, SecretString)>| {
            credentials.as_ref().map(|(name, password)| (name.clone(), password.expose_secret().to_owned()))
        };
        (self.id, &self.host, self.port) == (other.id, &other.host, other.port)
            && shown(&self.credentials) == shown(&other.credentials)
    }
}

type Columns = (i64, String, String, String, String, String, Option<String>, i64, i64, Option<String>);
type ServerColumns = (i64, String, i64, Option<String>, Option<String>);

const SQLITE: &str = "SELECT f.id, CAST(f.code AS TEXT), CAST(coalesce(f.description, '') AS TEXT), CAST(f.topic AS TEXT), \
    CAST(f.action AS TEXT), CAST(coalesce(f.payload_schema, 'null') AS TEXT), CAST(f.endpoint_url AS TEXT), \
    CAST(f.last_msg_id AS INTEGER), CAST(f.enabled AS INTEGER), ";
const MYSQL: &str = "SELECT CAST(f.id AS SIGNED), CAST(f.code AS CHAR), CAST(coalesce(f.description, '') AS CHAR), \
    CAST(f.topic AS CHAR), CAST(f.action AS CHAR), CAST(coalesce(f.payload_schema, 'null') AS CHAR), \
    CAST(f.endpoint_url AS CHAR), CAST(f.last_msg_id AS SIGNED), CAST(f.enabled AS SIGNED), ";
const POSTGRES: &str = "SELECT f.id::bigint, f.code::text, coalesce(f.description, '')::text, f.topic::text, f.action::text, \
    coalesce(f.payload_schema::text, 'null'), f.endpoint_url::text, f.last_msg_id::bigint, f.enabled::boolean::int::bigint, ";

/// A flow that comes back goes on behind its old numbers: two messages of one number could not be told apart.
const INSERT: &str = "INSERT INTO flows (code, description, topic, action, payload_schema, endpoint_url, enabled, last_msg_id) \
    VALUES (?, ?, ?, ?, ?, ?, ?, (SELECT coalesce(max(d.last_msg_id), 0) FROM data d WHERE d.flow_code = ?))";
const INSERT_POSTGRES: &str = "INSERT INTO flows (code, description, topic, action, payload_schema, endpoint_url, enabled, \
    last_msg_id) VALUES ($1, $2, $3, $4, $5::json, $6, $7, \
    (SELECT coalesce(max(d.last_msg_id), 0) FROM data d WHERE d.flow_code = $1)) RETURNING id::bigint";
const UPDATE: &str = "UPDATE flows SET code = ?, description = ?, topic = ?, action = ?, payload_schema = ?, endpoint_url = ?, \
    enabled = ? WHERE id = ?";
const UPDATE_POSTGRES: &str = "UPDATE flows SET code = $1, description = $2, topic = $3, action = $4, payload_schema = $5::json, \
    endpoint_url = $6, enabled = $7 WHERE id = $8";

/// A statement with the columns that a flow's definition has, in their order; the kind of database is inferred.
macro_rules! bound {
    ($query:expr, $flow:expr) => {
        sqlx::query($query)
            .bind(&$flow.code)
            .bind(&$flow.description)
            .bind(&$flow.topic)
            .bind(&$flow.action)
            .bind(&$flow.payload_schema)
            .bind(&$flow.endpoint_url)
            .bind($flow.enabled)
    };
}

impl Database {
    /// All flows, disabled ones too, by id.
    ///
    /// # Errors
    /// The database fails.
    pub async fn load_flows(&self) -> Result<Vec<FlowRow>, DatabaseError> {
        let options = match (self.layout.is_guest(), &self.inner.pools) {
            (true, ConnectionPools::MySql(_)) => "CAST(NULL AS CHAR) FROM flows f",
            (true, _) => "CAST(NULL AS TEXT) FROM flows f",
            (false, ConnectionPools::Sqlite { .. }) => {
                "CAST(o.options AS TEXT) FROM flows f LEFT JOIN hearthgate_flow_options o ON o.flow_id = f.id AND o.flow_code = f.code"
            }
            // The tables may have different collations.
            (false, ConnectionPools::MySql(_)) => {
                "CAST(o.options AS CHAR) FROM flows f LEFT JOIN hearthgate_flow_options o ON o.flow_id = f.id \
                 AND o.flow_code COLLATE utf8mb4_bin = CONVERT(f.code USING utf8mb4) COLLATE utf8mb4_bin"
            }
            (false, ConnectionPools::Postgres(_)) => {
                "o.options::text FROM flows f LEFT JOIN hearthgate_flow_options o ON o.flow_id = f.id AND o.flow_code = f.code"
            }
        };
        let columns = match &self.inner.pools {
            ConnectionPools::Sqlite { .. } => SQLITE,
            ConnectionPools::MySql(_) => MYSQL,
            ConnectionPools::Postgres(_) => POSTGRES,
        };
        let query = sqlx::AssertSqlSafe(format!("{columns}{options} ORDER BY f.id"));
        let rows: Vec<Columns> = match &self.inner.pools {
            ConnectionPools::Sqlite { read, .. } => sqlx::query_as(query).fetch_all(read).await,
            ConnectionPools::MySql(pool) => sqlx::query_as(query).fetch_all(pool).await,
            ConnectionPools::Postgres(pool) => sqlx::query_as(query).fetch_all(pool).await,
        }
        .attempted(format!("read the flows from {}", self.label()))?;
        Ok(rows.into_iter().map(flow_row).collect())
    }

    /// Adds a flow, whatever its id and `last_msg_id` say: it gets the next id, and begins with 0, or behind the
    /// greatest number that rows of its code in `data` have. Answers the id.
    ///
    /// # Errors
    /// The code is taken, a value is too long (both kind `Row`), or options can't be kept here.
    pub async fn insert_flow(&self, flow: &FlowRow) -> Result<i64, DatabaseError> {
        self.check_options(flow)?;
        let adding = async {
            match &self.inner.pools {
                ConnectionPools::Sqlite { write, .. } => {
                    let mut transaction = begin_immediate(write).await?;
                    let added = async {
                        let id =
                            bound!(INSERT, flow).bind(&flow.code).execute(&mut *transaction).await?.last_insert_rowid();
                        self.note_added(&mut transaction, id, flow).await.map(|()| id)
                    };
                    let added = added.await;
                    end(transaction, added).await
                }
                ConnectionPools::MySql(pool) => {
                    let mut transaction = pool.begin().await?;
                    let added = async {
                        let id =
                            bound!(INSERT, flow).bind(&flow.code).execute(&mut *transaction).await?.last_insert_id();
                        let id = i64::try_from(id).unwrap_or(i64::MAX);
                        self.note_added(&mut transaction, id, flow).await.map(|()| id)
                    };
                    let added = added.await;
                    end(transaction, added).await
                }
                ConnectionPools::Postgres(pool) => {
                    let mut transaction = pool.begin().await?;
                    let added = async {
                        let id = Kind::insert_flow(&mut transaction, flow).await?;
                        self.note_added(&mut transaction, id, flow).await.map(|()| id)
                    };
                    let added = added.await;
                    end(transaction, added).await
                }
            }
        };
        adding.await.attempted(format!("add the flow {} to {}", flow.code, self.label()))
    }

    /// Adds and changes flows, all or none.
    ///
    /// # Errors
    /// As [`Database::insert_flow`]; the error names the flow, and nothing is changed.
    pub async fn import_flows(&self, added: &[FlowRow], changed: &[FlowRow]) -> Result<(), DatabaseError> {
        added.iter().chain(changed).try_for_each(|flow| self.check_options(flow))?;
        let known = if self.layout.is_guest() { Vec::new() } else { self.load_flows().await? };
        let mut in_hand = "";
        let importing = async {
            match &self.inner.pools {
                ConnectionPools::Sqlite { write, .. } => {
                    let mut transaction = begin_immediate(write).await?;
                    let written = self.write_flows(&mut transaction, added, changed, &known, &mut in_hand).await;
                    end(transaction, written).await
                }
                ConnectionPools::MySql(pool) => {
                    let mut transaction = pool.begin().await?;
                    let written = self.write_flows(&mut transaction, added, changed, &known, &mut in_hand).await;
                    end(transaction, written).await
                }
                ConnectionPools::Postgres(pool) => {
                    let mut transaction = pool.begin().await?;
                    let written = self.write_flows(&mut transaction, added, changed, &known, &mut in_hand).await;
                    end(transaction, written).await
                }
            }
        };
        let imported = importing.await;
        imported.attempted(format!("import flows to {} (at the flow {in_hand}; nothing was changed)", self.label()))
    }

    async fn write_flows<'a, K: Kind>(
        &self,
        transaction: &mut sqlx::Transaction<'_, K>,
        added: &'a [FlowRow],
        changed: &'a [FlowRow],
        known: &[FlowRow],
        in_hand: &mut &'a str,
    ) -> Result<(), sqlx::Error> {
        for flow in added {
            *in_hand = &flow.code;
            let id = K::insert_flow(transaction, flow).await?;
            self.note_added(transaction, id, flow).await?;
        }
        for flow in changed {
            *in_hand = &flow.code;
            K::update_flow(transaction, flow).await?;
            self.put_options(transaction, flow.id, flow).await?;
            let before = known.iter().find(|row| row.id == flow.id);
            self.log_change(transaction, before, Some(flow)).await?;
        }
        Ok(())
    }

    /// Changes the flow of this row's id; its `last_msg_id` stays. Answers whether there was one.
    ///
    /// # Errors
    /// The code is taken, a value is too long (both kind `Row`), or options can't be kept here.
    pub async fn update_flow(&self, flow: &FlowRow) -> Result<bool, DatabaseError> {
        self.check_options(flow)?;
        let query = match &self.inner.pools {
            ConnectionPools::Postgres(_) => UPDATE_POSTGRES,
            ConnectionPools::Sqlite { .. } | ConnectionPools::MySql(_) => UPDATE,
        };
        let before = self.before_change(flow.id).await?;
        let changing = async {
            on_pool!(&self.inner.pools, pool => {
                let mut transaction = pool.begin().await?;
                let changed = async {
                    let done = bound!(query, flow).bind(flow.id).execute(&mut *transaction).await?;
                    let is_there = done.rows_affected() > 0;
                    if is_there {
                        self.put_options(&mut transaction, flow.id, flow).await?;
                        self.log_change(&mut transaction, before.as_ref(), Some(flow)).await?;
                    }
                    Ok(is_there)
                };
                let changed = changed.await;
                end(transaction, changed).await
            })
        };
        changing.await.attempted(format!("change the flow {} in {}", flow.code, self.label()))
    }

    /// Enables or disables a flow. Answers whether there was one with that id.
    ///
    /// # Errors
    /// The database fails.
    pub async fn set_flow_enabled(&self, id: i64, enabled: bool) -> Result<bool, DatabaseError> {
        let query = match &self.inner.pools {
            ConnectionPools::Postgres(_) => "UPDATE flows SET enabled = $1 WHERE id = $2",
            ConnectionPools::Sqlite { .. } | ConnectionPools::MySql(_) => "UPDATE flows SET enabled = ? WHERE id = ?",
        };
        let before = self.before_change(id).await?;
        let after = before.clone().map(|row| FlowRow { enabled, ..row });
        let changing = async {
            on_pool!(&self.inner.pools, pool => {
                let mut transaction = pool.begin().await?;
                let changed = async {
                    let done = sqlx::query(query).bind(enabled).bind(id).execute(&mut *transaction).await?;
                    self.log_change(&mut transaction, before.as_ref(), after.as_ref()).await?;
                    Ok(done.rows_affected() > 0)
                };
                let changed = changed.await;
                end(transaction, changed).await
            })
        };
        changing.await.attempted(format!("change the flow with id {id} in {}", self.label()))
    }

    /// Removes a flow; its rows in `data` stay. Answers whether there was one with that id.
    ///
    /// # Errors
    /// Kind `Permission` where the account may not delete: disable the flow instead.
    pub async fn remove_flow(&self, id: i64) -> Result<bool, DatabaseError> {
        let (flow, options) = match &self.inner.pools {
            ConnectionPools::Postgres(_) => {
                ("DELETE FROM flows WHERE id = $1", "DELETE FROM hearthgate_flow_options WHERE flow_id = $1")
            }
            ConnectionPools::Sqlite { .. } | ConnectionPools::MySql(_) => {
                ("DELETE FROM flows WHERE id = ?", "DELETE FROM hearthgate_flow_options WHERE flow_id = ?")
            }
        };
        let attempted =
            format!("remove the flow with id {id} from {} (where that is not allowed, disable it)", self.label());
        let before = self.before_change(id).await?;
        let removing = async {
            on_pool!(&self.inner.pools, pool => {
                let mut transaction = pool.begin().await?;
                let removed = async {
                    let done = sqlx::query(flow).bind(id).execute(&mut *transaction).await?;
                    if !self.layout.is_guest() {
                        sqlx::query(options).bind(id).execute(&mut *transaction).await?;
                    }
                    self.log_change(&mut transaction, before.as_ref(), None).await?;
                    Ok(done.rows_affected() > 0)
                };
                let removed = removed.await;
                end(transaction, removed).await
            })
        };
        removing.await.attempted(attempted)
    }

    /// The server to connect to: the enabled one that is default, or has the lowest id.
    ///
    /// # Errors
    /// None is enabled, its port is no port, or the database fails.
    pub async fn mqtt_server(&self) -> Result<MqttServer, DatabaseError> {
        let query = match &self.inner.pools {
            ConnectionPools::Sqlite { .. } => {
                "SELECT id, CAST(host AS TEXT), CAST(port AS INTEGER), CAST(username AS TEXT), CAST(password AS TEXT) \
                 FROM mqtt_servers WHERE enabled = 1 ORDER BY is_default DESC, id ASC LIMIT 1"
            }
            ConnectionPools::MySql(_) => {
                "SELECT CAST(id AS SIGNED), CAST(host AS CHAR), CAST(port AS SIGNED), CAST(username AS CHAR), CAST(password AS CHAR) \
                 FROM mqtt_servers WHERE enabled = 1 ORDER BY is_default DESC, id ASC LIMIT 1"
            }
            ConnectionPools::Postgres(_) => {
                "SELECT id::bigint, host::text, port::bigint, username::text, password::text \
                 FROM mqtt_servers WHERE enabled::boolean ORDER BY is_default DESC, id ASC LIMIT 1"
            }
        };
        let row: Option<ServerColumns> = match &self.inner.pools {
            ConnectionPools::Sqlite { read, .. } => sqlx::query_as(query).fetch_optional(read).await,
            ConnectionPools::MySql(pool) => sqlx::query_as(query).fetch_optional(pool).await,
            ConnectionPools::Postgres(pool) => sqlx::query_as(query).fetch_optional(pool).await,
        }
        .attempted(format!("read the MQTT server from {}", self.label()))?;
        let Some((id, host, port, username, password)) = row else {
            return Err(DatabaseError::Schema(format!(
                "{} has no enabled row in mqtt_servers; add one, or set [mqtt] server in the configuration",
                self.label()
            )));
        };
        let Some(port) = u16::try_from(port).ok().filter(|&port| port != 0) else {
            return Err(DatabaseError::Schema(format!("mqtt_servers row {id}: {port} is no port; it is 1 to 65535")));
        };
        let credentials = match (username, password) {
            (Some(user), Some(password)) if !user.is_empty() && !password.is_empty() => Some((user, password.into())),
            _ => None,
        };
        Ok(MqttServer { id, host, port, credentials })
    }

    fn check_options(&self, flow: &FlowRow) -> Result<(), DatabaseError> {
        match (&flow.options, &self.capabilities().own_tables) {
            (Some(_), FeatureSupport::Unavailable(reason)) => Err(DatabaseError::Unavailable(format!(
                "the flow {} has options beyond the base columns, and {} can't keep them: {reason}",
                flow.code,
                self.label()
            ))),
            _ => Ok(()),
        }
    }

    /// What belongs to a flow that was added, with the id that it got.
    async fn note_added<K: Kind>(
        &self,
        transaction: &mut sqlx::Transaction<'_, K>,
        id: i64,
        flow: &FlowRow,
    ) -> Result<(), sqlx::Error> {
        self.put_options(transaction, id, flow).await?;
        self.log_change(transaction, None, Some(&FlowRow { id, ..flow.clone() })).await
    }

    /// In the transaction of the flow itself: without its options it would be another flow.
    async fn put_options<K: Kind>(
        &self,
        transaction: &mut sqlx::Transaction<'_, K>,
        id: i64,
        flow: &FlowRow,
    ) -> Result<(), sqlx::Error> {
        if self.layout.is_guest() {
            return Ok(());
        }
        K::put_options(transaction, id, &flow.code, flow.options.as_deref()).await
    }
}

/// Commits what went well, and takes back what did not before anybody goes on.
async fn end<K: sqlx::Database, T>(
    transaction: sqlx::Transaction<'_, K>,
    outcome: Result<T, sqlx::Error>,
) -> Result<T, sqlx::Error> {
    match outcome {
        Ok(done) => transaction.commit().await.map(|()| done),
        Err(error) => {
            // The first error is the one to tell; a connection that can't even roll back is given up.
            transaction.rollback().await.ok();
            Err(error)
        }
    }
}

/// What differs between the databases when a flow is written.
trait Kind: ChangeLog {
    /// Answers its id.
    async fn insert_flow(transaction: &mut sqlx::Transaction<'_, Self>, flow: &FlowRow) -> Result<i64, sqlx::Error>;

    async fn update_flow(transaction: &mut sqlx::Transaction<'_, Self>, flow: &FlowRow) -> Result<(), sqlx::Error>;

    async fn put_options(
        transaction: &mut sqlx::Transaction<'_, Self>,
        id: i64,
        code: &str,
        options: Option<&str>,
    ) -> Result<(), sqlx::Error>;
}

macro_rules! kind {
    (
        $database:ty, $delete:literal, $insert:literal, $update_flow:expr,
        |$transaction:ident, $flow:ident| $insert_flow:expr
    ) => {
        impl Kind for $database {
            async fn insert_flow(
                $transaction: &mut sqlx::Transaction<'_, Self>,
                $flow: &FlowRow,
            ) -> Result<i64, sqlx::Error> {
                $insert_flow
            }

            async fn update_flow(
                transaction: &mut sqlx::Transaction<'_, Self>,
                flow: &FlowRow,
            ) -> Result<(), sqlx::Error> {
                bound!($update_flow, flow).bind(flow.id).execute(&mut **transaction).await.map(drop)
            }

            async fn put_options(
                transaction: &mut sqlx::Transaction<'_, Self>,
                id: i64,
                code: &str,
                options: Option<&str>,
            ) -> Result<(), sqlx::Error> {
                sqlx::query($delete).bind(id).execute(&mut **transaction).await?;
                if let Some(options) = options {
                    sqlx::query($insert).bind(id).bind(code).bind(options).execute(&mut **transaction).await?;
                }
                Ok(())
            }
        }
    };
}

kind!(
    sqlx::Sqlite,
    "DELETE FROM hearthgate_flow_options WHERE flow_id = ?",
    "INSERT INTO hearthgate_flow_options (flow_id, flow_code, options) VALUES (?, ?, ?)",
    UPDATE,
    |transaction, flow| {
        let inserted = bound!(INSERT, flow).bind(&flow.code).execute(&mut **transaction).await?;
        Ok(inserted.last_insert_rowid())
    }
);
kind!(
    sqlx::MySql,
    "DELETE FROM hearthgate_flow_options WHERE flow_id = ?",
    "INSERT INTO hearthgate_flow_options (flow_id, flow_code, options) VALUES (?, ?, ?)",
    UPDATE,
    |transaction, flow| {
        let inserted = bound!(INSERT, flow).bind(&flow.code).execute(&mut **transaction).await?;
        Ok(i64::try_from(inserted.last_insert_id()).unwrap_or(i64::MAX))
    }
);
kind!(
    sqlx::Postgres,
    "DELETE FROM hearthgate_flow_options WHERE flow_id = $1",
    "INSERT INTO hearthgate_flow_options (flow_id, flow_code, options) VALUES ($1, $2, $3)",
    UPDATE_POSTGRES,
    |transaction, flow| bound!(INSERT_POSTGRES, flow).fetch_one(&mut **transaction).await?.try_get(0)
);

fn flow_row(columns: Columns) -> FlowRow {
    let (id, code, description, topic, action, payload_schema, endpoint_url, last_msg_id, enabled, options) = columns;
    FlowRow {
        id,
        code,
        description,
        topic,
        action,
        payload_schema,
        endpoint_url,
        last_msg_id,
        enabled: enabled != 0,
        options,
    }
}
