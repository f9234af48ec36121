//! Each subsystem switched off in turn: the rest works, and nothing of the absent one is there.

use hearthgate_tests::client::Client;
use hearthgate_tests::database::Database;
use hearthgate_tests::gateway::{Gateway, Home};
use hearthgate_tests::until;
use std::net::TcpStream;

const READING: &str = r#"{"temperature":23.5,"humidity":65.2}"#;

fn start_without(home: &Home, key: &str) -> Gateway {
    home.start_with(|command| {
        command.env(format!("HEARTHGATE__{}__ENABLED", key.to_uppercase().replace('.', "__")), "false");
    })
}

async fn stores(home: &Home) {
    let mut client = Client::connect(home.mqtt, "sensor").await;
    client.publish("sensors/aht10", READING).await;
    client.confirmed(1).await;
    let database = Database::sqlite(home.path()).await;
    until("rows", async || (!database.records().await.is_empty()).then_some(())).await;
}

async fn maps(home: &Home, gateway: &mut Gateway) {
    let client = Client::connect(home.mqtt, "remote control").await;
    client.publish("testmqttgtw/dummyfunction//kitchen//me/C", "audio_on").await;
    gateway.wait_for_log(&["Kitchen", "POWER_ON"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_mapper_flows_go_on_and_no_interface_runs() {
    let home = Home::new();
    let mut gateway = start_without(&home, "mapper");
    gateway.wait_for_log(&["flows loaded"]);
    stores(&home).await;
    assert!(!gateway.log().contains("interface=dummy"), "{}", gateway.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_only_interface_flows_go_on() {
    let home = Home::new();
    let mut gateway = start_without(&home, "interfaces.dummy");
    gateway.wait_for_log(&["flows loaded"]);
    stores(&home).await;
    assert!(!gateway.log().contains("interface=dummy"), "{}", gateway.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_flows_mapping_goes_on_and_no_database_is_opened() {
    let home = Home::new();
    let mut gateway = start_without(&home, "flows");
    gateway.wait_for_log(&["online"]);
    maps(&home, &mut gateway).await;
    assert!(!home.path().join("data/hearthgate.db").exists());
    assert!(!home.path().join("data/journal").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_database_mapping_goes_on_and_no_file_is_made() {
    let home = Home::new();
    let mut gateway = start_without(&home, "database");
    gateway.wait_for_log(&["online"]);
    maps(&home, &mut gateway).await;
    assert!(!home.path().join("data/hearthgate.db").exists());
}

#[test]
fn without_mqtt_the_broker_still_serves() {
    let home = Home::new();
    home.configure("[broker]\nenabled = true\n[mqtt]\nenabled = false\n");
    let mut gateway = home.start();
    gateway.wait_for_log(&["the embedded broker runs"]);
    assert!(TcpStream::connect(("127.0.0.1", home.mqtt)).is_ok());
    let (status, log) = gateway.terminate();
    assert!(status.success() && !log.contains("actor failed"), "{log}");
}

#[test]
fn without_the_broker_its_port_is_not_opened() {
    let home = Home::new();
    let elsewhere = hearthgate_tests::broker::Mosquitto::start();
    home.configure(&format!("[mqtt]\nserver = \"mqtt://127.0.0.1:{}\"\n", elsewhere.port));
    let mut gateway = home.start();
    gateway.wait_for_log(&["connected to the broker"]);
    assert!(TcpStream::connect(("127.0.0.1", home.mqtt)).is_err());
    assert!(gateway.terminate().0.success());
}
