//! What clients can take of the broker, and who loses when it is taken.

use crate::harness::*;
use hearthgate_mqtt::broker::{BrokerLoss, BrokerOptions};

const KIB: usize = 1024;

/// A kept session with a subscription, whose client is away.
fn absent(broker: &Running, id: &str, filter: &str) {
    let (mut client, _) = broker.connect(&Connect::kept(4, id));
    assert_eq!(client.subscribe(filter, 1), 1);
    client.disconnect();
    // A connection that is answered is younger than the end of the one before.
    broker.v4("next").disconnect();
}

fn publish_acknowledged(publisher: &mut Client, topic: &str, payload: impl AsRef<[u8]>) {
    publisher.publish(2, topic, 1, payload);
    publisher.expect_acknowledgement(4, 1);
}

#[test]
fn when_all_queues_are_full_who_holds_most_loses_first() {
    let mut options = options();
    options.limits.max_total_queued_bytes = 200 * KIB;
    let broker = start_with(options, Gateway::Absent);
    absent(&broker, "dashboard", "alarm/#");
    for id in ["a", "b", "c"] {
        absent(&broker, id, "other/#");
    }
    let mut publisher = broker.v4("p");
    for _ in 0..30 {
        publish_acknowledged(&mut publisher, "other/x", vec![0; 4 * KIB]);
    }
    for number in 0..5 {
        publish_acknowledged(&mut publisher, "alarm/fire", number.to_string());
    }
    let (mut dashboard, _) = broker.connect(&Connect::kept(4, "dashboard"));
    for number in 0..5 {
        assert_eq!(dashboard.message_acknowledged().text(), number.to_string());
    }
    // The others have kept their oldest ones, in equal parts.
    for id in ["a", "b", "c"] {
        let (mut client, _) = broker.connect(&Connect::kept(4, id));
        for _ in 0..15 {
            client.message_acknowledged();
        }
    }
}

#[test]
fn a_connected_client_that_acknowledges_nothing_loses_to_those_who_hold_less() {
    let mut options = options();
    options.limits.max_total_queued_bytes = 200 * KIB;
    let broker = start_with(options, Gateway::Absent);
    absent(&broker, "dashboard", "alarm/#");
    let mut hoarder = broker.v4("hoarder");
    hoarder.subscribe("other/#", 1);
    let mut publisher = broker.v4("p");
    for _ in 0..60 {
        publish_acknowledged(&mut publisher, "other/x", vec![0; 4 * KIB]);
    }
    publish_acknowledged(&mut publisher, "alarm/fire", vec![0; 4 * KIB]);
    let (mut dashboard, _) = broker.connect(&Connect::kept(4, "dashboard"));
    assert_eq!(dashboard.message_acknowledged().topic, "alarm/fire");
    // Acknowledging what was withdrawn meanwhile is no mistake, and makes room for more.
    for _ in 0..40 {
        hoarder.message_acknowledged();
    }
    publish_acknowledged(&mut publisher, "other/y", "x");
    while hoarder.message_acknowledged().topic != "other/y" {}
}

#[test]
fn what_is_dropped_is_told_once_for_each_client_and_message() {
    let mut options = options();
    options.limits.max_queued_messages = 3;
    let broker = start_with(options, Gateway::Absent);
    absent(&broker, "a", "t");
    let mut publisher = broker.v4("p");
    for _ in 0..5 {
        publish_acknowledged(&mut publisher, "t", "x");
    }
    assert_eq!(*broker.losses.lock().unwrap(), [BrokerLoss::QueueFull; 2]);
}

/// Retains so many messages of 10 KiB.
fn retain_many(broker: &Running, count: usize) {
    let mut publisher = broker.v4("retainer");
    for number in 0..count {
        publisher.publish(3, &format!("camera/{number:03}"), 1, vec![0; 10 * KIB]);
        publisher.expect_acknowledgement(4, 1);
    }
}

#[test]
fn all_retained_messages_arrive_though_they_are_more_than_may_wait() {
    let mut options = options();
    (options.limits.max_queued_messages, options.limits.max_inflight) = (5, 4);
    (options.limits.max_queued_bytes, options.limits.max_total_queued_bytes) = (50 * KIB, 50 * KIB);
    let broker = start_with(options, Gateway::Absent);
    retain_many(&broker, 60);
    for qos in 0..2 {
        let mut subscriber = broker.v4("s");
        subscriber.subscribe("camera/#", qos);
        for number in 0..60 {
            let message = if qos == 0 { subscriber.message() } else { subscriber.message_acknowledged() };
            assert_eq!((message.topic, message.retain), (format!("camera/{number:03}"), true));
        }
        subscriber.expect_nothing();
    }
    assert_eq!(*broker.losses.lock().unwrap(), []);
}

