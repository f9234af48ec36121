//! The database goes away, refuses to be written, is reconfigured under load, or was somebody else's before.

use crate::opening::{READINGS, opening, reading, temperatures};
use hearthgate_tests::broker::Mosquitto;
use hearthgate_tests::client::Client;
use hearthgate_tests::database::Database;
use hearthgate_tests::gateway::Home;
use hearthgate_tests::proxy::Proxy;
use hearthgate_tests::publisher::{Options, Publisher};
use hearthgate_tests::server::{Kind, Server};
use hearthgate_tests::{PATIENCE, http, until};
use std::time::Duration;
use tokio::task::block_in_place;
use tokio::time::interval;

/// Messages in a hundredth of a second: 2,000 a second.
const BURST: usize = 20;
const BEFORE: usize = 2_000;
const AFTER: usize = 2_000;

/// What comes in while the database is away: ten seconds' worth, or as many as this variable says.
fn meanwhile() -> usize {
    let seconds = std::env::var("HEARTHGATE_TEST_OUTAGE_SECONDS").ok();
    seconds.map_or(10, |seconds| seconds.parse::<usize>().expect("a number of seconds")) * 100 * BURST
}

async fn publish(publisher: &Publisher, range: std::ops::Range<usize>) {
    let mut ticks = interval(Duration::from_millis(10));
    for index in range {
        if index % BURST == 0 {
            ticks.tick().await;
        }
        publisher.publish("sensors/aht10", reading(index, 1)).await;
    }
}

/// What is stored of the sample flow: the numbers of the messages, in their order.
async fn stored(database: &Database) -> Vec<usize> {
    let page = database.page("AHT10_SENSOR", "temperature", 0, 1_000_000).await.expect("the database");
    page.iter().map(|row| row.value.parse().expect("a number")).collect()
}

