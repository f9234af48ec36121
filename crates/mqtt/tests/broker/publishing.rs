//! PUBLISH and SUBSCRIBE: QoS both ways, retained messages, options, properties.

use crate::harness::*;
use std::time::Duration;

const LEVELS: [u8; 2] = [4, 5];

fn client(broker: &Running, level: u8, id: &str) -> Client {
    broker.connect(&Connect { level, id: id.into(), ..Connect::v4() }).0
}

#[test]
fn each_qos_arrives_with_the_lower_of_published_and_granted() {
    let broker = start();
    for level in LEVELS {
        let (mut subscriber, mut publisher) = (client(&broker, level, "s"), client(&broker, level, "p"));
        for granted in 0..=2u8 {
            assert_eq!(subscriber.subscribe("t", granted), granted);
            for qos in 0..=2u8 {
                publisher.publish(qos << 1, "t", 5, "x");
                match qos {
                    0 => {}
                    1 => publisher.expect_acknowledgement(4, 5),
                    _ => {
                        publisher.expect_acknowledgement(5, 5);
                        publisher.acknowledge(6, 5);
                        publisher.expect_acknowledgement(7, 5);
                    }
                }
                let message = subscriber.message();
                assert_eq!(message.qos, qos.min(granted));
                match message.qos {
                    0 => {}
                    1 => subscriber.acknowledge(4, message.id),
                    _ => {
                        subscriber.acknowledge(5, message.id);
                        subscriber.expect_acknowledgement(6, message.id);
                        subscriber.acknowledge(7, message.id);
                    }
                }
            }
        }
        subscriber.expect_nothing();
    }
}

#[test]
fn an_unknown_pubrel_is_answered() {
    let broker = start();
    let mut four = broker.v4("4");
    four.acknowledge(6, 99);
    four.expect_acknowledgement(7, 99);
    let mut five = broker.v5("5");
    five.acknowledge(6, 99);
    five.expect(&[0x70, 3, 0, 99, 0x92]);
}

#[test]
fn retained_messages_are_kept_replaced_and_removed() {
    let broker = start();
    for level in LEVELS {
        let (mut publisher, mut subscriber) = (client(&broker, level, "p"), client(&broker, level, "s"));
        for payload in ["first", "last"] {
            publisher.publish(3, "r/a", 1, payload);
            publisher.expect_acknowledgement(4, 1);
        }
        subscriber.subscribe("r/#", 1);
        let message = subscriber.message_acknowledged();
        assert_eq!((message.text(), message.retain, message.qos), ("last", true, 1));
        publisher.publish(3, "r/a", 2, "");
        publisher.expect_acknowledgement(4, 2);
        let removal = subscriber.message_acknowledged();
        assert_eq!((removal.text(), removal.retain), ("", false), "live subscribers see the removal");
        subscriber.subscribe("r/#", 1);
        subscriber.expect_nothing();
    }
}

#[test]
fn retain_handling_decides_when_retained_messages_are_sent() {
    let broker = start();
    let mut publisher = broker.v5("p");
    publisher.publish(1, "r", 0, "kept");
    publisher.expect_nothing();
    let mut subscriber = broker.v5("s");
    subscriber.subscribe("r", 0x20);
    subscriber.expect_nothing();
    subscriber.subscribe("r", 0x10);
    subscriber.expect_nothing();
    subscriber.subscribe("r", 0x00);
    assert_eq!(subscriber.message().text(), "kept");
    subscriber.unsubscribe("r");
    subscriber.subscribe("r", 0x10);
    assert_eq!(subscriber.message().text(), "kept");
}

#[test]
fn retain_as_published_keeps_the_flag() {
    let broker = start();
    let (mut plain, mut faithful, mut publisher) = (broker.v5("plain"), broker.v5("faithful"), broker.v5("p"));
    plain.subscribe("r", 0);
    faithful.subscribe("r", 8);
    publisher.publish(1, "r", 0, "x");
    assert!(!plain.message().retain);
    assert!(faithful.message().retain);
}

#[test]
fn no_local_keeps_a_clients_own_messages_from_it() {
    let broker = start();
    let (mut own, mut other) = (broker.v5("own"), broker.v5("other"));
    own.subscribe("t", 4);
    other.subscribe("t", 0);
    own.publish(0, "t", 0, "mine");
    assert_eq!(other.message().text(), "mine");
    own.expect_nothing();
    other.publish(0, "t", 0, "theirs");
    assert_eq!(own.message().text(), "theirs");
}

