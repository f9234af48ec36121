//! Shared subscriptions.

use crate::harness::*;
use std::collections::BTreeSet;

#[test]
fn a_group_shares_messages_in_turn_and_others_get_all() {
    let broker = start();
    let (mut one, mut two, mut alone) = (broker.v5("1"), broker.v5("2"), broker.v4("alone"));
    one.subscribe("$share/g/t/#", 1);
    two.subscribe("$share/g/t/#", 1);
    alone.subscribe("t/#", 1);
    let mut publisher = broker.v5("p");
    for id in 1..=10 {
        publisher.publish(2, "t/x", id, format!("{id}"));
        publisher.expect_acknowledgement(4, id);
    }
    let got = |client: &mut Client, count| -> BTreeSet<String> {
        (0..count).map(|_| client.message_acknowledged().text().to_owned()).collect()
    };
    let (first, second, all) = (got(&mut one, 5), got(&mut two, 5), got(&mut alone, 10));
    assert!(first.is_disjoint(&second));
    assert_eq!(first.union(&second).cloned().collect::<BTreeSet<_>>(), all);
    one.expect_nothing();
    two.expect_nothing();
}

#[test]
fn what_a_member_did_not_acknowledge_goes_to_another() {
    let broker = start();
    let (mut one, mut two) = (broker.v5("1"), broker.v4("2"));
    one.subscribe("$share/g/t", 1);
    two.subscribe("$share/g/t", 1);
    let mut publisher = broker.v5("p");
    for id in 1..=4 {
        publisher.publish(2, "t", id, format!("{id}"));
        publisher.expect_acknowledgement(4, id);
    }
    let mut got: BTreeSet<String> = (0..2).map(|_| two.message_acknowledged().text().to_owned()).collect();
    one.message();
    one.message();
    drop(one);
    got.extend((0..2).map(|_| two.message_acknowledged().text().to_owned()));
    assert_eq!(got.len(), 4);
}

#[test]
fn what_was_sent_to_a_member_with_a_kept_session_waits_for_it_and_comes_with_dup() {
    let broker = start();
    let connect = Connect::kept(5, "kept");
    let (mut kept, _) = broker.connect(&connect);
    let mut other = broker.v5("other");
    kept.subscribe("$share/g/t", 1);
    let mut publisher = broker.v5("p");
    publisher.publish(2, "t", 1, "taken");
    publisher.expect_acknowledgement(4, 1);
    let sent = kept.message();
    other.subscribe("$share/g/t", 1);
    drop(kept);
    publisher.publish(2, "t", 2, "meanwhile");
    publisher.expect_acknowledgement(4, 2);
    assert_eq!(other.message_acknowledged().text(), "meanwhile");
    other.expect_nothing();
    let (mut kept, _) = broker.connect(&connect);
    let again = kept.message_acknowledged();
    assert_eq!((again.text(), again.id, again.dup), ("taken", sent.id, true));
    kept.expect_nothing();
}

#[test]
fn an_absent_member_is_passed_over_and_a_group_of_absent_ones_is_kept_for() {
    let broker = start();
    let connect = Connect::kept(5, "absent");
    let (mut absent, _) = broker.connect(&connect);
    absent.subscribe("$share/g/t", 1);
    absent.disconnect();
    let mut present = broker.v5("present");
    present.subscribe("$share/g/t", 1);
    let mut publisher = broker.v5("p");
    for id in 1..=4 {
        publisher.publish(2, "t", id, "x");
        publisher.expect_acknowledgement(4, id);
        present.message_acknowledged();
    }
    present.disconnect();
    publisher.publish(2, "t", 5, "for the absent one");
    publisher.expect_acknowledgement(4, 5);
    let (mut absent, _) = broker.connect(&connect);
    assert_eq!(absent.message_acknowledged().text(), "for the absent one");
    absent.expect_nothing();
}

#[test]
fn groups_are_independent_and_retained_messages_are_not_shared() {
    let broker = start();
    let mut publisher = broker.v5("p");
    publisher.publish(1, "t", 0, "retained");
    publisher.expect_nothing();
    let (mut one, mut two) = (broker.v5("1"), broker.v5("2"));
    one.subscribe("$share/g/t", 0);
    two.subscribe("$share/h/t", 0);
    one.expect_nothing();
    publisher.publish(0, "t", 0, "x");
    assert_eq!((one.message().text(), two.message().text()), ("x", "x"));
    assert_eq!(one.unsubscribe("$share/g/t"), [0, 0]);
    publisher.publish(0, "t", 0, "y");
    assert_eq!(two.message().text(), "y");
    one.expect_nothing();
}
