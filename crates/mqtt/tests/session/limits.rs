//! Sizes and memory.

use crate::broker::Mosquitto;
use crate::gateway::{BOTH, Gateway, lines, options};
use hearthgate_domain::delivery::QoS;
use hearthgate_mqtt::session::{ProtocolVersion, SessionEnd};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_messages_pass_and_a_too_large_one_is_let_go_without_a_reconnect() {
    for protocol in BOTH {
        let broker = Mosquitto::start();
        for (topic, size) in [("a/20k", 20 << 10), ("a/900k", 900 << 10), ("a/huge", 3 << 20)] {
            broker.publish_with(topic, &vec![b'x'; size], &["-s", "-q", "1", "-r"]);
        }
        let mut gateway = Gateway::subscribed(options(broker.port, protocol), &["a/#"]).await;
        let connection = gateway.connected;
        gateway.until_messages(2).await;
        for (topic, size) in [("a/20k", 20 << 10), ("a/huge", 3 << 20), ("a/900k", 900 << 10)] {
            broker.publish_with(topic, &vec![b'y'; size], &["-s", "-q", "1"]);
        }
        gateway.until_messages(4).await;
        gateway.acknowledge_all().await;
        let mut found: Vec<(&str, usize, bool)> =
            gateway.messages.iter().map(|it| (&*it.topic, it.payload.len(), it.retain)).collect();
        found.sort_unstable();
        let (small, large) = (20 << 10, 900 << 10);
        assert_eq!(
            found,
            [("a/20k", small, false), ("a/20k", small, true), ("a/900k", large, false), ("a/900k", large, true)]
        );
        if protocol == ProtocolVersion::V3 {
            assert_eq!(gateway.dropped.len(), 1, "reported once for the topic: {:?}", gateway.dropped);
            assert!(gateway.dropped[0].1.contains("max_incoming_packet"), "{:?}", gateway.dropped);
            let kept: Vec<(&str, u8)> = gateway.unusable.iter().map(|it| (&*it.topic, it.payload[0])).collect();
            assert_eq!(kept, [("a/huge", b'x'), ("a/huge", b'y')], "each is handed over with its first bytes");
        }
        assert_eq!(gateway.connected, connection, "no reconnect: {:?}", gateway.reasons);

        gateway.close().await;
        let mut next = Gateway::subscribed(options(broker.port, protocol), &["a/#"]).await;
        broker.publish("a/end", &lines("end", 1));
        next.until("the end", |it| it.messages.iter().any(|it| &*it.topic == "a/end")).await;
        assert!(next.messages.iter().all(|it| &*it.topic != "a/huge"), "the broker has it acknowledged");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_over_the_brokers_limit_is_reported_and_the_others_are_published() {
    let broker = Mosquitto::start_with("allow_anonymous true\nmax_packet_size 50000\n", "");
    let subscriber = broker.subscriber("out", 1);
    let mut gateway = Gateway::start(options(broker.port, ProtocolVersion::V5), &[]);
    gateway.publish("out", &["before".into(), "x".repeat(60_000), "after".into()], QoS::AtLeastOnce);
    assert_eq!(subscriber.payloads(2).await, ["before", "after"]);
    gateway.until("reported", |it| !it.dropped.is_empty()).await;
    assert!(gateway.dropped[0].1.contains("50000"), "{:?}", gateway.dropped);
    assert!(gateway.reasons.is_empty(), "no reconnect: {:?}", gateway.reasons);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reading_stops_when_too_much_is_unacknowledged_and_the_connection_stays() {
    for protocol in BOTH {
        let broker = Mosquitto::start();
        let mut options = options(broker.port, protocol);
        options.max_unacknowledged_bytes = 200_000;
        options.keep_alive = Duration::from_secs(6);
        let mut gateway = Gateway::subscribed(options, &["a"]).await;
        let connection = gateway.connected;
        let payload = "x".repeat(10_000);
        let all: Vec<String> = (0..2_000).map(|number| format!("{number}-{payload}")).collect();
        broker.publish("a", &all);
        gateway.until("the limit", |it| it.messages.len() >= 20).await;
        // Longer than one and a half times the keep-alive: without pings the broker would part from us.
        tokio::time::sleep(Duration::from_secs(10)).await;
        while gateway.messages.len() < all.len() {
            let (before, seen) = (gateway.last.number, gateway.messages.len());
            gateway.handle.acknowledge(gateway.last);
            gateway.until("more messages", |it| it.messages.len() > seen).await;
            assert_eq!(gateway.connected, connection, "{:?}", gateway.reasons);
            let bytes = (gateway.last.number - before) * 10_000;
            assert!(bytes < 1_000_000, "{bytes} bytes came beyond the acknowledged ones");
        }
        assert_eq!(gateway.payloads(), all);
        assert_ne!(gateway.close().await, SessionEnd::Abandoned);
    }
}
