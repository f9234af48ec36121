//! Keyword maps are changed while the gateway runs.

use hearthgate_tests::client::Client;
use hearthgate_tests::gateway::{Gateway, Home};
use hearthgate_tests::http::request;
use hearthgate_tests::until;
use std::fs;
use std::path::PathBuf;

const MAP: &str = include_str!("../../../config/maps/dummy.json");
const COMMANDS: &str = "testmqttgtw/dummyfunction//kitchen//me/C";
const ANSWERS: &str = "testmqttgtw/dummyfunction//kitchen//dummy/S";

/// A map with one more action.
fn map_with(internal: &str, keyword: &str) -> String {
    MAP.replace("\"LIGHT_ON\":", &format!("\"{internal}\": [\"{keyword}\"],\n      \"LIGHT_ON\":"))
}

fn started(watch: bool) -> (Home, Gateway, PathBuf) {
    let home = Home::new();
    let map = home.path().join("maps/mine.json");
    fs::create_dir(map.parent().expect("its folder")).expect("the folder");
    fs::write(&map, MAP).expect("the map");
    home.configure(&format!(
        "[log]\nfold_repeats = \"0s\"\n[flows]\nenabled = false\n[mapper]\nwatch = {watch}\n[interfaces.dummy]\nkind = \"dummy\"\nmap = \"maps/mine.json\"\n"
    ));
    let mut gateway = home.start();
    gateway.wait_for_log(&["online", "dummy"]);
    (home, gateway, map)
}

async fn commander(home: &Home) -> Client {
    let mut client = Client::connect(home.mqtt, "remote control").await;
    client.subscribe("testmqttgtw/+/+/+/+/+/S").await;
    client
}

/// The keyword is strict, so until somebody knows it the answer is no.
async fn is_refused(client: &mut Client, keyword: &str) {
    client.publish(COMMANDS, keyword).await;
    let answer = client.next_on(ANSWERS).await;
    assert!(answer.contains("ERROR") && answer.contains(keyword), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_map_is_in_force_at_once_and_a_broken_one_never() {
    let (home, mut gateway, map) = started(true);
    let mut client = commander(&home).await;
    is_refused(&mut client, "dance").await;

    // Written in place.
    fs::write(&map, map_with("DANCE", "dance")).expect("the map");
    gateway.wait_for_log(&["map reloaded", "dummy"]);
    client.publish(COMMANDS, "dance").await;
    gateway.wait_for_log(&["received command", "action=DANCE"]);

    // The keeper of the maps fails: it watches again.
    let panic = request(home.http, "POST", "/api/v1/actors/maps/fault/panic").expect("the HTTP API");
    assert!(panic.0 < 300, "{panic:?}");
    gateway.wait_for_log(&["actor is running", "actor=maps", "restarts=1"]);

    // Broken: the line is told, the old one goes on.
    fs::write(&map, map_with("SING", "sing").replacen("\"root\"", "\"rood\"", 1)).expect("the map");
    gateway.wait_for_log(&["the new map is refused", "mine.json", "line 2", "rood"]);
    is_refused(&mut client, "sing").await;
    client.publish(COMMANDS, r#"{"action":"dance","how":"well"}"#).await;
    gateway.wait_for_log(&["received command", "action=DANCE", "how="]);

    // A new file in the place of the old one, as most editors do.
    let fresh = map.with_extension("tmp");
    fs::write(&fresh, map_with("SING", "sing")).expect("the map");
    fs::rename(&fresh, &map).expect("the map");
    executed(&gateway, &client, COMMANDS, r#"{"action":"sing"}"#, "action=SING").await;

    // Removed and written anew, with other topics.
    fs::remove_file(&map).expect("removing the map");
    fs::write(&map, MAP.replace("testmqttgtw", "newroot")).expect("the map");
    gateway.wait_for_log(&["map reloaded", "dummy"]);
    let from_there = r#"{"action":"audio_on","from":"there"}"#;
    executed(&gateway, &client, "newroot/dummyfunction//kitchen//me/C", from_there, "from=\"there\"").await;
    let (status, log) = gateway.terminate();
    assert!(status.success(), "{log}");
}

/// Sends a command again and again until the interface has received it.
async fn executed(gateway: &Gateway, client: &Client, topic: &str, payload: &str, trace: &str) {
    until(trace, async || {
        client.publish(topic, payload).await;
        gateway.log().contains(trace).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_watching_a_map_waits_for_sighup() {
    let (home, mut gateway, map) = started(false);
    let mut client = commander(&home).await;
    fs::write(&map, map_with("DANCE", "dance")).expect("the map");
    is_refused(&mut client, "dance").await;
    gateway.signal("HUP");
    gateway.wait_for_log(&["map reloaded", "dummy"]);
    client.publish(COMMANDS, "dance").await;
    gateway.wait_for_log(&["received command", "action=DANCE"]);

    // Each order to reload tells again what is wrong.
    fs::write(&map, "{").expect("the map");
    for _ in 0..2 {
        let before = gateway.log().matches("the new map is refused").count();
        gateway.signal("HUP");
        until("the refusal", async || (gateway.log().matches("the new map is refused").count() > before).then_some(()))
            .await;
    }
    client.publish(COMMANDS, r#"{"action":"dance","still":"there"}"#).await;
    gateway.wait_for_log(&["received command", "still="]);
}
