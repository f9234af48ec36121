//! A database of its own for each test, removed afterwards.

use hearthgate_domain::flow::FlowRow;
use hearthgate_storage::sql::{Database, DatabaseOptions, FlowRecord};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, MySqlConnection, PgConnection, SqliteConnection};
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;
use uuid::Uuid;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Sqlite,
    MySql,
    Postgres,
}

/// Makes of each `async fn name(kind: Kind)` three tests.
macro_rules! on_every_database {
    ($($name:ident)*) => {
        mod sqlite { $( #[tokio::test] async fn $name() { super::$name(crate::support::Kind::Sqlite).await; } )* }
        mod mysql { $( #[tokio::test] async fn $name() { super::$name(crate::support::Kind::MySql).await; } )* }
        mod postgres { $( #[tokio::test] async fn $name() { super::$name(crate::support::Kind::Postgres).await; } )* }
    };
}
pub(crate) use on_every_database;

pub(crate) struct TestDatabase {
    pub(crate) kind: Kind,
    pub(crate) url: String,
    pub(crate) name: String,
    pub(crate) folder: TempDir,
    admin: Option<String>,
    account: std::sync::Mutex<Option<String>>,
}

/// A row of `data`, without its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DataRow {
    pub(crate) flow_code: String,
    pub(crate) number: i64,
    pub(crate) name: String,
    pub(crate) value: String,
    pub(crate) received_at: String,
}

impl TestDatabase {
    /// An empty database, or `None` when there is no server of this kind and none is required.
    pub(crate) async fn new(kind: Kind) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let name = format!("hg_test_{}", Uuid::now_v7().simple());
        let variable = match kind {
            Kind::Sqlite => {
                let url = format!("sqlite:{}", folder.path().join("db/gateway.sqlite").display());
                return Some(Self { kind, url, name, folder, admin: None, account: Default::default() });
            }
            Kind::MySql => "HEARTHGATE_TEST_MYSQL_URL",
            Kind::Postgres => "HEARTHGATE_TEST_POSTGRES_URL",
        };
        let Ok(admin) = std::env::var(variable) else {
            let required = std::env::var("HEARTHGATE_TEST_REQUIRE_DB").is_ok_and(|value| value == "1");
            assert!(!required, "HEARTHGATE_TEST_REQUIRE_DB=1, but {variable} is not set");
            eprintln!("skipped: {variable} is not set");
            return None;
        };
        let create = match kind {
            Kind::MySql => format!("CREATE DATABASE {name} CHARACTER SET utf8mb4"),
            _ => format!("CREATE DATABASE {name}"),
        };
        execute(kind, &admin, &create).await;
        let mut url: url::Url = admin.parse().unwrap();
        url.set_path(&name);
        Some(Self { kind, url: url.to_string(), name, folder, admin: Some(admin), account: Default::default() })
    }

    pub(crate) fn options(&self) -> DatabaseOptions {
        DatabaseOptions::new(self.url.clone(), self.folder.path().join("state"))
    }

    /// The same database under another account, created for it.
    pub(crate) async fn account(&self, user: &str, grants: &[&str]) -> DatabaseOptions {
        let user = format!("{user}{}", &self.name[self.name.len() - 12..]);
        match self.kind {
            Kind::Sqlite => unreachable!("SQLite has no accounts"),
            Kind::MySql => self.execute(&format!("CREATE USER '{user}'@'%' IDENTIFIED BY 'pa:ss@/w0rd%'")).await,
            Kind::Postgres => self.execute(&format!("CREATE ROLE {user} LOGIN PASSWORD 'pa:ss@/w0rd%'")).await,
        }
        for grant in grants {
            let grant = grant.replace("DATABASE", &self.name).replace("USER", &user);
            let grant = if self.kind == Kind::MySql { grant.replace(&user, &format!("'{user}'@'%'")) } else { grant };
            self.execute(&grant).await;
        }
        *self.account.lock().unwrap() = Some(user.clone());
        let mut url: url::Url = self.url.parse().unwrap();
        url.set_username(&user).unwrap();
        url.set_password(Some("pa:ss@/w0rd%")).unwrap();
        DatabaseOptions::new(url.to_string(), self.folder.path().join("state"))
    }

    pub(crate) async fn open(&self) -> Database {
        Database::open(&self.options()).await.unwrap()
    }

    /// Opened, without the sample flows, and with these flows, all `STORE_DB`.
    pub(crate) async fn with_flows(&self, codes: &[&str]) -> (Database, Vec<i64>) {
        let database = self.open().await;
        for flow in database.load_flows().await.unwrap() {
            assert!(database.remove_flow(flow.id).await.unwrap());
        }
        let mut ids = Vec::new();
        for code in codes {
            ids.push(database.insert_flow(&flow(code)).await.unwrap());
        }
        (database, ids)
    }

    /// Statements, as the administrator.
    pub(crate) async fn execute(&self, sql: &str) {
        execute(self.kind, &self.url, sql).await;
    }

    pub(crate) async fn data(&self) -> Vec<DataRow> {
        let query = match self.kind {
            Kind::Sqlite => {
                "SELECT flow_code, last_msg_id, attribute_name, attribute_value, received_at FROM data ORDER BY id"
            }
            Kind::MySql => {
                "SELECT CAST(flow_code AS CHAR), CAST(last_msg_id AS SIGNED), CAST(attribute_name AS CHAR), \
                 CAST(attribute_value AS CHAR), CAST(received_at AS CHAR) FROM data ORDER BY id"
            }
            Kind::Postgres => {
                "SELECT flow_code::text, last_msg_id::bigint, attribute_name::text, attribute_value::text, \
                 to_char(received_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') FROM data ORDER BY id"
            }
        };
        let rows: Vec<(String, i64, String, String, String)> = match self.kind {
            Kind::Sqlite => sqlx::query_as(query).fetch_all(&mut sqlite(&self.url).await).await.unwrap(),
            Kind::MySql => {
                sqlx::query_as(query).fetch_all(&mut MySqlConnection::connect(&self.url).await.unwrap()).await.unwrap()
            }
            Kind::Postgres => {
                sqlx::query_as(query).fetch_all(&mut PgConnection::connect(&self.url).await.unwrap()).await.unwrap()
            }
        };
        rows.into_iter()
            .map(|(flow_code, number, name, value, received_at)| DataRow {
                flow_code,
                number,
                name,
                value,
                received_at,
            })
            .collect()
    }

    /// One number.
    pub(crate) async fn number(&self, query: &str) -> i64 {
        let query = AssertSqlSafe(query.to_owned());
        let row: (i64,) = match self.kind {
            Kind::Sqlite => sqlx::query_as(query).fetch_one(&mut sqlite(&self.url).await).await.unwrap(),
            Kind::MySql => {
                sqlx::query_as(query).fetch_one(&mut MySqlConnection::connect(&self.url).await.unwrap()).await.unwrap()
            }
            Kind::Postgres => {
                sqlx::query_as(query).fetch_one(&mut PgConnection::connect(&self.url).await.unwrap()).await.unwrap()
            }
        };
        row.0
    }

    /// Rows of any shape.
    pub(crate) async fn rows<R>(&self, query: &str) -> Vec<R>
    where
        R: Send + Unpin + for<'r> sqlx::FromRow<'r, sqlx::sqlite::SqliteRow>,
        R: for<'r> sqlx::FromRow<'r, sqlx::mysql::MySqlRow> + for<'r> sqlx::FromRow<'r, sqlx::postgres::PgRow>,
    {
        let query = AssertSqlSafe(query.to_owned());
        match self.kind {
            Kind::Sqlite => sqlx::query_as(query).fetch_all(&mut sqlite(&self.url).await).await.unwrap(),
            Kind::MySql => {
                sqlx::query_as(query).fetch_all(&mut MySqlConnection::connect(&self.url).await.unwrap()).await.unwrap()
            }
            Kind::Postgres => {
                sqlx::query_as(query).fetch_all(&mut PgConnection::connect(&self.url).await.unwrap()).await.unwrap()
            }
        }
    }

    /// Ends all other connections to this database, as a server that goes down does.
    pub(crate) async fn kill_connections(&self) {
        match self.kind {
            Kind::Sqlite => {}
            Kind::Postgres => {
                self.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()",
                )
                .await;
            }
            Kind::MySql => {
                let mut connection = MySqlConnection::connect(&self.url).await.unwrap();
                let ids: Vec<(i64,)> = sqlx::query_as(
                    "SELECT CAST(id AS SIGNED) FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()",
                )
                .fetch_all(&mut connection)
                .await
                .unwrap();
                for (id,) in ids {
                    // One that has gone by itself meanwhile is as good.
                    let _ = connection.execute(sqlx::raw_sql(AssertSqlSafe(format!("KILL {id}")))).await;
                }
            }
        }
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let Some(admin) = self.admin.take() else { return };
        let (kind, name, account) = (self.kind, self.name.clone(), self.account.lock().unwrap().take());
        let drop_it = move || {
            let statement = match kind {
                Kind::Postgres => format!("DROP DATABASE {name} WITH (FORCE)"),
                _ => format!("DROP DATABASE {name}"),
            };
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(execute(kind, &admin, &statement));
            if let Some(account) = account {
                let account = if kind == Kind::MySql { format!("'{account}'@'%'") } else { account };
                runtime.block_on(execute(kind, &admin, &format!("DROP USER {account}")));
            }
        };
        let _ = std::thread::spawn(drop_it).join();
    }
}

pub(crate) async fn sqlite(url: &str) -> SqliteConnection {
    let path = url.trim_start_matches("sqlite:");
    std::fs::create_dir_all(Path::new(path).parent().unwrap()).unwrap();
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path).create_if_missing(true);
    SqliteConnection::connect_with(&options).await.unwrap()
}

async fn execute(kind: Kind, url: &str, sql: &str) {
    let statement = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
    let done = match kind {
        Kind::Sqlite => sqlite(url).await.execute(statement).await.map(drop),
        Kind::MySql => MySqlConnection::connect(url).await.unwrap().execute(statement).await.map(drop),
        Kind::Postgres => PgConnection::connect(url).await.unwrap().execute(statement).await.map(drop),
    };
    done.unwrap_or_else(|error| panic!("{sql}: {error}"));
}

pub(crate) fn flow(code: &str) -> FlowRow {
    FlowRow {
        code: code.into(),
        topic: format!("test/{code}"),
        action: "STORE_DB".into(),
        payload_schema: r#"{"t": "float"}"#.into(),
        enabled: true,
        ..FlowRow::default()
    }
}

/// 2026-11-21 12:34:56.789012 UTC.
pub(crate) const NOON: i64 = 1_795_264_496_789_012;

pub(crate) fn record(seq: u64, flow_id: i64, fields: &[(&str, &str)]) -> FlowRecord {
    FlowRecord {
        seq,
        flow_id,
        flow_code: "as routed".into(),
        received_at: NOON + i64::try_from(seq).unwrap(),
        store: true,
        fields: fields.iter().map(|&(name, value)| (Arc::from(name), Arc::from(value))).collect(),
        typed: None,
    }
}
