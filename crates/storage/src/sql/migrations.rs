//! The migrations, compiled into the program, with their own table `hearthgate_migrations`.

use super::error::{DatabaseError, ErrorContext as _};
use super::pools::{ConnectionPools, on_pool};
use super::{Database, ErrorKind};
use crate::sql::migrators::{MYSQL, POSTGRES, SQLITE, migrator};
use sqlx::migrate::MigrateError;
use sqlx::{ConnectOptions as _, Connection as _};

/// One migration and whether it was applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MigrationState {
    /// Its number; they are applied in this order.
    pub version: i64,
    /// What it does.
    pub description: String,
    /// Whether this database has it.
    pub applied: bool,
}

/// What [`Database::migrate`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MigrationReport {
    /// Versions that were applied now.
    pub applied: Vec<i64>,
    /// The base tables were not there before, and are ours.
    pub created: bool,
}

impl Database {
    /// Applies the migrations that this database lacks, and makes base tables anew that somebody dropped. Those that exist are
    /// left as they are.
    ///
    /// # Errors
    /// The account may not create tables (kind `Permission`), or a statement failed.
    pub async fn migrate(&mut self) -> Result<MigrationReport, DatabaseError> {
        let created = self.layout.is_empty();
        let before = self.layout.applied.clone();
        let attempted = format!("create tables in {}", self.label());
        let pools = &self.inner.pools;
        let migrated = match pools {
            ConnectionPools::Sqlite { write, .. } => SQLITE.run(write).await,
            ConnectionPools::MySql(pool) => migrate_mysql(pool).await,
            ConnectionPools::Postgres(pool) => POSTGRES.run(pool).await,
        };
        migrated.map_err(|source| match source {
            MigrateError::VersionMissing(found) => {
                let known = migrator(pools).iter().map(|migration| migration.version).max().unwrap_or(0);
                DatabaseError::newer(self.label(), found, known)
            }
            source => DatabaseError::Migration { attempted: attempted.into(), source },
        })?;
        if created {
            self.note_samples_due().await?;
        } else if !self.layout.base_is_complete() {
            self.restore_base().await?;
        }
        self.reinspect().await?;
        if created {
            // Nothing is in it yet: this costs nothing now.
            self.make_index().await?;
        }
        Ok(MigrationReport { applied: self.layout.applied.difference(&before).copied().collect(), created })
    }

    /// Somebody dropped a base table: migrations that were applied are not applied again. Those of base tables are safe to
    /// repeat, and leave what is there.
    async fn restore_base(&self) -> Result<(), DatabaseError> {
        let last = match &self.inner.pools {
            ConnectionPools::MySql(_) => 3,
            ConnectionPools::Sqlite { .. } | ConnectionPools::Postgres(_) => 1,
        };
        for migration in migrator(&self.inner.pools).iter().filter(|migration| migration.version <= last) {
            let statements = sqlx::AssertSqlSafe(migration.sql.as_str().to_owned());
            on_pool!(&self.inner.pools, pool => sqlx::raw_sql(statements).execute(pool).await.map(drop))
                .attempted(format!("make the base tables of {} anew", self.label()))?;
        }
        Ok(())
    }

    /// All migrations that this program knows, and which of them this database has.
    pub fn migration_status(&self) -> Vec<MigrationState> {
        migrator(&self.inner.pools)
            .iter()
            .map(|migration| MigrationState {
                version: migration.version,
                description: migration.description.to_string(),
                applied: self.layout.applied.contains(&migration.version),
            })
            .collect()
    }

    /// Of several gateways that start on an empty database one notes it first.
    async fn note_samples_due(&self) -> Result<(), DatabaseError> {
        let insert = match &self.inner.pools {
            ConnectionPools::Sqlite { .. } => {
                "INSERT OR IGNORE INTO hearthgate_meta (name, value) VALUES ('sample_flows', 'due')"
            }
            ConnectionPools::MySql(_) => {
                "INSERT IGNORE INTO hearthgate_meta (name, value) VALUES ('sample_flows', 'due')"
            }
            ConnectionPools::Postgres(_) => {
                "INSERT INTO hearthgate_meta (name, value) VALUES ('sample_flows', 'due') ON CONFLICT DO NOTHING"
            }
        };
        on_pool!(&self.inner.pools, pool => sqlx::query(insert).execute(pool).await.map(drop))
            .attempted(format!("note in {} that it is new", self.label()))
    }

    /// Whether the sample flows are due, and now up to the caller.
    pub(crate) async fn claim_samples(&self) -> Result<bool, DatabaseError> {
        const CLAIM: &str = "UPDATE hearthgate_meta SET value = 'done' WHERE name = 'sample_flows' AND value = 'due'";
        let claimed = on_pool!(&self.inner.pools, pool => {
            sqlx::query(CLAIM).execute(pool).await.map(|done| done.rows_affected())
        })
        .attempted(format!("look in {} whether it is new", self.label()))?;
        Ok(claimed == 1)
    }
}

/// How long to wait for another gateway that migrates, in seconds.
const MIGRATION_LOCK_WAIT: i32 = 120;

/// The migrator's own lock waits for ever on MySQL, and not at all on MariaDB: there a negative time is none.
async fn migrate_mysql(pool: &sqlx::MySqlPool) -> Result<(), MigrateError> {
    // Outside the pool, which may have room for one connection only.
    let mut holder = pool.connect_options().connect().await?;
    let (locked,): (Option<i64>,) =
        sqlx::query_as("SELECT CAST(GET_LOCK(CONCAT('hearthgate_', MD5(DATABASE())), ?) AS SIGNED)")
            .bind(MIGRATION_LOCK_WAIT)
            .fetch_one(&mut holder)
            .await?;
    if locked != Some(1) {
        return Err(MigrateError::Execute(sqlx::Error::PoolTimedOut));
    }
    let mut migrated = MYSQL.run(pool).await;
    if let Err(MigrateError::Dirty(_)) = migrated {
        // A crash in the middle left a mark; each of these migrations is one statement that is safe to repeat.
        sqlx::query("DELETE FROM hearthgate_migrations WHERE success = false").execute(&mut holder).await?;
        migrated = MYSQL.run(pool).await;
    }
    // The lock goes with its connection.
    holder.close().await?;
    migrated
}

impl DatabaseError {
    /// Whether the database, not the statement, is in trouble: waiting and trying again may help.
    pub fn is_temporary(&self) -> bool {
        matches!(self.kind(), ErrorKind::Connection | ErrorKind::Contention | ErrorKind::DiskFull | ErrorKind::ReadOnly)
    }
}
