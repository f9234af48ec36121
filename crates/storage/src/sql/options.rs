//! Where the database is and how to talk to it.

use super::encryption::{EncryptionMode, encrypted_mysql, encrypted_postgres};
use super::error::DatabaseError;
use secrecy::{ExposeSecret as _, SecretString};
use sqlx::ConnectOptions as _;
use sqlx::mysql::MySqlConnectOptions;
use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::{SqliteAutoVacuum, SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Statements that each connection keeps prepared; the longest is some 20 KB of text.
const STATEMENT_CACHE: usize = 32;

/// How to reach the database.
#[derive(Clone, Debug)]
pub struct DatabaseOptions {
    /// `sqlite:PATH`, `mysql://…`, `mariadb://…` or `postgres://USER:PASSWORD@HOST:PORT/NAME`; special characters of
    /// user and password percent-encoded (see [`mysql_url`]).
    pub url: SecretString,
    /// How the connections to a server are encrypted; none: as the URL says, or else [`EncryptionMode::Prefer`].
    pub encryption: Option<EncryptionMode>,
    /// PEM file of an authority that is trusted besides those of the system.
    pub authority: Option<PathBuf>,
    /// Connections for everything but the record writer, which has one of its own; at least 1.
    pub max_connections: u32,
    /// How long a connection may take to come about.
    pub connect_timeout: Duration,
    /// How long the server may take over one batch of records before the connection is given up.
    pub write_timeout: Duration,
    /// How long to wait for a lock that another process holds on an SQLite file.
    pub busy_timeout: Duration,
    /// Create our own tables, and change them, where the account may. Without, those that are there are used.
    pub migrate: bool,
    /// Work with the base tables alone, even where our own are there or could be created.
    pub guest: bool,
    /// Where the write-ahead intents are kept that guest mode needs; on the same disk as the journal.
    pub state_dir: PathBuf,
}

impl DatabaseOptions {
    /// Options with their defaults: 4 connections, 10 s to connect, 60 s for a batch, 5 s for an SQLite lock.
    pub fn new(url: impl Into<SecretString>, state_dir: impl Into<PathBuf>) -> Self {
        Self {
            url: url.into(),
            encryption: None,
            authority: None,
            max_connections: 4,
            connect_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(60),
            busy_timeout: Duration::from_secs(5),
            migrate: true,
            guest: false,
            state_dir: state_dir.into(),
        }
    }
}

/// The URL of a MySQL or MariaDB database from its parts; user, password and name may hold any character.
pub fn mysql_url(host: &str, port: u16, name: &str, user: &str, password: &SecretString) -> SecretString {
    let options = MySqlConnectOptions::new().host(host).port(port).database(name);
    let mut url = options.to_url_lossy();
    // The setters percent-encode; they fail only for a URL without a host.
    let _ = url.set_username(user);
    let _ = url.set_password(Some(password.expose_secret()));
    url.set_query(None);
    url.to_string().into()
}

/// A database, by its kind.
#[derive(Clone, Debug)]
pub(crate) enum DatabaseTarget {
    Sqlite(Box<SqliteConnectOptions>),
    MySql(Box<MySqlConnectOptions>),
    Postgres(Box<PgConnectOptions>),
}

impl DatabaseTarget {
    pub(crate) fn parse(options: &DatabaseOptions) -> Result<Self, DatabaseError> {
        let url = options.url.expose_secret().trim();
        let authority = options.authority.as_deref();
        let (scheme, rest) = url.split_once(':').unwrap_or(("", url));
        match scheme {
            "sqlite" => Ok(Self::Sqlite(Box::new(sqlite(rest, options)?))),
            "mysql" | "mariadb" => {
                let server = encrypted_mysql(parse_url(&format!("mysql:{rest}"))?, options.encryption, authority);
                Ok(Self::MySql(Box::new(server.statement_cache_capacity(STATEMENT_CACHE).disable_statement_logging())))
            }
            "postgres" | "postgresql" => {
                let server =
                    encrypted_postgres(parse_url(url)?, options.encryption, authority).application_name("hearthgate");
                Ok(Self::Postgres(Box::new(
                    server.statement_cache_capacity(STATEMENT_CACHE).disable_statement_logging(),
                )))
            }
            _ => Err(DatabaseError::Options(
                "the database url has to start with sqlite:, mysql:, mariadb: or postgres:".into(),
            )),
        }
    }

    /// What the target is called in messages: kind, host and name, never a password.
    pub(crate) fn label(&self) -> String {
        match self {
            Self::Sqlite(options) => format!("sqlite database {}", options.get_filename().display()),
            Self::MySql(o) => {
                format!("mysql database {} at {}:{}", o.get_database().unwrap_or("(none)"), o.get_host(), o.get_port())
            }
            Self::Postgres(o) => {
                format!(
                    "postgres database {} at {}:{}",
                    o.get_database().unwrap_or("(none)"),
                    o.get_host(),
                    o.get_port()
                )
            }
        }
    }
}

/// `sqlite:PATH`, `sqlite://PATH`; options after `?` are not taken, since durability depends on them.
fn sqlite(rest: &str, options: &DatabaseOptions) -> Result<SqliteConnectOptions, DatabaseError> {
    let path = rest.strip_prefix("//").unwrap_or(rest);
    if path.is_empty() || path.contains(":memory:") || path.contains('?') {
        return Err(DatabaseError::Options(format!("sqlite:{rest} is not the path of a file; write sqlite:PATH")));
    }
    // In a new file, space that rows leave can be given back to the system. The pages at the end of each table and index
    // change with each batch: the rarer the checkpoints, the less often they are written into the file. The log stays
    // within its size limit.
    let file = sqlite_file(Path::new(path)).auto_vacuum(SqliteAutoVacuum::Incremental);
    let file = file.pragma("wal_autocheckpoint", "16000");
    Ok(file.busy_timeout(options.busy_timeout))
}

/// An SQLite file as we use it everywhere: WAL, and an fsync for every commit.
pub(crate) fn sqlite_file(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .pragma("wal_autocheckpoint", "4000")
        .pragma("journal_size_limit", "67108864")
        .statement_cache_capacity(STATEMENT_CACHE)
        .disable_statement_logging()
}

fn parse_url<O: sqlx::ConnectOptions>(url: &str) -> Result<O, DatabaseError> {
    // The parser's own message may quote the URL, and with it the password.
    let parsed = url::Url::parse(url).map_err(|error| {
        DatabaseError::Options(format!(
            "the database url can't be read ({error}); it looks like mysql://USER:PASSWORD@HOST:PORT/NAME, with special \
             characters of the password percent-encoded"
        ))
    })?;
    if parsed.path().trim_matches('/').is_empty() {
        return Err(DatabaseError::Options("the database url names no database; add /NAME after the host".into()));
    }
    O::from_url(&parsed).map_err(|error| DatabaseError::Options(format!("an option of the database url: {error}")))
}
