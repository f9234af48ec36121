//! The migrations, compiled into the program.

use crate::sql::error::{DatabaseError, ErrorContext as _};
use crate::sql::pools::{ConnectionPools, on_pool};
use sqlx::migrate::Migrator;
use std::collections::BTreeSet;
use std::sync::LazyLock;

pub(super) static SQLITE: LazyLock<Migrator> = LazyLock::new(|| ours(sqlx::migrate!("../../migrations/sqlite")));

pub(super) static MYSQL: LazyLock<Migrator> = LazyLock::new(|| ours(sqlx::migrate!("../../migrations/mysql")));

pub(super) static POSTGRES: LazyLock<Migrator> = LazyLock::new(|| ours(sqlx::migrate!("../../migrations/postgres")));

pub(super) fn ours(mut migrator: Migrator) -> Migrator {
    migrator.dangerous_set_table_name("hearthgate_migrations");
    migrator
}

pub(super) fn migrator(pools: &ConnectionPools) -> &'static Migrator {
    match pools {
        ConnectionPools::Sqlite { .. } => &SQLITE,
        ConnectionPools::MySql(_) => &MYSQL,
        ConnectionPools::Postgres(_) => &POSTGRES,
    }
}

/// The highest version that this program knows.
pub(crate) fn newest(pools: &ConnectionPools) -> i64 {
    migrator(pools).iter().map(|migration| migration.version).max().unwrap_or(0)
}

/// The versions that were applied, when our tables may be read and written.
pub(crate) async fn usable(pools: &ConnectionPools) -> Result<BTreeSet<i64>, DatabaseError> {
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
