//! Large messages pass, too large ones are refused, and nobody reconnects for ever.

use crate::opening::{READINGS, opening, reading};
use hearthgate_tests::client::Client;
use hearthgate_tests::database::Database;
use hearthgate_tests::gateway::Home;
use hearthgate_tests::proxy::Proxy;
use hearthgate_tests::publisher::{Options, Publisher};
use hearthgate_tests::{PATIENCE, http, until};
use rumqttc::QoS;

const PASSES: [usize; 2] = [20 << 10, 900 << 10];
const TOO_LARGE: usize = 1_200 << 10;
/// Ways from publisher to gateway: a message that passes, and one the broker had kept.
const RETAIN: [bool; 2] = [false, true];

fn text(size: usize) -> String {
    format!(r#"{{"text":"{}"}}"#, "x".repeat(size - 11))
}

async fn add_flow(database: &Database) {
    let columns = "INSERT INTO flows (code, description, topic, action, payload_schema) VALUES";
    database.execute(&format!(r#"{columns} ('LARGE', '', 'large/#', 'STORE_DB', '{{"text":"str"}}')"#)).await;
}

/// The sizes of the texts that were stored.
async fn stored(database: &Database) -> Vec<i64> {
    let mut sizes = Vec::new();
    for record in database.records().await.iter().filter(|record| record.flow == "LARGE") {
        sizes.push(record.value.len() as i64 + 11);
    }
    sizes.sort_unstable();
    sizes
}

#[tokio::test(flavor = "multi_thread")]
async fn from_mosquitto_large_messages_pass_and_a_too_large_one_is_let_go_without_a_reconnect() {
    let mut site = opening("[mqtt.limits]\nmax_packet_size = \"1MiB\"\n").await;
    let proxy = Proxy::start(site.broker.port).await.expect("a proxy");
    // What is retained is there before we subscribe.
    for (index, size) in PASSES.into_iter().chain([TOO_LARGE]).enumerate() {
        site.client.publish_with(&format!("large/retained/{index}"), text(size), QoS::AtLeastOnce, true).await;
    }
    site.client.confirmed(3).await;
    let (status, log) = site.gateway.terminate();
    assert!(status.success(), "{log}");
    add_flow(&site.database).await;
    let mut gateway = site.home.start_with(|command| {
        command.env("HEARTHGATE__MQTT__SERVER", format!("mqtt://127.0.0.1:{}", proxy.port));
    });
    gateway.wait_for_log(&["could not pass", "large/retained/2", "larger than"]);
    for size in PASSES.into_iter().chain([TOO_LARGE]) {
        site.client.publish("large/direct", text(size)).await;
    }
    site.client.publish("sensors/aht10", reading(1, 1)).await;
    site.client.confirmed(4).await;
    until("the message behind them", async || (site.database.number(READINGS).await == 1).then_some(())).await;
    let [small, large] = PASSES.map(|size| size as i64);
    until("both, both ways", async || (stored(&site.database).await.len() == 4).then_some(())).await;
    assert_eq!(stored(&site.database).await, [small, small, large, large]);
    assert_eq!(proxy.seen().connections, 1);
    let (status, log) = gateway.terminate();
    assert!(status.success(), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_broker_passes_large_messages_and_refuses_a_too_large_one() {
    let home = Home::new();
    home.configure("[broker.limits]\nmax_packet_size = \"1MiB\"\n");
    let mut gateway = home.start();
    gateway.wait_for_log(&["flows loaded"]);
    let database = Database::sqlite(home.path()).await;
    add_flow(&database).await;
    gateway.signal("HUP");
    gateway.wait_for_log(&["flows reloaded"]);
    until("ready", async || http::is_ready(home.http).then_some(())).await;
    let mut client = Client::connect(home.mqtt, "device").await;
    for retain in RETAIN {
        for size in PASSES {
            client.publish_with("large/direct", text(size), QoS::AtLeastOnce, retain).await;
            client.confirmed(1).await;
        }
    }
    // MQTT 3.1.1 has no words for it: the connection is closed. This client would send it again and again.
    let careless = Publisher::start(Options::new(home.mqtt, "careless"));
    careless.publish("large/direct", text(TOO_LARGE)).await;
    gateway.wait_for_log(&["careless", "exceeds the maximum size"]);
    drop(careless);

    client.publish("sensors/aht10", reading(1, 1)).await;
    client.confirmed(1).await;
    until("the message behind them", async || (database.number(READINGS).await == 1).then_some(())).await;
    let [small, large] = PASSES.map(|size| size as i64);
    assert_eq!(stored(&database).await, [small, small, large, large]);
    let publisher = Publisher::start(Options::new(home.mqtt, "careful"));
    publisher.publish("large/direct", text(PASSES[0])).await;
    publisher.all_acknowledged(PATIENCE).await.expect("it serves others");
    let (status, log) = gateway.terminate();
    assert!(status.success(), "{log}");
}
