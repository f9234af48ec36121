//! Malformed packets and protocol errors, limits, floods.

use crate::harness::*;
use std::io::Write;

/// Sends bytes as a connected client; the connection ends with this reason.
fn ends_with(broker: &Running, level: u8, bytes: &[u8], reason: u8) {
    let (mut client, _) = broker.connect(&Connect { level, ..Connect::v4() });
    client.send(bytes);
    client.expect_end(reason);
}

#[test]
fn reserved_bits_of_the_fixed_header_are_malformed() {
    let broker = start();
    for (level, bytes) in [
        (4, b"\x80\x06\x00\x01\x00\x01a\x00".as_slice()),
        (5, b"\x80\x07\x00\x01\x00\x00\x01a\x00"),
        (5, b"\xa0\x06\x00\x01\x00\x00\x01a"),
        (4, b"\x60\x02\x00\x01"),
        (5, b"\x41\x02\x00\x01"),
        (5, b"\xc1\x00"),
        (5, b"\xe1\x00"),
        (5, b"\x00\x00"),
        (4, b"\xf0\x00"),
    ] {
        ends_with(&broker, level, bytes, 0x81);
    }
}

#[test]
fn a_malformed_publish_ends_the_connection() {
    let broker = start();
    for (bytes, reason) in [
        (b"\x36\x06\x00\x01a\x00\x01\x00".as_slice(), 0x81), // QoS 3
        (b"\x38\x04\x00\x01a\x00", 0x81),                    // DUP at QoS 0
        (b"\x32\x06\x00\x01a\x00\x00\x00", 0x82),            // packet id 0
        (b"\x30\x05\x00\x02\xc3\x28\x00", 0x81),             // not UTF-8
        (b"\x30\x06\x00\x03a\x00b\x00", 0x81),               // NUL
        (b"\x30\x05\x00\x02\xed\xa0\x00", 0x81),             // a surrogate
        (b"\x30\x02\x00\x05", 0x81),                         // ends too early
        (b"\x30\x06\x00\x03a/+\x00", 0x90),                  // wildcard
        (b"\x30\x03\x00\x00\x00", 0x82),                     // no topic, no alias
        (b"\x30\x06\x00\x01a\x02\x0b\x01", 0x82),            // a subscription identifier from a client
        (b"\x30\x08\x00\x01a\x04\x01\x01\x01\x01", 0x82),    // a property twice
        (b"\x30\x06\x00\x01a\x02\x01\x02", 0x82),            // payload format 2
        (b"\x30\x06\x00\x01a\x02\x7e\x01", 0x81),            // unknown property
        (b"\x30\x07\x00\x01a\x03\x23\x00\x00", 0x94),        // alias 0
        (b"\x30\x07\x00\x01a\x03\x23\x00\x41", 0x94),        // alias 65 of 64
        (b"\x30\x06\x00\x00\x03\x23\x00\x05", 0x82),         // alias that was never given
        (b"\x30\xff\xff\xff\xff\x01", 0x81),                 // remaining length of five bytes
        (b"\xc0\x80\x00", 0x81),                             // remaining length not in its shortest form
    ] {
        ends_with(&broker, 5, bytes, reason);
    }
    ends_with(&broker, 4, b"\x30\x02\x00\x00", 0);
    ends_with(&broker, 4, b"\x30\x05\x00\x03a/#", 0);
}

#[test]
fn a_malformed_subscribe_ends_the_connection() {
    let broker = start();
    for (level, bytes, reason) in [
        (5, b"\x82\x03\x00\x01\x00".as_slice(), 0x82),           // no filter
        (5, b"\x82\x07\x00\x01\x00\x00\x01a\x03", 0x82),         // QoS 3
        (5, b"\x82\x07\x00\x01\x00\x00\x01a\xc0", 0x81),         // reserved options
        (5, b"\x82\x07\x00\x01\x00\x00\x01a\x30", 0x82),         // retain handling 3
        (5, b"\x82\x07\x00\x00\x00\x00\x01a\x00", 0x82),         // packet id 0
        (5, b"\x82\x09\x00\x01\x02\x0b\x00\x00\x01a\x00", 0x82), // subscription identifier 0
        (5, b"\x82\x06\x00\x01\x00\x00\x01a", 0x81),             // options are missing
        (4, b"\x82\x06\x00\x01\x00\x01a\x04", 0),                // reserved options in 3.1.1
        (4, b"\x82\x02\x00\x01", 0),
        (4, b"\xa2\x02\x00\x01", 0),
        (5, b"\xa2\x03\x00\x01\x00", 0x82),
    ] {
        ends_with(&broker, level, bytes, reason);
    }
    let mut bytes = b"\x00\x01\x00".to_vec();
    bytes.extend(text("$share/g/a"));
    bytes.push(4);
    ends_with(&broker, 5, &packet(0x82, &bytes), 0x82);
}

