//! Statements of the history, written once for all three databases, and a transaction to run them in.

use crate::sql::error::{DatabaseError, ErrorContext as _};
use crate::sql::pools::{ConnectionPools, begin_immediate};
use crate::sql::records::dialects::sqlite;
use crate::sql::timestamp::utc_time;
use crate::sql::typed::quote;
use crate::sql::{Database, SqlDialect};
use hearthgate_domain::delivery::UnixMicros;
use sqlx::mysql::MySqlArguments;
use sqlx::postgres::PgArguments;
use sqlx::sqlite::SqliteArguments;
use sqlx::{
    Arguments as _, AssertSqlSafe, MySql, MySqlConnection, PgConnection, Postgres, Row as _, Sqlite, SqliteConnection,
    Transaction, TypeInfo as _, ValueRef as _,
};

/// A value of a statement.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum StatementValue {
    Text(String),
    Time(UnixMicros),
    Integer(i64),
    Real(Option<f64>),
}

impl From<&str> for StatementValue {
    fn from(text: &str) -> Self {
        StatementValue::Text(text.to_owned())
    }
}

impl From<i64> for StatementValue {
    fn from(number: i64) -> Self {
        StatementValue::Integer(number)
    }
}

impl From<Option<f64>> for StatementValue {
    fn from(number: Option<f64>) -> Self {
        StatementValue::Real(number)
    }
}

/// What a column of an answer holds. Columns are cast to one of these by the statement.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum WindowCell {
    Null,
    Integer(i64),
    Real(f64),
    Text(String),
}

impl WindowCell {
    pub(crate) fn integer(&self) -> Option<i64> {
        match self {
            WindowCell::Integer(number) => Some(*number),
            _ => None,
        }
    }

    pub(crate) fn real(&self) -> Option<f64> {
        match self {
            WindowCell::Real(number) => Some(*number),
            // Fits: counts and readings, not identifiers.
            WindowCell::Integer(number) => Some(*number as f64),
            _ => None,
        }
    }

    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            WindowCell::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// SQL in the making, with its values.
#[derive(Clone, Debug)]
pub(crate) struct HistoryStatement {
    dialect: SqlDialect,
    text: String,
    values: Vec<StatementValue>,
}

impl HistoryStatement {
    pub(crate) fn new(dialect: SqlDialect, text: impl AsRef<str>) -> Self {
        HistoryStatement { dialect, text: text.as_ref().to_owned(), values: Vec::new() }
    }

    pub(crate) fn push(mut self, text: impl AsRef<str>) -> Self {
        self.text.push_str(text.as_ref());
        self
    }

    /// As it is sent, with placeholders.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// A name as it is, whatever is in it.
    pub(crate) fn name(self, name: &str) -> Self {
        let quoted = quote(self.dialect, name);
        self.push(quoted)
    }

    /// The placeholder of a value.
    pub(crate) fn bind(mut self, value: impl Into<StatementValue>) -> Self {
        self.values.push(value.into());
        match self.dialect {
            SqlDialect::Sqlite | SqlDialect::MySql => self.text.push('?'),
            SqlDialect::Postgres => {
                self.text.push('$');
                self.text.push_str(&self.values.len().to_string());
            }
        }
        self
    }

