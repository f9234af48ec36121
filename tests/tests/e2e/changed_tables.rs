//! Somebody else drops or changes a table while the gateway runs: readings wait until it is mended, and then all are there.

use crate::flows::told;
use hearthgate_tests::client::Client;
use hearthgate_tests::database::Database;
use hearthgate_tests::gateway::{Gateway, Home};
use hearthgate_tests::{http, until};

/// Readings between two changes.
const EACH: usize = 10;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Dialect {
    Sqlite,
    MariaDb,
    Postgres,
}

/// A gateway with a flow that has a table of its own, and its publisher.
struct Site {
    home: Home,
    gateway: Gateway,
    database: Database,
    client: Client,
    /// Readings that were published so far: their `t` is their number and a half.
    published: usize,
}

impl Site {
    async fn new(dialect: Dialect) -> Self {
        let home = Home::new();
        let database = match dialect {
            Dialect::Sqlite => None,
            Dialect::MariaDb => Some(Database::mariadb().await),
            Dialect::Postgres => Some(Database::postgres().await),
        };
        let url =
            database.as_ref().map_or(String::new(), |database| format!("[database]\nurl = \"{}\"\n", database.url));
        home.configure(&format!("[broker]\nenabled = true\n{url}"));
        let mut gateway = home.start();
        gateway.wait_for_log(&["flows loaded"]);
        let database = match database {
            Some(database) => database,
            None => Database::sqlite(home.path()).await,
        };
        let (schema, options) = (r#"{"t":"float","name":"string"}"#, r#"{"table":"weather"}"#);
        told(&home, &["flow", "add", "WEATHER", "--topic", "weather", "--schema", schema, "--options", options]);
        let client = Client::connect(home.mqtt, "sensor").await;
        let mut site = Site { home, gateway, database, client, published: 0 };
        until("the subscription", async || {
            site.client.publish("weather", r#"{"t":0.5,"name":"first"}"#).await;
            site.client.confirmed(1).await;
            (site.database.try_number("SELECT COUNT(*) FROM weather").await? > 0).then_some(())
        })
        .await;
        site.publish().await;
        site.is_stored("weather", EACH).await;
        site
    }

    async fn publish(&mut self) {
        for number in self.published + 1..=self.published + EACH {
            self.client.publish("weather", format!(r#"{{"t":{number}.5,"name":"n"}}"#)).await;
        }
        self.client.confirmed(EACH).await;
        self.published += EACH;
    }

    /// The newest so many readings are in the table, each once, to the digit.
    async fn is_stored(&self, table: &str, newest: usize) {
        let (first, last) = (self.published + 1 - newest, self.published);
        let those = format!("FROM {table} WHERE t >= {first} AND t < {}", last + 1);
        until(&format!("readings {first} to {last} in {table}"), async || {
            (self.database.try_number(&format!("SELECT COUNT(*) {those}")).await? >= newest as i64).then_some(())
        })
        .await;
        assert_eq!(self.database.number(&format!("SELECT COUNT(*) {those}")).await, newest as i64, "none twice");
        let exact = format!("SELECT COUNT(DISTINCT t) {those} AND t - 0.5 = round(t - 0.5)");
        assert_eq!(self.database.number(&exact).await, newest as i64, "each as it was sent");
    }

    /// Readings come while something is wrong that the gateway can't mend; it says so in these words, and then it is mended.
    async fn wait_for_repair(&mut self, damage: &[&str], words: &[&str], repair: &[&str]) {
        let logged = self.gateway.log().len();
        for statement in damage {
            self.database.execute(statement).await;
        }
        self.publish().await;
        let line = until("the log tells why", async || {
            let log = self.gateway.log();
            let is_told = |line: &&str| {
                line.contains("records wait in the journal") && words.iter().all(|word| line.contains(word))
            };
            log.get(logged..)?.lines().find(is_told).map(str::to_owned)
        })
        .await;
        let (status, body) = http::request(self.home.http, "GET", "/readyz").expect("the HTTP API");
        assert!(status == 503 && words.iter().all(|word| body.contains(word)), "{line}: {body}");
        for statement in repair {
            self.database.execute(statement).await;
        }
        until("ready again", async || http::is_ready(self.home.http).then_some(())).await;
    }

    /// Starts the gateway again, so that it makes no tables, or does.
    async fn restart(mut self, makes_tables: bool) -> Self {
        let (status, log) = self.gateway.terminate();
        assert!(status.success(), "{log}");
        self.gateway = self.home.start_with(|command| {
            command.env("HEARTHGATE__DATABASE__MIGRATE", makes_tables.to_string());
        });
        until("ready", async || http::is_ready(self.home.http).then_some(())).await;
        self.client = Client::connect(self.home.mqtt, "sensor").await;
        self
    }
}

async fn changed_tables_keep_readings_waiting_until_they_are_mended(dialect: Dialect) {
    let mut site = Site::new(dialect).await;

    // What the gateway can make it makes.
    site.database.execute("DROP TABLE weather").await;
    site.publish().await;
    site.is_stored("weather", EACH).await;
    site.gateway.wait_for_log(&["the table of a flow was made", "weather", "Created"]);
    site.database.execute("ALTER TABLE weather RENAME COLUMN t TO t_old").await;
    site.publish().await;
    site.is_stored("weather", EACH).await;
    site.gateway.wait_for_log(&["the table of a flow was made", "weather", "Grown", "t"]);

    // What it can't it tells.
    site.wait_for_repair(
        &["ALTER TABLE weather RENAME COLUMN received_at TO received"],
        &["weather", "received_at", "name it as it was"],
        &["ALTER TABLE weather RENAME COLUMN received TO received_at"],
    )
    .await;
    site.is_stored("weather", 2 * EACH).await;
    site.wait_for_repair(
        &["ALTER TABLE data RENAME COLUMN attribute_value TO value"],
        &["table data", "attribute_value", "put the table back as it was"],
        &["ALTER TABLE data RENAME COLUMN value TO attribute_value"],
    )
    .await;
    site.is_stored("weather", 3 * EACH).await;
    let (damage, repair) = wrong_type(dialect);
    site.wait_for_repair(damage, &["weather", "t"], repair).await;
    // Those from before were rounded when the type was changed.
    site.is_stored("weather", EACH).await;
    let (damage, repair) = demanding_column(dialect);
    site.wait_for_repair(damage, &["weather", "extra", "put the table back as it was"], repair).await;
    site.is_stored("weather", 2 * EACH).await;

    // Where it may make nothing it waits for that too.
    let mut site = site.restart(false).await;
    site.wait_for_repair(
        &["ALTER TABLE weather RENAME COLUMN name TO called"],
        &["weather", "name", "flow ddl CODE --apply"],
        &["ALTER TABLE weather RENAME COLUMN called TO name"],
    )
    .await;
    site.is_stored("weather", 3 * EACH).await;
    site.database.execute("DROP TABLE weather").await;
    site.publish().await;
    site.gateway.wait_for_log(&["records wait in the journal", "table weather", "not there", "flow ddl CODE --apply"]);
    let applied = told(&site.home, &["flow", "ddl", "WEATHER", "--apply"]);
    assert!(applied.contains("created table weather"), "{applied}");
    site.is_stored("weather", EACH).await;

    // `data` itself; its old rows are gone with it.
    site.database.execute("DROP TABLE data").await;
    site.publish().await;
    site.gateway.wait_for_log(&["records wait in the journal", "table data", "db migrate"]);
    told(&site.home, &["db", "migrate"]);
    site.is_stored("weather", 2 * EACH).await;
    let rows = "SELECT COUNT(*) FROM data WHERE flow_code = 'WEATHER' AND attribute_name = 't'";
    assert_eq!(site.database.number(rows).await, EACH as i64);

    assert!(told(&site.home, &["dlq", "list"]).starts_with("0 in all"), "no reading became a dead letter");
    let last = site.database.number("SELECT last_msg_id FROM flows WHERE code = 'WEATHER'").await;
    let highest = site.database.number("SELECT MAX(last_msg_id) FROM weather").await;
    assert_eq!(last, highest, "numbers without a gap");
    let (status, log) = site.gateway.terminate();
    assert!(status.success(), "{log}");
}

/// `t` gets a type that can't hold it, and then its own again.
fn wrong_type(dialect: Dialect) -> (&'static [&'static str], &'static [&'static str]) {
    match dialect {
        // SQLite keeps what is written whatever the type is, unless the table is STRICT.
        Dialect::Sqlite => (
            &[
                "ALTER TABLE weather RENAME TO kept",
                "CREATE TABLE weather (id INTEGER PRIMARY KEY, flow_code TEXT, received_at TEXT, event_time TEXT, \
                 last_msg_id INTEGER, t INTEGER, name TEXT) STRICT",
            ],
            &["DROP TABLE weather", "ALTER TABLE kept RENAME TO weather"],
        ),
        Dialect::MariaDb => {
            (&["ALTER TABLE weather MODIFY t BIGINT NULL"], &["ALTER TABLE weather MODIFY t DOUBLE NULL"])
        }
        Dialect::Postgres => (
            &["ALTER TABLE weather ALTER COLUMN t TYPE bigint"],
            &["ALTER TABLE weather ALTER COLUMN t TYPE double precision"],
        ),
    }
}

/// A column that wants a value which nobody gives it.
fn demanding_column(dialect: Dialect) -> (&'static [&'static str], &'static [&'static str]) {
    let repair = &["ALTER TABLE weather DROP COLUMN extra"];
    match dialect {
        Dialect::Sqlite => (
            &[
                "ALTER TABLE weather RENAME TO kept",
                "CREATE TABLE weather (id INTEGER PRIMARY KEY, flow_code TEXT, received_at TEXT, event_time TEXT, \
                 last_msg_id INTEGER, t REAL, name TEXT, extra TEXT NOT NULL)",
            ],
            &["DROP TABLE weather", "ALTER TABLE kept RENAME TO weather"],
        ),
        Dialect::MariaDb => (
            &[
                "ALTER TABLE weather ADD COLUMN extra INT NOT NULL",
                "ALTER TABLE weather ALTER COLUMN extra DROP DEFAULT",
            ],
            repair,
        ),
        Dialect::Postgres => (
            &[
                "ALTER TABLE weather ADD COLUMN extra INT NOT NULL DEFAULT 1",
                "ALTER TABLE weather ALTER COLUMN extra DROP DEFAULT",
            ],
            repair,
        ),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_tables_keep_readings_waiting_until_they_are_mended_on_sqlite() {
    changed_tables_keep_readings_waiting_until_they_are_mended(Dialect::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_tables_keep_readings_waiting_until_they_are_mended_on_mariadb() {
    changed_tables_keep_readings_waiting_until_they_are_mended(Dialect::MariaDb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_tables_keep_readings_waiting_until_they_are_mended_on_postgresql() {
    changed_tables_keep_readings_waiting_until_they_are_mended(Dialect::Postgres).await;
}
