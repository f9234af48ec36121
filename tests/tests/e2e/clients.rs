//! Clients of the embedded broker, as they are in the field.

use hearthgate_tests::database::Database;
use hearthgate_tests::gateway::{Gateway, Home};
use hearthgate_tests::until;
use hearthgate_tests::wire::{Connect, Wire};

const TOPIC: &str = "sensors/aht10";

/// A gateway with its embedded broker, ready to take messages.
async fn start() -> (Home, Gateway, Database) {
    let home = Home::new();
    let mut gateway = home.start();
    gateway.wait_for_log(&["the embedded broker runs"]);
    gateway.wait_for_log(&["connected to the database"]);
    let database = Database::sqlite(home.path()).await;
    (home, gateway, database)
}

fn reading(temperature: u32) -> String {
    format!(r#"{{"temperature":{temperature},"humidity":50}}"#)
}

fn reconnect(home: &Home) -> Wire {
    let (wire, code) = Wire::connect(home.mqtt, Connect::kept("sensor"));
    assert_eq!(code, 0);
    wire
}

#[tokio::test(flavor = "multi_thread")]
async fn an_equal_reading_after_a_reconnect_is_stored_and_a_repetition_is_not() {
    let (home, _gateway, database) = start().await;
    let mut sensor = reconnect(&home);
    for id in 1..=3 {
        sensor.publish(id, false, TOPIC, &reading(id.into()));
        sensor.acknowledged(id);
    }
    // A new message first: nothing of the connection before is owed.
    let mut sensor = reconnect(&home);
    sensor.publish(4, false, TOPIC, &reading(4));
    sensor.acknowledged(4);
    // A new reading, equal to the first and by chance with its identifier, was lost on its way: the broker sees only
    // its repetition.
    let mut sensor = reconnect(&home);
    sensor.publish(1, true, TOPIC, &reading(1));
    sensor.acknowledged(1);
    // And now the same one, because its acknowledgement was lost; twice.
    for _ in 0..2 {
        let mut sensor = reconnect(&home);
        sensor.publish(1, true, TOPIC, &reading(1));
        sensor.acknowledged(1);
    }
    let mut sensor = reconnect(&home);
    sensor.publish(2, false, TOPIC, &reading(99));
    sensor.acknowledged(2);
    until("the last reading", async || {
        let last = "SELECT COUNT(*) FROM data WHERE attribute_value = '99'";
        (database.number(last).await == 1).then_some(())
    })
    .await;
    let records = database.records().await;
    let values: Vec<&str> = records.iter().filter(|it| it.name == "temperature").map(|it| it.value.as_str()).collect();
    assert_eq!(values, ["1", "2", "3", "4", "1", "99"]);
}
