//! The promise: a publisher is acknowledged when the gateway has acknowledged, and not before.

use crate::harness::*;
use hearthgate_domain::delivery::QoS;
use hearthgate_mqtt::link::{LinkSubscription, SenderEvent};

#[test]
fn a_publisher_is_acknowledged_only_after_the_gateway_and_in_order() {
    let broker = start_with(options(), Gateway::Held);
    let mut publisher = broker.v4("p");
    for id in 1..=5 {
        publisher.publish(2, "a/b", id, "x");
    }
    let messages = broker.gateway_messages(5);
    publisher.expect_nothing();
    broker.handle.acknowledge(messages[2].0);
    for id in 1..=3 {
        publisher.expect_acknowledgement(4, id);
    }
    publisher.expect_nothing();
    broker.handle.acknowledge(messages[4].0);
    publisher.expect_acknowledgement(4, 4);
    publisher.expect_acknowledgement(4, 5);
}

#[test]
fn each_publisher_gets_its_own_acknowledgements() {
    let broker = start_with(options(), Gateway::Held);
    let (mut first, mut second) = (broker.v4("first"), broker.v5("second"));
    first.publish(2, "a", 1, "x");
    broker.gateway_messages(1);
    second.publish(2, "a", 9, "x");
    broker.gateway_messages(2);
    first.publish(2, "a", 2, "x");
    let messages = broker.gateway_messages(3);
    broker.handle.acknowledge(messages[1].0);
    first.expect_acknowledgement(4, 1);
    second.expect_acknowledgement(4, 9);
    first.expect_nothing();
    broker.handle.acknowledge(messages[2].0);
    first.expect_acknowledgement(4, 2);
}

#[test]
fn what_the_gateway_does_not_want_is_acknowledged_at_once() {
    let broker = start_with(options(), Gateway::Absent);
    broker.handle.subscribe_exactly(vec![LinkSubscription { filter: "wanted/#".into(), qos: QoS::AtLeastOnce }]);
    let mut publisher = broker.v5("p");
    publisher.publish(2, "other", 1, "x");
    publisher.expect_acknowledgement(4, 1);
    assert!(broker.received.lock().unwrap().is_empty());
}

#[test]
fn clients_are_served_while_the_gateway_does_not_know_what_it_wants_and_their_messages_wait() {
    let broker = start_with(options(), Gateway::Undecided);
    let mut publisher = broker.v4("p");
    assert_eq!(publisher.subscribe("a", 1), 1);
    let will = Some((0, "will".to_owned(), b"gone".to_vec(), Vec::new()));
    drop(broker.connect(&Connect { id: "lost".into(), will, ..Connect::v4() }).0);
    publisher.publish(2, "a", 1, "x");
    publisher.send(&[0xc0, 0]);
    publisher.expect(&[0xd0, 0]);
    publisher.expect_nothing();
    broker.handle.subscribe_exactly(vec![LinkSubscription { filter: "#".into(), qos: QoS::ExactlyOnce }]);
    let message = publisher.message();
    assert_eq!((message.topic.as_str(), message.text()), ("a", "x"));
    publisher.acknowledge(4, message.id);
    publisher.expect_acknowledgement(4, 1);
    let messages = broker.gateway_messages(2);
    let topics: std::collections::BTreeSet<&str> = messages.iter().map(|(_, message)| &*message.topic).collect();
    assert_eq!(topics.into_iter().collect::<Vec<_>>(), ["a", "will"]);
}

#[test]
fn a_qos_2_message_reaches_the_gateway_once_and_pubrec_waits_for_it() {
    let broker = start_with(options(), Gateway::Held);
    let mut publisher = broker.v4("p");
    publisher.publish(4, "a", 7, "x");
    publisher.publish(12, "a", 7, "x");
    let messages = broker.gateway_messages(1);
    publisher.expect_nothing();
    broker.handle.acknowledge(messages[0].0);
    publisher.expect_acknowledgement(5, 7);
    publisher.expect_acknowledgement(5, 7);
    publisher.acknowledge(6, 7);
    publisher.expect_acknowledgement(7, 7);
    assert_eq!(broker.gateway_messages(1).len(), 1);
    publisher.publish(4, "a", 7, "another");
    assert_eq!(broker.gateway_messages(2).len(), 2);
}

