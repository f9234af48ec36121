//! Device interfaces as a house sees them: how they are, what they refuse and why, what they publish and how.

use hearthgate_tests::broker::Mosquitto;
use hearthgate_tests::client::Client;
use hearthgate_tests::gateway::{Gateway, Home};
use hearthgate_tests::{free_port, until};
use rumqttc::QoS;
use serde_json::Value;
use std::fs;
use std::net::TcpListener;

const CHILD: &str = include_str!("child.sh");

/// A gateway without flows, with these sections, in a folder that holds the child's script.
fn started(sections: &str) -> (Home, Gateway) {
    let home = Home::new();
    fs::write(home.path().join("child.sh"), CHILD).expect("the script");
    let gateway = start_again(&home, sections);
    (home, gateway)
}

fn start_again(home: &Home, sections: &str) -> Gateway {
    home.configure(&format!("[flows]\nenabled = false\n[log]\nfold_repeats = \"0s\"\n{sections}"));
    let mut gateway = home.start();
    gateway.wait_for_log(&["connected to the broker"]);
    gateway
}

/// The section of an interface whose child is the script.
fn child(name: &str, more: &str) -> String {
    format!(
        "[interfaces.{name}]\nkind = \"exec\"\ncommand = [\"sh\", \"child.sh\"]\nroot = \"house\"\n\
         topics = [\"house/+/+/+/{name}/+/C\"]\n{more}\n"
    )
}

fn command_topic(interface: &str) -> String {
    format!("house/f///{interface}/phone/C")
}

/// What an interface answers to a command that it refuses.
fn answer_topic(interface: &str) -> String {
    format!("house/f///{interface}/{interface}/S")
}

/// What the child says.
fn said_topic(interface: &str) -> String {
    format!("house/f////{interface}/S")
}

fn state_topic(interface: &str) -> String {
    format!("hearthgate/hearthgate/interface/{interface}/state")
}

async fn listening(home: &Home, filter: &str) -> Client {
    let mut client = Client::connect(home.mqtt, &format!("listens to {filter}")).await;
    client.subscribe(filter).await;
    client
}

/// The reason of the next refusal on a topic.
async fn refusal(client: &mut Client, topic: &str) -> String {
    let answer = client.next_on(topic).await;
    let answer: Value = serde_json::from_str(&answer).unwrap_or_else(|_| panic!("no object: {answer}"));
    assert_eq!(answer["response"], "ERROR", "{answer}");
    answer["reason"].as_str().expect("a reason").to_owned()
}

/// The retained states that a client finds that comes now, with those of these interfaces among them.
async fn retained_states(port: u16, interfaces: &[&str]) -> Vec<String> {
    let mut late = Client::connect(port, "comes late").await;
    late.subscribe("hearthgate/hearthgate/interface/+/state").await;
    let mut found = Vec::new();
    while !interfaces.iter().all(|interface| found.contains(&state_topic(interface))) {
        found.push(late.next().await.0);
    }
    // A subscription's retained messages come before the answer to a ping and before anything later.
    late.publish("hearthgate/hearthgate/interface/marker/state", "here").await;
    while found.last().is_none_or(|topic| !topic.contains("marker")) {
        found.push(late.next().await.0);
    }
    found.pop();
    found
}

