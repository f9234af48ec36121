//! CONNECT, CONNACK, keep-alive, takeover.

use crate::harness::*;
use std::time::Duration;

fn refused(broker: &Running, connect: &Connect) -> u8 {
    let (mut client, connack) = broker.connect(connect);
    while let Ok(packet) = client.next(PATIENCE) {
        assert_eq!(packet, None, "nothing comes after a refusal but the end");
    }
    connack.code
}

#[test]
fn both_versions_connect_on_one_port() {
    let broker = start();
    let (_v4, connack) = broker.connect(&Connect::v4());
    assert_eq!((connack.code, connack.present), (0, false));
    let (_v5, connack) = broker.connect(&Connect { id: "five".into(), ..Connect::v5() });
    assert_eq!((connack.code, connack.present), (0, false));
    assert!(has(&connack.properties, &property_u16(0x22, 64)), "topic alias maximum");
    assert!(has(&connack.properties, &property_u32(0x27, 16 << 20)), "maximum packet size");
    assert!(has(&connack.properties, &property_u16(0x21, 4096)), "receive maximum");
}

#[test]
fn mqtt_3_1_connects_too() {
    let broker = start();
    let mut client = Client::open(broker.address, 3);
    client.send(b"\x10\x12\x00\x06MQIsdp\x03\x02\x00\x3c\x00\x04old1");
    client.expect(&[0x20, 2, 0, 0]);
}

#[test]
fn an_unknown_protocol_version_is_refused_with_its_code() {
    let broker = start();
    let mut client = Client::open(broker.address, 4);
    client.send(b"\x10\x10\x00\x04MQTT\x03\x02\x00\x3c\x00\x04id01");
    client.expect(&[0x20, 2, 0, 1]);
    assert_eq!(client.next(PATIENCE), Err(()));
    let mut client = Client::open(broker.address, 5);
    client.send(b"\x10\x11\x00\x04MQTT\x06\x02\x00\x3c\x00\x00\x04id01");
    let (header, body) = client.receive();
    assert_eq!((header, body[1]), (0x20, 0x84));
}

#[test]
fn what_is_not_mqtt_is_closed_without_an_answer() {
    let broker = start();
    for bytes in [b"GET / HTTP/1.1\r\n\r\n".as_slice(), b"\x10\x0c\x00\x04MQTX\x04\x02\x00\x3c\x00\x00", b"\xc0\x00"] {
        let mut client = Client::open(broker.address, 4);
        client.send(bytes);
        assert_eq!(client.next(PATIENCE), Err(()));
    }
}

#[test]
fn connect_flags_that_make_no_sense_are_malformed() {
    let broker = start();
    // Reserved flag; will QoS without will; will QoS 3; in 3.1.1 a password without a name.
    for (level, flags) in [(4, 0x03), (4, 0x0a), (4, 0x1e), (4, 0x42), (5, 0x03), (5, 0x22)] {
        let mut bytes = Connect { level, ..Connect::v4() }.bytes();
        bytes[9] = flags;
        let mut client = Client::open(broker.address, level);
        client.send(&bytes);
        match client.next(PATIENCE) {
            Ok(Some((0x20, body))) if level == 5 => assert_eq!(body[1], 0x81, "{flags:02x}"),
            other => assert_eq!((level, other), (4, Err(())), "{flags:02x}"),
        }
    }
}

#[test]
fn an_empty_client_id_needs_a_clean_session_in_3_1_1_and_gets_a_name_in_5() {
    let broker = start();
    let nameless = Connect { id: String::new(), ..Connect::v4() };
    assert_eq!(refused(&broker, &Connect { clean: false, ..nameless.clone() }), 2);
    assert_eq!(broker.connect(&nameless).1.code, 0);
    let (_client, connack) = broker.connect(&Connect { level: 5, clean: false, ..nameless });
    assert_eq!(connack.code, 0);
    assert!(has(&connack.properties, &[0x12, 0]), "assigned client identifier");
}

#[test]
fn the_server_states_its_keep_alive_when_it_is_shorter() {
    let broker = start();
    for (asked, told) in [(120, Some(60)), (0, Some(60)), (60, None), (30, None)] {
        let (_client, connack) = broker.connect(&Connect { keep_alive: asked, ..Connect::v5() });
        let property = told.map(|seconds| property_u16(0x13, seconds));
        assert_eq!(has(&connack.properties, &[0x13, 0]), told.is_some(), "{asked}");
        assert!(property.is_none_or(|property| has(&connack.properties, &property)), "{asked}");
    }
}

