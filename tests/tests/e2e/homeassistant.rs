//! Home Assistant, played by a client that does what its MQTT integration does: it listens to discovery messages, follows
//! the topics that they name, presses buttons, and says when it has started.

use crate::flows::told;
use hearthgate_tests::broker::Mosquitto;
use hearthgate_tests::client::Client;
use hearthgate_tests::gateway::{Gateway, Home};
use hearthgate_tests::http::request;
use hearthgate_tests::until;
use rumqttc::QoS;
use serde_json::Value;

const GATEWAY: &str = "homeassistant/device/hearthgate_house/gateway/config";
const DUMMY: &str = "homeassistant/device/hearthgate_house/interface_dummy/config";
const BUTTON: &str = "hearthgate/house/interface/dummy/restart";
const STATE: &str = "hearthgate/house/interface/dummy/state";

/// The lines that switch everything on. With a port, the broker is there and not ours.
fn configuration(mosquitto: Option<u16>, is_shown: bool, more: &str) -> String {
    let server = mosquitto.map_or("embedded".to_owned(), |port| format!("mqtt://127.0.0.1:{port}"));
    format!(
        "[gateway]\nname = \"house\"\n[mqtt]\nserver = \"{server}\"\n[mqtt.reconnect]\ninitial = \"50ms\"\n\
         [flows]\nenabled = false\n[homeassistant]\nenabled = {is_shown}\n\
         [interfaces.dummy]\nkind = \"dummy\"\nmap = \"builtin:dummy\"\n{more}"
    )
}

fn start(home: &Home, mosquitto: Option<u16>, is_shown: bool, more: &str) -> Gateway {
    home.configure(&configuration(mosquitto, is_shown, more));
    let mut gateway = home.start();
    gateway.wait_for_log(&["connected to the broker"]);
    gateway
}

async fn home_assistant(port: u16, id: &str) -> Client {
    let mut client = Client::connect(port, id).await;
    client.subscribe("homeassistant/#").await;
    client.subscribe("hearthgate/#").await;
    client
}

async fn wait_for_state(client: &mut Client, wanted: &str) {
    while client.next_on(STATE).await != wanted {}
}

fn orders_carried_out(gateway: &Gateway) -> usize {
    gateway.log().matches("restarted by order actor=interface dummy").count()
}

