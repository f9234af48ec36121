//! Sessions: what they keep while a client is away, and over a restart of the broker.

use crate::harness::*;
use std::time::Duration;

fn published(broker: &Running, topic: &str, payloads: &[&str]) {
    let mut publisher = broker.v5("publisher");
    for (id, payload) in (1..).zip(payloads) {
        publisher.publish(2, topic, id, payload);
        publisher.expect_acknowledgement(4, id);
    }
    publisher.disconnect();
}

#[test]
fn a_kept_session_gets_what_came_meanwhile_in_order() {
    let broker = start();
    for level in [4, 5] {
        let connect = Connect::kept(level, "s");
        let (mut subscriber, connack) = broker.connect(&connect);
        assert_eq!(connack.present, level == 5, "the 3.1.1 session goes on in MQTT 5");
        subscriber.subscribe("t", 1);
        subscriber.disconnect();
        published(&broker, "t", &["1", "2", "3"]);
        let (mut subscriber, connack) = broker.connect(&connect);
        assert!(connack.present);
        for expected in ["1", "2", "3"] {
            assert_eq!(subscriber.message_acknowledged().text(), expected);
        }
        subscriber.expect_nothing();
    }
}

#[test]
fn a_clean_start_forgets_the_session() {
    let broker = start();
    for level in [4, 5] {
        let kept = Connect::kept(level, "s");
        let (mut subscriber, _) = broker.connect(&kept);
        subscriber.subscribe("t", 1);
        subscriber.disconnect();
        published(&broker, "t", &["lost"]);
        let (mut subscriber, connack) = broker.connect(&Connect { clean: true, ..kept.clone() });
        assert!(!connack.present);
        published(&broker, "t", &["not subscribed"]);
        subscriber.expect_nothing();
        subscriber.disconnect();
        // In 3.1.1 a clean session ends with its connection; in MQTT 5 its expiry says so.
        assert_eq!(broker.connect(&kept).1.present, level == 5);
    }
}

#[test]
fn a_session_expires_after_its_time() {
    let broker = start();
    let kept = Connect { properties: property_u32(0x11, 1), ..Connect::kept(5, "s") };
    let (client, _) = broker.connect(&kept);
    client.disconnect();
    let (client, connack) = broker.connect(&kept);
    assert!(connack.present);
    client.disconnect();
    std::thread::sleep(Duration::from_millis(1300));
    assert!(!broker.connect(&kept).1.present);
}

#[test]
fn disconnect_may_change_the_expiry_but_not_make_a_session_kept() {
    let broker = start();
    let (mut client, _) = broker.connect(&Connect::kept(5, "s"));
    client.send(&packet(0xe0, &[vec![0], section(&property_u32(0x11, 0))].concat()));
    assert_eq!(client.next(PATIENCE), Err(()));
    assert!(!broker.connect(&Connect::kept(5, "s")).1.present);
    let mut client = broker.v5("clean");
    client.send(&packet(0xe0, &[vec![0], section(&property_u32(0x11, 10))].concat()));
    client.expect_end(0x82);
}

#[test]
fn a_longer_expiry_than_allowed_is_cut_and_announced() {
    let mut options = options();
    options.limits.max_session_expiry = Duration::from_secs(100);
    let broker = start_with(options, Gateway::Absent);
    let (_client, connack) = broker.connect(&Connect::kept(5, "s"));
    assert!(has(&connack.properties, &property_u32(0x11, 100)));
}

#[test]
fn what_was_not_acknowledged_is_sent_again_with_dup_in_order() {
    let broker = start();
    for level in [4, 5] {
        let connect = Connect::kept(level, &format!("s{level}"));
        let (mut subscriber, _) = broker.connect(&connect);
        subscriber.subscribe("t", 2);
        let mut publisher = broker.v4("p");
        for (id, flags) in [(1, 2), (2, 4), (3, 2), (4, 4)] {
            publisher.publish(flags, "t", id, format!("{id}"));
            publisher.receive();
        }
        let first: Vec<Message> = (0..4).map(|_| subscriber.message()).collect();
        assert!(first.iter().all(|message| !message.dup));
        subscriber.acknowledge(4, first[2].id);
        subscriber.acknowledge(5, first[3].id);
        subscriber.expect_acknowledgement(6, first[3].id);
        drop(subscriber);
        let (mut subscriber, connack) = broker.connect(&connect);
        assert!(connack.present);
        let again: Vec<Message> = (0..2).map(|_| subscriber.message()).collect();
        for (first, again) in first.iter().zip(&again) {
            assert_eq!((first.id, &first.payload, again.dup), (again.id, &again.payload, true));
        }
        subscriber.expect_acknowledgement(6, first[3].id);
        subscriber.acknowledge(7, first[3].id);
        subscriber.acknowledge(4, again[0].id);
        subscriber.acknowledge(5, again[1].id);
        subscriber.expect_acknowledgement(6, again[1].id);
        subscriber.acknowledge(7, again[1].id);
        subscriber.expect_nothing();
    }
}

