//! What can go wrong with a database, and what kind of trouble it is: the kind decides what happens next.

use sqlx::error::DatabaseError as _;
use std::borrow::Cow;

/// What an error means to the one who has to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The database can't be reached, is starting, stopping or overloaded, or the connection broke: try again later.
    Connection,
    /// The values of a row were refused: trying again can't help, other rows may pass.
    Row,
    /// A deadlock, a lock that took too long, a serialization failure: the same transaction may succeed at once.
    Contention,
    /// The account lacks a right, or was refused.
    Permission,
    /// The database, its file or its file system is read-only.
    ReadOnly,
    /// No room on the device.
    DiskFull,
    /// Anything else: a missing table, a damaged file, a defect of ours.
    Other,
}

/// A failed operation on a database.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// A setting that can't be used.
    #[error("{0}")]
    Options(String),
    /// A statement, or the connection, failed.
    #[error("{attempted}: {source}")]
    Sql {
        /// What was attempted, and against which database; never a password.
        attempted: Cow<'static, str>,
        /// What the driver said.
        source: sqlx::Error,
    },
    /// It took longer than it may.
    #[error("{attempted}: no answer within {seconds} s")]
    TimedOut {
        /// What was attempted.
        attempted: Cow<'static, str>,
        /// The limit.
        seconds: u64,
    },
    /// A migration failed.
    #[error("{attempted}: {source}")]
    Migration {
        /// What was attempted.
        attempted: Cow<'static, str>,
        /// What the migrator said.
        source: sqlx::migrate::MigrateError,
    },
    /// A local file that is needed beside the database.
    #[error("{attempted}: {source}")]
    File {
        /// What was attempted, with the path.
        attempted: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The database is there, but not as it has to be.
    #[error("{0}")]
    Schema(String),
    /// This database, or our rights on it, do not offer what was asked for.
    #[error("{0}")]
    Unavailable(String),
}

impl DatabaseError {
    /// Something of a later version of this program, which this one would damage.
    pub(crate) fn newer(what: &str, found: i64, known: i64) -> Self {
        Self::Schema(format!(
            "{what} has format {found}, and this version of Hearthgate knows formats up to {known}: install the version \
             that wrote it, or restore a backup that was made before the upgrade"
        ))
    }

    /// What kind of trouble this is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Sql { source, .. } => classify(source),
            Self::TimedOut { .. } => ErrorKind::Connection,
            Self::Migration { source: sqlx::migrate::MigrateError::Execute(source), .. }
            | Self::Migration { source: sqlx::migrate::MigrateError::ExecuteMigration(source, _), .. } => {
                classify(source)
            }
            Self::File { source, .. } => classify_io(source),
            Self::Migration { .. } | Self::Options(_) | Self::Schema(_) | Self::Unavailable(_) => ErrorKind::Other,
        }
    }

    /// Whether an SQLite file is none, or malformed.
    pub(crate) fn is_damage(&self) -> bool {
        let Self::Sql { source, .. } = self else { return false };
        let code = source.as_database_error().and_then(|error| error.code());
        code.is_some_and(|code| hearthgate_files::is_damage_code(&code))
    }
}

/// Adds to an error what was being attempted.
pub(crate) trait ErrorContext<T> {
    fn attempted(self, what: impl Into<Cow<'static, str>>) -> Result<T, DatabaseError>;
}

impl<T> ErrorContext<T> for Result<T, sqlx::Error> {
    fn attempted(self, what: impl Into<Cow<'static, str>>) -> Result<T, DatabaseError> {
        self.map_err(|source| DatabaseError::Sql { attempted: what.into(), source })
    }
}

/// What kind of trouble a driver's error is.
pub(crate) fn classify(error: &sqlx::Error) -> ErrorKind {
    match error {
        sqlx::Error::Database(error) => {
            if let Some(error) = error.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>() {
                classify_mysql(error.number())
            } else if let Some(error) = error.try_downcast_ref::<sqlx::postgres::PgDatabaseError>() {
                classify_postgres(error.code())
            } else if let Some(error) = error.try_downcast_ref::<sqlx::sqlite::SqliteError>() {
                classify_sqlite(error.code().and_then(|code| code.parse().ok()).unwrap_or(0))
            } else {
                ErrorKind::Other
            }
        }
        sqlx::Error::Io(error) => classify_io(error),
        sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::BeginFailed
        | sqlx::Error::WorkerCrashed => ErrorKind::Connection,
        // A value that can't even be encoded.
        sqlx::Error::Encode(_) => ErrorKind::Row,
        _ => ErrorKind::Other,
    }
}

fn classify_io(error: &std::io::Error) -> ErrorKind {
    match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => ErrorKind::DiskFull,
        std::io::ErrorKind::ReadOnlyFilesystem => ErrorKind::ReadOnly,
        std::io::ErrorKind::PermissionDenied => ErrorKind::Permission,
        _ => ErrorKind::Connection,
    }
}