async fn forgets_a_removed_interface(broker: Option<u16>) {
    let home = Home::new();
    let server = broker.map_or_else(String::new, |port| format!("server = \"mqtt://127.0.0.1:{port}\"\n"));
    let port = broker.unwrap_or(home.mqtt);
    let dummy = |name: &str| format!("[interfaces.{name}]\nkind = \"dummy\"\nmap = \"builtin:dummy\"\n");
    let mqtt = format!("[mqtt]\n{server}health_interval = \"1s\"\n");
    let remembered = || fs::read_to_string(home.path().join("data/state-topics.json")).expect("the topics");
    let gateway = start_again(&home, &(mqtt.clone() + &dummy("lamp") + &dummy("fan")));
    assert_eq!(retained_states(port, &["lamp", "fan"]).await.len(), 2);
    assert!(remembered().contains(&state_topic("lamp")));
    let (status, log) = gateway.terminate();
    assert!(status.success(), "{log}");

    let mut gateway = start_again(&home, &(mqtt + &dummy("fan")));
    gateway.wait_for_log(&["clearing retained states", "interface/lamp/state"]);
    until("the lamp is gone", async || (retained_states(port, &["fan"]).await == [state_topic("fan")]).then_some(()))
        .await;
    until("it is forgotten", async || (!remembered().contains("lamp")).then_some(())).await;
    assert!(remembered().contains(&state_topic("fan")));
    assert!(gateway.terminate().0.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_state_of_a_removed_interface_is_cleared_at_the_embedded_broker() {
    forgets_a_removed_interface(None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_state_of_a_removed_interface_is_cleared_at_mosquitto() {
    let broker = Mosquitto::start();
    forgets_a_removed_interface(Some(broker.port)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_state_of_an_interface_is_there_for_whoever_asks() {
    let sections =
        child("lamp", "") + "[supervision.lamp]\nbackoff = \"50ms\"\nmax_backoff = \"50ms\"\nmax_restarts = 2\n";
    let home = Home::new();
    fs::write(home.path().join("child.sh"), CHILD).expect("the script");
    let mut gateway = start_again(&home, &sections);
    let mut client = listening(&home, "#").await;
    while client.next_on(&state_topic("lamp")).await != "online" {}

    fs::write(home.path().join("broken"), "").expect("a broken device");
    client.publish(&command_topic("lamp"), "EXIT").await;
    let mut states = Vec::new();
    while states.last().is_none_or(|state| state != "parked") {
        states.push(client.next_on(&state_topic("lamp")).await);
    }
    assert_eq!(states[0], "restarting", "{states:?}");
    gateway.wait_for_log(&["lamp", "the device is broken"]);

    // Parked for good: who wants something of it is told so at once.
    client.publish(&command_topic("lamp"), "ON").await;
    let reason = refusal(&mut client, &answer_topic("lamp")).await;
    assert!(reason.contains("parked") && reason.contains("exit code 1"), "{reason}");
    let mut late = listening(&home, &state_topic("lamp")).await;
    let message = late.next_message().await;
    assert_eq!((&message.payload[..], message.retain), (&b"parked"[..], true));

    fs::remove_file(home.path().join("broken")).expect("a mended device");
    let resumed = home.command().args(["resume", "interface lamp"]).output().expect("hearthgate resume");
    assert!(resumed.status.success(), "{resumed:?}");
    while client.next_on(&state_topic("lamp")).await != "online" {}
    client.publish(&command_topic("lamp"), "ON").await;
    assert_eq!(client.next_on(&said_topic("lamp")).await, "ON");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_out_of_reach_is_offline_and_what_it_shall_do_is_refused() {
    let port = free_port();
    let sections = format!(
        "[interfaces.panel]\nkind = \"tcp\"\naddress = \"127.0.0.1:{port}\"\nroot = \"house\"\n\
         topics = [\"house/+/+/+/panel/+/C\"]\nframe = {{ delimiter = \"\\n\" }}\n\
         reconnect = {{ min = \"10ms\", max = \"50ms\" }}\n[[interfaces.panel.send]]\naction = \"SET\"\nwrite = \"SET\\n\"\n"
    );
    let (home, mut gateway) = started(&sections);
    let mut client = listening(&home, "#").await;
    gateway.wait_for_log(&["offline", "panel"]);
    while client.next_on(&state_topic("panel")).await != "offline" {}
    client.publish(&command_topic("panel"), "SET").await;
    let reason = refusal(&mut client, &answer_topic("panel")).await;
    assert!(reason.contains("the device is offline"), "{reason}");

    let listener = TcpListener::bind(("127.0.0.1", port)).expect("the panel");
    let (panel, _) = listener.accept().expect("the gateway");
    while client.next_on(&state_topic("panel")).await != "online" {}
    drop((panel, listener));
    while client.next_on(&state_topic("panel")).await != "offline" {}
}

#[tokio::test(flavor = "multi_thread")]
async fn a_word_that_a_strict_map_does_not_know_is_answered_unless_answers_are_off() {
    let dummy = "kind = \"dummy\"\nmap = \"builtin:dummy\"\n";
    let (home, mut gateway) =
        started(&format!("[interfaces.loud]\n{dummy}[interfaces.quiet]\n{dummy}replies = false\n"));
    let mut client = listening(&home, "testmqttgtw/#").await;
    let topic = "testmqttgtw/dummyfunction//kitchen//me/C";
    client.publish(topic, "dance").await;
    client.publish(topic, "audio_on").await;
    let reason = refusal(&mut client, "testmqttgtw/dummyfunction//kitchen//loud/S").await;
    assert!(reason.contains("dance") && reason.contains("strict"), "{reason}");
    for name in ["loud", "quiet"] {
        gateway.wait_for_log(&["received command", "POWER_ON", &format!("interface={name}")]);
    }
    let rest = client.waiting();
    assert!(rest.iter().all(|(topic, _)| !topic.contains("/quiet/")), "{rest:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_full_queue_has_no_room_for_is_refused_at_once_and_the_rest_is_done_in_order() {
    let (home, mut gateway) =
        started(&("[mapper]\nqueue = 5\n".to_owned() + &child("lamp", "max_command_age = \"10m\"")));
    gateway.wait_for_log(&["online", "lamp"]);
    let mut client = listening(&home, "house/+/+/+/+/lamp/S").await;
    client.publish(&command_topic("lamp"), "PAUSE").await;
    assert_eq!(client.next_on(&said_topic("lamp")).await, "PAUSED");
    let mut refused = Vec::new();
    let mut sent = 0;
    while refused.is_empty() {
        for _ in 0..100 {
            client.publish(&command_topic("lamp"), format!("N{sent}")).await;
            sent += 1;
        }
        client.confirmed(100).await;
        refused.extend(client.waiting());
        assert!(sent < 100_000, "nothing is refused");
    }
    fs::write(home.path().join("go"), "").expect("the end of the pause");
    let mut done = Vec::new();
    while done.len() + refused.len() < sent {
        let (topic, payload) = client.next().await;
        if topic == said_topic("lamp") {
            done.push(payload[1..].parse::<usize>().expect("a number"));
        } else {
            refused.push((topic, payload));
        }
    }
    assert!(refused.iter().all(|(_, answer)| answer.contains("ERROR") && answer.contains("queue is full")));
    assert_eq!(done, [0, 1, 2, 3, 4], "as many as there is room for");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_waited_too_long_is_answered_and_never_executed() {
    let (home, mut gateway) = started(&child("lamp", "max_command_age = \"300ms\""));
    gateway.wait_for_log(&["online", "lamp"]);
    let mut client = listening(&home, "house/+/+/+/+/lamp/S").await;
    client.publish(&command_topic("lamp"), "PAUSE").await;
    assert_eq!(client.next_on(&said_topic("lamp")).await, "PAUSED");
    client.publish(&command_topic("lamp"), "OPEN").await;
    let reason = refusal(&mut client, &answer_topic("lamp")).await;
    assert!(reason.contains("max_command_age"), "{reason}");
    fs::write(home.path().join("go"), "").expect("the end of the pause");
    client.publish(&command_topic("lamp"), "CLOSE").await;
    let (topic, payload) = client.next().await;
    assert_eq!((topic, payload.as_str()), (said_topic("lamp"), "CLOSE"), "and not OPEN");
}

#[tokio::test(flavor = "multi_thread")]
async fn retained_commands_are_dropped_unless_an_interface_asks_for_them() {
    let (home, mut gateway) = started(&child("idle", ""));
    gateway.wait_for_log(&["online", "idle"]);
    let mut client = listening(&home, "house/#").await;
    for name in ["cautious", "eager"] {
        client.publish_with(&command_topic(name), "OPEN", QoS::AtLeastOnce, true).await;
    }
    client.confirmed(2).await;
    assert!(gateway.terminate().0.success());

    let mut gateway = start_again(&home, &(child("cautious", "") + &child("eager", "accept_retained = true")));
    gateway.wait_for_log(&["opened", "interface=eager"]);
    let mut client = listening(&home, "house/+/+/+/+/cautious/S").await;
    client.publish(&command_topic("cautious"), "NOW").await;
    assert_eq!(client.next().await, (said_topic("cautious"), "NOW".into()));
    let log = gateway.log();
    assert!(!log.lines().any(|line| line.contains("opened") && line.contains("interface=cautious")), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_child_outlives_a_gateway_that_is_killed() {
    let (home, mut gateway) = started(&child("lamp", ""));
    gateway.wait_for_log(&["online", "lamp"]);
    let pid = fs::read_to_string(home.path().join("child.pid")).expect("the child's number");
    let stat = format!("/proc/{}/stat", pid.trim());
    assert!(fs::exists(&stat).expect("/proc"), "the child runs");
    gateway.kill();
    until("the child's end", async || {
        // A zombie is dead; somebody only has not noticed yet.
        let is_alive = fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z "));
        (!is_alive).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_interface_said_itself_does_not_come_back_to_it() {
    let (home, mut gateway) = started(&child("lamp", ""));
    gateway.wait_for_log(&["online", "lamp"]);
    let mut client = listening(&home, "house/+/+/+/+/lamp/S").await;
    client.publish("house/f///lamp/lamp/C", "ECHO").await;
    client.publish(&command_topic("lamp"), "OTHER").await;
    assert_eq!(client.next().await, (said_topic("lamp"), "OTHER".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_interface_publishes_as_it_is_told_to() {
    let plain = child("plain", "qos = 0");
    let kept = child("kept", "qos = 2\nretain = true\nname = \"other\"");
    let (home, mut gateway) = started(&(plain + &kept));
    gateway.wait_for_log(&["online", "plain"]);
    gateway.wait_for_log(&["online", "kept"]);
    let mut client = listening(&home, "#").await;

    client.publish(&command_topic("plain"), "ON").await;
    client.publish(&command_topic("kept"), "ON").await;
    let mut seen = Vec::new();
    while seen.len() < 2 {
        let message = client.next_message().await;
        if message.topic.ends_with("/S") {
            seen.push((message.topic, message.qos));
        }
    }
    seen.sort_by(|one, other| one.0.cmp(&other.0));
    assert_eq!(seen, [(said_topic("other"), QoS::ExactlyOnce), (said_topic("plain"), QoS::AtMostOnce)]);
    let mut late = listening(&home, "house/+/+/+/+/+/S").await;
    let message = late.next_message().await;
    assert_eq!((message.topic, message.retain), (said_topic("other"), true));

    // A single message may be told otherwise.
    client.publish(&command_topic("plain"), "SPECIAL").await;
    let special = loop {
        let message = client.next_message().await;
        if message.topic == "somewhere/else" {
            break message;
        }
    };
    assert_eq!((&special.payload[..], special.qos), (&b"HERE"[..], QoS::ExactlyOnce));
    let mut late = listening(&home, "somewhere/else").await;
    assert!(late.next_message().await.retain);
}
