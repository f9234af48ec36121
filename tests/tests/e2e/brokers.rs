//! The same straight path with Mosquitto, and with MariaDB and PostgreSQL: one line each in the configuration.

use hearthgate_tests::broker::Mosquitto;
use hearthgate_tests::client::Client;
use hearthgate_tests::database::Database;
use hearthgate_tests::gateway::Home;
use hearthgate_tests::until;

async fn stores_two_rows_through(broker: &Mosquitto, database: &Database) {
    let home = Home::new();
    home.configure(&format!(
        "[mqtt]\nserver = \"mqtt://127.0.0.1:{}\"\n[database]\nurl = \"{}\"\n",
        broker.port, database.url
    ));
    let mut gateway = home.start();
    gateway.wait_for_log(&["flows loaded"]);
    let mut client = Client::connect(broker.port, "publisher").await;
    let rows = until("rows", async || {
        client.publish("sensors/aht10", r#"{"temperature":23.5,"humidity":65.2}"#).await;
        client.confirmed(1).await;
        Some(database.records().await).filter(|rows| rows.len() >= 2)
    })
    .await;
    assert_eq!((rows[0].name.as_str(), rows[0].value.as_str(), rows[0].number), ("temperature", "23.5", 1));
    assert_eq!((rows[1].name.as_str(), rows[1].value.as_str(), rows[1].number), ("humidity", "65.2", 1));
    let (status, log) = gateway.terminate();
    assert!(status.success(), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn mosquitto_and_mariadb_take_the_place_of_the_defaults() {
    stores_two_rows_through(&Mosquitto::start(), &Database::mariadb().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mosquitto_and_postgresql_take_the_place_of_the_defaults() {
    stores_two_rows_through(&Mosquitto::start(), &Database::postgres().await).await;
}

/// A broker that is not ours: `HEARTHGATE_TEST_BROKER` is its port on 127.0.0.1; it takes anybody, with MQTT 3.1.1 and QoS 1.
fn another_broker() -> Option<u16> {
    let port = std::env::var("HEARTHGATE_TEST_BROKER").ok()?;
    Some(port.parse().expect("HEARTHGATE_TEST_BROKER is a port on 127.0.0.1"))
}

/// Publishes at QoS 1 while the gateway is killed again and again; every message must be stored once, in order.
#[tokio::test(flavor = "multi_thread")]
async fn another_broker_delivers_each_message_once_through_kills() {
    let Some(port) = another_broker() else {
        eprintln!("not run: HEARTHGATE_TEST_BROKER is not set");
        return;
    };
    const MESSAGES: usize = 2_000;
    let home = Home::new();
    // A session of its own in a broker that others have used.
    home.configure(&format!(
        "[gateway]\nname = \"test-{}\"\n[mqtt]\nserver = \"mqtt://127.0.0.1:{port}\"\n",
        home.http
    ));
    let mut gateway = home.start();
    gateway.wait_for_log(&["connected to the broker"]);
    gateway.wait_for_log(&["flows loaded"]);
    let database = Database::sqlite(home.path()).await;
    let mut client = Client::connect(port, "publisher").await;
    until("the first row", async || {
        client.publish("sensors/aht10", r#"{"temperature":0,"humidity":-1}"#).await;
        client.confirmed(1).await;
        (database.number("SELECT COUNT(*) FROM data").await > 0).then_some(())
    })
    .await;
    for index in 0..MESSAGES {
        client.publish("sensors/aht10", format!(r#"{{"temperature":{index},"humidity":1}}"#)).await;
        if index % 400 == 399 && index + 1 < MESSAGES {
            gateway.kill();
            gateway = home.start();
        }
    }
    client.confirmed(MESSAGES).await;
    let distinct =
        "SELECT COUNT(DISTINCT last_msg_id) FROM data WHERE attribute_name = 'humidity' AND attribute_value = '1'";
    until("all messages", async || (database.number(distinct).await >= MESSAGES as i64).then_some(())).await;
    let (status, log) = gateway.terminate();
    assert!(status.success(), "{log}");
    let records = database.records().await;
    let values =
        records.chunks(2).filter(|pair| pair[1].value == "1").map(|pair| pair[0].value.parse().expect("a number"));
    let (mut lost, mut values): (Vec<usize>, Vec<usize>) = (Vec::new(), values.collect());
    values.sort_unstable();
    lost.extend((0..MESSAGES).filter(|index| values.binary_search(index).is_err()));
    let repeated: Vec<usize> = values.windows(2).filter(|two| two[0] == two[1]).map(|two| two[0]).collect();
    assert!(lost.is_empty() && repeated.is_empty(), "lost {lost:?}, stored twice {repeated:?}");
    database.assert_numbers_without_gap_or_repeat("AHT10_SENSOR").await;
}