async fn ten_seconds_without_it_lose_nothing(kind: Kind) {
    let meanwhile = meanwhile();
    let mut server = block_in_place(|| Server::start(kind));
    let database = Database::create(&server.admin_url()).await;
    let home = Home::new();
    home.configure(&format!("[broker]\nenabled = true\n[database]\nurl = \"{}\"\n", database.url));
    let gateway = home.start();
    until("ready", async || http::is_ready(home.http).then_some(())).await;
    let publisher = Publisher::start(Options::new(home.mqtt, "device"));
    publish(&publisher, 0..BEFORE).await;
    block_in_place(|| server.stop());
    publish(&publisher, BEFORE..BEFORE + meanwhile).await;
    publisher.all_acknowledged(PATIENCE).await.expect("acknowledgements without the database");
    let (status, body) = http::request(home.http, "GET", "/readyz").expect("the HTTP API");
    assert!(status == 503 && body.contains("writer"), "{body}");
    // Every message so far came in before this moment, by the clock that the rows have.
    let now = match kind {
        Kind::MariaDb => "SELECT CAST(UTC_TIMESTAMP(6) AS CHAR)",
        Kind::Postgres => "SELECT CAST(now() AT TIME ZONE 'UTC' AS TEXT)",
    };
    block_in_place(|| server.resume());
    let resumed = until("the server's time", async || database.texts(now).await.ok()?.pop()).await;
    publish(&publisher, BEFORE + meanwhile..BEFORE + meanwhile + AFTER).await;
    publisher.all_acknowledged(PATIENCE).await.expect("all acknowledgements");
    let all = BEFORE + meanwhile + AFTER;
    until("all", async || {
        let last = "SELECT last_msg_id FROM flows WHERE code = 'AHT10_SENSOR'";
        (database.try_number(last).await? >= all as i64).then_some(())
    })
    .await;
    assert_eq!(stored(&database).await, (0..all).collect::<Vec<_>>(), "each once, in order");
    database.assert_numbers_without_gap_or_repeat("AHT10_SENSOR").await;
    // What came in while it was away was written later, and says when it came in.
    let early = format!(
        "SELECT COUNT(*) FROM data WHERE attribute_name = 'temperature' AND last_msg_id <= {} AND received_at > '{resumed}'",
        BEFORE + meanwhile
    );
    assert_eq!(database.number(&early).await, 0, "received before {resumed}");
    let times = "SELECT COUNT(DISTINCT received_at) FROM data WHERE attribute_name = 'temperature'";
    assert!(database.number(times).await >= 5, "spread over the time in which they came");
    assert!(gateway.terminate().0.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_seconds_without_mariadb_at_2000_messages_a_second_lose_nothing() {
    ten_seconds_without_it_lose_nothing(Kind::MariaDb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_seconds_without_postgresql_at_2000_messages_a_second_lose_nothing() {
    ten_seconds_without_it_lose_nothing(Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_database_is_read_only_messages_wait_and_the_reason_is_told() {
    let server = block_in_place(|| Server::start(Kind::Postgres));
    let admin = Database::create(&server.admin_url()).await;
    let name = admin.url.rsplit('/').next().expect("a database").to_owned();
    let home = Home::new();
    home.configure(&format!("[broker]\nenabled = true\n[database]\nurl = \"{}\"\n", admin.url));
    let mut gateway = home.start();
    until("ready", async || http::is_ready(home.http).then_some(())).await;
    let switch = async |is_read_only: &str| {
        admin.execute(&format!("ALTER DATABASE {name} SET default_transaction_read_only = {is_read_only}")).await;
        let others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname IS NOT NULL";
        admin.execute(others).await;
    };
    switch("on").await;
    let publisher = Publisher::start(Options::new(home.mqtt, "device"));
    publish(&publisher, 0..100).await;
    publisher.all_acknowledged(PATIENCE).await.expect("acknowledgements without a database that can be written");
    gateway.wait_for_log(&["records wait in the journal", "read-only"]);
    assert!(!http::is_ready(home.http));
    let writable = Database::create(&server.admin_url()).await;
    writable.execute(&format!("ALTER DATABASE {name} SET default_transaction_read_only = off")).await;
    writable.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname IS NOT NULL").await;
    until("all", async || {
        let rows = admin.try_number("SELECT COUNT(*) FROM data WHERE attribute_name = 'temperature'").await?;
        (rows >= 100).then_some(())
    })
    .await;
    assert_eq!(stored(&admin).await, (0..100).collect::<Vec<_>>());
    assert!(gateway.terminate().0.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_reloads_under_load_disturb_no_flow_that_did_not_change() {
    const RELOADS: usize = 100;
    let site = opening("").await;
    let insert = "INSERT INTO flows (code, description, topic, action, payload_schema) VALUES";
    site.database.execute(&format!(r#"{insert} ('OTHER', '', 'other/0', 'STORE_DB', '{{"n":"int"}}')"#)).await;
    let publisher = Publisher::start(Options::new(site.broker.port, "device"));
    let is_over = tokio::sync::watch::Sender::new(false);
    let load = async {
        let mut sent = 0;
        while !*is_over.borrow() {
            publish(&publisher, sent..sent + BURST).await;
            sent += BURST;
        }
        sent
    };
    let reloads = async {
        for count in 1..=RELOADS {
            site.database.execute(&format!("UPDATE flows SET topic = 'other/{count}' WHERE code = 'OTHER'")).await;
            site.gateway.signal("HUP");
            until("a reload", async || (site.gateway.log().matches("flows reloaded").count() >= count).then_some(()))
                .await;
        }
        is_over.send_replace(true);
    };
    let (sent, ()) = tokio::join!(load, reloads);
    publisher.all_acknowledged(PATIENCE).await.expect("all acknowledgements");
    until("all", async || (site.database.number(READINGS).await >= sent as i64).then_some(())).await;
    assert_eq!(temperatures(&site.database).await, (0..sent).collect::<Vec<_>>(), "each once, in order");
    site.database.assert_numbers_without_gap_or_repeat("AHT10_SENSOR").await;
    let (status, log) = site.gateway.terminate();
    assert!(status.success(), "{log}");
}

/// The tables of the Python gateway's guide, with its sample data, some messages later.
const PYTHON_GATEWAY: [&str; 5] = [
    "CREATE TABLE mqtt_servers (id INT AUTO_INCREMENT PRIMARY KEY, host VARCHAR(255) NOT NULL, \
     port INT NOT NULL DEFAULT 1883, username VARCHAR(255) NULL, password VARCHAR(255) NULL, \
     enabled BOOLEAN NOT NULL DEFAULT TRUE, is_default BOOLEAN NOT NULL DEFAULT TRUE)",
    "CREATE TABLE flows (id INT AUTO_INCREMENT PRIMARY KEY, code VARCHAR(100) NOT NULL UNIQUE, \
     description VARCHAR(255) NOT NULL, topic VARCHAR(255) NOT NULL, action VARCHAR(30) NOT NULL, \
     payload_schema JSON NOT NULL, endpoint_url VARCHAR(500) NULL, last_msg_id INT NOT NULL DEFAULT 0, \
     enabled BOOLEAN NOT NULL DEFAULT TRUE)",
    "CREATE TABLE data (id INT AUTO_INCREMENT PRIMARY KEY, received_at DATETIME NOT NULL, \
     flow_code VARCHAR(100) NOT NULL, attribute_name VARCHAR(255) NOT NULL, attribute_value TEXT NOT NULL, \
     last_msg_id INT NOT NULL)",
    "INSERT INTO flows (code, description, topic, action, payload_schema, last_msg_id) VALUES ('AHT10_SENSOR', \
     'temperature and humidity', 'sensors/aht10', 'STORE_DB', '{\"temperature\": \"float\", \"humidity\": \"float\"}', 1)",
    "INSERT INTO data (received_at, flow_code, attribute_name, attribute_value, last_msg_id) VALUES \
     ('2026-01-02 03:04:05', 'AHT10_SENSOR', 'temperature', '20.5', 1), \
     ('2026-01-02 03:04:05', 'AHT10_SENSOR', 'humidity', '1', 1)",
];

const GRANTS: [&str; 4] = [
    "CREATE USER 'gateway'@'%' IDENTIFIED BY 'secret'",
    "GRANT SELECT, INSERT, UPDATE ON DATABASE.mqtt_servers TO 'gateway'@'%'",
    "GRANT SELECT, INSERT, UPDATE ON DATABASE.flows TO 'gateway'@'%'",
    "GRANT SELECT, INSERT ON DATABASE.data TO 'gateway'@'%'",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_mariadb_of_the_python_gateway_is_taken_over_with_its_rights_alone_and_its_numbers_go_on_through_kills() {
    let server = block_in_place(|| Server::start(Kind::MariaDb));
    let database = Database::create(&server.admin_url()).await;
    let (base, name) = database.url.rsplit_once('/').expect("a database");
    let broker = Mosquitto::start();
    for statement in PYTHON_GATEWAY.into_iter().chain(GRANTS) {
        database.execute(&statement.replace("DATABASE", name)).await;
    }
    database.execute(&format!("INSERT INTO mqtt_servers (host, port) VALUES ('127.0.0.1', {})", broker.port)).await;
    let proxy = Proxy::start(broker.port).await.expect("a proxy");
    let home = Home::new();
    home.configure(&format!(
        "[mqtt]\nserver = \"mqtt://127.0.0.1:{}\"\n[database]\nurl = \"{}/{name}\"\npassword = \"secret\"\n",
        proxy.port,
        base.replace("root@", "gateway@")
    ));
    let mut gateway = home.start();
    // Ready comes before the broker's answer to SUBSCRIBE.
    until("a subscription", async || (proxy.seen().subscribed > 0).then_some(())).await;
    let mut client = Client::connect(broker.port, "sensor").await;
    for index in 0..300 {
        client.publish("sensors/aht10", reading(index, 1)).await;
        if index % 100 == 50 {
            gateway.kill();
            gateway = home.start();
        }
    }
    client.confirmed(300).await;
    until("all", async || (database.records().await.len() >= 602).then_some(())).await;
    let rows = database.records().await;
    let numbers: Vec<i64> = rows.iter().map(|row| row.number).collect();
    assert_eq!(numbers, (1..=301).flat_map(|number| [number, number]).collect::<Vec<_>>());
    assert_eq!(rows[0].value, "20.5", "what was there is as it was");
    let values: Vec<String> =
        rows.iter().skip(2).filter(|row| row.name == "temperature").map(|row| row.value.clone()).collect();
    assert_eq!(values, (0..300).map(|index| index.to_string()).collect::<Vec<_>>());
    let tables = format!("SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = '{name}'");
    assert_eq!(database.number(&tables).await, 3, "no table was added");
    let (status, log) = gateway.terminate();
    assert!(status.success(), "{log}");
}
