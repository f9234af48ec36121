//! The SQL database: SQLite, MySQL or MariaDB, PostgreSQL. Flows and servers are read from it, records are written
//! into it, each exactly once.
//!
//! A database that another gateway made works as it stands, in *guest* mode, with no more than SELECT, INSERT and
//! UPDATE on `mqtt_servers` and `flows` and SELECT and INSERT on `data`. [`DatabaseCapabilities`] says what is missing then.

mod change_log;
mod changes;
mod column_fit;
mod copy;
mod encryption;
mod error;
mod exposure;
mod flows;
mod grants;
mod history;
mod identity;
mod migrations;
mod migrators;
mod options;
pub(crate) mod pools;
mod records;
mod sample;
mod schema;
mod series;
mod table_error;
pub(crate) mod timestamp;
mod typed;

pub use change_log::FlowChange;
pub use changes::{ChangeMark, ChangeNotifications};
pub use copy::copy_sqlite;
pub use encryption::EncryptionMode;
pub use error::{DatabaseError, ErrorKind};
pub use flows::MqttServer;
pub use history::{
    BackfillCounts, BackfillExample, BackfillOrder, BackfillPreview, BackfillWork, BooleanSummary, DataAnswer,
    DataError, DataQuery, FlowHistory, IndexState, MOST_POINTS, NumberSummary, PrunableRows, RollupStep, TableChange,
    TableSize, WindowSum,
};
pub use migrations::{MigrationReport, MigrationState};
pub use options::{DatabaseOptions, mysql_url};
pub use records::{
    CommitCounts, FlowNumbers, FlowRecord, PreparedBatch, RecordBatch, RecordWriter, RejectReason, RejectedRecord,
    WriteError,
};
pub use schema::{DatabaseCapabilities, FeatureSupport};
pub use series::{NewestValue, SeriesOf, SeriesWindow};
pub use table_error::TableDesignError;
pub use typed::{SqlDialect, TypedRow, TypedTable};

pub(crate) use error::ErrorContext;
pub(crate) use options::sqlite_file;

use options::DatabaseTarget;
use pools::ConnectionPools;
use schema::DatabaseLayout;
use std::sync::Arc;

/// A connected database. Cloning is cheap and shares the connections.
#[derive(Clone)]
pub struct Database {
    inner: Arc<Inner>,
    layout: Arc<DatabaseLayout>,
    /// Whom the log of changes names.
    author: Arc<str>,
}

/// Who changes what nobody else does.
const OURSELVES: &str = "gateway";

struct Inner {
    pools: ConnectionPools,
    target: DatabaseTarget,
    label: String,
    is_exposed: bool,
    options: DatabaseOptions,
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Database({}, {})", self.inner.label, if self.layout.is_guest() { "guest" } else { "own tables" })
    }
}

impl Database {
    /// Connects and brings the schema up to date where that is allowed; a database that was empty gets the sample
    /// flows. Where tables can't be created, goes on as a guest.
    ///
    /// # Errors
    /// The database can't be reached, lacks a base table or column that can't be created, or a migration failed.
    pub async fn open(options: &DatabaseOptions) -> Result<Self, DatabaseError> {
        let mut database = Self::connect(options).await?;
        if options.migrate && database.layout.may_migrate() && database.layout.is_behind() {
            match database.migrate().await {
                Ok(_) => {}
                // The right to create was there by its name only.
                Err(error) if error.kind() == ErrorKind::Permission && database.layout.base_is_complete() => {
                    tracing::warn!(database = %database.inner.label, %error, "tables can't be created; going on as a guest");
                    database.reinspect_as_guest(&error.to_string()).await?;
                }
                Err(error) => return Err(error),
            }
        }
        database.layout.require_base(&database.inner.label)?;
        database.insert_sample_flows().await?;
        Ok(database)
    }

    /// Connects and looks at what is there, without changing anything (an SQLite file is created, empty).
    ///
    /// # Errors
    /// The options can't be used, or the database can't be reached: the message names host and database.
    pub async fn connect(options: &DatabaseOptions) -> Result<Self, DatabaseError> {
        let target = DatabaseTarget::parse(options)?;
        let label = target.label();
        let pools = ConnectionPools::connect(&target, options, &label).await?;
        let layout = schema::inspect(&pools, options.guest, &label).await?;
        let is_exposed = exposure::is_exposed(&target, &pools).await;
        let inner = Inner { pools, target, label, is_exposed, options: options.clone() };
        Ok(Self { inner: Arc::new(inner), layout: Arc::new(layout), author: OURSELVES.into() })
    }

    /// What this database and our rights on it offer, and why not.
    pub fn capabilities(&self) -> &DatabaseCapabilities {
        &self.layout.capabilities
    }

    /// How the database is called in messages: its kind, host and name.
    pub fn label(&self) -> &str {
        &self.inner.label
    }

    /// Whether it is on another machine and the connection is not encrypted: who is in between reads and changes all of it.
    pub fn is_exposed(&self) -> bool {
        self.inner.is_exposed
    }

    /// Which SQL it speaks.
    pub fn dialect(&self) -> SqlDialect {
        match self.inner.pools {
            ConnectionPools::Sqlite { .. } => SqlDialect::Sqlite,
            ConnectionPools::MySql(_) => SqlDialect::MySql,
            ConnectionPools::Postgres(_) => SqlDialect::Postgres,
        }
    }

    /// Asks the server for an answer.
    ///
    /// # Errors
    /// The server doesn't answer.
    pub async fn ping(&self) -> Result<(), DatabaseError> {
        self.inner.pools.ping(&self.inner.label).await
    }

    /// Whether nothing of ours is in it yet: [`Self::open`] fills it where that is allowed.
    pub fn is_fresh(&self) -> bool {
        self.layout.is_empty()
    }

    /// Looks whether a flow's own table can take its rows; none when it can, or will once the gateway has made what is
    /// missing; or else what is wrong and what helps.
    ///
    /// # Errors
    /// The database can't be asked.
    pub async fn check_table(&self, table: &TypedTable) -> Result<Option<String>, DatabaseError> {
        self.table_problem(table, self.makes_tables()).await
    }

    /// Closes the connections once those in use are given back.
    pub async fn close(&self) {
        self.inner.pools.close().await;
    }

    async fn reinspect(&mut self) -> Result<(), DatabaseError> {
        let layout = schema::inspect(&self.inner.pools, self.inner.options.guest, &self.inner.label).await?;
        self.layout = Arc::new(layout);
        Ok(())
    }

    async fn reinspect_as_guest(&mut self, reason: &str) -> Result<(), DatabaseError> {
        let mut layout = schema::inspect(&self.inner.pools, true, &self.inner.label).await?;
        layout.capabilities.own_tables = FeatureSupport::Unavailable(reason.to_owned());
        self.layout = Arc::new(layout);
        Ok(())
    }
}
