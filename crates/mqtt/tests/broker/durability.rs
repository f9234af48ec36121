//! What a client was told is on disk, whenever the broker is killed.

use crate::harness::*;
use hearthgate_mqtt::broker::BrokerOptions;
use sqlx::{Connection, SqliteConnection};
use std::time::Duration;

/// Longer than changes that nobody waits for are collected.
const WHILE: Duration = Duration::from_millis(400);

struct Disk {
    folder: tempfile::TempDir,
}

/// Keeps the broker's store from being written, as a disk that fails does, until it is let go.
struct Lock {
    runtime: tokio::runtime::Runtime,
    connection: Option<SqliteConnection>,
}

impl Disk {
    fn new() -> Self {
        Disk { folder: tempfile::tempdir().unwrap() }
    }

    fn start(&self) -> Running {
        let options = BrokerOptions { state_dir: Some(self.folder.path().to_owned()), ..options() };
        start_with(options, Gateway::Absent)
    }

    fn lock(&self) -> Lock {
        // What nobody waits for is written by now.
        std::thread::sleep(WHILE);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let file = self.folder.path().join("broker.sqlite");
        let connection = runtime.block_on(async {
            let mut connection = SqliteConnection::connect(&file.to_string_lossy()).await.unwrap();
            sqlx::query("BEGIN IMMEDIATE").execute(&mut connection).await.unwrap();
            connection
        });
        Lock { runtime, connection: Some(connection) }
    }
}

impl Lock {
    fn release(mut self) {
        let connection = self.connection.take().unwrap();
        self.runtime.block_on(connection.close()).unwrap();
    }
}

fn subscriber(broker: &Running, qos: u8) -> Client {
    let (mut subscriber, _) = broker.connect(&Connect::kept(4, "s"));
    subscriber.subscribe("t", qos);
    subscriber
}

#[test]
fn an_acknowledged_message_for_a_connected_subscriber_survives_a_crash() {
    let disk = Disk::new();
    let broker = disk.start();
    let mut subscriber = subscriber(&broker, 1);
    let mut publisher = broker.v4("p");
    publisher.publish(2, "t", 1, "kept");
    publisher.expect_acknowledgement(4, 1);
    assert_eq!(subscriber.message().text(), "kept");
    broker.crash();
    let broker = disk.start();
    let (mut subscriber, connack) = broker.connect(&Connect::kept(4, "s"));
    assert!(connack.present);
    assert_eq!(subscriber.message_acknowledged().text(), "kept");
}

#[test]
fn a_publisher_is_acknowledged_though_its_subscriber_was_faster_than_the_disk() {
    let disk = Disk::new();
    let broker = disk.start();
    let mut subscriber = subscriber(&broker, 1);
    let mut publisher = broker.v4("p");
    let lock = disk.lock();
    publisher.publish(2, "t", 1, "first");
    assert_eq!(subscriber.message_acknowledged().text(), "first");
    publisher.publish(2, "t", 2, "second");
    assert_eq!(subscriber.message_acknowledged().text(), "second");
    assert_eq!(publisher.next(WHILE), Ok(None));
    lock.release();
    publisher.expect_acknowledgement(4, 1);
    publisher.expect_acknowledgement(4, 2);
}

#[test]
fn subscriptions_of_a_kept_session_are_answered_once_they_are_on_disk() {
    let disk = Disk::new();
    let broker = disk.start();
    let (mut client, _) = broker.connect(&Connect::kept(4, "s"));
    client.subscribe("first", 1);
    let lock = disk.lock();
    client.send(&packet(0x82, &[vec![0, 7], text("t"), vec![1]].concat()));
    client.send(&packet(0xa2, &[vec![0, 8], text("first")].concat()));
    assert_eq!(client.next(WHILE), Ok(None));
    lock.release();
    client.expect(&[0x90, 3, 0, 7, 1]);
    client.expect(&[0xb0, 2, 0, 8]);
    broker.crash();
    let broker = disk.start();
    let (mut client, _) = broker.connect(&Connect::kept(4, "s"));
    let mut publisher = broker.v4("p");
    publisher.publish(2, "first", 1, "ended");
    publisher.publish(2, "t", 2, "for the new one");
    assert_eq!(client.message_acknowledged().text(), "for the new one");
}

#[test]
fn a_packet_identifier_of_qos_2_is_given_back_once_that_is_on_disk() {
    let disk = Disk::new();
    let broker = disk.start();
    let (mut publisher, _) = broker.connect(&Connect::kept(4, "p"));
    publisher.publish(4, "t", 1, "one");
    publisher.expect_acknowledgement(5, 1);
    let lock = disk.lock();
    publisher.acknowledge(6, 1);
    assert_eq!(publisher.next(WHILE), Ok(None));
    // Of the same id, from another connection: its release may not be on disk either.
    let (mut again, _) = broker.connect(&Connect::kept(4, "p"));
    again.acknowledge(6, 1);
    assert_eq!(again.next(WHILE), Ok(None));
    lock.release();
    again.expect_acknowledgement(7, 1);
    broker.crash();
    let broker = disk.start();
    let mut subscriber = subscriber(&broker, 1);
    let (mut publisher, _) = broker.connect(&Connect::kept(4, "p"));
    publisher.publish(4, "t", 1, "two");
    publisher.expect_acknowledgement(5, 1);
    assert_eq!(subscriber.message_acknowledged().text(), "two");
}

