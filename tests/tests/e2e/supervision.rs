//! Every part is made to panic, to fail and to freeze while messages pass: nothing of them is lost or stored twice, and the
//! part is back.

use hearthgate_tests::broker::Mosquitto;
use hearthgate_tests::client::Client;
use hearthgate_tests::database::Database;
use hearthgate_tests::gateway::Home;
use hearthgate_tests::http::{is_ready, request};
use hearthgate_tests::until;
use rumqttc::QoS;

const PARTS: [&str; 7] = ["mqtt", "mapper", "router", "writer", "poster", "interface dummy", "supervisor"];
const FAULTS: [&str; 3] = ["panic", "error", "freeze-300"];
const READINGS_A_FAULT: usize = 40;

/// The messages that count; those that only wait for the subscription have another humidity.
const READINGS: &str = "SELECT COUNT(*) FROM data WHERE attribute_name = 'humidity' AND attribute_value = '1'";

fn restarts_of(port: u16, part: &str) -> u64 {
    let (_, body) = request(port, "GET", &format!("/api/v1/actors/{part}")).expect("the HTTP API");
    let actor: serde_json::Value = serde_json::from_str(&body).unwrap_or_default();
    actor["restarts"].as_u64().unwrap_or_else(|| panic!("no restarts in {body}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_part_fails_in_every_way_and_each_message_is_stored_once() {
    let broker = Mosquitto::start();
    let home = Home::new();
    home.configure(&format!(
        "[mqtt]\nserver = \"mqtt://127.0.0.1:{}\"\n[mqtt.reconnect]\ninitial = \"50ms\"\nmax = \"200ms\"\n\
         [interfaces.dummy]\nkind = \"dummy\"\nmap = \"builtin:dummy\"\n\
         [supervision]\nbackoff = \"50ms\"\nmax_backoff = \"200ms\"\nmax_restarts = 1000\n",
        broker.port
    ));
    let mut gateway = home.start();
    gateway.wait_for_log(&["flows loaded"]);
    let database = Database::sqlite(home.path()).await;
    let mut client = Client::connect(broker.port, "publisher").await;
    until("the first row", async || {
        client.publish("sensors/aht10", r#"{"temperature":0,"humidity":-1}"#).await;
        client.confirmed(1).await;
        (database.number("SELECT COUNT(*) FROM data").await > 0).then_some(())
    })
    .await;
    let mut sent = 0;
    for part in PARTS {
        let mut restarts = 0;
        for fault in FAULTS {
            let (status, body) =
                request(home.http, "POST", &format!("/api/v1/actors/{part}/fault/{fault}")).expect("the HTTP API");
            assert!(status < 300, "{part} {fault}: {status} {body}");
            for _ in 0..READINGS_A_FAULT {
                let payload = format!(r#"{{"temperature":{sent},"humidity":1}}"#);
                client.publish_with("sensors/aht10", payload, QoS::ExactlyOnce, false).await;
                sent += 1;
            }
            client.confirmed(READINGS_A_FAULT).await;
            restarts += u64::from(!fault.starts_with("freeze"));
            let back = format!("{part} is back after {fault}");
            until(&back, async || (restarts_of(home.http, part) == restarts).then_some(())).await;
            until(&back, async || is_ready(home.http).then_some(())).await;
        }
    }

    until("all messages", async || (database.number(READINGS).await >= sent as i64).then_some(())).await;
    let command = r#"{"action":"audio_on"}"#;
    client.publish("testmqttgtw/dummyfunction//kitchen//me/C", command).await;
    gateway.wait_for_log(&["Kitchen", "POWER_ON"]);
    let (status, log) = gateway.terminate();
    assert!(status.success(), "{log}");
    let rows = database.records().await;
    let values: Vec<i64> = rows
        .chunks(2)
        .filter(|pair| pair[1].value == "1")
        .map(|pair| pair[0].value.parse().expect("a number"))
        .collect();
    let twice: Vec<i64> = values.windows(2).filter(|pair| pair[1] <= pair[0]).map(|pair| pair[1]).collect();
    assert!(twice.is_empty(), "stored again: {twice:?} of {sent}, {READINGS_A_FAULT} for each fault\n{log}");
    assert_eq!(values, (0..sent as i64).collect::<Vec<_>>(), "each once, in order");
    database.assert_numbers_without_gap_or_repeat("AHT10_SENSOR").await;
    for part in PARTS {
        assert!(log.contains(&format!("actor={part} ")), "{part} was restarted");
    }
}
