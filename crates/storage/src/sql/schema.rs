//! What is there: which tables and columns, and what the account may do with them. Only looks, changes nothing.

use super::error::{DatabaseError, ErrorContext as _};
use super::grants::may_create_tables;
use super::pools::ConnectionPools;
use std::collections::{BTreeMap, BTreeSet};

/// Whether something can be had here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FeatureSupport {
    /// It can.
    Available,
    /// It can't, for this reason.
    Unavailable(String),
}

impl FeatureSupport {
    /// Whether it can be had.
    pub fn is_available(&self) -> bool {
        *self == Self::Available
    }
}

/// What a database and our rights on it offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseCapabilities {
    /// Tables of our own: flow options, and the journal's position inside each transaction. Without them the gateway
    /// is a guest: flows are the base columns alone, and positions are kept by local intent files.
    pub own_tables: FeatureSupport,
    /// The right to create tables: migrations, typed tables.
    pub create_tables: FeatureSupport,
    /// Notification of changes by the server. Without it [`super::Database::change_mark`] has to be asked.
    pub notifications: FeatureSupport,
    /// What is stored but not as it should be, to be told to the operator.
    pub warnings: Vec<String>,
}

/// The columns that every installation has (`id` and these).
const BASE: [(&str, &[&str]); 3] = [
    ("mqtt_servers", &["id", "host", "port", "username", "password", "enabled", "is_default"]),
    (
        "flows",
        &["id", "code", "description", "topic", "action", "payload_schema", "endpoint_url", "last_msg_id", "enabled"],
    ),
    ("data", &["id", "received_at", "flow_code", "attribute_name", "attribute_value", "last_msg_id"]),
];

const OWN: [&str; 4] = ["hearthgate_migrations", "hearthgate_flow_options", "hearthgate_cursors", "hearthgate_meta"];

/// The database as it was found.
#[derive(Clone, Debug)]
pub(crate) struct DatabaseLayout {
    pub(crate) capabilities: DatabaseCapabilities,
    /// `data.received_at` keeps microseconds.
    pub(crate) received_at_micros: bool,
    /// Versions of migrations that were applied.
    pub(crate) applied: BTreeSet<i64>,
    tables: BTreeMap<String, BTreeSet<String>>,
    newest: i64,
}

impl DatabaseLayout {
    /// No tables of our own here.
    pub(crate) fn is_guest(&self) -> bool {
        !self.capabilities.own_tables.is_available()
    }

    /// A migration is missing.
    pub(crate) fn is_behind(&self) -> bool {
        self.applied.last().is_none_or(|&applied| applied < self.newest)
    }

    pub(crate) fn may_migrate(&self) -> bool {
        self.capabilities.create_tables.is_available()
    }

    /// The journal's position may be in the database, from a time when this was no guest.
    pub(crate) fn has_cursors(&self) -> bool {
        self.tables.contains_key("hearthgate_cursors")
    }

    /// None of the base tables is there.
    pub(crate) fn is_empty(&self) -> bool {
        BASE.iter().all(|(table, _)| !self.tables.contains_key(*table))
    }

    pub(crate) fn base_is_complete(&self) -> bool {
        self.missing().is_empty()
    }

    /// Refuses a database without the tables and columns that everything rests on.
    pub(crate) fn require_base(&self, label: &str) -> Result<(), DatabaseError> {
        let missing = self.missing();
        if missing.is_empty() {
            return Ok(());
        }
        Err(DatabaseError::Schema(format!(
            "{label} has no {} (or this account may not see it); grant the account the right to create tables, or create \
             them with `hearthgate db migrate` under an account that may",
            missing.join(", ")
        )))
    }

    fn missing(&self) -> Vec<String> {
        let mut missing = Vec::new();
        for (table, columns) in BASE {
            match self.tables.get(table) {
                None => missing.push(format!("table {table}")),
                Some(there) => missing.extend(
                    columns
                        .iter()
                        .filter(|column| !there.contains(**column))
                        .map(|column| format!("column {table}.{column}")),
                ),
            }
        }
        missing
    }

    fn owns_tables(&self) -> bool {
        OWN.iter().all(|table| self.tables.contains_key(*table))
    }
}

/// Looks at the database. `guest`: tables of our own are not used even where they are.
pub(crate) async fn inspect(
    pools: &ConnectionPools,
    guest: bool,
    label: &str,
) -> Result<DatabaseLayout, DatabaseError> {
    let attempted = || format!("read the structure of {label}");
    let found = find(pools).await.attempted(attempted())?;
    let mut layout = DatabaseLayout {
        capabilities: DatabaseCapabilities {
            own_tables: FeatureSupport::Available,
            create_tables: found.create_tables,
            notifications: found.notifications,
            warnings: found.warnings,
        },
        received_at_micros: found.received_at_micros,
        applied: BTreeSet::new(),
        tables: found.tables,
        newest: crate::sql::migrators::newest(pools),
    };
    if guest {
        let refused = FeatureSupport::Unavailable("guest = true in the configuration".into());
        layout.capabilities.own_tables = refused.clone();
        layout.capabilities.create_tables = refused;
        return Ok(layout);
    }
    if !layout.owns_tables() {
        let reason = match &layout.capabilities.create_tables {
            FeatureSupport::Available => "not created yet; run `hearthgate db migrate`".to_owned(),
            FeatureSupport::Unavailable(reason) => reason.clone(),
        };
        layout.capabilities.own_tables = FeatureSupport::Unavailable(reason);
        return Ok(layout);
    }
    match crate::sql::migrators::usable(pools).await {
        Ok(applied) => layout.applied = applied,
        Err(error) => layout.capabilities.own_tables = FeatureSupport::Unavailable(error.to_string()),
    }
    if layout.is_behind() && layout.capabilities.own_tables.is_available() {
        layout.capabilities.own_tables =
            FeatureSupport::Unavailable("its tables are older than this program; run `hearthgate db migrate`".into());
    }
    Ok(layout)
}

