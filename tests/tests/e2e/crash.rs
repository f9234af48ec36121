//! What was acknowledged survives `kill -9`, and nothing of it is there twice.

use crate::opening::{Opening, READINGS, opening, reading, temperatures};
use hearthgate_tests::database::Database;
use hearthgate_tests::gateway::Home;
use hearthgate_tests::publisher::{Options, Publisher};
use hearthgate_tests::wire::{Connect, Wire, packet};
use hearthgate_tests::{PATIENCE, http, until};
use rumqttc::QoS;
use std::net::TcpListener;

const MESSAGES: usize = 3_000;
const KILLS: usize = 4;

/// Whether the gateway is to be killed after this message.
fn is_time_to_kill(index: usize) -> bool {
    let each = MESSAGES / (KILLS + 1);
    index % each == each - 1 && index + 1 < MESSAGES
}

/// Publishes through Mosquitto while the gateway is killed again and again; every message must be stored once, in order.
async fn every_message_once(payload: impl Fn(usize) -> String) -> (Database, Home) {
    let Opening { mut gateway, home, database, mut client, broker: _broker } = opening("").await;
    for index in 0..MESSAGES {
        // Exactly once as far as the broker, so that a repetition would be ours.
        client.publish_with("sensors/aht10", payload(index), QoS::ExactlyOnce, false).await;
        if is_time_to_kill(index) {
            gateway.kill();
            gateway = home.start();
        }
    }
    client.confirmed(MESSAGES).await;
    until("all messages", async || (database.number(READINGS).await >= MESSAGES as i64).then_some(())).await;
    let (status, log) = gateway.terminate();
    assert!(status.success(), "{log}");
    assert_eq!(database.number(READINGS).await, MESSAGES as i64);
    database.assert_numbers_without_gap_or_repeat("AHT10_SENSOR").await;
    (database, home)
}

