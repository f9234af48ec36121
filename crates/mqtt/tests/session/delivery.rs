//! Acknowledgements, redelivery and confirmation.

use crate::broker::Mosquitto;
use crate::gateway::{BOTH, Gateway, lines, options};
use crate::proxy::Proxy;
use hearthgate_domain::delivery::{InboundMessage, QoS};
use hearthgate_mqtt::link::DeliveryTag;
use hearthgate_mqtt::session::{KnownBroker, SessionEnd};

const PUBACK: u8 = 4;
const PUBREC: u8 = 5;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledgements_go_out_in_order_of_arrival_and_never_before_they_are_allowed() {
    for protocol in BOTH {
        let broker = Mosquitto::start();
        let proxy = Proxy::start(broker.port).await;
        let mut gateway = Gateway::subscribed(options(proxy.port, protocol), &["a/#"]).await;
        broker.publish("a/b", &lines("m", 300));
        gateway.until_messages(300).await;
        assert_eq!(gateway.payloads(), lines("m", 300));
        assert!(proxy.sent(PUBACK).is_empty(), "nothing was allowed yet");

        gateway.handle.acknowledge(DeliveryTag { number: 120, ..gateway.last });
        gateway.until("120 confirmed", |it| it.confirmed.number == 120).await;
        let ids: Vec<u16> = gateway.messages.iter().map(|it| it.origin.unwrap().packet_id).collect();
        assert_eq!(proxy.sent(PUBACK), ids[..120]);

        gateway.acknowledge_all().await;
        assert_eq!(proxy.sent(PUBACK), ids);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_cut_exactly_the_unacknowledged_come_again_and_are_recognisable() {
    for protocol in BOTH {
        let broker = Mosquitto::start();
        let proxy = Proxy::start(broker.port).await;
        let mut gateway = Gateway::subscribed(options(proxy.port, protocol), &["a/#"]).await;
        broker.publish("a/b", &lines("m", 10));
        gateway.until_messages(10).await;
        let (session, connection) = (gateway.session, gateway.connected);
        gateway.handle.acknowledge(DeliveryTag { number: 4, ..gateway.last });
        gateway.until("4 confirmed", |it| it.confirmed.number == 4).await;

        let stale = gateway.last;
        proxy.cut();
        gateway.until_messages(16).await;
        assert!(gateway.session_present && gateway.connected > connection);
        assert_eq!(gateway.session, session, "the session is the same one");
        assert_eq!(gateway.payloads()[10..], lines("m", 10)[4..]);
        for (first, again) in gateway.messages[4..10].iter().zip(&gateway.messages[10..]) {
            let (first, again) = (first.origin.unwrap(), again.origin.unwrap());
            assert_eq!((first.session, first.packet_id, true), (again.session, again.packet_id, again.dup));
        }

        // An acknowledgement for the connection before is void: with it the six would be gone.
        gateway.handle.acknowledge(stale);
        proxy.cut();
        gateway.until_messages(22).await;
        gateway.acknowledge_all().await;
        assert_eq!(gateway.close().await, SessionEnd::Closed { unpublished: 0 });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_is_the_same_one_for_the_next_run_and_a_new_one_when_the_broker_forgot_it() {
    for protocol in BOTH {
        let mut broker = Mosquitto::start_with("allow_anonymous true\npersistence false\n", "");
        let mut first = Gateway::subscribed(options(broker.port, protocol), &["a"]).await;
        broker.publish("a", &lines("m", 2));
        first.until_messages(2).await;
        let session = first.session;
        first.close().await;

        let mut again = options(broker.port, protocol);
        again.known = vec![KnownBroker { session, filters: vec!["a".into()] }];
        let mut second = Gateway::subscribed(again, &["a"]).await;
        second.until_messages(2).await;
        assert!(second.session_present);
        assert_eq!(second.session, session);
        assert!(second.messages.iter().all(|it| it.origin.unwrap().session == session));

        broker.stop();
        broker.resume();
        second.until("a new session", |it| it.session != session && !it.session_present).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_qos_2_message_comes_once_even_when_its_pubrec_is_lost() {
    for protocol in BOTH {
        let broker = Mosquitto::start();
        let proxy = Proxy::start(broker.port).await;
        let mut gateway = Gateway::subscribed(options(proxy.port, protocol), &["a"]).await;
        for round in 0..5 {
            broker.publish_with("a", format!("m{round}").as_bytes(), &["-s", "-q", "2"]);
            gateway.until_messages(round + 1).await;
            gateway.handle.acknowledge(gateway.last);
            proxy.cut();
            gateway.until("reconnected", |it| it.connected > it.last.connection).await;
        }
        broker.publish_with("a", b"end", &["-s", "-q", "2"]);
        gateway.until("the end", |it| it.payloads().last().is_some_and(|it| it == "end")).await;
        gateway.acknowledge_all().await;
        // The cut may come before or after the PUBREC. Without it the message comes again and says so; with it, never.
        let mut firsts: Vec<&InboundMessage> = Vec::new();
        for message in &gateway.messages {
            let Some(first) = firsts.iter().find(|it| it.payload == message.payload) else {
                firsts.push(message);
                continue;
            };
            let (first, again) = (first.origin.unwrap(), message.origin.unwrap());
            assert_eq!((first.session, first.packet_id, true), (again.session, again.packet_id, again.dup));
        }
        let payloads: Vec<&[u8]> = firsts.iter().map(|it| &it.payload[..]).collect();
        assert_eq!(payloads, [&b"m0"[..], b"m1", b"m2", b"m3", b"m4", b"end"]);
        assert!(!proxy.sent(PUBREC).is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_we_publish_arrives_once_in_order_although_connections_are_cut() {
    for (protocol, qos) in BOTH.into_iter().flat_map(|it| [(it, QoS::AtLeastOnce), (it, QoS::ExactlyOnce)]) {
        let broker = Mosquitto::start();
        let proxy = Proxy::start(broker.port).await;
        let subscriber = broker.subscriber("out/#", 2);
        let mut gateway = Gateway::start(options(proxy.port, protocol), &[]);
        for round in 0..5 {
            let connected = gateway.connected;
            gateway.until("connected", |it| it.connected > connected).await;
            gateway.publish("out/x", &lines(&format!("r{round}-"), 200), qos);
            proxy.cut();
        }
        let expected: Vec<String> = (0..5).flat_map(|round| lines(&format!("r{round}-"), 200)).collect();
        while subscriber.payloads(1).await.last() != expected.last() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        assert_eq!(gateway.close().await, SessionEnd::Closed { unpublished: 0 });
        gateway_has_published(&subscriber.payloads(1).await, &expected, qos);
    }
}

/// At QoS 1 a message may come twice when its acknowledgement was cut off; its first coming keeps the order.
fn gateway_has_published(found: &[String], expected: &[String], qos: QoS) {
    let mut seen = std::collections::HashSet::new();
    let firsts: Vec<&String> = found.iter().filter(|it| seen.insert(it.as_str())).collect();
    assert_eq!(firsts, expected.iter().collect::<Vec<_>>());
    if qos == QoS::ExactlyOnce {
        assert_eq!(found.len(), expected.len(), "QoS 2 repeats nothing");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_orderly_end_publishes_what_was_handed_over_and_leaves_the_will_unsaid() {
    for protocol in BOTH {
        let broker = Mosquitto::start();
        let subscriber = broker.subscriber("out/#", 1);
        let mut options = options(broker.port, protocol);
        options.will = Some(hearthgate_mqtt::session::WillMessage {
            topic: "out/will".into(),
            payload: "will".into(),
            qos: QoS::AtLeastOnce,
            retain: false,
            delay: std::time::Duration::ZERO,
        });
        let mut gateway = Gateway::subscribed(options.clone(), &["a"]).await;
        broker.publish("a", &lines("m", 6));
        gateway.until_messages(6).await;
        gateway.handle.acknowledge(DeliveryTag { number: 2, ..gateway.last });
        gateway.publish("out/x", &lines("p", 50), QoS::AtLeastOnce);
        assert_eq!(gateway.close().await, SessionEnd::Closed { unpublished: 0 });

        let mut next = Gateway::subscribed(options, &["a"]).await;
        next.until_messages(4).await;
        assert_eq!(next.payloads(), lines("m", 6)[2..], "what was acknowledged is gone, the rest comes again");
        broker.publish("out/end", &lines("end", 1));
        let mut expected = lines("p", 50);
        expected.push("end0".into());
        assert_eq!(subscriber.payloads(51).await, expected);
    }
}
