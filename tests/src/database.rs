//! Looking into the databases, as the gateway's users do.

use crate::PATIENCE;
use sqlx::any::AnyRow;
use sqlx::pool::PoolConnection;
use sqlx::{Any, AnyPool, Executor, Row};
use std::path::Path;
use std::sync::Once;

/// A row of the table `data`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// `flow_code`
    pub flow: String,
    /// `attribute_name`
    pub name: String,
    /// `attribute_value`
    pub value: String,
    /// `last_msg_id`
    pub number: i64,
}

/// One attribute of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Numbered {
    /// `id`
    pub id: i64,
    /// `attribute_value`
    pub value: String,
    /// `last_msg_id`
    pub number: i64,
}

/// A database of a test.
pub struct Database {
    /// For the gateway's configuration.
    pub url: String,
    pool: AnyPool,
}

/// A lock on an SQLite file.
pub struct Locked(PoolConnection<Any>);

impl Locked {
    /// Others may write again.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn release(mut self) -> anyhow::Result<()> {
        self.0.execute("ROLLBACK").await?;
        Ok(())
    }
}

static DRIVERS: Once = Once::new();

impl Database {
    /// The gateway's own SQLite file in its folder.
    pub async fn sqlite(folder: &Path) -> Self {
        let url = format!("sqlite:{}", folder.join("data/hearthgate.db").display());
        Self::open(url).await
    }

    /// A new database on the private MariaDB.
    pub async fn mariadb() -> Self {
        Self::create(&admin("HEARTHGATE_TEST_MYSQL_URL")).await
    }

    /// A new database on the private PostgreSQL.
    pub async fn postgres() -> Self {
        Self::create(&admin("HEARTHGATE_TEST_POSTGRES_URL")).await
    }

    /// A new database on the server whose administrator has this URL.
    pub async fn create(admin: &str) -> Self {
        DRIVERS.call_once(sqlx::any::install_default_drivers);
        let name = format!("e2e_{}_{:x}", std::process::id(), unique());
        // A server that has just started listens before it serves.
        let pool =
            crate::until("a connection to the private server", async || AnyPool::connect(admin).await.ok()).await;
        sqlx::query(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&pool).await.expect("creating");
        pool.close().await;
        let end = admin.find('?').unwrap_or(admin.len());
        let base = &admin[..admin[..end].rfind('/').expect("a URL with a database")];
        Self::open(format!("{base}/{name}")).await
    }

    /// An SQLite file, if it is there.
    pub async fn try_open(file: &Path) -> Option<Self> {
        DRIVERS.call_once(sqlx::any::install_default_drivers);
        let url = format!("sqlite:{}", file.display());
        Some(Database { pool: AnyPool::connect(&url).await.ok()?, url })
    }

    async fn open(url: String) -> Self {
        DRIVERS.call_once(sqlx::any::install_default_drivers);
        let pool = AnyPool::connect(&url).await.unwrap_or_else(|error| panic!("opening {url}: {error}"));
        Database { url, pool }
    }

    /// All rows of `data` in the order in which they were written.
    pub async fn records(&self) -> Vec<Record> {
        let query = "SELECT flow_code, attribute_name, attribute_value, last_msg_id FROM data ORDER BY id";
        let rows = sqlx::query(query).fetch_all(&self.pool).await.expect("reading data");
        let record = |row: &AnyRow| Record {
            flow: row.get(0),
            name: row.get(1),
            value: row.get(2),
            number: row.get::<i32, _>(3).into(),
        };
        rows.iter().map(record).collect()
    }