#[test]
fn overlapping_subscriptions_deliver_once_with_the_highest_qos_and_all_identifiers() {
    let broker = start();
    let mut subscriber = broker.v5("s");
    subscriber.subscribe_with("a/#", 0, &[0x0b, 1]);
    subscriber.subscribe_with("a/+", 2, &[0x0b, 0x80, 0x01]);
    subscriber.subscribe_with("+/b", 1, &[]);
    let mut publisher = broker.v5("p");
    publisher.publish(2, "a/b", 1, "x");
    let message = subscriber.message_acknowledged();
    assert_eq!(message.qos, 1);
    assert!(has(&message.properties, &[0x0b, 1]) && has(&message.properties, &[0x0b, 0x80, 0x01]));
    subscriber.expect_nothing();
    let mut old = broker.v4("old");
    old.subscribe("a/#", 0);
    old.subscribe("a/b", 1);
    publisher.publish(2, "a/b", 2, "y");
    assert_eq!(old.message_acknowledged().qos, 1);
    old.expect_nothing();
}

#[test]
fn a_subscription_is_replaced_and_ended() {
    let broker = start();
    let mut subscriber = broker.v5("s");
    subscriber.subscribe_with("t", 0, &[0x0b, 1]);
    subscriber.subscribe_with("t", 0, &[0x0b, 2]);
    let mut publisher = broker.v5("p");
    publisher.publish(0, "t", 0, "x");
    assert_eq!(subscriber.message().properties, [0x0b, 2]);
    assert_eq!(subscriber.unsubscribe("t"), [0, 0]);
    assert_eq!(subscriber.unsubscribe("t"), [0, 0x11]);
    publisher.publish(0, "t", 0, "x");
    subscriber.expect_nothing();
    let mut old = broker.v4("old");
    old.subscribe("t", 0);
    assert!(old.unsubscribe("t").is_empty());
}

#[test]
fn refused_filters_have_their_codes_and_the_others_are_granted() {
    let broker = start();
    let mut five = broker.v5("5");
    assert_eq!(five.subscribe("a/#/b", 0), 0x8f);
    assert_eq!(five.subscribe("$share/g", 0), 0x8f);
    assert_eq!(five.subscribe(&"a/".repeat(200), 0), 0x8f, "no home has 200 levels");
    let mut four = broker.v4("4");
    let body = [vec![0, 1], text("good"), vec![1], text("ba#d"), vec![1], text("fine"), vec![2]].concat();
    four.send(&packet(0x82, &body));
    four.expect(&[0x90, 5, 0, 1, 1, 0x80, 2]);
}

#[test]
fn more_subscriptions_than_allowed_are_refused_by_quota() {
    let mut options = options();
    options.limits.max_subscriptions = 2;
    let broker = start_with(options, Gateway::Absent);
    let mut client = broker.v5("c");
    assert_eq!((client.subscribe("a", 0), client.subscribe("b", 0)), (0, 0));
    assert_eq!(client.subscribe("c", 0), 0x97);
    assert_eq!(client.subscribe("a", 1), 1, "a known one may change");
}

#[test]
fn dollar_topics_are_hidden_from_wildcards_and_not_published_by_clients() {
    let broker = start();
    for level in LEVELS {
        let (mut subscriber, mut publisher) = (client(&broker, level, "s"), client(&broker, level, "p"));
        subscriber.subscribe("#", 0);
        subscriber.subscribe("+/x", 0);
        subscriber.subscribe("$mine/x", 0);
        publisher.publish(2, "$mine/x", 1, "x");
        publisher.expect(if level == 5 { &[0x40, 3, 0, 1, 0x87] } else { &[0x40, 2, 0, 1] });
        publisher.publish(0, "$mine/x", 0, "x");
        publisher.expect_nothing();
        subscriber.expect_nothing();
        let message = hearthgate_domain::delivery::OutboundMessage {
            topic: "$mine/x".into(),
            payload: "gateway".into(),
            qos: hearthgate_domain::delivery::QoS::AtMostOnce,
            retain: false,
        };
        broker.handle.publish(vec![message]).unwrap();
        assert_eq!(subscriber.message().text(), "gateway");
        subscriber.expect_nothing();
    }
}