#[test]
fn packets_that_only_a_server_sends_are_protocol_errors() {
    let broker = start();
    for bytes in
        [b"\x20\x02\x00\x00".as_slice(), b"\x90\x03\x00\x01\x00", b"\xb0\x02\x00\x01", b"\xd0\x00", b"\xf0\x00"]
    {
        ends_with(&broker, 5, bytes, 0x82);
    }
}

#[test]
fn what_came_before_a_bad_packet_counts() {
    let broker = start_with(options(), Gateway::Prompt);
    let mut client = broker.v5("c");
    let mut bytes = client.publish_bytes(2, "a", 1, b"x", &[]);
    bytes.extend(b"\x36\x06\x00\x01a\x00\x01\x00");
    client.send(&bytes);
    client.expect_end(0x81);
    assert_eq!(broker.gateway_messages(1).len(), 1);
}

#[test]
fn a_packet_over_the_maximum_is_refused_when_its_header_is_read() {
    let mut options = options();
    options.limits.max_packet_size = 2048;
    let broker = start_with(options, Gateway::Absent);
    let mut client = broker.v5("c");
    let fits = client.publish_bytes(2, "a", 1, &vec![b'x'; 2048 - 9], &[]);
    assert_eq!(fits.len(), 2048);
    client.send(&fits);
    client.expect_acknowledgement(4, 1);
    // Only the header and a little: the rest need not be sent to be refused.
    let too_large = client.publish_bytes(2, "a", 1, &vec![b'x'; 2048 - 8], &[]);
    client.send(&too_large[..20]);
    client.expect_end(0x95);
}

#[test]
fn large_messages_pass_whole() {
    let broker = start_with(options(), Gateway::Prompt);
    let mut subscriber = broker.v5("s");
    subscriber.subscribe("big", 1);
    let mut publisher = broker.v4("p");
    for (id, size) in [(1, 20 * 1024), (2, 900 * 1024), (3, 1024 * 1024 - 100)] {
        let payload: Vec<u8> = (0..size).map(|index| (index % 251) as u8).collect();
        publisher.publish(2, "big", id, &payload);
        assert_eq!(subscriber.message_acknowledged().payload, payload);
        publisher.expect_acknowledgement(4, id);
        assert_eq!(broker.gateway_messages(id.into()).last().unwrap().1.payload, payload);
    }
}

#[test]
fn packets_may_come_byte_by_byte_or_all_at_once() {
    let broker = start_with(options(), Gateway::Prompt);
    let mut client = Client::open(broker.address, 5);
    let mut bytes = Connect::v5().bytes();
    bytes.extend(client.publish_bytes(2, "a", 1, b"first", &[]));
    bytes.extend(client.publish_bytes(2, "a", 2, b"second", &[]));
    for byte in &bytes {
        client.send(&[*byte]);
    }
    assert_eq!(client.receive().0, 0x20);
    client.expect_acknowledgement(4, 1);
    client.expect_acknowledgement(4, 2);
    let mut at_once = Client::open(broker.address, 5);
    at_once.send(&bytes);
    assert_eq!(at_once.receive().0, 0x20);
    at_once.expect_acknowledgement(4, 1);
    at_once.expect_acknowledgement(4, 2);
    assert_eq!(broker.gateway_messages(4)[3].1.payload, "second");
}

#[test]
fn more_unacknowledged_messages_than_announced_end_the_connection() {
    let mut options = options();
    options.limits.receive_maximum = 3;
    let broker = start_with(options, Gateway::Held);
    let mut client = broker.v5("c");
    for id in 1..=4 {
        client.publish(if id == 2 { 4 } else { 2 }, "a", id, "x");
    }
    client.expect_end(0x93);
    let mut old = broker.v4("old");
    for id in 1..=10 {
        old.publish(2, "a", id, "x");
    }
    let messages = broker.gateway_messages(13);
    broker.handle.acknowledge(messages[12].0);
    for id in 1..=10 {
        old.expect_acknowledgement(4, id);
    }
}

#[test]
fn a_flood_of_garbage_and_a_thousand_idle_clients_do_not_stop_the_others() {
    let mut options = options();
    options.limits.connections_per_second = 100_000;
    let broker = start_with(options, Gateway::Prompt);
    let idle: Vec<Client> = (0..400).map(|index| broker.v4(&format!("idle{index}"))).collect();
    let address = broker.address;
    let flood = std::thread::spawn(move || {
        let mut random = 12_345u64;
        for _ in 0..300 {
            let mut client = Client::open(address, 4);
            let connected: Vec<u8> = if random & 1 == 0 { Connect::v5().bytes() } else { Vec::new() };
            let garbage: Vec<u8> = (0..2_000)
                .map(|_| {
                    random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    (random >> 33) as u8
                })
                .collect();
            // The broker may have closed already.
            let _ = client.stream.write_all(&[connected, garbage].concat());
        }
    });
    let mut publisher = broker.v5("p");
    for id in 1..=200 {
        publisher.publish(2, "a", id, "x");
        publisher.expect_acknowledgement(4, id);
    }
    flood.join().unwrap();
    publisher.expect_nothing();
    for mut client in idle {
        client.send(&[0xc0, 0]);
        client.expect(&[0xd0, 0]);
    }
}