    /// Rows of a flow's attribute beyond an `id`, in their order.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn page(&self, flow: &str, name: &str, after: i64, limit: i64) -> anyhow::Result<Vec<Numbered>> {
        let query = format!(
            "SELECT id, attribute_value, last_msg_id FROM data
             WHERE id > {after} AND flow_code = '{flow}' AND attribute_name = '{name}' ORDER BY id LIMIT {limit}"
        );
        let rows = sqlx::query(sqlx::AssertSqlSafe(query)).fetch_all(&self.pool).await?;
        let numbered =
            |row: &AnyRow| Ok(Numbered { id: integer(row, 0)?, value: row.try_get(1)?, number: integer(row, 2)? });
        rows.iter().map(numbered).collect()
    }

    /// The first column of all rows.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn texts(&self, query: &str) -> anyhow::Result<Vec<String>> {
        let rows = sqlx::query(sqlx::AssertSqlSafe(query.to_owned())).fetch_all(&self.pool).await?;
        Ok(rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?)
    }

    /// Rows of a text and of numbers, all of them doubles.
    ///
    /// # Panics
    /// The database does not answer so.
    pub async fn reals(&self, query: &str) -> Vec<(String, Vec<f64>)> {
        let rows = sqlx::query(sqlx::AssertSqlSafe(query.to_owned())).fetch_all(&self.pool).await;
        let rows = rows.unwrap_or_else(|error| panic!("{query}: {error}"));
        let row = |row: &AnyRow| (row.get(0), (1..row.len()).map(|column| row.get(column)).collect());
        rows.iter().map(row).collect()
    }

    /// Runs a statement. Under load the gateway leaves little room between its own, which SQLite gives to nobody in turn.
    pub async fn execute(&self, statement: &str) {
        let mut connection = self.pool.acquire().await.expect("a connection");
        if self.url.starts_with("sqlite:") {
            let patience = format!("PRAGMA busy_timeout = {}", PATIENCE.as_millis());
            connection.execute(sqlx::AssertSqlSafe(patience)).await.expect("setting the patience");
            // A table that somebody else has changed is known by its old columns until something is asked.
            connection.execute("SELECT COUNT(*) FROM sqlite_master").await.expect("looking at the tables");
        }
        let statement = sqlx::AssertSqlSafe(statement.to_owned());
        sqlx::query(statement).execute(&mut *connection).await.expect("running a statement");
    }

    /// A single number, if the database answers.
    pub async fn try_number(&self, query: &str) -> Option<i64> {
        let row = sqlx::query(sqlx::AssertSqlSafe(query.to_owned())).fetch_one(&self.pool).await.ok()?;
        integer(&row, 0).ok()
    }

    /// Keeps an SQLite file from being written by anybody else, until [`Locked::release`].
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn lock(&self) -> anyhow::Result<Locked> {
        let mut connection = self.pool.acquire().await?;
        connection.execute("BEGIN EXCLUSIVE").await?;
        Ok(Locked(connection))
    }

    /// A flow's `last_msg_id` is the number of its messages, and each has a number of its own.
    pub async fn assert_numbers_without_gap_or_repeat(&self, flow: &str) {
        let last = self.number(&format!("SELECT last_msg_id FROM flows WHERE code = '{flow}'")).await;
        let count = |what: &str| {
            format!("SELECT COUNT({what}) FROM data WHERE flow_code = '{flow}' AND attribute_name = 'temperature'")
        };
        assert_eq!(self.number(&count("*")).await, last, "rows, last_msg_id");
        assert_eq!(self.number(&count("DISTINCT last_msg_id")).await, last, "distinct numbers, last_msg_id");
    }

    /// A single number.
    pub async fn number(&self, query: &str) -> i64 {
        self.try_number(query).await.unwrap_or_else(|| panic!("no number from {query}"))
    }
}

/// Databases differ in the width of their integers.
fn integer(row: &AnyRow, column: usize) -> Result<i64, sqlx::Error> {
    row.try_get::<i64, _>(column).or_else(|_| row.try_get::<i32, _>(column).map(i64::from))
}

fn admin(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| panic!("{variable} is not set: run the tests by `cargo xtask test`"))
}

fn unique() -> u128 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock").as_nanos()
}