#[test]
fn properties_pass_through_unchanged() {
    let broker = start();
    let (mut subscriber, mut publisher, mut old) = (broker.v5("s"), broker.v5("p"), broker.v4("old"));
    subscriber.subscribe("t", 1);
    old.subscribe("t", 1);
    let properties = [
        vec![0x01, 1],
        property_text(0x03, "text/plain"),
        property_text(0x08, "reply/here"),
        [vec![0x09], binary(&[0, 1, 255])].concat(),
        [vec![0x26], text("k"), text("v1")].concat(),
        [vec![0x26], text("k"), text("v2")].concat(),
    ]
    .concat();
    publisher.publish_with(2, "t", 1, "grüße", &properties);
    assert_eq!(subscriber.message_acknowledged().properties, properties);
    assert_eq!(old.message_acknowledged().text(), "grüße");
    // With alias and expiry between them, which are the broker's business.
    let mixed = [property_u16(0x23, 3), properties.clone(), property_u32(0x02, 500)].concat();
    publisher.publish_with(2, "t", 2, "x", &mixed);
    let message = subscriber.message_acknowledged();
    assert!(has(&message.properties, &properties));
    assert!(has(&message.properties, &property_u32(0x02, 500)) && !has(&message.properties, &[0x23, 0]));
}

#[test]
fn a_payload_that_is_not_what_it_says_is_refused() {
    let broker = start();
    let mut client = broker.v5("c");
    client.publish_with(2, "t", 1, [0xff, 0xfe], &[0x01, 1]);
    client.expect(&[0x40, 3, 0, 1, 0x99]);
    client.publish_with(4, "t", 2, [0xff, 0xfe], &[0x01, 1]);
    client.expect(&[0x50, 3, 0, 2, 0x99]);
    client.publish_with(2, "t", 3, [0xff, 0xfe], &[0x01, 0]);
    client.expect_acknowledgement(4, 3);
    client.publish_with(0, "t", 0, [0xff], &[0x01, 1]);
    client.expect_end(0x99);
}

#[test]
fn topic_aliases_work_in_both_directions() {
    let broker = start();
    let connect = Connect { id: "s".into(), properties: property_u16(0x22, 1), ..Connect::v5() };
    let (mut subscriber, _) = broker.connect(&connect);
    subscriber.subscribe("t/#", 0);
    let mut publisher = broker.v5("p");
    publisher.publish_with(0, "t/1", 0, "a", &property_u16(0x23, 1));
    publisher.publish_with(0, "", 0, "b", &property_u16(0x23, 1));
    publisher.publish_with(0, "t/2", 0, "c", &property_u16(0x23, 1));
    publisher.publish_with(0, "", 0, "d", &property_u16(0x23, 1));
    let got: Vec<Message> = (0..4).map(|_| subscriber.message()).collect();
    assert_eq!(got.iter().map(Message::text).collect::<Vec<_>>(), ["a", "b", "c", "d"]);
    assert_eq!(got.iter().map(|message| &*message.topic).collect::<Vec<_>>(), ["t/1", "", "t/2", "t/2"]);
    assert_eq!(got[0].properties, property_u16(0x23, 1));
    assert_eq!(got[1].properties, property_u16(0x23, 1));
    assert!(got[2].properties.is_empty(), "the client takes one alias only");
}

#[test]
fn a_message_expires_while_it_waits_and_says_what_is_left() {
    let broker = start();
    let kept = Connect::kept(5, "s");
    let (mut subscriber, _) = broker.connect(&kept);
    subscriber.subscribe("t", 1);
    subscriber.disconnect();
    let mut publisher = broker.v5("p");
    publisher.publish_with(2, "t", 1, "short", &property_u32(0x02, 1));
    publisher.publish_with(2, "t", 2, "long", &property_u32(0x02, 100));
    publisher.publish_with(3, "t", 3, "kept", &property_u32(0x02, 1));
    for id in 1..=3 {
        publisher.expect_acknowledgement(4, id);
    }
    std::thread::sleep(Duration::from_millis(1100));
    let (mut subscriber, _) = broker.connect(&kept);
    let message = subscriber.message_acknowledged();
    assert_eq!(message.text(), "long");
    assert!(has(&message.properties, &property_u32(0x02, 99)), "{:?}", message.properties);
    subscriber.expect_nothing();
    subscriber.subscribe("t", 1);
    subscriber.expect_nothing();
}