#[test]
fn retained_messages_that_a_client_has_not_taken_yet_come_after_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let start = || {
        let mut options = BrokerOptions { state_dir: Some(folder.path().to_owned()), ..options() };
        options.limits.max_inflight = 4;
        start_with(options, Gateway::Absent)
    };
    let broker = start();
    retain_many(&broker, 10);
    let (mut subscriber, _) = broker.connect(&Connect::kept(4, "s"));
    subscriber.subscribe("camera/#", 1);
    for _ in 0..2 {
        subscriber.message_acknowledged();
    }
    subscriber.disconnect();
    // What is acknowledged is stored, and all that came before it.
    let mut publisher = broker.v4("p");
    publisher.publish(3, "other", 1, "x");
    publisher.expect_acknowledgement(4, 1);
    broker.crash();
    let broker = start();
    let (mut subscriber, _) = broker.connect(&Connect::kept(4, "s"));
    let mut topics = std::collections::BTreeSet::new();
    while topics.len() < 8 || !topics.contains("camera/009") {
        topics.insert(subscriber.message_acknowledged().topic);
    }
}

#[test]
fn what_is_retained_while_retained_messages_are_sent_comes_once_and_last() {
    let mut options = options();
    options.limits.max_inflight = 2;
    let broker = start_with(options, Gateway::Absent);
    retain_many(&broker, 10);
    let (mut subscriber, mut publisher) = (broker.v4("s"), broker.v4("p"));
    subscriber.subscribe("camera/#", 1);
    publisher.publish(3, "camera/008", 1, "newer");
    publisher.expect_acknowledgement(4, 1);
    let mut messages: Vec<Message> = (0..10).map(|_| subscriber.message_acknowledged()).collect();
    subscriber.expect_nothing();
    let last = messages.pop().unwrap();
    assert_eq!((last.topic.as_str(), last.text(), last.retain), ("camera/008", "newer", false));
    assert!(messages.iter().all(|message| message.retain && message.topic != "camera/008"));
}

#[test]
fn kept_sessions_of_clients_that_are_away_make_room_for_new_ones() {
    let mut options = options();
    options.limits.max_sessions = 3;
    let broker = start_with(options, Gateway::Absent);
    let is_kept = |id: &str| broker.connect(&Connect::kept(4, id)).1.present;
    absent(&broker, "dashboard", "alarm/#");
    for number in 0..10 {
        let (client, connack) = broker.connect(&Connect::kept(4, &format!("sketch-{number}")));
        assert_eq!(connack.code, 0);
        client.disconnect();
        broker.v4("clean").disconnect();
    }
    assert_eq!(*broker.losses.lock().unwrap(), [BrokerLoss::SessionEvicted; 8]);
    assert!(is_kept("dashboard"), "it waits for something");
    assert!(is_kept("sketch-9"), "it came last");
    // Those who are connected keep their place.
    let _connected: Vec<Client> = ["a", "b", "c"].map(|id| broker.connect(&Connect::kept(4, id)).0).into();
    assert_eq!(broker.connect(&Connect::kept(4, "d")).1.code, 3);
    assert_eq!(broker.connect(&Connect { id: "e".into(), ..Connect::v4() }).1.code, 0);
}

#[test]
fn subscriptions_are_bounded_by_the_memory_that_they_take() {
    let mut options = options();
    options.limits.max_subscription_bytes = 100 * KIB;
    options.limits.max_total_subscription_bytes = 150 * KIB;
    let broker = start_with(options, Gateway::Absent);
    let deep = |number: usize| format!("{number}{}", "/x".repeat(99));
    let count = |client: &mut Client, from: usize| {
        (from..).take_while(|number| client.subscribe(&deep(*number), 0) == 0).count()
    };
    let (mut first, mut second, mut third) = (broker.v4("a"), broker.v4("b"), broker.v4("c"));
    // 26 kB each.
    assert_eq!((count(&mut first, 0), count(&mut second, 100)), (3, 2));
    assert_eq!(third.subscribe("everyone/gets/a/few", 0), 0);
    assert_eq!(*broker.losses.lock().unwrap(), [BrokerLoss::SubscriptionRefused; 2]);
    // What is given back is free for all.
    first.unsubscribe(&deep(0));
    assert_eq!(count(&mut second, 200), 1);
    broker.v4("a").disconnect();
    first.expect_end(0);
    assert_eq!(count(&mut third, 300), 2);
}

#[test]
fn a_client_that_does_not_read_keeps_no_more_than_its_share_and_gives_it_back() {
    let mut options = options();
    // Half of it for payloads that are being written.
    options.limits.max_total_queued_bytes = 2 * KIB * KIB;
    let broker = start_with(options, Gateway::Absent);
    let (mut stuck, mut reader, mut other) = (broker.v4("stuck"), broker.v4("reader"), broker.v4("other"));
    stuck.subscribe("big/1", 0);
    reader.subscribe("big/2", 0);
    other.subscribe("small", 0);
    let mut publisher = broker.v4("p");
    let payload = vec![0; 900 * KIB];
    while broker.losses.lock().unwrap().is_empty() {
        publish_acknowledged(&mut publisher, "big/1", &payload);
    }
    publish_acknowledged(&mut publisher, "big/2", &payload);
    publish_acknowledged(&mut publisher, "small", "x");
    assert_eq!(other.message().text(), "x");
    reader.expect_nothing();
    drop(stuck);
    assert_eq!(reader.message().topic, "big/2");
}