#[test]
fn a_redelivery_carries_the_same_origin_with_dup() {
    let broker = start_with(options(), Gateway::Held);
    let mut publisher = broker.v4("sensor");
    publisher.publish(2, "a", 3, "x");
    broker.gateway_messages(1);
    drop(publisher);
    let mut publisher = broker.v4("sensor");
    publisher.publish(10, "a", 3, "x");
    let messages = broker.gateway_messages(2);
    let (first, second) = (messages[0].1.origin.unwrap(), messages[1].1.origin.unwrap());
    assert_eq!((first.session, first.packet_id), (second.session, second.packet_id));
    assert_eq!((first.dup, second.dup), (false, true));
    assert_eq!(messages[1].0.number, messages[0].0.number + 1);
}

#[test]
fn the_gateway_is_told_where_a_publisher_begins_on_each_connection() {
    let broker = start_with(options(), Gateway::Prompt);
    let (mut first, mut second) = (broker.v4("first"), broker.v5("second"));
    first.publish(2, "a", 1, "x"); // ticket 1
    broker.gateway_messages(1);
    second.publish(0, "a", 0, "x"); // ticket 2, QoS 0
    broker.gateway_messages(2);
    second.publish(2, "a", 1, "x"); // ticket 3
    broker.gateway_messages(3);
    first.publish(2, "a", 2, "x"); // ticket 4
    broker.gateway_messages(4);
    drop(first);
    let mut first = broker.v4("first");
    first.publish(10, "a", 2, "x"); // ticket 5
    first.publish(2, "a", 3, "x"); // ticket 6
    broker.gateway_messages(6);
    let news = broker.news.lock().unwrap().clone();
    assert_eq!(news, [1, 3, 5].map(|ticket| (ticket, SenderEvent::Connected)));
}

#[test]
fn other_subscribers_do_not_wait_for_the_gateway() {
    let broker = start_with(options(), Gateway::Held);
    let mut subscriber = broker.v4("s");
    subscriber.subscribe("a", 0);
    let mut publisher = broker.v4("p");
    publisher.publish(2, "a", 1, "x");
    assert_eq!(subscriber.message().text(), "x");
    publisher.expect_nothing();
}

#[test]
fn qos_0_has_a_ticket_and_no_origin() {
    let broker = start_with(options(), Gateway::Prompt);
    let mut publisher = broker.v4("p");
    publisher.publish(0, "a", 0, "x");
    publisher.publish(2, "a", 1, "y");
    let messages = broker.gateway_messages(2);
    assert_eq!((messages[0].0.number, messages[1].0.number), (1, 2));
    assert!(messages[0].1.origin.is_none() && messages[1].1.origin.is_some());
    publisher.expect_acknowledgement(4, 1);
}

#[test]
fn a_gateway_that_does_not_keep_up_stops_publishers_and_loses_nothing() {
    let mut options = options();
    options.limits.max_unacknowledged_bytes = 256 * 1024;
    let broker = start_with(options, Gateway::Held);
    let mut publisher = broker.v4("p");
    let mut sender = publisher.stream.try_clone().unwrap();
    let count = 20_000u32;
    let packets: Vec<u8> = (0..count)
        .flat_map(|number| {
            publisher.publish_bytes(2, "a/b", (number % 60_000 + 1) as u16, format!("{number:0>900}").as_bytes(), &[])
        })
        .collect();
    let sending = std::thread::spawn(move || std::io::Write::write_all(&mut sender, &packets));
    broker.gateway_messages(200);
    std::thread::sleep(SILENCE);
    let held = broker.received.lock().unwrap().len();
    assert!(held < 1_000, "{held} messages were handed over without an acknowledgement");
    // Others are served meanwhile.
    let mut other = broker.v5("other");
    other.expect_nothing();
    let mut seen = 0;
    while seen < count as usize {
        let messages = broker.gateway_messages(seen + 1);
        seen = messages.len();
        broker.handle.acknowledge(messages[seen - 1].0);
    }
    sending.join().unwrap().unwrap();
    for number in 0..count {
        publisher.expect_acknowledgement(4, (number % 60_000 + 1) as u16);
    }
    let messages = broker.gateway_messages(count as usize);
    assert!(messages.iter().enumerate().all(|(number, (_, message))| message.payload == format!("{number:0>900}")));
}

