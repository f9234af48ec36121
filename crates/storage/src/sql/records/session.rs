//! The writer's connection, and a transaction on it, whichever database it is.

use super::{FlowNumbers, faults};
use crate::sql::error::classify;
use crate::sql::options::DatabaseTarget;
use crate::sql::pools::{ConnectionPools, begin_immediate, connect_mysql, connect_postgres};
use crate::sql::records::dialects::{mysql, postgres, sqlite};
use crate::sql::records::rows::{DataRow, LockedFlow};
use crate::sql::records::rows::{FoundRow, IntentAnchor};
use crate::sql::{Database, ErrorKind, SqlDialect};
use sqlx::{MySqlConnection, PgConnection, Sqlite, SqlitePool, Transaction};
use std::time::Duration;
use uuid::Uuid;

const READ_CURSOR: &str = "SELECT position FROM hearthgate_cursors WHERE journal_id = ?";

/// Where transactions come from. A server's connection is the writer's own: after an error it is simply dropped, and
/// with it whatever hung on it.
pub(crate) struct WriterLink {
    server: Server,
    idle: Option<IdleConnection>,
    connect_timeout: Duration,
    /// What `data.received_at` keeps.
    micros: bool,
    label: String,
}

/// Whose position it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WriterOwner {
    pub(crate) journal: Uuid,
    /// Only while the database knows this run of the journal to be its writer.
    pub(crate) run: Option<Uuid>,
}

enum Server {
    Sqlite(SqlitePool),
    MySql(Box<sqlx::mysql::MySqlConnectOptions>),
    Postgres(Box<sqlx::postgres::PgConnectOptions>),
}

/// A connection without a transaction. That of SQLite is in its pool.
pub(crate) enum IdleConnection {
    MySql(Box<mysql::MysqlWriter>),
    Postgres(Box<PgConnection>),
}

/// A connection in a transaction. Dropped, the transaction is rolled back.
pub(crate) enum OpenTransaction {
    Sqlite(Transaction<'static, Sqlite>),
    MySql(Box<mysql::MysqlWriter>),
    Postgres(Box<PgConnection>),
}

impl WriterLink {
    pub(crate) fn new(database: &Database) -> Self {
        let server = match (&database.inner.pools, &database.inner.target) {
            (ConnectionPools::Sqlite { write, .. }, _) => Server::Sqlite(write.clone()),
            (_, DatabaseTarget::MySql(options)) => Server::MySql(options.clone()),
            (_, DatabaseTarget::Postgres(options)) => Server::Postgres(options.clone()),
            // A pool is always of its target's kind.
            (ConnectionPools::MySql(_) | ConnectionPools::Postgres(_), DatabaseTarget::Sqlite(_)) => unreachable!(),
        };
        Self {
            server,
            idle: None,
            connect_timeout: database.inner.options.connect_timeout,
            micros: database.layout.received_at_micros,
            label: database.label().to_owned(),
        }
    }

    pub(crate) fn label(&self) -> &str {
        &self.label
    }

    pub(crate) fn give_back(&mut self, idle: Option<IdleConnection>) {
        self.idle = idle;
    }

    pub(crate) async fn begin(&mut self) -> Result<OpenTransaction, sqlx::Error> {
        // A server may have closed a connection that was idle: that is no error, a new one is made.
        if let Some(idle) = self.idle.take()
            && let Ok(session) = idle.begin().await
        {
            return Ok(session);
        }
        let timeout = self.connect_timeout;
        let idle = match &self.server {
            Server::Sqlite(pool) => return Ok(OpenTransaction::Sqlite(begin_immediate(pool).await?)),
            Server::MySql(options) => {
                // Connecting is rare, and its future large.
                let wire = Box::pin(connect_mysql(options, timeout)).await?;
                IdleConnection::MySql(Box::new(mysql::MysqlWriter::new(wire, self.micros).await?))
            }
            Server::Postgres(options) => {
                IdleConnection::Postgres(Box::new(Box::pin(connect_postgres(options, timeout)).await?))
            }
        };
        idle.begin().await
    }

