//! The last will.

use crate::harness::*;
use std::time::Duration;

fn with_will(level: u8, id: &str, properties: Vec<u8>) -> Connect {
    let will = Some((0x08, "will".to_owned(), b"gone".to_vec(), properties));
    Connect { level, id: id.into(), will, ..Connect::v4() }
}

fn watcher(broker: &Running) -> Client {
    let mut watcher = broker.v5("watcher");
    watcher.subscribe("will", 1);
    watcher
}

#[test]
fn a_lost_client_leaves_its_will() {
    let broker = start();
    let mut watcher = watcher(&broker);
    for level in [4, 5] {
        let (client, _) = broker.connect(&with_will(level, "c", Vec::new()));
        drop(client);
        let will = watcher.message_acknowledged();
        assert_eq!((will.text(), will.qos), ("gone", 1));
    }
}

#[test]
fn an_orderly_goodbye_takes_the_will_back() {
    let broker = start();
    let mut watcher = watcher(&broker);
    for level in [4, 5] {
        let (client, _) = broker.connect(&with_will(level, "c", Vec::new()));
        client.disconnect();
        watcher.expect_nothing();
    }
}

#[test]
fn a_will_is_sent_on_request_after_an_error_and_after_silence() {
    let broker = start();
    let mut watcher = watcher(&broker);
    let (mut client, _) = broker.connect(&with_will(5, "c", Vec::new()));
    client.send(&[0xe0, 1, 4]);
    assert_eq!(watcher.message_acknowledged().text(), "gone");
    let (mut client, _) = broker.connect(&with_will(5, "c", Vec::new()));
    client.send(b"\x30\x06\x00\x03a/+\x00");
    client.expect_end(0x90);
    assert_eq!(watcher.message_acknowledged().text(), "gone");
    let (_silent, _) = broker.connect(&Connect { keep_alive: 1, ..with_will(4, "c", Vec::new()) });
    assert_eq!(watcher.message_acknowledged().text(), "gone");
}

#[test]
fn a_takeover_sends_the_will_unless_it_is_delayed() {
    let broker = start();
    let mut watcher = watcher(&broker);
    let (_first, _) = broker.connect(&with_will(4, "c", Vec::new()));
    let _second = broker.v4("c");
    assert_eq!(watcher.message_acknowledged().text(), "gone");
    let delayed = with_will(5, "d", property_u32(0x18, 30));
    let kept = Connect { clean: false, properties: property_u32(0x11, 60), ..delayed };
    let (_first, _) = broker.connect(&kept);
    let (_second, connack) = broker.connect(&Connect { will: None, ..kept });
    assert!(connack.present);
    watcher.expect_nothing();
}

#[test]
fn a_delayed_will_waits_and_is_void_when_the_client_is_back() {
    let broker = start();
    let mut watcher = watcher(&broker);
    let connect = with_will(5, "c", property_u32(0x18, 1));
    let kept = Connect { clean: false, properties: property_u32(0x11, 60), ..connect };
    let (client, _) = broker.connect(&kept);
    drop(client);
    let (client, _) = broker.connect(&kept);
    assert_eq!(watcher.next(Duration::from_millis(1400)), Ok(None), "it came back in time");
    drop(client);
    assert_eq!(watcher.next(Duration::from_millis(700)), Ok(None), "not before its time");
    assert_eq!(watcher.message_acknowledged().text(), "gone");
}

#[test]
fn a_delayed_will_is_sent_when_the_session_ends_first() {
    let broker = start();
    let mut watcher = watcher(&broker);
    let delayed = with_will(5, "c", property_u32(0x18, 300));
    let (client, _) = broker.connect(&delayed);
    drop(client);
    assert_eq!(watcher.message_acknowledged().text(), "gone", "a session without expiry ends at once");
    let kept = Connect { clean: false, properties: property_u32(0x11, 1), ..delayed.clone() };
    let (client, _) = broker.connect(&kept);
    drop(client);
    assert_eq!(watcher.message_acknowledged().text(), "gone");
    let kept = Connect { clean: false, properties: property_u32(0x11, 100), ..delayed };
    let (client, _) = broker.connect(&kept);
    drop(client);
    let _fresh = broker.connect(&Connect { clean: true, will: None, ..kept });
    assert_eq!(watcher.message_acknowledged().text(), "gone", "a clean start ends the old session");
}

#[test]
fn a_will_is_retained_with_its_properties_and_reaches_the_gateway() {
    let broker = start_with(options(), Gateway::Prompt);
    let properties = [property_text(0x03, "text/plain"), property_u32(0x02, 100)].concat();
    let will = Some((0x20, "will".to_owned(), b"gone".to_vec(), properties));
    let (client, _) = broker.connect(&Connect { will, ..Connect::v5() });
    drop(client);
    assert_eq!(broker.gateway_messages(1)[0].1.payload, "gone");
    let mut late = broker.v5("late");
    late.subscribe("will", 0);
    let message = late.message();
    assert!(message.retain && has(&message.properties, &property_text(0x03, "text/plain")));
}