async fn appears_obeys_and_disappears(mosquitto: Option<u16>) {
    let home = Home::new();
    let port = mosquitto.unwrap_or(home.mqtt);
    let mut gateway = start(&home, mosquitto, true, "");
    let mut client = home_assistant(port, "home assistant").await;

    let mut seen = Vec::new();
    while seen.len() < 2 {
        let (topic, payload) = client.next().await;
        if topic == GATEWAY || topic == DUMMY {
            let device: Value = serde_json::from_str(&payload).expect("JSON");
            seen.push((topic, device));
        }
    }
    let dummy = &seen.iter().find(|(topic, _)| topic == DUMMY).expect("the interface").1;
    assert_eq!(dummy["device"]["name"], "dummy");
    assert_eq!(dummy["device"]["model"], "Interface (dummy)");
    assert_eq!(dummy["components"]["state"]["state_topic"], STATE);
    assert_eq!(dummy["availability"][0]["topic"], "hearthgate/house/status");
    let button = &dummy["components"]["restart"];
    assert_eq!((button["command_topic"].as_str(), button["qos"].as_u64()), (Some(BUTTON), Some(0)));

    // The states that it is pointed to are there for whoever comes later.
    let mut late = home_assistant(port, "a second one").await;
    wait_for_state(&mut late, "online").await;
    let mut late = home_assistant(port, "a third one").await;
    assert_eq!(late.next_on("hearthgate/house/status").await, "online");
    let mut late = home_assistant(port, "a fourth one").await;
    let health: Value = serde_json::from_str(&late.next_on("hearthgate/house/health").await).expect("JSON");
    assert!(health["actors"]["interface dummy"]["restarts"].is_u64(), "{health}");

    client.publish_with(BUTTON, "restart", QoS::AtMostOnce, false).await;
    gateway.wait_for_log(&["restarted by order", "interface dummy"]);
    let mut late = home_assistant(port, "a fifth one").await;
    wait_for_state(&mut late, "online").await;

    client.waiting();
    client.publish_with("homeassistant/status", "online", QoS::AtMostOnce, false).await;
    assert!(client.next_on(GATEWAY).await.contains("Hearthgate house"));
    assert!(client.next_on(DUMMY).await.contains("restart"));
    let (status, log) = gateway.terminate();
    assert!(status.success(), "{log}");
    assert!(home.path().join("data/homeassistant.json").exists());

    let mut gateway = start(&home, mosquitto, false, "");
    for topic in [GATEWAY, DUMMY] {
        gateway.wait_for_log(&["removed from Home Assistant", topic]);
    }
    until("nothing to remember", async || (!home.path().join("data/homeassistant.json").exists()).then_some(())).await;
    let mut new = home_assistant(port, "started later").await;
    wait_for_state(&mut new, "online").await;
    assert!(new.waiting().iter().all(|(topic, _)| !topic.starts_with("homeassistant/device")));
    assert!(gateway.terminate().0.success());

    let gateway = start(&home, mosquitto, false, "");
    let mut new = home_assistant(port, "started much later").await;
    wait_for_state(&mut new, "online").await;
    // What is off is absent; the health that the run before has left is passed over.
    let mut last = home_assistant(port, "the last one").await;
    while last.next_on("hearthgate/house/health").await.contains("homeassistant") {}
    assert!(gateway.terminate().0.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_appears_obeys_and_disappears_at_the_embedded_broker() {
    appears_obeys_and_disappears(None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_appears_obeys_and_disappears_at_mosquitto() {
    appears_obeys_and_disappears(Some(Mosquitto::start().port)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interface_that_is_configured_no_more_is_removed_and_the_others_stay() {
    let broker = Mosquitto::start();
    let home = Home::new();
    let second = "[interfaces.second]\nkind = \"dummy\"\nmap = \"builtin:dummy\"\n";
    let topic = DUMMY.replace("interface_dummy", "interface_second");
    let gateway = start(&home, Some(broker.port), true, second);
    let mut client = home_assistant(broker.port, "home assistant").await;
    assert!(client.next_on(&topic).await.contains("second"));
    // As when the power fails: nobody has the time to take anything back.
    gateway.kill();

    let mut gateway = start(&home, Some(broker.port), true, "");
    gateway.wait_for_log(&["removed from Home Assistant", &topic]);
    assert!(client.next_on(DUMMY).await.contains("dummy"), "it is told again");
    let mut new = home_assistant(broker.port, "started later").await;
    assert!(new.next_on(DUMMY).await.contains("dummy"));
    assert!(new.waiting().iter().all(|(on, _)| *on != topic));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_press_that_may_be_old_restarts_nothing() {
    let broker = Mosquitto::start();
    let home = Home::new();
    let mut gateway = start(&home, Some(broker.port), true, "");
    let mut client = home_assistant(broker.port, "home assistant").await;
    wait_for_state(&mut client, "online").await;

    client.publish_with(BUTTON, "open", QoS::AtMostOnce, false).await;
    gateway.wait_for_log(&["not obeyed", "the payload is not"]);
    // Pressed while the gateway is away, and one that somebody has left at the broker for ever.
    assert!(gateway.terminate().0.success());
    client.publish_with(BUTTON, "restart", QoS::AtLeastOnce, false).await;
    client.publish_with(BUTTON, "restart", QoS::AtLeastOnce, true).await;
    client.confirmed(2).await;

    let mut gateway = start(&home, Some(broker.port), true, "");
    gateway.wait_for_log(&["not obeyed", "retained"]);
    client.publish_with("homeassistant/status", "online", QoS::AtLeastOnce, false).await;
    gateway.wait_for_log(&["everything is announced again"]);
    assert_eq!(orders_carried_out(&gateway), 0);
    client.publish_with(BUTTON, "restart", QoS::AtMostOnce, false).await;
    gateway.wait_for_log(&["restarted by order", "interface dummy"]);
    assert_eq!(orders_carried_out(&gateway), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateways_own_button_starts_it_again_with_the_configuration_of_now() {
    let broker = Mosquitto::start();
    let home = Home::new();
    let mut gateway = start(&home, Some(broker.port), true, "");
    let mut client = home_assistant(broker.port, "home assistant").await;
    wait_for_state(&mut client, "online").await;

    home.configure(&configuration(Some(broker.port), true, "perod = 1\n"));
    client.publish_with("hearthgate/house/restart", "restart", QoS::AtMostOnce, false).await;
    gateway.wait_for_log(&["not restarted by order"]);
    gateway.wait_for_log(&["hearthgate.toml:14", "perod"]);

    home.configure(&configuration(Some(broker.port), true, "[interfaces.second]\nkind = \"dummy\"\nroot = \"home\"\n"));
    client.publish_with("hearthgate/house/restart", "restart", QoS::AtMostOnce, false).await;
    while client.next_on("hearthgate/house/interface/second/state").await != "online" {}
    let (status, log) = gateway.terminate();
    assert!(status.success(), "the same process goes on: {log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_here_comes_back_and_holds_up_nobody() {
    let home = Home::new();
    let mut gateway = start(&home, None, true, "[supervision]\nbackoff = \"50ms\"\nmax_restarts = 1000\n");
    let mut client = home_assistant(home.mqtt, "home assistant").await;
    client.subscribe("testmqttgtw/#").await;
    let mut restarts = 0;
    wait_for_state(&mut client, "online").await;
    for fault in ["panic", "error", "freeze-300"] {
        let path = format!("/api/v1/actors/homeassistant/fault/{fault}");
        assert!(request(home.http, "POST", &path).expect("the HTTP API").0 < 300);
        restarts += u64::from(!fault.starts_with("freeze"));
        // Commands go on meanwhile, …
        client.publish("testmqttgtw/dummyfunction//kitchen//me/C", fault).await;
        assert!(client.next_on("testmqttgtw/dummyfunction//kitchen//dummy/S").await.contains("ERROR"));
        // … and it is back: it announces everything again, and obeys.
        let path = "/api/v1/actors/homeassistant";
        until("it is back", async || {
            let (_, body) = request(home.http, "GET", path).expect("the HTTP API");
            (body.contains(&format!("\"restarts\":{restarts}")) && body.contains("running")).then_some(())
        })
        .await;
        let before = orders_carried_out(&gateway);
        client.publish_with(BUTTON, "restart", QoS::AtMostOnce, false).await;
        until("the order", async || (orders_carried_out(&gateway) > before).then_some(())).await;
    }
    gateway.wait_for_log(&["actor failed", "homeassistant"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flow_that_listens_for_its_devices_appears_and_disappears_with_its_option() {
    let home = Home::new();
    home.configure("[gateway]\nname = \"house\"\n[broker]\nenabled = true\n[homeassistant]\nenabled = true\n");
    let mut gateway = home.start();
    gateway.wait_for_log(&["flows loaded"]);
    let mut client = home_assistant(home.mqtt, "home assistant").await;
    let options = r#"{"silence":"1h"}"#;
    told(&home, &["flow", "add", "QUIET", "--topic", "quiet/a", "--schema", "{}", "--options", options]);
    let topic = "homeassistant/device/hearthgate_house/flow_QUIET/config";
    let device: Value = serde_json::from_str(&client.next_on(topic).await).expect("JSON");
    assert_eq!(device["device"]["via_device"], "hearthgate/house");
    let silence = &device["components"]["silence"];
    assert_eq!(silence["state_topic"], "hearthgate/house/flow/QUIET/silent");
    let mut late = home_assistant(home.mqtt, "a second one").await;
    let state: Value = serde_json::from_str(&late.next_on("hearthgate/house/flow/QUIET/silent").await).expect("JSON");
    assert_eq!(state["silent"], 0);
    told(&home, &["flow", "edit", "QUIET", "--options", "{}"]);
    assert_eq!(client.next_on(topic).await, "", "it is taken back");
}
