//! Every part is made to panic, to fail and to freeze while messages pass: nothing of them is lost or stored twice, and the
//! part is back.

use crate::opening::{Opening, READINGS, opening, reading, temperatures};
use hearthgate_tests::database::Database;
use hearthgate_tests::http::{is_ready, request};
use hearthgate_tests::until;
use rumqttc::QoS;

const PARTS: [&str; 7] = ["mqtt", "mapper", "router", "writer", "poster", "interface dummy", "supervisor"];
const FAULTS: [&str; 3] = ["panic", "error", "freeze-300"];
const READINGS_A_FAULT: usize = 40;

fn restarts_of(port: u16, part: &str) -> u64 {
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

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_kills_its_actor_twice_becomes_a_dead_letter_and_is_acknowledged() {
    let mut site = opening("[supervision]\nbackoff = \"20ms\"\nmax_backoff = \"50ms\"\n").await;
    let insert = "INSERT INTO flows (code, description, topic, action, payload_schema) VALUES";
    site.database.execute(&format!(r#"{insert} ('DEADLY', '', 'deadly/#', 'STORE_DB', '{{"n":"int"}}')"#)).await;
    site.gateway.signal("HUP");
    site.gateway.wait_for_log(&["flows reloaded", "added=1"]);
    until("subscribed", async || is_ready(site.home.http).then_some(())).await;
    for (index, topic) in ["deadly/before", "deadly/fault/router", "deadly/behind"].into_iter().enumerate() {
        site.client.publish(topic, format!(r#"{{"n":{index}}}"#)).await;
    }
    site.client.confirmed(3).await;
    let stored = "SELECT COUNT(*) FROM data WHERE flow_code = 'DEADLY'";
    until("the others", async || (site.database.number(stored).await == 2).then_some(())).await;
    assert_eq!(restarts_of(site.home.http, "router"), 2);
    let letters = Database::try_open(&site.home.path().join("data/dead-letters.db")).await.expect("the dead letters");
    let letter = "SELECT topic || ': ' || reason FROM dead_letters";
    let letter = until("a dead letter", async || letters.texts(letter).await.ok()?.pop()).await;
    assert_eq!(letter, "deadly/fault/router: this message has stopped the router twice");
    // Acknowledged: the broker does not send it again to the next gateway.
    let (status, log) = site.gateway.terminate();
    assert!(status.success(), "{log}");
    let mut next = site.home.start();
    until("ready", async || is_ready(site.home.http).then_some(())).await;
    site.client.publish("deadly/later", r#"{"n":3}"#).await;
    until("one more", async || (site.database.number(stored).await == 3).then_some(())).await;
    assert_eq!(restarts_of(site.home.http, "router"), 0);
    next.wait_for_log(&["flows loaded"]);
}
