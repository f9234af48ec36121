//! Every part is made to panic, to fail and to freeze while messages pass: nothing of them is lost or stored twice, and the
//! part is back.

use crate::opening::{Opening, READINGS, opening, reading, temperatures};
use hearthgate_tests::http::{is_ready, request};
use hearthgate_tests::until;
use rumqttc::QoS;

const PARTS: [&str; 7] = ["mqtt", "mapper", "router", "writer", "poster", "interface dummy", "supervisor"];
const FAULTS: [&str; 3] = ["panic", "error", "freeze-300"];
const READINGS_A_FAULT: usize = 40;

/// How often an actor was restarted.
pub(crate) fn restarts_of(port: u16, part: &str) -> u64 {
    let (_, body) = request(port, "GET", &format!("/api/v1/actors/{part}")).expect("the HTTP API");
    let actor: serde_json::Value = serde_json::from_str(&body).unwrap_or_default();
    actor["restarts"].as_u64().unwrap_or_else(|| panic!("no restarts in {body}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_part_fails_in_every_way_and_each_message_is_stored_once() {
    let Opening { mut gateway, home, database, mut client, broker: _broker } = opening(
        "[interfaces.dummy]\nkind = \"dummy\"\nmap = \"builtin:dummy\"\n\
         [supervision]\nbackoff = \"50ms\"\nmax_backoff = \"200ms\"\nmax_restarts = 1000\n",
    )
    .await;
    let mut sent = 0;
    for part in PARTS {
        let mut restarts = 0;
        for fault in FAULTS {
            let (status, body) =
                request(home.http, "POST", &format!("/api/v1/actors/{part}/fault/{fault}")).expect("the HTTP API");
            assert!(status < 300, "{part} {fault}: {status} {body}");
            for _ in 0..READINGS_A_FAULT {
                client.publish_with("sensors/aht10", reading(sent, 1), QoS::ExactlyOnce, false).await;
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
    let values = temperatures(&database).await;
    let twice: Vec<usize> = values.windows(2).filter(|pair| pair[1] <= pair[0]).map(|pair| pair[1]).collect();
    assert!(twice.is_empty(), "stored again: {twice:?} of {sent}, {READINGS_A_FAULT} for each fault\n{log}");
    assert_eq!(values, (0..sent).collect::<Vec<_>>(), "each once, in order");
    database.assert_numbers_without_gap_or_repeat("AHT10_SENSOR").await;
    for part in PARTS {
        assert!(log.contains(&format!("actor={part} ")), "{part} was restarted");
    }
}