/// Result codes: <https://www.sqlite.org/rescode.html>; the low byte is the primary code.
fn classify_sqlite(code: i32) -> ErrorKind {
    match code & 0xff {
        3 | 23 => ErrorKind::Permission,               // PERM, AUTH
        5 | 6 | 15 | 17 => ErrorKind::Contention,      // BUSY, LOCKED, PROTOCOL, SCHEMA
        8 => ErrorKind::ReadOnly,                      // READONLY
        13 => ErrorKind::DiskFull,                     // FULL
        7 | 9 | 10 | 14 | 22 => ErrorKind::Connection, // NOMEM, INTERRUPT, IOERR, CANTOPEN, NOLFS
        18..=20 | 25 => ErrorKind::Row,                // TOOBIG, CONSTRAINT, MISMATCH, RANGE
        _ => ErrorKind::Other,                         // ERROR, CORRUPT, NOTADB, …
    }
}

/// Error numbers: MySQL and MariaDB server error references.
fn classify_mysql(number: u16) -> ErrorKind {
    match number {
        // too many connections, shutdown, network, killed, resource limits of the account, timeouts
        1040
        | 1041
        | 1042
        | 1043
        | 1053
        | 1077
        | 1078
        | 1079
        | 1080
        | 1129
        | 1135
        | 1152
        | 1154..=1161
        | 1184
        | 1203
        | 1226
        | 1317
        | 1927
        | 1969
        | 2000..=2099
        | 3024
        | 3169
        | 4031 => ErrorKind::Connection,
        1020 | 1205 | 1213 | 3572 => ErrorKind::Contention,
        1044 | 1045 | 1095 | 1131 | 1132 | 1133 | 1142 | 1143 | 1227 | 1370 | 1410 | 1419 | 1698 | 3118 => {
            ErrorKind::Permission
        }
        1036 | 1290 | 1792 | 1836 => ErrorKind::ReadOnly,
        1021 | 1114 => ErrorKind::DiskFull,
        // null, duplicate, packet or row too big, out of range, truncated, wrong value, foreign key, check, signal, JSON
        1022 | 1048 | 1062 | 1118 | 1136 | 1138 | 1153 | 1169 | 1216 | 1264 | 1265 | 1292 | 1300 | 1301 | 1364
        | 1366 | 1406 | 1411 | 1451 | 1452 | 1586 | 1644 | 1690 | 3140 | 3819 | 3903 | 3988 | 4025 | 4038 => {
            ErrorKind::Row
        }
        _ => ErrorKind::Other,
    }
}

/// SQLSTATE: PostgreSQL, appendix A.
fn classify_postgres(state: &str) -> ErrorKind {
    match state {
        "40001" | "40P01" | "55P03" => ErrorKind::Contention,
        "25006" => ErrorKind::ReadOnly,
        "53100" => ErrorKind::DiskFull,
        "42501" | "0LP01" => ErrorKind::Permission,
        "P0001" => ErrorKind::Row,
        _ => match state.get(..2).unwrap_or_default() {
            "08" | "53" | "57" | "58" => ErrorKind::Connection,
            "28" => ErrorKind::Permission,
            "22" | "23" | "44" | "54" => ErrorKind::Row,
            _ => ErrorKind::Other,
        },
    }
}
