//! Looking into the databases, as the gateway's users do.

use sqlx::{AnyPool, Row};
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

/// A database of a test.
pub struct Database {
    /// For the gateway's configuration.
    pub url: String,
    pool: AnyPool,
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
        Self::create("HEARTHGATE_TEST_MYSQL_URL").await
    }

    /// A new database on the private PostgreSQL.
    pub async fn postgres() -> Self {
        Self::create("HEARTHGATE_TEST_POSTGRES_URL").await
    }

    async fn create(variable: &str) -> Self {
        DRIVERS.call_once(sqlx::any::install_default_drivers);
        let admin = std::env::var(variable)
            .unwrap_or_else(|_| panic!("{variable} is not set: run the tests by `cargo xtask test`"));
        let name = format!("e2e_{}_{:x}", std::process::id(), unique());
        let pool = AnyPool::connect(&admin).await.expect("connecting to the private server");
        sqlx::query(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&pool).await.expect("creating");
        pool.close().await;
        let end = admin.find('?').unwrap_or(admin.len());
        let base = &admin[..admin[..end].rfind('/').expect("a URL with a database")];
        Self::open(format!("{base}/{name}")).await
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
        let record = |row: &sqlx::any::AnyRow| Record {
            flow: row.get(0),
            name: row.get(1),
            value: row.get(2),
            number: row.get::<i32, _>(3).into(),
        };
        rows.iter().map(record).collect()
    }

    /// Runs a statement.
    pub async fn execute(&self, statement: &str) {
        let statement = sqlx::AssertSqlSafe(statement.to_owned());
        sqlx::query(statement).execute(&self.pool).await.expect("running a statement");
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
        let row = sqlx::query(sqlx::AssertSqlSafe(query.to_owned())).fetch_one(&self.pool).await.expect("a number");
        row.try_get::<i64, _>(0).or_else(|_| row.try_get::<i32, _>(0).map(i64::from)).expect("a number")
    }
}

fn unique() -> u128 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock").as_nanos()
}