#[test]
fn a_queue_is_bounded_and_keeps_the_oldest() {
    let mut options = options();
    options.limits.max_queued_messages = 3;
    let broker = start_with(options, Gateway::Absent);
    let connect = Connect::kept(4, "s");
    let (mut subscriber, _) = broker.connect(&connect);
    subscriber.subscribe("t", 1);
    subscriber.disconnect();
    published(&broker, "t", &["1", "2", "3", "4", "5"]);
    let (mut subscriber, _) = broker.connect(&connect);
    for expected in ["1", "2", "3"] {
        assert_eq!(subscriber.message_acknowledged().text(), expected);
    }
    subscriber.expect_nothing();
}

#[test]
fn qos_2_from_a_publisher_is_taken_once_over_a_reconnect() {
    let broker = start_with(options(), Gateway::Prompt);
    let connect = Connect::kept(5, "p");
    let (mut publisher, _) = broker.connect(&connect);
    publisher.publish(4, "t", 1, "once");
    publisher.expect_acknowledgement(5, 1);
    drop(publisher);
    let (mut publisher, connack) = broker.connect(&connect);
    assert!(connack.present);
    publisher.publish(12, "t", 1, "once");
    publisher.expect_acknowledgement(5, 1);
    publisher.acknowledge(6, 1);
    publisher.expect_acknowledgement(7, 1);
    assert_eq!(broker.gateway_messages(1).len(), 1);
}

struct Disk {
    folder: tempfile::TempDir,
}

impl Disk {
    fn new() -> Self {
        Disk { folder: tempfile::tempdir().unwrap() }
    }

    fn start(&self, gateway: Gateway) -> Running {
        let mut options = options();
        options.state_dir = Some(self.folder.path().to_owned());
        start_with(options, gateway)
    }
}

#[test]
fn retained_messages_survive_a_crash_once_acknowledged() {
    let disk = Disk::new();
    let broker = disk.start(Gateway::Absent);
    let mut publisher = broker.v5("p");
    publisher.publish_with(3, "r/a", 1, "kept", &property_text(0x03, "text/plain"));
    publisher.publish(3, "r/b", 2, "removed");
    publisher.publish(3, "r/b", 3, "");
    for id in 1..=3 {
        publisher.expect_acknowledgement(4, id);
    }
    broker.crash();
    let broker = disk.start(Gateway::Absent);
    let mut subscriber = broker.v5("s");
    subscriber.subscribe("r/#", 1);
    let message = subscriber.message_acknowledged();
    assert_eq!((message.text(), message.retain), ("kept", true));
    assert_eq!(message.properties, property_text(0x03, "text/plain"));
    subscriber.expect_nothing();
}

#[test]
fn a_message_for_an_absent_subscriber_survives_a_crash_once_acknowledged() {
    let disk = Disk::new();
    let broker = disk.start(Gateway::Absent);
    let connect = Connect::kept(5, "s");
    let (mut subscriber, _) = broker.connect(&connect);
    subscriber.subscribe_with("t/#", 1, &[0x0b, 9]);
    subscriber.disconnect();
    published(&broker, "t/x", &["1", "2"]);
    broker.crash();
    let broker = disk.start(Gateway::Absent);
    let (mut subscriber, connack) = broker.connect(&connect);
    assert!(connack.present);
    for expected in ["1", "2"] {
        let message = subscriber.message_acknowledged();
        assert_eq!((message.text(), message.properties.as_slice()), (expected, [0x0b, 9].as_slice()));
    }
    published(&broker, "t/y", &["3"]);
    assert_eq!(subscriber.message_acknowledged().text(), "3", "the subscription is there");
    subscriber.expect_nothing();
}

