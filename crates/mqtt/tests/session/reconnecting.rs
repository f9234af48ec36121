//! Broker restarts, lost sessions, subscriptions, and clients that fight over a name.

use crate::broker::{Mosquitto, free_port};
use crate::gateway::{BOTH, Gateway, lines, options};
use hearthgate_domain::delivery::{QoS, SubscriptionIds};
use hearthgate_mqtt::link::subscription_identifier;
use hearthgate_mqtt::session::{
    BrokerAddress, BrokerCredentials, BrokerServer, KnownBroker, ProtocolVersion, SessionOptions,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_broker_that_forgot_us_gets_all_subscriptions_again() {
    for protocol in BOTH {
        let mut broker = Mosquitto::start_with("allow_anonymous true\npersistence false\n", "");
        let names: Vec<String> = (0..500).map(|it| format!("a/{it}/+")).collect();
        let filters: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut gateway = Gateway::subscribed(options(broker.port, protocol), &filters).await;
        broker.stop();
        gateway.until("disconnected", |it| !it.reasons.is_empty()).await;
        gateway.publish("a/7/out", &lines("kept", 3), QoS::AtLeastOnce);
        gateway.held.clear();
        broker.resume();
        gateway.until("subscribed again", |it| it.held.len() == 500).await;
        broker.publish("a/499/x", &lines("m", 1));
        gateway.until("a message", |it| it.payloads().contains(&"m0".to_owned())).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_broker_with_our_session_delivers_what_came_meanwhile() {
    for protocol in BOTH {
        let mut broker = Mosquitto::start();
        let mut gateway = Gateway::subscribed(options(broker.port, protocol), &["a"]).await;
        broker.publish("a", &lines("before", 5));
        gateway.until_messages(5).await;
        broker.stop();
        broker.resume();
        gateway.until_messages(10).await;
        assert_eq!(gateway.payloads()[5..], lines("before", 5), "unacknowledged, so they come again");
        broker.publish("a", &lines("after", 5));
        gateway.until_messages(15).await;
        gateway.acknowledge_all().await;
        assert!(gateway.session_present);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_difference_is_subscribed_and_left_overs_of_an_earlier_run_go() {
    for protocol in BOTH {
        let broker = Mosquitto::start();
        let first = Gateway::subscribed(options(broker.port, protocol), &["a", "b", "old"]).await;
        let (held, session) = (first.held.clone(), first.session);
        first.close().await;

        let mut again = options(broker.port, protocol);
        again.known = vec![KnownBroker { session, filters: held }];
        let mut second = Gateway::subscribed(again, &["a", "c"]).await;
        assert!(second.session_present);
        for topic in ["old", "b", "a", "c"] {
            broker.publish(topic, &lines(topic, 1));
        }
        second.until_messages(2).await;
        assert_eq!(second.payloads(), ["a0", "c0"]);

        second.subscribe(&["c", "d"]);
        second.until("c and d", |it| it.held == ["c", "d"]).await;
        for topic in ["a", "d"] {
            broker.publish(topic, &lines(topic, 1));
        }
        second.until_messages(3).await;
        assert_eq!(second.payloads(), ["a0", "c0", "d0"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shared_subscription_passes_through() {
    let broker = Mosquitto::start();
    let mut gateway = Gateway::subscribed(options(broker.port, ProtocolVersion::V5), &["$share/home/a/#"]).await;
    broker.publish("a/b", &lines("m", 3));
    gateway.until_messages(3).await;
}

/// Accepts one client and answers its SUBSCRIBE (packet identifier 1) with these bytes.
async fn answering(connack: &'static [u8], suback: &'static [u8]) -> (u16, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (port, mut task) = (listener.local_addr().unwrap().port(), JoinSet::new());
    task.spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        let mut bytes = [0; 1024];
        assert!(client.read(&mut bytes).await.unwrap() > 0);
        client.write_all(connack).await.unwrap();
        assert!(client.read(&mut bytes).await.unwrap() > 0);
        client.write_all(suback).await.unwrap();
        while client.read(&mut bytes).await.is_ok_and(|count| count > 0) {}
    });
    (port, task)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_filter_that_the_broker_refuses_is_reported_and_the_others_stand() {
    let v3 = answering(&[0x20, 2, 0, 0], &[0x90, 4, 0, 1, 0x80, 1]).await;
    // Without subscription identifiers, so both filters are in one packet.
    let v5 = answering(&[0x20, 5, 0, 0, 2, 0x29, 0], &[0x90, 5, 0, 1, 0, 0x87, 1]).await;
    for (protocol, (port, _broker), words) in
        [(ProtocolVersion::V3, v3, "refused"), (ProtocolVersion::V5, v5, "not authorized")]
    {
        let mut gateway = Gateway::start(options(port, protocol), &["secret", "a"]);
        gateway.until("an answer", |it| it.held == ["a"]).await;
        assert_eq!(gateway.refused.len(), 1, "{:?}", gateway.reasons);
        assert_eq!(gateway.refused[0].0, "secret");
        assert!(gateway.refused[0].1.contains(words), "{:?}", gateway.refused);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_copy_of_a_message_says_by_which_subscription_it_came() {
    let broker = Mosquitto::start();
    let mut gateway =
        Gateway::subscribed(options(broker.port, ProtocolVersion::V5), &["a/#", "a/b", "$share/g/+/b"]).await;
    broker.publish("a/b", &lines("m", 1));
    gateway.until_messages(3).await;
    for filter in ["a/#", "a/b", "$share/g/+/b"] {
        let identifier = subscription_identifier(filter);
        let copies =
            gateway.messages.iter().filter(|it| it.via != SubscriptionIds::Any && it.via.includes(identifier)).count();
        assert_eq!(copies, 1, "{filter}: {:?}", gateway.messages);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_moves_to_another_broker_and_back_with_all_that_is_in_hand() {
    for protocol in BOTH {
        let (here, mut there) = (Mosquitto::start(), Mosquitto::start());
        let mut options = options(here.port, protocol);
        let (orders, moves) = watch::channel(address(&options, here.port));
        options.moves = Some(moves);
        let mut gateway = Gateway::subscribed(options.clone(), &["a"]).await;
        let first = gateway.session;
        here.publish("a", &lines("here", 3));
        gateway.until_messages(3).await;
        // Three messages are in hand: it leaves only when they are acknowledged.
        orders.send_replace(address(&options, there.port));
        gateway.acknowledge_all().await;
        gateway.held.clear();
        gateway.until("subscribed there", |it| it.session != first && it.held == ["a"]).await;
        assert!(gateway.reasons.iter().any(|it| it.contains("moving from")), "{:?}", gateway.reasons);
        there.publish("a", &lines("there", 2));
        here.publish("a", &lines("meanwhile", 1));
        gateway.until_messages(5).await;
        gateway.acknowledge_all().await;
        // What is published while neither broker can be had goes to the next one.
        let mut watcher = Gateway::subscribed(other(&options, here.port), &["out"]).await;
        let disconnects = gateway.reasons.len();
        there.stop();
        gateway.until("disconnected", |it| it.reasons.len() > disconnects).await;
        gateway.publish("out", &lines("kept", 3), QoS::AtLeastOnce);
        orders.send_replace(address(&options, here.port));
        gateway.until("back", |it| it.session == first).await;
        assert!(gateway.session_present);
        gateway.until_messages(6).await;
        let expected = [lines("here", 3), lines("there", 2), lines("meanwhile", 1)].concat();
        assert_eq!(gateway.payloads(), expected, "each once: here it was acknowledged before leaving");
        watcher.until_messages(3).await;
        assert_eq!(watcher.payloads(), lines("kept", 3));
    }
}

fn address(options: &SessionOptions, port: u16) -> BrokerAddress {
    let server = BrokerServer::Tcp { host: "127.0.0.1".into(), port };
    BrokerAddress { server, credentials: options.credentials.clone() }
}

fn other(options: &SessionOptions, port: u16) -> SessionOptions {
    SessionOptions {
        server: BrokerServer::Tcp { host: "127.0.0.1".into(), port },
        client_id: "watcher".into(),
        moves: None,
        ..options.clone()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_gateways_with_one_client_id_are_told_so() {
    for protocol in BOTH {
        let broker = Mosquitto::start();
        let mut first = Gateway::start(options(broker.port, protocol), &[]);
        let _second = Gateway::start(options(broker.port, protocol), &[]);
        first.until("recognised", |it| it.reasons.iter().any(|it| it.contains("client id `gateway` too"))).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_reason_that_an_mqtt_5_broker_gives_is_passed_on() {
    let (port, _broker) = answering(&[0x20, 3, 0, 0, 0], &[0xe0, 2, 0x8e, 0]).await;
    let mut gateway = Gateway::start(options(port, ProtocolVersion::V5), &["a"]);
    gateway.until("disconnected", |it| !it.reasons.is_empty()).await;
    assert!(gateway.reasons[0].contains("took the session over"), "{:?}", gateway.reasons);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_is_reported_as_such_and_tried_again() {
    for protocol in BOTH {
        let mut broker = Mosquitto::start_with("allow_anonymous false\n", "");
        let mut options = options(broker.port, protocol);
        options.credentials = Some(BrokerCredentials { username: "me".into(), password: "wrong".into() });
        let mut gateway = Gateway::start(options, &[]);
        gateway.until("two refusals", |it| it.reasons.len() >= 2).await;
        assert!(gateway.reasons[0].contains("not authorized"), "{:?}", gateway.reasons);
        broker.stop();
        broker.configure("allow_anonymous true\n", "");
        broker.resume();
        gateway.until("connected", |it| it.connected > 0).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_not_there_is_named() {
    let port = free_port();
    let mut gateway = Gateway::start(options(port, ProtocolVersion::V5), &[]);
    gateway.until("two failures", |it| it.reasons.len() >= 2).await;
    assert!(gateway.reasons[0].contains(&format!("mqtt://127.0.0.1:{port}")), "{:?}", gateway.reasons);
    gateway.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_broker_kept_while_nobody_was_connected_is_told_from_what_comes_later() {
    for protocol in BOTH {
        let broker = Mosquitto::start();
        Gateway::subscribed(options(broker.port, protocol), &["a"]).await.close().await;
        broker.publish("a", &lines("kept", 50));
        let mut gateway = Gateway::start(options(broker.port, protocol), &["a"]);
        while gateway.messages.len() < 50 {
            let seen = gateway.messages.len();
            gateway.until("more of what was kept", |it| it.messages.len() > seen).await;
            gateway.handle.acknowledge(gateway.last);
        }
        gateway.acknowledge_all().await;
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        broker.publish("a", &lines("new", 1));
        gateway.until_messages(51).await;
        let (new, kept) = gateway.messages.split_last().unwrap();
        assert!(kept.iter().all(|message| message.kept_since == Some(0)), "since when is not known to this run");
        assert_eq!(new.kept_since, None);
    }
}
