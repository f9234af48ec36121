//! What clients can take of the broker, and who loses when it is taken.

use crate::harness::*;
use hearthgate_mqtt::broker::Loss;

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
fn what_is_dropped_is_told_once_for_each_client_and_message() {
    let mut options = options();
    options.limits.max_queued_messages = 3;
    let broker = start_with(options, Gateway::Absent);
    absent(&broker, "a", "t");
    let mut publisher = broker.v4("p");
    for _ in 0..5 {
        publish_acknowledged(&mut publisher, "t", "x");
    }
    assert_eq!(*broker.losses.lock().unwrap(), [Loss::QueueFull; 2]);
}
