//! The connections, one typed pool for each kind of database.

use super::error::{DatabaseError, ErrorContext as _};
use super::options::{DatabaseOptions, DatabaseTarget};
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection, MySqlPool, MySqlPoolOptions};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use sqlx::sqlite::{SqlitePool, SqlitePoolOptions};
use sqlx::{ConnectOptions as _, Connection as _, Sqlite, Transaction};
use std::time::Duration;

const BEGIN_IMMEDIATE: &str = "BEGIN IMMEDIATE";

/// How long an unused connection to a server is kept.
const IDLE: Duration = Duration::from_secs(600);

#[derive(Clone, Debug)]
pub(crate) enum ConnectionPools {
    /// One connection writes, so that writers queue here instead of failing on the file's lock.
    Sqlite {
        read: SqlitePool,
        write: SqlitePool,
    },
    MySql(MySqlPool),
    Postgres(PgPool),
}

/// Runs `$body` with `$pool` bound to the pool of whichever kind it is. `$pool` is the writing one for SQLite.
macro_rules! on_pool {
    ($pools:expr, $pool:ident => $body:expr) => {
        match $pools {
            $crate::sql::pools::ConnectionPools::Sqlite { write: $pool, .. } => $body,
            $crate::sql::pools::ConnectionPools::MySql($pool) => $body,
            $crate::sql::pools::ConnectionPools::Postgres($pool) => $body,
        }
    };
}
pub(crate) use on_pool;

impl ConnectionPools {
    pub(crate) async fn connect(
        target: &DatabaseTarget,
        options: &DatabaseOptions,
        label: &str,
    ) -> Result<Self, DatabaseError> {
        let max = options.max_connections.max(1);
        match target {
            DatabaseTarget::Sqlite(file) => {
                create_folder(file.get_filename())?;
                let pool = |max| SqlitePoolOptions::new().max_connections(max).idle_timeout(None).max_lifetime(None);
                let write = pool(1)
                    .test_before_acquire(false)
                    .acquire_timeout(options.write_timeout)
                    .connect_with((**file).clone().thread_name(|_| "sqlite-write".into()))
                    .await
                    .attempted(format!("open {label}"))?;
                let read = pool(max).acquire_timeout(options.connect_timeout).connect_lazy_with(
                    (**file).clone().pragma("query_only", "1").thread_name(|_| "sqlite-read".into()),
                );
                Ok(Self::Sqlite { read, write })
            }
            DatabaseTarget::MySql(server) => {
                // The pool would hide why it can't connect behind its own timeout: the first connection is made by hand.
                let first =
                    connect_mysql(server, options.connect_timeout).await.attempted(format!("connect to {label}"))?;
                first.close().await.attempted(format!("connect to {label}"))?;
                let pool = MySqlPoolOptions::new()
                    .max_connections(max)
                    .idle_timeout(IDLE)
                    .acquire_timeout(options.connect_timeout)
                    .after_connect(|connection, _| Box::pin(strict(connection)))
                    .connect_lazy_with((**server).clone());
                Ok(Self::MySql(pool))
            }
            DatabaseTarget::Postgres(server) => {
                let first =
                    connect_postgres(server, options.connect_timeout).await.attempted(format!("connect to {label}"))?;
                first.close().await.attempted(format!("connect to {label}"))?;
                // One of them may be listening for changes.
                let pool = PgPoolOptions::new()
                    .max_connections(max.max(2))
                    .idle_timeout(IDLE)
                    .acquire_timeout(options.connect_timeout)
                    .connect_lazy_with((**server).clone());
                Ok(Self::Postgres(pool))
            }
        }
    }

    pub(crate) async fn ping(&self, label: &str) -> Result<(), DatabaseError> {
        on_pool!(self, pool => {
            let mut connection = pool.acquire().await.attempted(format!("connect to {label}"))?;
            connection.ping().await.attempted(format!("ping {label}"))
        })
    }

    pub(crate) async fn close(&self) {
        match self {
            Self::Sqlite { read, write } => {
                read.close().await;
                write.close().await;
            }
            Self::MySql(pool) => pool.close().await,
            Self::Postgres(pool) => pool.close().await,
        }
    }
}

/// Begins a transaction that writes to an SQLite file.
///
/// When a commit fails for a full disk, SQLite rolls back by itself, sqlx's own rollback then fails, and the connection
/// counts as being in a transaction for ever. Such a connection is replaced.
pub(crate) async fn begin_immediate(pool: &SqlitePool) -> Result<Transaction<'static, Sqlite>, sqlx::Error> {
    match pool.begin_with(BEGIN_IMMEDIATE).await {
        Err(sqlx::Error::InvalidSavePointStatement) => {
            pool.acquire().await?.close().await?;
            pool.begin_with(BEGIN_IMMEDIATE).await
        }
        begun => begun,
    }
}

/// A connection of one's own, outside the pool, with strict checking of values.
pub(crate) async fn connect_mysql(
    server: &MySqlConnectOptions,
    timeout: Duration,
) -> Result<MySqlConnection, sqlx::Error> {
    in_time(timeout, async {
        let mut connection = server.connect().await?;
        strict(&mut connection).await?;
        Ok(connection)
    })
    .await
}

/// A connection of one's own, outside the pool.
pub(crate) async fn connect_postgres(
    server: &PgConnectOptions,
    timeout: Duration,
) -> Result<PgConnection, sqlx::Error> {
    in_time(timeout, server.connect()).await
}

async fn in_time<T>(
    timeout: Duration,
    connecting: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    tokio::time::timeout(timeout, connecting).await.unwrap_or_else(|_| {
        let message = format!("no connection within {} s", timeout.as_secs_f32());
        Err(sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, message)))
    })
}

/// A server that is not strict cuts values off silently, and what was cut off would be lost without a word.
async fn strict(connection: &mut MySqlConnection) -> Result<(), sqlx::Error> {
    sqlx::raw_sql("SET SESSION sql_mode = CONCAT(@@sql_mode, ',STRICT_ALL_TABLES')").execute(connection).await?;
    Ok(())
}

fn create_folder(file: &std::path::Path) -> Result<(), DatabaseError> {
    let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) else { return Ok(()) };
    std::fs::create_dir_all(folder)
        .map_err(|source| DatabaseError::File { attempted: format!("create the folder {}", folder.display()), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_connection_whose_commit_failed_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let options = crate::sql::sqlite_file(&folder.path().join("file.db"));
        let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await.unwrap();
        for _ in 0..3 {
            let mut transaction = begin_immediate(&pool).await.unwrap();
            sqlx::query("CREATE TABLE IF NOT EXISTS t (x)").execute(&mut *transaction).await.unwrap();
            // As SQLite does when the disk is full.
            sqlx::raw_sql("ROLLBACK").execute(&mut *transaction).await.unwrap();
            assert!(transaction.commit().await.is_err());
        }
        let transaction = begin_immediate(&pool).await.unwrap();
        transaction.commit().await.unwrap();
    }
}