#[tokio::test(flavor = "multi_thread")]
async fn distinct_messages_are_stored_once_and_in_order_through_kills() {
    let (database, _home) = every_message_once(|index| reading(index, 1)).await;
    assert_eq!(temperatures(&database).await, (0..MESSAGES).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_messages_are_all_stored_and_none_twice_through_kills() {
    every_message_once(|_| reading(21, 1)).await;
}

/// The broker dies with the gateway: the publisher has a session there, and sends again what was not acknowledged.
async fn every_message_once_through_the_embedded_broker(qos: QoS, payload: impl Fn(usize) -> String) -> Database {
    let home = Home::new();
    let mut gateway = home.start();
    until("ready", async || http::is_ready(home.http).then_some(())).await;
    let database = Database::sqlite(home.path()).await;
    let publisher = Publisher::start(Options { qos, ..Options::new(home.mqtt, "device") });
    until("its session", async || (publisher.account().connections == 1).then_some(())).await;
    for index in 0..MESSAGES {
        publisher.publish("sensors/aht10", payload(index)).await;
        if is_time_to_kill(index) {
            let connections = publisher.account().connections;
            gateway.kill();
            gateway = home.start();
            until("the publisher again", async || (publisher.account().connections > connections).then_some(())).await;
        }
    }
    let account = publisher.all_acknowledged(PATIENCE).await.expect("all acknowledgements");
    until("all messages", async || (database.number(READINGS).await >= MESSAGES as i64).then_some(())).await;
    let (status, log) = gateway.terminate();
    assert!(status.success(), "{log}");
    assert_eq!(database.number(READINGS).await, MESSAGES as i64, "{account:?}");
    assert_eq!((account.sessions_lost, account.violations), (0, 0), "{account:?}");
    assert!(account.connections > KILLS as u64 && account.sent_again > 0, "{account:?}");
    database.assert_numbers_without_gap_or_repeat("AHT10_SENSOR").await;
    database
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_embedded_broker_what_a_device_was_told_is_safe_is_stored_once_and_in_order() {
    let stored = every_message_once_through_the_embedded_broker(QoS::AtLeastOnce, |index| reading(index, 1)).await;
    assert_eq!(temperatures(&stored).await, (0..MESSAGES).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_embedded_broker_equal_messages_at_qos_2_are_all_stored_and_none_twice() {
    every_message_once_through_the_embedded_broker(QoS::ExactlyOnce, |_| reading(21, 1)).await;
}

/// Another device, which reuses its few packet identifiers all the time, and so is known to have its acknowledgements.
async fn another_device_publishes(home: &Home) {
    let other = Publisher::start(Options { packet_ids: 50, window: 20, ..Options::new(home.mqtt, "other") });
    for index in 0..10_000 {
        other.publish("sensors/aht10", reading(index, 2)).await;
    }
    other.all_acknowledged(PATIENCE).await.expect("all acknowledgements");
}

/// A device publishes these packet identifiers at this QoS, and its acknowledgements go out.
fn device_publishes(home: &Home, qos: u8, dup: bool, ids: std::ops::RangeInclusive<u16>) -> Wire {
    let (mut device, code) = Wire::connect(home.mqtt, Connect::kept("absent"));
    assert_eq!(code, 0);
    for id in ids.clone() {
        device.publish_at(qos, id, dup, "sensors/aht10", &reading(id.into(), 1));
    }
    ids.for_each(|id| device.is_taken(qos, id));
    device
}

/// Its acknowledgements never reach the device, which has no power until the gateway has crashed twice.
async fn a_device_comes_back_after_two_crashes(qos: u8) {
    let home = Home::new();
    let mut gateway = home.start();
    until("ready", async || http::is_ready(home.http).then_some(())).await;
    let database = Database::sqlite(home.path()).await;
    drop(device_publishes(&home, qos, false, 1..=20));
    for _ in 0..2 {
        another_device_publishes(&home).await;
        gateway.kill();
        gateway = home.start();
        until("ready again", async || http::is_ready(home.http).then_some(())).await;
    }
    drop(device_publishes(&home, qos, true, 1..=20));
    // Once more, since the first acknowledgements of what was sent again may be lost as well; then it goes on.
    let mut device = device_publishes(&home, qos, true, 1..=20);
    device.publish_at(qos, 21, false, "sensors/aht10", &reading(21, 1));
    device.is_taken(qos, 21);
    until("the last", async || temperatures(&database).await.contains(&21).then_some(())).await;
    assert_eq!(temperatures(&database).await, (1..=21).collect::<Vec<_>>());
    database.assert_numbers_without_gap_or_repeat("AHT10_SENSOR").await;
    assert!(gateway.terminate().0.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_device_sends_again_after_two_crashes_and_other_devices_messages_is_recognised() {
    a_device_comes_back_after_two_crashes(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_device_sends_again_at_qos_2_after_two_crashes_is_recognised() {
    a_device_comes_back_after_two_crashes(2).await;
}

const PUBREC: u8 = 0x50;
const PUBREL: u8 = 0x62;
const PUBCOMP: u8 = 0x70;

#[tokio::test(flavor = "multi_thread")]
async fn what_a_broker_sends_at_qos_2_on_an_identifier_that_it_had_released_is_new_after_a_crash() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let home = Home::new();
    home.configure(&format!(
        "[mqtt]\nserver = \"mqtt://{}\"\n[mqtt.reconnect]\ninitial = \"50ms\"\nmax = \"200ms\"\n",
        listener.local_addr().expect("an address")
    ));
    let mut gateway = home.start();
    let same = reading(21, 1);
    let mut broker = Wire::accept(&listener, false);
    broker.publish_at(2, 1, false, "sensors/aht10", &same);
    broker.serve_until(PUBREC, 1);
    broker.send(&packet(PUBREL, &[0, 1]));
    broker.serve_until(PUBCOMP, 1);
    broker.publish_at(2, 2, false, "sensors/aht10", &same);
    broker.serve_until(PUBREC, 2);
    let database = Database::sqlite(home.path()).await;

    gateway.kill();
    drop(broker);
    gateway = home.start();
    let mut broker = Wire::accept(&listener, true);
    // Neither was answered as far as this broker knows: the first is another message of equal content, sent before the crash.
    broker.publish_at(2, 1, true, "sensors/aht10", &same);
    broker.publish_at(2, 2, true, "sensors/aht10", &same);
    broker.publish_at(2, 3, false, "sensors/aht10", &reading(22, 1));
    broker.serve_until(PUBREC, 3);
    until("the last", async || temperatures(&database).await.contains(&22).then_some(())).await;
    assert_eq!(temperatures(&database).await, [21, 21, 21, 22], "two before the crash, and two after it");
    database.assert_numbers_without_gap_or_repeat("AHT10_SENSOR").await;
    drop(broker);
    assert!(gateway.terminate().0.success());
}