#[test]
fn a_silent_client_is_closed_after_one_and_a_half_keep_alives() {
    let broker = start();
    let (mut client, _) = broker.connect(&Connect { keep_alive: 1, ..Connect::v5() });
    assert_eq!(client.next(Duration::from_millis(1200)), Ok(None), "not before");
    client.expect_end(0x8d);
    let (mut pinging, _) = broker.connect(&Connect { keep_alive: 1, ..Connect::v4() });
    for _ in 0..4 {
        std::thread::sleep(Duration::from_millis(600));
        pinging.send(&[0xc0, 0]);
        pinging.expect(&[0xd0, 0]);
    }
}

#[test]
fn a_connection_without_connect_is_closed() {
    let mut options = options();
    options.limits.connect_timeout = Duration::from_millis(200);
    let broker = start_with(options, Gateway::Absent);
    let mut client = Client::open(broker.address, 4);
    client.send(&Connect::v4().bytes()[..10]);
    assert_eq!(client.next(PATIENCE), Err(()));
}

#[test]
fn a_second_connection_takes_the_client_id_over() {
    let broker = start();
    let mut first = broker.v5("same");
    let mut second = broker.v4("same");
    first.expect_end(0x8e);
    second.expect_nothing();
    let mut third = broker.v5("same");
    second.expect_end(0);
    third.expect_nothing();
}

#[test]
fn a_second_connect_is_a_protocol_error() {
    let broker = start();
    for level in [4, 5] {
        let connect = Connect { level, ..Connect::v4() };
        let (mut client, _) = broker.connect(&connect);
        client.send(&connect.bytes());
        client.expect_end(0x82);
    }
}

#[test]
fn enhanced_authentication_is_refused_as_unavailable() {
    let broker = start();
    let connect = Connect { properties: property_text(0x15, "SCRAM-SHA-1"), ..Connect::v5() };
    assert_eq!(refused(&broker, &connect), 0x8c);
}

#[test]
fn the_connection_ends_after_disconnect() {
    let broker = start();
    for level in [4, 5] {
        let (client, _) = broker.connect(&Connect { level, ..Connect::v4() });
        client.disconnect();
    }
}

#[test]
fn clients_are_told_when_the_broker_ends() {
    let broker = start();
    let mut five = broker.v5("five");
    let mut four = broker.v4("four");
    broker.stop().unwrap();
    five.expect_end(0x8b);
    four.expect_end(0);
}

#[test]
fn connections_beyond_the_limit_are_closed_and_room_is_given_again() {
    let mut options = options();
    options.limits.max_connections = 2;
    let broker = start_with(options, Gateway::Absent);
    let (one, _two) = (broker.v4("1"), broker.v4("2"));
    let mut third = Client::open(broker.address, 4);
    assert_eq!(third.next(PATIENCE), Err(()));
    one.disconnect();
    wait_until(|| {
        let mut client = Client::open(broker.address, 4);
        client.send(&Connect::v4().bytes());
        matches!(client.next(PATIENCE), Ok(Some((0x20, _))))
    });
}

#[test]
fn a_bridge_gets_nothing_back_of_what_it_brings() {
    let broker = start();
    let mut bridge = Client::open(broker.address, 4);
    bridge.send(&Connect { level: 0x84, id: "bridge".into(), ..Connect::v4() }.bytes());
    assert_eq!(bridge.receive(), (0x20, vec![0, 0]));
    bridge.subscribe("b/#", 0);
    bridge.publish(0, "b/own", 0, "brought");
    bridge.expect_nothing();
    let mut other = broker.v4("other");
    other.publish(1, "b/other", 0, "retained");
    let message = bridge.message();
    assert!(message.topic == "b/other" && message.retain, "retain as published");
}

#[test]
fn a_will_on_a_topic_of_the_broker_is_passed_over_and_the_client_let_in() {
    let broker = start();
    let will = Some((0x20, "$SYS/broker/connection/home/state".to_owned(), b"0".to_vec(), Vec::new()));
    assert_eq!(broker.connect(&Connect { will, ..Connect::v4() }).1.code, 0);
}
