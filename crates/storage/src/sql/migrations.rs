//! The migrations, compiled into the program, with their own table `hearthgate_migrations`.

use super::error::{Attempted as _, DatabaseError};
use super::pools::{Pools, on_pool};
use super::{Database, ErrorKind};
use sqlx::migrate::{MigrateError, Migrator};
use std::collections::BTreeSet;
use std::sync::LazyLock;

static SQLITE: LazyLock<Migrator> = LazyLock::new(|| ours(sqlx::migrate!("../../migrations/sqlite")));
static MYSQL: LazyLock<Migrator> = LazyLock::new(|| ours(sqlx::migrate!("../../migrations/mysql")));
static POSTGRES: LazyLock<Migrator> = LazyLock::new(|| ours(sqlx::migrate!("../../migrations/postgres")));

/// Name of the sample flows' entry in `hearthgate_meta`, set to `due` by the migration that created the base tables.
pub(crate) const SAMPLES: &str = "sample_flows";

fn ours(mut migrator: Migrator) -> Migrator {
    migrator.dangerous_set_table_name("hearthgate_migrations");
    migrator
}

fn migrator(pools: &Pools) -> &'static Migrator {
    match pools {
        Pools::Sqlite { .. } => &SQLITE,
        Pools::MySql(_) => &MYSQL,
        Pools::Postgres(_) => &POSTGRES,
    }
}

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
    /// Applies the migrations that this database lacks. Base tables that exist are left as they are.
    ///
    /// # Errors
    /// The account may not create tables (kind `Permission`), or a statement failed.
    pub async fn migrate(&mut self) -> Result<MigrationReport, DatabaseError> {
        let created = self.layout.is_empty();
        let before = self.layout.applied.clone();
        let attempted = format!("create tables in {}", self.label());
        let pools = &self.inner.pools;
        on_pool!(pools, pool => {
            match migrator(pools).run(pool).await {
                // Only MySQL gets here, where a crash leaves a mark behind; its migrations are safe to repeat.
                Err(MigrateError::Dirty(_)) => {
                    sqlx::query("DELETE FROM hearthgate_migrations WHERE success = false")
                        .execute(pool)
                        .await
                        .attempted(attempted.clone())?;
                    migrator(pools).run(pool).await
                }
                other => other,
            }
        })
        .map_err(|source| DatabaseError::Migration { attempted: attempted.into(), source })?;
        if created {
            self.set_meta(SAMPLES, "due").await?;
        }
        self.reinspect().await?;
        Ok(MigrationReport { applied: self.layout.applied.difference(&before).copied().collect(), created })
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

    pub(crate) async fn set_meta(&self, name: &'static str, value: &str) -> Result<(), DatabaseError> {
        let attempted = format!("note {name} in {}", self.label());
        let (delete, insert) = match &self.inner.pools {
            Pools::Postgres(_) => (
                "DELETE FROM hearthgate_meta WHERE name = $1",
                "INSERT INTO hearthgate_meta (name, value) VALUES ($1, $2)",
            ),
            Pools::Sqlite { .. } | Pools::MySql(_) => (
                "DELETE FROM hearthgate_meta WHERE name = ?",
                "INSERT INTO hearthgate_meta (name, value) VALUES (?, ?)",
            ),
        };
        on_pool!(&self.inner.pools, pool => {
            let mut transaction = pool.begin().await.attempted(attempted.clone())?;
            sqlx::query(delete).bind(name).execute(&mut *transaction).await.attempted(attempted.clone())?;
            sqlx::query(insert).bind(name).bind(value).execute(&mut *transaction).await.attempted(attempted.clone())?;
            transaction.commit().await.attempted(attempted)
        })
    }

    pub(crate) async fn meta(&self, name: &'static str) -> Result<Option<String>, DatabaseError> {
        let query = match &self.inner.pools {
            Pools::Postgres(_) => "SELECT value FROM hearthgate_meta WHERE name = $1",
            Pools::Sqlite { .. } | Pools::MySql(_) => "SELECT value FROM hearthgate_meta WHERE name = ?",
        };
        let row: Option<(String,)> = on_pool!(&self.inner.pools, pool => {
            sqlx::query_as(query).bind(name).fetch_optional(pool).await
        })
        .attempted(format!("read {name} from {}", self.label()))?;
        Ok(row.map(|(value,)| value))
    }
}

/// The highest version that this program knows.
pub(crate) fn newest(pools: &Pools) -> i64 {
    migrator(pools).iter().map(|migration| migration.version).max().unwrap_or(0)
}

/// The versions that were applied, when our tables may be read and written.
pub(crate) async fn usable(pools: &Pools) -> Result<BTreeSet<i64>, DatabaseError> {
    const PROBES: [&str; 3] = [
        "UPDATE hearthgate_cursors SET position = position WHERE 1 = 0",
        "UPDATE hearthgate_flow_options SET options = options WHERE 1 = 0",
        "UPDATE hearthgate_meta SET value = value WHERE 1 = 0",
    ];
    on_pool!(pools, pool => {
        for probe in PROBES {
            sqlx::query(probe).execute(pool).await.attempted("use the tables hearthgate_…")?;
        }
        let applied: Vec<(i64,)> = sqlx::query_as("SELECT version FROM hearthgate_migrations WHERE success = true")
            .fetch_all(pool)
            .await
            .attempted("read hearthgate_migrations")?;
        Ok(applied.into_iter().map(|(version,)| version).collect())
    })
}

impl DatabaseError {
    /// Whether the database, not the statement, is in trouble: waiting and trying again may help.
    pub fn is_temporary(&self) -> bool {
        matches!(self.kind(), ErrorKind::Connection | ErrorKind::Contention | ErrorKind::DiskFull | ErrorKind::ReadOnly)
    }
}
