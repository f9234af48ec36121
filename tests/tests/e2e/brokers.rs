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