#[test]
fn a_delivery_of_qos_2_goes_out_and_on_once_that_is_on_disk() {
    let disk = Disk::new();
    let broker = disk.start();
    let mut subscriber = subscriber(&broker, 2);
    let mut publisher = broker.v4("p");
    let lock = disk.lock();
    publisher.publish(4, "t", 1, "one");
    assert_eq!(subscriber.next(WHILE), Ok(None));
    lock.release();
    let message = subscriber.message();
    assert_eq!((message.text(), message.dup), ("one", false));
    let lock = disk.lock();
    subscriber.acknowledge(5, message.id);
    assert_eq!(subscriber.next(WHILE), Ok(None));
    lock.release();
    subscriber.expect_acknowledgement(6, message.id);
    broker.crash();
    let broker = disk.start();
    let (mut subscriber, _) = broker.connect(&Connect::kept(4, "s"));
    subscriber.expect_acknowledgement(6, message.id);
}

#[test]
fn packet_identifiers_stay_unique_over_a_restart_with_a_shared_subscription() {
    let disk = Disk::new();
    let broker = disk.start();
    let connect = |broker: &Running, maximum| {
        let properties = [property_u32(0x11, 3600), property_u16(0x21, maximum)].concat();
        broker.connect(&Connect { properties, ..Connect::kept(5, "s") }).0
    };
    let mut member = connect(&broker, 10);
    member.subscribe("n/#", 1);
    member.subscribe("$share/g/s/#", 1);
    member.disconnect();
    let mut publisher = broker.v4("p");
    for (id, topic) in (1..).zip(["s/1", "n/1", "s/2", "n/2"]) {
        publisher.publish(2, topic, id, "old");
        publisher.expect_acknowledgement(4, id);
    }
    let mut member = connect(&broker, 1);
    member.message();
    drop(member);
    let mut member = connect(&broker, 10);
    (0..4).for_each(|_| drop(member.message()));
    drop(member);
    broker.stop().unwrap();
    let broker = disk.start();
    let mut member = connect(&broker, 10);
    let mut ids: Vec<u16> = (0..4).map(|_| member.message().id).collect();
    broker.v4("p").publish(2, "n/3", 1, "new");
    ids.push(member.message().id);
    ids.iter().for_each(|id| member.acknowledge(4, *id));
    member.disconnect();
    connect(&broker, 10).expect_nothing();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 5);
}

fn with_will(keep_alive: u16) -> Connect {
    let will = Some((0x28, "will".to_owned(), b"gone".to_vec(), Vec::new()));
    Connect { id: "plug".into(), will, keep_alive, ..Connect::v4() }
}

fn watcher(broker: &Running) -> Client {
    let mut watcher = broker.v4("watcher");
    watcher.subscribe("will", 1);
    watcher
}

#[test]
fn a_client_that_does_not_come_back_after_the_broker_was_stopped_or_killed_leaves_its_will() {
    let disk = Disk::new();
    for ends_in_order in [true, false] {
        let broker = disk.start();
        let (_plug, _) = broker.connect(&with_will(1));
        let mut another = broker.v4("p");
        another.publish(3, "will", 1, "here");
        another.expect_acknowledgement(4, 1);
        // What was noted at once is on disk with what was acknowledged later.
        if ends_in_order {
            broker.stop().unwrap();
        } else {
            broker.crash();
        }
        let broker = disk.start();
        let mut watcher = watcher(&broker);
        assert_eq!(watcher.message_acknowledged().text(), "here");
        assert_eq!(watcher.message_acknowledged().text(), "gone");
        watcher.disconnect();
        broker.stop().unwrap();
        let broker = disk.start();
        let mut late = broker.v4("late");
        late.subscribe("will", 1);
        assert_eq!(late.message_acknowledged().text(), "gone", "retained");
        assert_eq!(late.next(Duration::from_secs(2)), Ok(None), "once");
    }
}

#[test]
fn a_client_that_is_back_after_the_broker_was_stopped_leaves_no_will() {
    let disk = Disk::new();
    let broker = disk.start();
    let (_plug, _) = broker.connect(&with_will(1));
    broker.v4("gone").disconnect();
    let (said_goodbye, _) = broker.connect(&Connect { id: "other".into(), ..with_will(1) });
    said_goodbye.disconnect();
    broker.stop().unwrap();
    let broker = disk.start();
    let mut watcher = watcher(&broker);
    let (_plug, _) = broker.connect(&Connect { keep_alive: 60, ..with_will(1) });
    assert_eq!(watcher.next(Duration::from_secs(2)), Ok(None));
}