    pub(crate) fn bind_time(self, at: UnixMicros) -> Self {
        self.bind(StatementValue::Time(at))
    }
}

/// The microseconds since 1970 of a column with a time.
pub(crate) fn micros_of(dialect: SqlDialect, column: &str) -> String {
    match dialect {
        SqlDialect::Sqlite => {
            format!("(CAST(strftime('%s', {column}) AS INTEGER) * 1000000 + CAST(substr({column}, 21, 6) AS INTEGER))")
        }
        SqlDialect::MySql => format!("CAST(TIMESTAMPDIFF(MICROSECOND, '1970-01-01', {column}) AS SIGNED)"),
        SqlDialect::Postgres => format!("CAST(round(extract(epoch FROM {column}) * 1000000) AS bigint)"),
    }
}

/// A column as a whole number.
pub(crate) fn integer_of(dialect: SqlDialect, column: &str) -> String {
    match dialect {
        SqlDialect::Sqlite => format!("CAST({column} AS INTEGER)"),
        SqlDialect::MySql => format!("CAST({column} AS SIGNED)"),
        SqlDialect::Postgres => format!("CAST({column} AS bigint)"),
    }
}

/// A column as a text.
pub(crate) fn text_of(dialect: SqlDialect, column: &str) -> String {
    match dialect {
        SqlDialect::Sqlite | SqlDialect::Postgres => format!("CAST({column} AS TEXT)"),
        SqlDialect::MySql => format!("CAST({column} AS CHAR)"),
    }
}

/// A column with a number as a double.
pub(crate) fn real_of(dialect: SqlDialect, column: &str) -> String {
    match dialect {
        SqlDialect::Sqlite => format!("CAST({column} AS REAL)"),
        SqlDialect::MySql => format!("({column} + 0e0)"),
        SqlDialect::Postgres => format!("CAST({column} AS double precision)"),
    }
}

/// A transaction of the history. Dropped, it is rolled back.
pub(crate) enum StatementWork {
    Sqlite(Transaction<'static, Sqlite>),
    MySql(Transaction<'static, MySql>),
    Postgres(Transaction<'static, Postgres>),
}

/// A connection in a transaction.
pub(crate) enum StatementTarget<'c> {
    Sqlite(&'c mut SqliteConnection),
    MySql(&'c mut MySqlConnection),
    Postgres(&'c mut PgConnection),
}

macro_rules! on_target {
    ($target:expr, $connection:ident, $arguments:ident => $body:expr) => {
        match $target {
            StatementTarget::Sqlite($connection) => {
                let $arguments = sqlite_arguments;
                $body
            }
            StatementTarget::MySql($connection) => {
                let $arguments = mysql_arguments;
                $body
            }
            StatementTarget::Postgres($connection) => {
                let $arguments = postgres_arguments;
                $body
            }
        }
    };
}

/// Runs a query and takes its answer apart.
macro_rules! fetch_cells {
    ($text:expr, $arguments:expr, $executor:expr) => {{
        let text: String = $text;
        let arguments = $arguments.attempted("bind the values of a query")?;
        let rows = sqlx::query_with(AssertSqlSafe(text.clone()), arguments).fetch_all($executor).await;
        let mut answer = Vec::new();
        for row in rows.attempted(text.clone())? {
            let mut cells = Vec::with_capacity(row.len());
            for at in 0..row.len() {
                let raw = row.try_get_raw(at).attempted(text.clone())?;
                let cell = match (raw.is_null(), raw.type_info().name()) {
                    (true, _) => Ok(WindowCell::Null),
                    (false, "INTEGER" | "BIGINT" | "INT8") => row.try_get_unchecked(at).map(WindowCell::Integer),
                    (false, "REAL" | "DOUBLE" | "FLOAT8") => row.try_get_unchecked(at).map(WindowCell::Real),
                    (false, _) => row.try_get_unchecked(at).map(WindowCell::Text),
                };
                cells.push(cell.attempted(text.clone())?);
            }
            answer.push(cells);
        }
        Ok(answer)
    }};
}

impl Database {
    /// Runs a query that keeps no writer waiting, outside any transaction.
    pub(crate) async fn ask(&self, statement: HistoryStatement) -> Result<Vec<Vec<WindowCell>>, DatabaseError> {
        let HistoryStatement { text, values, .. } = statement;
        match &self.inner.pools {
            ConnectionPools::Sqlite { read, .. } => fetch_cells!(text, sqlite_arguments(&values), read),
            ConnectionPools::MySql(pool) => fetch_cells!(text, mysql_arguments(&values), pool),
            ConnectionPools::Postgres(pool) => fetch_cells!(text, postgres_arguments(&values), pool),
        }
    }
}

impl StatementWork {
    /// Begins a transaction that writes.
    pub(crate) async fn begin(database: &Database) -> Result<Self, DatabaseError> {
        let begun = match &database.inner.pools {
            ConnectionPools::Sqlite { write, .. } => begin_immediate(write).await.map(StatementWork::Sqlite),
            ConnectionPools::MySql(pool) => pool.begin().await.map(StatementWork::MySql),
            ConnectionPools::Postgres(pool) => pool.begin().await.map(StatementWork::Postgres),
        };
        begun.attempted(format!("begin a transaction on {}", database.label()))
    }

    pub(crate) fn target(&mut self) -> StatementTarget<'_> {
        match self {
            StatementWork::Sqlite(transaction) => StatementTarget::Sqlite(transaction),
            StatementWork::MySql(transaction) => StatementTarget::MySql(transaction),
            StatementWork::Postgres(transaction) => StatementTarget::Postgres(transaction),
        }
    }

    /// Runs a statement; answers how many rows it touched.
    pub(crate) async fn execute(&mut self, statement: HistoryStatement) -> Result<u64, DatabaseError> {
        self.target().execute(statement).await
    }

    /// Runs a query within the transaction.
    pub(crate) async fn fetch(&mut self, statement: HistoryStatement) -> Result<Vec<Vec<WindowCell>>, DatabaseError> {
        self.target().fetch(statement).await
    }

    pub(crate) async fn commit(self) -> Result<(), DatabaseError> {
        match self {
            StatementWork::Sqlite(transaction) => transaction.commit().await,
            StatementWork::MySql(transaction) => transaction.commit().await,
            StatementWork::Postgres(transaction) => transaction.commit().await,
        }
        .attempted("commit a transaction of the history")
    }
}

impl StatementTarget<'_> {
    /// Runs a statement; answers how many rows it touched.
    pub(crate) async fn execute(&mut self, statement: HistoryStatement) -> Result<u64, DatabaseError> {
        let HistoryStatement { text, values, .. } = statement;
        on_target!(self, connection, arguments => {
            let arguments = arguments(&values).attempted("bind the values of a statement")?;
            let done = sqlx::query_with(AssertSqlSafe(text.clone()), arguments).execute(&mut **connection).await;
            done.map(|done| done.rows_affected()).attempted(text)
        })
    }

    /// Runs a query.
    pub(crate) async fn fetch(&mut self, statement: HistoryStatement) -> Result<Vec<Vec<WindowCell>>, DatabaseError> {
        let HistoryStatement { text, values, .. } = statement;
        on_target!(self, connection, arguments => fetch_cells!(text, arguments(&values), &mut **connection))
    }
}

fn sqlite_arguments(values: &[StatementValue]) -> Result<SqliteArguments, sqlx::Error> {
    let mut arguments = SqliteArguments::default();
    for value in values {
        match value {
            StatementValue::Text(text) => arguments.add(text.clone()),
            StatementValue::Time(at) => arguments.add(sqlite::datetime(*at)?),
            StatementValue::Integer(number) => arguments.add(*number),
            StatementValue::Real(number) => arguments.add(*number),
        }
        .map_err(sqlx::Error::Encode)?;
    }
    Ok(arguments)
}

fn mysql_arguments(values: &[StatementValue]) -> Result<MySqlArguments, sqlx::Error> {
    let mut arguments = MySqlArguments::default();
    for value in values {
        match value {
            StatementValue::Text(text) => arguments.add(text.as_str()),
            StatementValue::Time(at) => arguments.add(utc_time(*at)?.naive_utc()),
            StatementValue::Integer(number) => arguments.add(*number),
            StatementValue::Real(number) => arguments.add(*number),
        }
        .map_err(sqlx::Error::Encode)?;
    }
    Ok(arguments)
}

fn postgres_arguments(values: &[StatementValue]) -> Result<PgArguments, sqlx::Error> {
    let mut arguments = PgArguments::default();
    for value in values {
        match value {
            StatementValue::Text(text) => arguments.add(text.as_str()),
            StatementValue::Time(at) => arguments.add(utc_time(*at)?),
            StatementValue::Integer(number) => arguments.add(*number),
            StatementValue::Real(number) => arguments.add(*number),
        }
        .map_err(sqlx::Error::Encode)?;
    }
    Ok(arguments)
}