#[test]
fn packets_that_do_not_end_make_room_for_those_that_do() {
    let mut options = options();
    options.limits.max_partial_bytes = 0;
    options.limits.max_packet_size = 200 * KIB;
    let broker = start_with(options, Gateway::Absent);
    let mut clients: Vec<Client> = (0..6).map(|number| broker.v5(&format!("c{number}"))).collect();
    let whole = clients[0].publish_bytes(2, "t", 1, &vec![0; 190 * KIB], &[]);
    for client in &mut clients {
        client.send(&whole[..150 * KIB]);
        // Until it has been read.
        std::thread::sleep(SILENCE);
    }
    let mut newest = clients.pop().unwrap();
    newest.send(&whole[150 * KIB..]);
    newest.expect_acknowledgement(4, 1);
    clients[0].expect_end(0x97);
}

/// A kept session with a delayed will of so many bytes.
fn with_will(broker: &Running, id: &str, bytes: usize) -> (Client, u8) {
    // For an hour.
    let delay = property_u32(0x18, 3600);
    let will = Some((0, format!("will/{id}"), vec![0; bytes], delay));
    let (client, connack) = broker.connect(&Connect { will, ..Connect::kept(5, id) });
    (client, connack.code)
}

/// A broker whose sessions may hold 64 KiB.
fn holding() -> Running {
    let mut options = options();
    options.limits.max_total_queued_bytes = 256 * KIB;
    start_with(options, Gateway::Absent)
}

#[test]
fn delayed_wills_of_clients_that_are_away_give_way_and_are_published() {
    let broker = holding();
    let mut observer = broker.v5("observer");
    observer.subscribe("will/#", 0);
    for id in ["a", "b", "c", "d"] {
        let (client, code) = with_will(&broker, id, 20 * KIB + id.len());
        assert_eq!(code, 0, "{id}");
        // Without a goodbye.
        drop(client);
        // A connection that is answered is younger than the end of the one before.
        broker.v4("next").disconnect();
    }
    // Three fit.
    assert!(observer.message().topic.starts_with("will/"));
    observer.expect_nothing();
    assert_eq!(*broker.losses.lock().unwrap(), [BrokerLoss::SessionEvicted]);
}

#[test]
fn wills_of_connected_clients_are_bounded_and_small_ones_always_taken() {
    let broker = holding();
    let _clients: Vec<Client> = ["a", "b", "c"].map(|id| with_will(&broker, id, 20 * KIB).0).into();
    assert_eq!(with_will(&broker, "d", 20 * KIB).1, 0x97);
    assert_eq!(with_will(&broker, "e", 100).1, 0);
    // Who holds more gives way to who holds less.
    let (mut large, code) = with_will(&broker, "a", 21 * KIB);
    assert_eq!(code, 0, "its own one is free");
    assert_eq!(with_will(&broker, "f", 10 * KIB).1, 0);
    large.expect_end(0x97);
}

#[test]
fn messages_of_qos_2_that_are_not_released_are_bounded() {
    let broker = holding();
    let open = |client: &mut Client, from: u16, count: u16| {
        (from..from + count).for_each(|id| client.publish(4, "t", id, "x"));
    };
    let mut hoarder = broker.v5("hoarder");
    open(&mut hoarder, 1, 1024);
    (1..=1024).for_each(|id| hoarder.expect_acknowledgement(5, id));
    hoarder.publish(4, "t", 1025, "x");
    hoarder.expect(&[0x50, 3, 4, 1, 0x97]);
    // A repetition takes no room.
    hoarder.publish(0xc, "t", 1024, "x");
    hoarder.expect_acknowledgement(5, 1024);
    // What is released is free.
    hoarder.acknowledge(6, 1);
    hoarder.expect_acknowledgement(7, 1);
    hoarder.publish(4, "t", 1025, "x");
    hoarder.expect_acknowledgement(5, 1025);
    let mut other = broker.v4("other");
    open(&mut other, 1, 100);
    (1..=100).for_each(|id| other.expect_acknowledgement(5, id));
    hoarder.expect_end(0x97);
    // MQTT 3.1.1 can't refuse.
    open(&mut other, 101, 1000);
    let mut answers = 0;
    while let Ok(Some(_)) = other.next(PATIENCE) {
        answers += 1;
    }
    assert_eq!(answers, 924);
}