struct Found {
    tables: BTreeMap<String, BTreeSet<String>>,
    received_at_micros: bool,
    create_tables: FeatureSupport,
    notifications: FeatureSupport,
    warnings: Vec<String>,
}

async fn find(pools: &ConnectionPools) -> Result<Found, sqlx::Error> {
    match pools {
        ConnectionPools::Sqlite { write, .. } => find_sqlite(write).await,
        ConnectionPools::MySql(pool) => find_mysql(pool).await,
        ConnectionPools::Postgres(pool) => find_postgres(pool).await,
    }
}

fn by_table(columns: Vec<(String, String)>) -> BTreeMap<String, BTreeSet<String>> {
    let mut tables: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (table, column) in columns {
        tables.entry(table).or_default().insert(column);
    }
    tables
}

async fn find_sqlite(pool: &sqlx::SqlitePool) -> Result<Found, sqlx::Error> {
    let columns = sqlx::query_as(
        "SELECT lower(t.name), lower(c.name) FROM sqlite_master t JOIN pragma_table_info(t.name) c WHERE t.type = 'table'",
    )
    .fetch_all(pool)
    .await?;
    Ok(Found {
        tables: by_table(columns),
        received_at_micros: true,
        create_tables: FeatureSupport::Available,
        notifications: FeatureSupport::Unavailable("SQLite does not notify other processes".into()),
        warnings: Vec::new(),
    })
}

async fn find_mysql(pool: &sqlx::MySqlPool) -> Result<Found, sqlx::Error> {
    let (database,): (String,) = sqlx::query_as("SELECT CAST(DATABASE() AS CHAR)").fetch_one(pool).await?;
    let columns: Vec<(String, String, Option<i64>)> = sqlx::query_as(
        "SELECT CAST(LOWER(table_name) AS CHAR), CAST(LOWER(column_name) AS CHAR), CAST(datetime_precision AS SIGNED) \
         FROM information_schema.columns WHERE table_schema = DATABASE()",
    )
    .fetch_all(pool)
    .await?;
    let micros = columns.iter().any(|(table, column, precision)| {
        table == "data" && column == "received_at" && precision.is_none_or(|p| p >= 6)
    });
    let engines: Vec<(String, String)> = sqlx::query_as(
        "SELECT CAST(table_name AS CHAR), CAST(engine AS CHAR) FROM information_schema.tables \
         WHERE table_schema = DATABASE() AND table_name IN ('flows', 'data') AND engine NOT IN ('InnoDB')",
    )
    .fetch_all(pool)
    .await?;
    let grants: Vec<(String,)> = sqlx::query_as("SHOW GRANTS").fetch_all(pool).await?;
    let grants: Vec<String> = grants.into_iter().map(|(grant,)| grant).collect();
    let create_tables = if may_create_tables(&grants, &database) {
        FeatureSupport::Available
    } else {
        FeatureSupport::Unavailable(format!("this account may not create tables in {database}"))
    };
    Ok(Found {
        tables: by_table(columns.into_iter().map(|(table, column, _)| (table, column)).collect()),
        received_at_micros: micros,
        create_tables,
        notifications: FeatureSupport::Unavailable("MySQL and MariaDB do not notify".into()),
        warnings: engines
            .into_iter()
            .map(|(table, engine)| {
                format!("table {table} uses the engine {engine}, which has no transactions: a crash can leave half a message; convert it to InnoDB")
            })
            .collect(),
    })
}

async fn find_postgres(pool: &sqlx::PgPool) -> Result<Found, sqlx::Error> {
    let columns = sqlx::query_as(
        "SELECT table_name::text, column_name::text FROM information_schema.columns WHERE table_schema = ANY(current_schemas(false))",
    )
    .fetch_all(pool)
    .await?;
    let (may_create, triggers): (bool, i64) = sqlx::query_as(
        "SELECT coalesce(has_schema_privilege(current_schema(), 'CREATE'), false), \
         (SELECT count(*) FROM pg_trigger WHERE tgname = 'hearthgate_flows_changed' \
          AND tgrelid = to_regclass('flows'))",
    )
    .fetch_one(pool)
    .await?;
    Ok(Found {
        tables: by_table(columns),
        received_at_micros: true,
        create_tables: match may_create {
            true => FeatureSupport::Available,
            false => FeatureSupport::Unavailable("this account may not create tables in the schema".into()),
        },
        notifications: match triggers {
            0 => FeatureSupport::Unavailable("the trigger hearthgate_flows_changed is missing on flows".into()),
            _ => FeatureSupport::Available,
        },
        warnings: Vec::new(),
    })
}