    /// The position of a journal, where there is one. A guest may not be allowed to read it, or to lock it.
    pub(crate) async fn read_cursor(&mut self, journal: Uuid, guest: bool) -> Result<Option<u64>, sqlx::Error> {
        let mut session = self.begin().await?;
        match session.read_cursor(journal, !guest).await {
            Ok(position) => {
                self.give_back(session.rollback().await?);
                Ok(position)
            }
            Err(error) if guest && classify(&error) == ErrorKind::Permission => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The run of a journal that has left its position.
    pub(crate) async fn read_run(&mut self, journal: Uuid) -> Result<Option<Uuid>, sqlx::Error> {
        let mut session = self.begin().await?;
        let run = session.read_run(journal).await?;
        self.give_back(session.rollback().await?);
        Ok(run)
    }

    /// Puts the position of a journal where it was not, was behind, or was left by another run.
    pub(crate) async fn set_cursor(
        &mut self,
        journal: Uuid,
        old: Option<u64>,
        new: u64,
        run: Option<Uuid>,
    ) -> Result<(), sqlx::Error> {
        let mut session = self.begin().await?;
        let is_set = match old {
            Some(old) => session.advance_cursor(WriterOwner { journal, run: None }, old, new).await?,
            None => session.insert_cursor(journal, new).await.map(|()| true)?,
        };
        if let Some(run) = run.filter(|_| is_set) {
            session.put_run(journal, run).await?;
        }
        self.give_back(session.commit().await?);
        Ok(())
    }
}

impl IdleConnection {
    async fn begin(self) -> Result<OpenTransaction, sqlx::Error> {
        match self {
            Self::MySql(mut connection) => {
                run_mysql(&mut connection.wire, "START TRANSACTION").await?;
                Ok(OpenTransaction::MySql(connection))
            }
            Self::Postgres(mut connection) => {
                run_postgres(&mut connection, "BEGIN").await?;
                Ok(OpenTransaction::Postgres(connection))
            }
        }
    }
}

impl OpenTransaction {
    async fn read_cursor(&mut self, journal: Uuid, lock: bool) -> Result<Option<u64>, sqlx::Error> {
        let journal = journal.to_string();
        // A commit that got no answer may still be under way: its lock is waited for.
        let (question, dollar) = match lock {
            true => (
                "SELECT position FROM hearthgate_cursors WHERE journal_id = ? FOR UPDATE",
                "SELECT position FROM hearthgate_cursors WHERE journal_id = $1 FOR UPDATE",
            ),
            false => (READ_CURSOR, "SELECT position FROM hearthgate_cursors WHERE journal_id = $1"),
        };
        let position: Option<(i64,)> = match self {
            Self::Sqlite(t) => sqlx::query_as(READ_CURSOR).bind(journal).fetch_optional(&mut **t).await?,
            Self::MySql(c) => sqlx::query_as(question).bind(journal).fetch_optional(&mut c.wire).await?,
            Self::Postgres(c) => sqlx::query_as(dollar).bind(journal).fetch_optional(&mut **c).await?,
        };
        Ok(position.map(|(position,)| u64::try_from(position).unwrap_or(0)))
    }

    async fn insert_cursor(&mut self, journal: Uuid, position: u64) -> Result<(), sqlx::Error> {
        let (journal, position) = (journal.to_string(), signed(position));
        const QUESTION: &str = "INSERT INTO hearthgate_cursors (journal_id, position) VALUES (?, ?)";
        const DOLLAR: &str = "INSERT INTO hearthgate_cursors (journal_id, position) VALUES ($1, $2)";
        match self {
            Self::Sqlite(t) => {
                sqlx::query(QUESTION).bind(journal).bind(position).execute(&mut **t).await?;
            }
            Self::MySql(c) => {
                sqlx::query(QUESTION).bind(journal).bind(position).execute(&mut c.wire).await?;
            }
            Self::Postgres(c) => {
                sqlx::query(DOLLAR).bind(journal).bind(position).execute(&mut **c).await?;
            }
        }
        Ok(())
    }

    async fn read_run(&mut self, journal: Uuid) -> Result<Option<Uuid>, sqlx::Error> {
        const QUESTION: &str = "SELECT value FROM hearthgate_meta WHERE name = ?";
        const DOLLAR: &str = "SELECT value FROM hearthgate_meta WHERE name = $1";
        let name = run_name(journal);
        let found: Option<(String,)> = match self {
            Self::Sqlite(t) => sqlx::query_as(QUESTION).bind(name).fetch_optional(&mut **t).await?,
            Self::MySql(c) => sqlx::query_as(QUESTION).bind(name).fetch_optional(&mut c.wire).await?,
            Self::Postgres(c) => sqlx::query_as(DOLLAR).bind(name).fetch_optional(&mut **c).await?,
        };
        Ok(found.and_then(|(run,)| run.parse().ok()))
    }

    async fn put_run(&mut self, journal: Uuid, run: Uuid) -> Result<(), sqlx::Error> {
        let (name, run) = (run_name(journal), run.to_string());
        match self {
            Self::Sqlite(t) => {
                const PUT: &str = "INSERT OR REPLACE INTO hearthgate_meta (name, value) VALUES (?, ?)";
                sqlx::query(PUT).bind(name).bind(run).execute(&mut **t).await?;
            }
            Self::MySql(c) => {
                const PUT: &str = "INSERT INTO hearthgate_meta (name, value) VALUES (?, ?) ON DUPLICATE KEY UPDATE value = VALUES(value)";
                sqlx::query(PUT).bind(name).bind(run).execute(&mut c.wire).await?;
            }
            Self::Postgres(c) => {
                const PUT: &str = "INSERT INTO hearthgate_meta (name, value) VALUES ($1, $2) \
                                   ON CONFLICT (name) DO UPDATE SET value = excluded.value";
                sqlx::query(PUT).bind(name).bind(run).execute(&mut **c).await?;
            }
        }
        Ok(())
    }

    /// Moves the journal's position, if it is where we think it is and nobody else has taken it over.
    pub(crate) async fn advance_cursor(&mut self, owner: WriterOwner, from: u64, to: u64) -> Result<bool, sqlx::Error> {
        const QUESTION: [&str; 2] = [
            "UPDATE hearthgate_cursors SET position = ? WHERE journal_id = ? AND position = ?",
            "UPDATE hearthgate_cursors SET position = ? WHERE journal_id = ? AND position = ? \
             AND EXISTS (SELECT 1 FROM hearthgate_meta WHERE name = ? AND value = ?)",
        ];
        const DOLLAR: [&str; 2] = [
            "UPDATE hearthgate_cursors SET position = $1 WHERE journal_id = $2 AND position = $3",
            "UPDATE hearthgate_cursors SET position = $1 WHERE journal_id = $2 AND position = $3 \
             AND EXISTS (SELECT 1 FROM hearthgate_meta WHERE name = $4 AND value = $5)",
        ];
        let (journal, from, to) = (owner.journal.to_string(), signed(from), signed(to));
        let variant = usize::from(owner.run.is_some());
        macro_rules! moved {
            ($statement:expr, $connection:expr) => {{
                let mut query = sqlx::query($statement[variant]).bind(to).bind(journal).bind(from);
                if let Some(run) = owner.run {
                    query = query.bind(run_name(owner.journal)).bind(run.to_string());
                }
                query.execute($connection).await?.rows_affected()
            }};
        }
        let moved = match self {
            Self::Sqlite(t) => moved!(QUESTION, &mut **t),
            Self::MySql(c) => moved!(QUESTION, &mut c.wire),
            Self::Postgres(c) => moved!(DOLLAR, &mut **c),
        };
        Ok(moved == 1)
    }

    /// Locks these flows, by id, and answers those that exist, by id.
    pub(crate) async fn lock_flows(&mut self, ids: &[i64]) -> Result<Vec<LockedFlow>, sqlx::Error> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        match self {
            Self::Sqlite(t) => sqlite::lock_flows(t, ids).await,
            Self::MySql(c) => mysql::lock_flows(&mut c.wire, ids).await,
            Self::Postgres(c) => postgres::lock_flows(c, ids).await,
        }
    }

    /// Inserts the rows; with `anchor`, answers where one of them is found again.
    pub(crate) async fn insert(
        &mut self,
        rows: &[DataRow<'_>],
        anchor: bool,
    ) -> Result<Option<IntentAnchor>, sqlx::Error> {
        match self {
            Self::Sqlite(t) => sqlite::insert(t, rows).await,
            Self::MySql(c) => c.insert(rows).await,
            Self::Postgres(c) => postgres::insert(c, rows, anchor).await,
        }
        .map_err(faults::name_data)
    }

    pub(crate) fn dialect(&self) -> SqlDialect {
        match self {
            Self::Sqlite(_) => SqlDialect::Sqlite,
            Self::MySql(_) => SqlDialect::MySql,
            Self::Postgres(_) => SqlDialect::Postgres,
        }
    }

    /// Raises `last_msg_id`.
    pub(crate) async fn raise(&mut self, numbers: &[FlowNumbers]) -> Result<(), sqlx::Error> {
        if numbers.is_empty() {
            return Ok(());
        }
        match self {
            Self::Sqlite(t) => sqlite::raise(t, numbers).await,
            Self::MySql(c) => mysql::raise(&mut c.wire, numbers).await,
            Self::Postgres(c) => postgres::raise(c, numbers).await,
        }
    }

    /// The row of `data` with this id.
    pub(crate) async fn find_row(&mut self, id: i64) -> Result<Option<FoundRow>, sqlx::Error> {
        let row: Option<(String, i64, String, String, i64)> = match self {
            Self::Sqlite(t) => sqlx::query_as(sqlite::FIND_ROW).bind(id).fetch_optional(&mut **t).await?,
            Self::MySql(c) => sqlx::query_as(mysql::FIND_ROW).bind(id).fetch_optional(&mut c.wire).await?,
            Self::Postgres(c) => sqlx::query_as(postgres::FIND_ROW).bind(id).fetch_optional(&mut **c).await?,
        };
        Ok(row.map(|(flow_code, number, name, value, second)| FoundRow { flow_code, number, name, value, second }))
    }

    /// Whether `data` has a row of this flow with this number. May have to read the whole table.
    pub(crate) async fn number_is_taken(&mut self, flow_code: &str, number: i64) -> Result<bool, sqlx::Error> {
        const QUESTION: &str = "SELECT 1 FROM data WHERE flow_code = ? AND last_msg_id = ? LIMIT 1";
        const DOLLAR: &str = "SELECT 1 FROM data WHERE flow_code = $1 AND last_msg_id = $2 LIMIT 1";
        Ok(match self {
            Self::Sqlite(t) => {
                sqlx::query(QUESTION).bind(flow_code).bind(number).fetch_optional(&mut **t).await?.is_some()
            }
            Self::MySql(c) => {
                sqlx::query(QUESTION).bind(flow_code).bind(number).fetch_optional(&mut c.wire).await?.is_some()
            }
            Self::Postgres(c) => {
                sqlx::query(DOLLAR).bind(flow_code).bind(number).fetch_optional(&mut **c).await?.is_some()
            }
        })
    }

    pub(crate) async fn savepoint(&mut self) -> Result<(), sqlx::Error> {
        self.run("SAVEPOINT careful").await
    }

    pub(crate) async fn rollback_to_savepoint(&mut self) -> Result<(), sqlx::Error> {
        self.run("ROLLBACK TO SAVEPOINT careful").await
    }

    async fn run(&mut self, statement: &'static str) -> Result<(), sqlx::Error> {
        match self {
            Self::Sqlite(t) => sqlx::raw_sql(statement).execute(&mut **t).await.map(drop),
            Self::MySql(c) => run_mysql(&mut c.wire, statement).await,
            Self::Postgres(c) => run_postgres(c, statement).await,
        }
    }

    pub(crate) async fn commit(self) -> Result<Option<IdleConnection>, sqlx::Error> {
        match self {
            Self::Sqlite(transaction) => {
                transaction.commit().await?;
                Ok(None)
            }
            Self::MySql(mut connection) => {
                run_mysql(&mut connection.wire, "COMMIT").await?;
                Ok(Some(IdleConnection::MySql(connection)))
            }
            Self::Postgres(mut connection) => {
                run_postgres(&mut connection, "COMMIT").await?;
                Ok(Some(IdleConnection::Postgres(connection)))
            }
        }
    }

    pub(crate) async fn rollback(self) -> Result<Option<IdleConnection>, sqlx::Error> {
        match self {
            Self::Sqlite(transaction) => {
                transaction.rollback().await?;
                Ok(None)
            }
            Self::MySql(mut connection) => {
                run_mysql(&mut connection.wire, "ROLLBACK").await?;
                Ok(Some(IdleConnection::MySql(connection)))
            }
            Self::Postgres(mut connection) => {
                run_postgres(&mut connection, "ROLLBACK").await?;
                Ok(Some(IdleConnection::Postgres(connection)))
            }
        }
    }
}

async fn run_mysql(connection: &mut MySqlConnection, statement: &'static str) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(statement).execute(connection).await.map(drop)
}

async fn run_postgres(connection: &mut PgConnection, statement: &'static str) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(statement).execute(connection).await.map(drop)
}

/// Under which name the run of a journal is kept that writes here.
fn run_name(journal: Uuid) -> String {
    format!("run of {journal}")
}

fn signed(position: u64) -> i64 {
    i64::try_from(position).unwrap_or(i64::MAX)
}