#[test]
fn an_orderly_restart_keeps_what_is_in_flight() {
    let disk = Disk::new();
    let broker = disk.start(Gateway::Absent);
    let connect = Connect::kept(4, "s");
    let (mut subscriber, _) = broker.connect(&connect);
    subscriber.subscribe("t", 2);
    let mut publisher = broker.v4("p");
    for id in 1..=2 {
        publisher.publish(4, "t", id, format!("{id}"));
        publisher.expect_acknowledgement(5, id);
    }
    let (first, second) = (subscriber.message(), subscriber.message());
    subscriber.acknowledge(5, second.id);
    subscriber.expect_acknowledgement(6, second.id);
    broker.stop().unwrap();
    let broker = disk.start(Gateway::Absent);
    let (mut subscriber, connack) = broker.connect(&connect);
    assert!(connack.present);
    let again = subscriber.message();
    assert_eq!((again.id, again.text(), again.dup), (first.id, "1", true));
    subscriber.expect_acknowledgement(6, second.id);
    subscriber.acknowledge(7, second.id);
    subscriber.acknowledge(5, first.id);
    subscriber.expect_acknowledgement(6, first.id);
    subscriber.acknowledge(7, first.id);
    subscriber.expect_nothing();
    subscriber.disconnect();
    broker.stop().unwrap();
    let broker = disk.start(Gateway::Absent);
    let (mut subscriber, connack) = broker.connect(&connect);
    assert!(connack.present);
    subscriber.expect_nothing();
}

#[test]
fn qos_2_ids_survive_a_restart_and_only_the_gateway_is_asked_again() {
    let disk = Disk::new();
    let broker = disk.start(Gateway::Prompt);
    let connect = Connect::kept(5, "p");
    let (mut publisher, _) = broker.connect(&connect);
    publisher.publish(4, "t", 1, "once");
    publisher.expect_acknowledgement(5, 1);
    broker.stop().unwrap();
    let broker = disk.start(Gateway::Prompt);
    let mut subscriber = broker.v5("s");
    subscriber.subscribe("t", 2);
    let (mut publisher, connack) = broker.connect(&connect);
    assert!(connack.present);
    publisher.publish(12, "t", 1, "once");
    publisher.expect_acknowledgement(5, 1);
    assert!(broker.gateway_messages(1)[0].1.origin.unwrap().dup);
    subscriber.expect_nothing();
    publisher.publish(12, "t", 1, "once");
    publisher.expect_acknowledgement(5, 1);
    assert_eq!(broker.gateway_messages(1).len(), 1);
}

#[test]
fn a_session_that_ended_is_gone_after_a_restart() {
    let disk = Disk::new();
    let broker = disk.start(Gateway::Absent);
    let kept = Connect::kept(5, "s");
    let (mut client, _) = broker.connect(&kept);
    client.subscribe("t", 1);
    client.disconnect();
    published(&broker, "t", &["1"]);
    let (client, _) = broker.connect(&Connect { clean: true, properties: Vec::new(), ..kept.clone() });
    client.disconnect();
    broker.stop().unwrap();
    let broker = disk.start(Gateway::Absent);
    let (mut client, connack) = broker.connect(&kept);
    assert!(!connack.present);
    client.expect_nothing();
}

#[test]
fn what_is_delivered_at_once_leaves_nothing_in_the_store() {
    let disk = Disk::new();
    let broker = disk.start(Gateway::Absent);
    let (mut subscriber, _) = broker.connect(&Connect::kept(5, "s"));
    subscriber.subscribe("t", 1);
    let mut publisher = broker.v5("p");
    for id in 1..=500 {
        publisher.publish(2, "t", id, "x");
        publisher.expect_acknowledgement(4, id);
        subscriber.message_acknowledged();
    }
    subscriber.expect_nothing();
    broker.stop().unwrap();
    let broker = disk.start(Gateway::Absent);
    let (mut subscriber, connack) = broker.connect(&Connect::kept(5, "s"));
    assert!(connack.present);
    subscriber.expect_nothing();
}
