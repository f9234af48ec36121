//! What a newcomer does: start it without any configuration, publish, look.

use hearthgate_tests::client::Client;
use hearthgate_tests::database::{Database, Record};
use hearthgate_tests::gateway::Home;
use hearthgate_tests::until;
use std::net::TcpListener;

fn record(name: &str, value: &str, number: i64) -> Record {
    Record { flow: "AHT10_SENSOR".into(), name: name.into(), value: value.into(), number }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_any_configuration_a_sensor_reading_becomes_rows_and_a_command_reaches_the_dummy() {
    let home = Home::new();
    let mut gateway = home.start();
    gateway.wait_for_log(&["flows loaded"]);
    let mut client = Client::connect(home.mqtt, "newcomer").await;

    client.publish("sensors/aht10", r#"{"temperature":23.5,"humidity":65.20}"#).await;
    client.confirmed(1).await;
    let database = Database::sqlite(home.path()).await;
    let records = until("two rows", async || Some(database.records().await).filter(|rows| rows.len() >= 2)).await;
    assert_eq!(records, [record("temperature", "23.5", 1), record("humidity", "65.20", 1)]);

    client.publish("testmqttgtw/dummyfunction//kitchen//me/C", "audio_on").await;
    gateway.wait_for_log(&["Kitchen", "POWER_ON"]);

    let (status, log) = gateway.terminate();
    assert!(status.success(), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_topic_is_mapped_for_an_interface_and_routed_through_a_flow() {
    let home = Home::new();
    let mut gateway = home.start();
    gateway.wait_for_log(&["flows loaded"]);
    let database = Database::sqlite(home.path()).await;
    database
        .execute(
            r#"INSERT INTO flows (code, description, topic, action, payload_schema)
               VALUES ('BOTH', '', 'testmqttgtw/+/+/+/+/+/C', 'STORE_DB', '{"action":"string"}')"#,
        )
        .await;
    gateway.signal("HUP");
    gateway.wait_for_log(&["flows reloaded"]);

    let client = Client::connect(home.mqtt, "someone").await;
    let topic = "testmqttgtw/dummyfunction//kitchen//me/C";
    until("the message in both places", async || {
        client.publish(topic, r#"{"action":"audio_on"}"#).await;
        Some(database.records().await).filter(|rows| rows.iter().any(|row| row.flow == "BOTH"))
    })
    .await;
    gateway.wait_for_log(&["Kitchen", "POWER_ON"]);
}

#[test]
fn a_port_in_use_is_named_with_the_key_to_change() {
    let home = Home::new();
    let _taken = TcpListener::bind(("127.0.0.1", home.mqtt)).unwrap();
    let mut gateway = home.start();
    let status = gateway.wait();
    assert_eq!(status.code(), Some(69));
    let log = gateway.log();
    assert!(log.contains(&home.mqtt.to_string()) && log.contains("broker.listen"), "{log}");
}

#[test]
fn a_second_gateway_on_the_same_state_is_refused_in_words() {
    let home = Home::new();
    let mut first = home.start();
    first.wait_for_log(&["flows loaded"]);
    let other = Home::new();
    let mut second = home.start_with(|command| {
        command.env("HEARTHGATE__BROKER__LISTEN", format!("127.0.0.1:{}", other.mqtt));
        command.env("HEARTHGATE__HTTP__LISTEN", format!("127.0.0.1:{}", other.http));
    });
    assert_eq!(second.wait().code(), Some(69));
    assert!(second.log().contains("in use by another process"), "{}", second.log());
}
