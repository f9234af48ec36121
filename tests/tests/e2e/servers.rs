//! The broker that the table `mqtt_servers` names, and flows whose filters overlap.

use hearthgate_tests::broker::Mosquitto;
use hearthgate_tests::client::Client;
use hearthgate_tests::database::Database;
use hearthgate_tests::gateway::Home;
use hearthgate_tests::until;

const TOPIC: &str = "sensors/aht10";

fn reading(number: usize) -> String {
    format!(r#"{{"temperature":{number},"humidity":1}}"#)
}

async fn stored(database: &Database, temperature: usize) -> i64 {
    let query =
        format!("SELECT COUNT(*) FROM data WHERE attribute_name = 'temperature' AND attribute_value = '{temperature}'");
    database.number(&query).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_connection_moves_when_the_table_names_another_broker_and_nothing_is_lost() {
    let (first, second) = (Mosquitto::start(), Mosquitto::start());
    let database = Database::mariadb().await;
    let home = Home::new();
    home.configure(&format!("[mqtt]\nserver = \"database\"\n[database]\nurl = \"{}\"\n", database.url));
    let mut gateway = home.start();
    gateway.wait_for_log(&["no enabled row in mqtt_servers"]);
    let (one, two) = (first.port, second.port);
    database
        .execute(&format!(
            "INSERT INTO mqtt_servers (host, port, enabled, is_default) VALUES ('127.0.0.1', {one}, 1, 1)"
        ))
        .await;
    gateway.signal("HUP");
    gateway.wait_for_log(&["connected to the broker"]);
    let mut here = Client::connect(first.port, "here").await;
    until("the first row", async || {
        here.publish(TOPIC, reading(0)).await;
        here.confirmed(1).await;
        (stored(&database, 0).await > 0).then_some(())
    })
    .await;
    // Under load; what the first broker has passed on is stored, and what it has not stays with it.
    let load = tokio::spawn(async move {
        for number in 1..=2_000 {
            here.publish(TOPIC, reading(number)).await;
        }
        here.confirmed(2_000).await;
        here
    });
    until("some of the load", async || (stored(&database, 20).await > 0).then_some(())).await;
    database.execute(&format!("UPDATE mqtt_servers SET port = {two}")).await;
    gateway.signal("HUP");
    gateway.wait_for_log(&["moving from"]);
    drop(load.await.expect("the load"));
    let mut there = Client::connect(second.port, "there").await;
    until("a row by the second broker", async || {
        there.publish(TOPIC, reading(5_000)).await;
        there.confirmed(1).await;
        (stored(&database, 5_000).await > 0).then_some(())
    })
    .await;
    // Back again: the rest comes, each message once.
    database.execute(&format!("UPDATE mqtt_servers SET port = {one}")).await;
    gateway.signal("HUP");
    until("all of the load", async || (stored(&database, 2_000).await > 0).then_some(())).await;
    let of_load =
        "SELECT COUNT(*) FROM data WHERE attribute_name = 'temperature' AND attribute_value NOT IN ('0', '5000')";
    assert_eq!(database.number(of_load).await, 2_000);
    let distinct = "SELECT COUNT(DISTINCT attribute_value) FROM data WHERE attribute_name = 'temperature'";
    assert_eq!(database.number(distinct).await, 2_002);
    database.assert_numbers_without_gap_or_repeat("AHT10_SENSOR").await;
    let (status, log) = gateway.terminate();
    assert!(status.success(), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn flows_with_overlapping_filters_store_a_message_once_each() {
    for protocol in ["3.1.1", "5"] {
        let broker = Mosquitto::start();
        let home = Home::new();
        home.configure(&format!("[mqtt]\nserver = \"mqtt://127.0.0.1:{}\"\nprotocol = \"{protocol}\"\n", broker.port));
        let mut gateway = home.start();
        gateway.wait_for_log(&["flows loaded"]);
        let database = Database::sqlite(home.path()).await;
        for (code, topic) in [("ALL", "sensors/#"), ("ONE", "+/aht10")] {
            let insert = format!(
                "INSERT INTO flows (code, description, topic, action, payload_schema, last_msg_id, enabled) \
                 SELECT '{code}', '', '{topic}', action, payload_schema, 0, enabled FROM flows WHERE code = 'AHT10_SENSOR'"
            );
            database.execute(&insert).await;
        }
        gateway.signal("HUP");
        gateway.wait_for_log(&["flows reloaded", "added=2"]);
        let mut client = Client::connect(broker.port, "publisher").await;
        until("a row of each", async || {
            client.publish(TOPIC, reading(0)).await;
            client.confirmed(1).await;
            (database.number("SELECT COUNT(DISTINCT flow_code) FROM data").await == 3).then_some(())
        })
        .await;
        for number in 1..=50 {
            client.publish(TOPIC, reading(number)).await;
        }
        client.confirmed(50).await;
        until("the last", async || (stored(&database, 50).await == 3).then_some(())).await;
        let (status, log) = gateway.terminate();
        assert!(status.success(), "{log}");
        assert_eq!(
            database
                .number("SELECT COUNT(*) FROM data WHERE attribute_name = 'temperature' AND attribute_value <> '0'")
                .await,
            150
        );
    }
}
