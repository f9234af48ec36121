//! What the broker tells of itself below `$SYS`.

use crate::harness::*;
use std::collections::BTreeMap;

/// The figures that come to a new subscriber at once, by topic.
fn figures(client: &mut Client, filter: &str, count: usize) -> BTreeMap<String, String> {
    assert_eq!(client.subscribe(filter, 1), 0x01);
    let mut messages: Vec<Message> = (0..count).map(|_| client.message()).collect();
    client.expect_nothing();
    assert!(messages.iter().all(|message| message.retain && message.qos == 0));
    messages.drain(..).map(|message| (message.topic.clone(), message.text().to_owned())).collect()
}

#[test]
fn figures_come_under_mosquittos_names_at_once() {
    let broker = start();
    let mut publisher = broker.v4("p");
    publisher.publish(3, "kept", 1, "x");
    publisher.expect_acknowledgement(4, 1);
    broker.connect(&Connect::kept(4, "away")).0.disconnect();
    let mut observer = broker.v5("o");
    assert_eq!(observer.subscribe("other", 0), 0);
    let figures = figures(&mut observer, "$SYS/#", 15);
    let is = |topic: &str, value: &str| assert_eq!(figures[&format!("$SYS/broker/{topic}")], value, "{topic}");
    is("clients/connected", "2");
    is("clients/disconnected", "1");
    is("clients/total", "3");
    is("subscriptions/count", "2");
    is("retained messages/count", "1");
    is("publish/messages/received", "1");
    is("publish/messages/sent", "0");
    is("publish/messages/dropped", "0");
    // CONNACK three times, PUBACK, SUBACK twice less the one that is on its way.
    assert!(figures["$SYS/broker/messages/sent"].parse::<u32>().unwrap() >= 4);
    // PUBLISH, DISCONNECT is none that is worked off, SUBSCRIBE.
    is("messages/received", "2");
    is("bytes/received", &(11 + 2 + 13 + 14).to_string());
    assert!(figures["$SYS/broker/uptime"].ends_with(" seconds"));
    assert!(figures["$SYS/broker/version"].starts_with("hearthgate version "));
}

#[test]
fn wildcards_do_not_match_figures_and_nobody_publishes_them() {
    let broker = start_with(options(), Gateway::Prompt);
    let (mut old, mut new) = (broker.v4("old"), broker.v5("new"));
    for filter in ["#", "+/broker/uptime"] {
        new.subscribe(filter, 0);
        new.expect_nothing();
    }
    old.publish(3, "$SYS/broker/uptime", 1, "forged");
    old.expect_acknowledgement(4, 1);
    new.publish(3, "$SYS/broker/uptime", 1, "forged");
    new.expect(&[0x40, 3, 0, 1, 0x87]);
    let uptime = figures(&mut old, "$SYS/broker/uptime", 1);
    assert_ne!(uptime["$SYS/broker/uptime"], "forged");
    assert_eq!(broker.received.lock().unwrap().len(), 0);
}

#[test]
fn figures_come_again_while_somebody_listens_as_far_as_they_have_changed() {
    let broker = start();
    let mut observer = broker.v4("o");
    figures(&mut observer, "$SYS/broker/uptime", 1);
    figures(&mut observer, "$SYS/broker/version", 1);
    let both: Vec<Message> = (0..2).map(|_| observer.message()).collect();
    assert!(both.iter().all(|message| !message.retain));
    // The version would come before it.
    assert_eq!(observer.message().topic, "$SYS/broker/uptime");
}

#[test]
fn who_may_not_receive_figures_does_not() {
    let mut options = options();
    options.anonymous.forbidden = vec!["$SYS/#".into()];
    let broker = start_with(options, Gateway::Absent);
    let mut client = broker.v5("c");
    assert_eq!((client.subscribe("$SYS/#", 0), client.subscribe("$SYS/broker/uptime", 0)), (0x87, 0x87));
    client.expect_nothing();
}