#[test]
fn a_publisher_that_is_not_read_is_not_blamed_for_its_silence() {
    let mut options = options();
    options.limits.max_unacknowledged_bytes = 64 * 1024;
    let broker = start_with(options, Gateway::Held);
    let (mut publisher, _) = broker.connect(&Connect { keep_alive: 1, ..Connect::v4() });
    let payload = vec![b'x'; 60_000];
    publisher.publish(2, "a", 1, &payload);
    publisher.publish(2, "a", 2, &payload);
    publisher.publish(2, "a", 3, &payload);
    // Longer than one and a half keep-alives.
    assert_eq!(publisher.next(std::time::Duration::from_millis(2500)), Ok(None));
    let mut acknowledged = 0;
    while acknowledged < 3 {
        let messages = broker.gateway_messages(acknowledged + 1);
        acknowledged = messages.len();
        broker.handle.acknowledge(messages[acknowledged - 1].0);
    }
    for id in 1..=3 {
        publisher.expect_acknowledgement(4, id);
    }
}

#[test]
fn the_gateway_gets_retained_messages_when_it_wants_their_topic() {
    let broker = start_with(options(), Gateway::Absent);
    let mut publisher = broker.v4("p");
    publisher.publish(3, "state/a", 1, "on");
    publisher.expect_acknowledgement(4, 1);
    broker.handle.subscribe_exactly(vec![LinkSubscription { filter: "state/#".into(), qos: QoS::AtLeastOnce }]);
    let messages = broker.gateway_messages(1);
    assert!(messages[0].1.retain);
    assert_eq!((&*messages[0].1.topic, &*messages[0].1.payload), ("state/a", b"on".as_slice()));
    publisher.publish(3, "state/a", 2, "off");
    assert!(!broker.gateway_messages(2)[1].1.retain, "a live message has no retain flag");
}

#[test]
fn what_the_gateway_publishes_reaches_subscribers_and_is_retained() {
    let broker = start();
    let mut subscriber = broker.v5("s");
    subscriber.subscribe("out/#", 1);
    let message = hearthgate_domain::delivery::OutboundMessage {
        topic: "out/x".into(),
        payload: "hello".into(),
        qos: QoS::AtLeastOnce,
        retain: true,
    };
    broker.handle.publish(vec![message]).unwrap();
    let live = subscriber.message_acknowledged();
    assert_eq!((live.text(), live.qos, live.retain), ("hello", 1, false));
    let mut late = broker.v4("late");
    late.subscribe("out/x", 0);
    assert!(late.message().retain);
}

#[test]
fn the_gateway_is_told_what_a_publisher_has_let_go_of_and_when_nothing_more_comes() {
    let broker = start_with(options(), Gateway::Prompt);
    let mut publisher = broker.v4("p");
    publisher.publish(4, "a", 1, "x"); // ticket 1
    publisher.expect_acknowledgement(5, 1);
    publisher.acknowledge(6, 1);
    publisher.expect_acknowledgement(7, 1);
    publisher.publish(2, "a", 2, "x"); // ticket 2
    publisher.expect_acknowledgement(4, 2);
    publisher.disconnect();
    broker.v4("another").publish(2, "a", 1, "x"); // ticket 3
    broker.gateway_messages(3);
    let news = broker.news.lock().unwrap().clone();
    let released = SenderEvent::Released { packet_id: 1 };
    let (connected, gone) = (SenderEvent::Connected, SenderEvent::Gone);
    assert_eq!(news, [(1, connected), (2, released), (3, gone), (3, connected)]);
}

#[test]
fn a_client_whose_message_waits_for_room_is_heard_all_the_same() {
    let mut options = options();
    options.limits.max_unacknowledged_bytes = 64 * 1024;
    let broker = start_with(options, Gateway::Held);
    let mut publisher = broker.v4("publisher");
    let payload = vec![b'x'; 60_000];
    for id in 1..=3 {
        publisher.publish(2, "a", id, &payload);
    }
    publisher.send(&[0xc0, 0]);
    publisher.expect(&[0xd0, 0]);
    while broker.gateway_messages(1).len() < 3 {
        let messages = broker.gateway_messages(1);
        broker.handle.acknowledge(messages[messages.len() - 1].0);
    }
    let messages = broker.gateway_messages(3);
    broker.handle.acknowledge(messages[2].0);
    for id in 1..=3 {
        publisher.expect_acknowledgement(4, id);
    }
}
