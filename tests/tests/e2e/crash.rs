//! What was acknowledged survives `kill -9`, and nothing of it is there twice.

use hearthgate_tests::broker::Mosquitto;
use hearthgate_tests::client::Client;
use hearthgate_tests::database::Database;
use hearthgate_tests::gateway::Home;
use hearthgate_tests::until;
use rumqttc::QoS;

const MESSAGES: usize = 3_000;
const KILLS: usize = 4;

/// The messages that count; those that only wait for the subscription have another humidity.
const READINGS: &str = "SELECT COUNT(*) FROM data WHERE attribute_name = 'humidity' AND attribute_value = '1'";

/// Publishes through Mosquitto while the gateway is killed again and again; every message must be stored once, in order.
async fn every_message_once(payload: impl Fn(usize) -> String) -> (Database, Home) {
    let broker = Mosquitto::start();
    let home = Home::new();
    home.configure(&format!("[mqtt]\nserver = \"mqtt://127.0.0.1:{}\"\n", broker.port));
    let mut gateway = home.start();
    gateway.wait_for_log(&["connected to the broker"]);
    gateway.wait_for_log(&["flows loaded"]);
    let database = Database::sqlite(home.path()).await;
    let mut client = Client::connect(broker.port, "publisher").await;
    // The subscription stands once a message of its own has come through.
    until("the first row", async || {
        client.publish("sensors/aht10", r#"{"temperature":0,"humidity":-1}"#).await;
        client.confirmed(1).await;
        (database.number("SELECT COUNT(*) FROM data").await > 0).then_some(())
    })
    .await;
    for index in 0..MESSAGES {
        // Exactly once as far as the broker, so that a repetition would be ours.
        client.publish_with("sensors/aht10", payload(index), QoS::ExactlyOnce, false).await;
        if index % (MESSAGES / (KILLS + 1)) == MESSAGES / (KILLS + 1) - 1 && index + 1 < MESSAGES {
            gateway.kill();
            gateway = home.start();
        }
    }
    client.confirmed(MESSAGES).await;
    until("all messages", async || (database.number(READINGS).await >= MESSAGES as i64).then_some(())).await;
    let (status, log) = gateway.terminate();
    assert!(status.success(), "{log}");
    assert_eq!(database.number(READINGS).await, MESSAGES as i64);
    database.assert_numbers_without_gap_or_repeat("AHT10_SENSOR").await;
    (database, home)
}

#[tokio::test(flavor = "multi_thread")]
async fn distinct_messages_are_stored_once_and_in_order_through_kills() {
    let (database, _home) = every_message_once(|index| format!(r#"{{"temperature":{index},"humidity":1}}"#)).await;
    let rows = database.records().await;
    let values: Vec<i64> = rows
        .chunks(2)
        .filter(|pair| pair[1].value == "1")
        .map(|pair| pair[0].value.parse().expect("a number"))
        .collect();
    assert_eq!(values, (0..MESSAGES as i64).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_messages_are_all_stored_and_none_twice_through_kills() {
    every_message_once(|_| r#"{"temperature":21.5,"humidity":1}"#.to_owned()).await;
}