#[test]
fn a_client_gets_no_more_than_its_receive_maximum_at_a_time() {
    let broker = start();
    let connect = Connect { id: "s".into(), properties: property_u16(0x21, 2), ..Connect::v5() };
    let (mut subscriber, _) = broker.connect(&connect);
    subscriber.subscribe("t", 2);
    let mut publisher = broker.v4("p");
    for id in 1..=5 {
        publisher.publish(2, "t", id, format!("{id}"));
        publisher.expect_acknowledgement(4, id);
    }
    let (first, second) = (subscriber.message(), subscriber.message());
    assert_eq!((first.text(), second.text()), ("1", "2"));
    subscriber.expect_nothing();
    subscriber.acknowledge(4, second.id);
    assert_eq!(subscriber.message().text(), "3");
    subscriber.expect_nothing();
    subscriber.acknowledge(4, first.id);
    assert_eq!(subscriber.message().text(), "4");
}

#[test]
fn a_message_larger_than_the_client_takes_is_not_sent_to_it() {
    let broker = start();
    let connect = Connect { id: "s".into(), properties: property_u32(0x27, 100), ..Connect::v5() };
    let (mut small, _) = broker.connect(&connect);
    let mut large = broker.v5("large");
    small.subscribe("t", 1);
    large.subscribe("t", 1);
    let mut publisher = broker.v5("p");
    publisher.publish(2, "t", 1, vec![b'x'; 200]);
    publisher.publish(2, "t", 2, "fits");
    assert_eq!(large.message_acknowledged().payload.len(), 200);
    assert_eq!(small.message_acknowledged().text(), "fits");
}

#[test]
fn those_who_are_away_do_not_take_the_room_of_those_who_read() {
    let mut options = options();
    options.limits.max_total_queued_bytes = 20_000;
    let broker = start_with(options, Gateway::Absent);
    let (mut away, _) = broker.connect(&Connect::kept(4, "away"));
    away.subscribe("t", 1);
    away.disconnect();
    let (mut reader, mut publisher) = (broker.v4("reader"), broker.v4("p"));
    reader.subscribe("t", 1);
    for id in 1..=50 {
        publisher.publish(2, "t", id, vec![b'x'; 1_000]);
        publisher.expect_acknowledgement(4, id);
        assert_eq!(reader.message_acknowledged().payload.len(), 1_000, "{id}");
    }
    let (mut away, _) = broker.connect(&Connect::kept(4, "away"));
    let mut waited = 0;
    while let Ok(Some((header, body))) = away.next(SILENCE) {
        let message = away.as_message(header, &body);
        away.acknowledge(4, message.id);
        waited += 1;
    }
    assert!((10..=20).contains(&waited), "{waited} waited for the one that was away");
}

#[test]
fn a_retained_message_for_which_there_is_no_room_takes_the_outdated_one_with_it() {
    let mut options = options();
    options.limits.max_retained_bytes = 1_000;
    let broker = start_with(options, Gateway::Absent);
    let mut publisher = broker.v5("p");
    for (id, size) in [(1, 10), (2, 2_000)] {
        publisher.publish(3, "state", id, vec![b'x'; size]);
        publisher.expect_acknowledgement(4, id);
        let mut late = broker.v5("late");
        late.subscribe("state", 0);
        if size == 10 {
            assert_eq!(late.message().payload.len(), 10);
        }
        late.expect_nothing();
    }
}

#[test]
fn a_slow_subscriber_neither_blocks_the_others_nor_takes_unbounded_memory() {
    let mut options = options();
    options.limits.max_queued_messages = 50;
    let broker = start_with(options, Gateway::Prompt);
    let mut slow = broker.v4("slow");
    slow.subscribe("t", 1);
    let mut quick = broker.v4("quick");
    quick.subscribe("t", 0);
    let mut publisher = broker.v4("p");
    let payload = vec![b'x'; 10_000];
    for id in 1..=5_000 {
        publisher.publish(2, "t", id, &payload);
        publisher.expect_acknowledgement(4, id);
        quick.message();
    }
    // It reads at last: what it gets is in order, and the broker serves it again.
    let mut last = 0;
    while let Ok(Some((header, body))) = slow.next(Duration::from_millis(500)) {
        let message = slow.as_message(header, &body);
        assert!(message.id > last);
        last = message.id;
        slow.acknowledge(4, message.id);
    }
    assert!((50..5_000).contains(&last), "{last}");
    publisher.publish(2, "t", 1, "again");
    assert_eq!(slow.message_acknowledged().text(), "again");
}
