use super::*;
use bytes::Bytes;
use hearthgate_domain::delivery::MessageOrigin;
use hearthgate_domain::flow::FlowRow;
use hearthgate_mqtt::link::MessageBatch;
use hearthgate_storage::journal::{ConsumerStart, JournalOptions};
use tempfile::TempDir;

const CONSUMER: &str = "records";

/// A journal of 1 MiB, which takes half of that at once, with a consumer that is not done with anything.
fn desk() -> (TempDir, JournalCommitter) {
    let folder = TempDir::new().unwrap();
    let options = JournalOptions { segment_bytes: 128 << 10, max_bytes: 1 << 20, ..JournalOptions::default() };
    let (journal, _) = Journal::open(folder.path(), options).unwrap();
    journal.handle().register(CONSUMER, ConsumerStart::Oldest).unwrap();
    (folder, JournalCommitter::new(journal))
}

fn message(packet_id: u16, bytes: usize) -> InboundMessage {
    InboundMessage {
        origin: Some(MessageOrigin { session: 1, packet_id, dup: false }),
        ..InboundMessage::unsent("a".into(), Bytes::from(vec![b'x'; bytes]), 0)
    }
}

/// The sender begins on a connection.
fn connected() -> Vec<SenderNews> {
    vec![SenderNews { before: 0, session: 1, what: SenderEvent::Connected }]
}

/// Messages of these sizes, from this number on, all of them wanted.
fn group(first: u64, sizes: &[usize]) -> CommitGroup {
    let messages =
        sizes.iter().enumerate().map(|(index, bytes)| message(first as u16 + index as u16, *bytes)).collect();
    let mut group = CommitGroup::default();
    for index in 0..sizes.len() {
        let reason = "wanted, whatever for".to_owned();
        group.push(index, [RouteDecision::Refused { flow_id: None, reason, pointer: String::new() }]);
    }
    let first = DeliveryTag { connection: 1, number: first };
    group.close_batch(Arc::new(MessageBatch { first, messages, news: Vec::new() }), 0);
    group
}

#[test]
fn a_group_that_the_journal_can_not_take_at_once_is_written_in_pieces() {
    let (_folder, mut desk) = desk();
    let mut group = group(1, &[6_000; 120]);
    assert_eq!(desk.write(&mut group).unwrap().appended, 120);
    assert_eq!(desk.safe(), DeliveryTag { connection: 1, number: 120 });
}

#[test]
fn when_the_journal_is_full_in_the_middle_of_a_group_it_goes_on_there_or_comes_again_from_there() {
    let (_folder, mut desk) = desk();
    let mut large = group(1, &[6_000; 250]);
    assert!(matches!(desk.write(&mut large), Err(JournalError::Full { .. })));
    let safe = desk.safe().number;
    assert!((1..250).contains(&safe), "{safe}");
    let journal = desk.journal.handle();
    assert_eq!(journal.usage().synced, safe, "what is safe is in the journal");

    journal.release(CONSUMER, safe).unwrap();
    let written = desk.write(&mut large).unwrap();
    assert_eq!(written.appended, 250, "over both times");
    assert_eq!(journal.usage().synced, 250, "each once");

    let mut next = group(251, &[6_000; 200]);
    assert!(desk.write(&mut next).is_err());
    let safe = desk.begin_anew().number;
    journal.release(CONSUMER, journal.usage().synced).unwrap();
    let mut again = group(safe + 1, &vec![6_000; (450 - safe) as usize]);
    desk.write(&mut again).unwrap();
    assert_eq!(journal.usage().synced, 450, "each once, since those that came again were never taken");
}

#[test]
fn nothing_is_replayed_while_messages_wait_for_the_numbers_that_they_were_promised() {
    let (_folder, mut desk) = desk();
    let refused = [RouteDecision::Refused { flow_id: None, reason: "whatever for".into(), pointer: String::new() }];
    let mut large = group(1, &[6_000; 250]);
    assert!(matches!(desk.write(&mut large), Err(JournalError::Full { .. })));
    let journal = desk.journal.handle();
    journal.release(CONSUMER, desk.safe().number).unwrap();
    let reason = desk.write_again(&message(1, 10), &refused, None).unwrap_err();
    assert!(matches!(reason, ReplayRefusal::JournalBusy), "{reason}");
    desk.write(&mut large).unwrap();
    desk.write_again(&message(1, 10), &refused, None).unwrap();
    assert_eq!(journal.usage().synced, 251);
}

#[test]
fn a_message_that_the_journal_never_can_take_is_refused_alone() {
    let (_folder, mut desk) = desk();
    let mut group = group(1, &[100, 600 << 10, 100]);
    assert!(matches!(desk.write(&mut group), Err(JournalError::TooLarge { .. })));
    let left: Vec<usize> = group.left(1).map(|(message, _)| message.payload.len()).collect();
    assert_eq!(left, [600 << 10]);
    assert!(!desk.refuse(&mut group, 1), "one is left");
    assert_eq!(desk.write(&mut group).unwrap().appended, 2);
    assert_eq!(desk.journal.handle().usage().synced, 2);
    assert_eq!(desk.safe(), DeliveryTag { connection: 1, number: 3 });
}

#[test]
fn all_that_is_left_can_be_refused_and_what_is_sent_again_is_recognised_all_the_same() {
    let (_folder, mut desk) = desk();
    let mut large = group(1, &[6_000; 250]);
    assert!(desk.write(&mut large).is_err());
    assert!(desk.refuse(&mut large, usize::MAX));
    assert_eq!(desk.safe(), DeliveryTag { connection: 1, number: 250 });
    let mut origin = MessageOrigin { session: 1, packet_id: 250, dup: true };
    let hash = content_hash("a", &[b'x'; 6_000]);
    assert!(matches!(desk.journal.owed().check(&origin, hash), Delivery::Redelivered { seq: None }));
    origin.packet_id = 251;
    assert!(matches!(desk.journal.owed().check(&origin, hash), Delivery::New));
}

/// Messages of these packet identifiers, sent again on connection 2.
fn sent_again(first: u64, packet_ids: &[u16]) -> CommitGroup {
    let again = |id: &u16| {
        let message = message(*id, 100);
        InboundMessage { origin: message.origin.map(|origin| MessageOrigin { dup: true, ..origin }), ..message }
    };
    let mut group = CommitGroup::default();
    for index in 0..packet_ids.len() {
        group.push(index, [RouteDecision::Refused { flow_id: None, reason: "wanted".into(), pointer: String::new() }]);
    }
    let news = if first == 1 { connected() } else { vec![] };
    let messages = packet_ids.iter().map(again).collect();
    group
        .close_batch(Arc::new(MessageBatch { first: DeliveryTag { connection: 2, number: first }, messages, news }), 0);
    group
}

#[test]
fn an_acknowledgement_that_arrived_says_nothing_of_what_is_still_being_sent_again() {
    let folder = TempDir::new().unwrap();
    let open = || Journal::open(folder.path(), JournalOptions::default()).unwrap();
    let (journal, _) = open();
    journal.handle().register(CONSUMER, ConsumerStart::Oldest).unwrap();
    JournalCommitter::new(journal).write(&mut group(1, &[100; 6])).unwrap();
    // Killed before any acknowledgement went out: all of them come again, and not all at once.
    let (journal, _) = open();
    let mut desk = JournalCommitter::new(journal);
    let written = desk.write(&mut sent_again(1, &[1, 2, 3])).unwrap();
    assert_eq!((written.appended, written.redelivered), (0, 3));
    desk.confirm(DeliveryTag { connection: 2, number: 3 });
    let written = desk.write(&mut sent_again(4, &[4, 5, 6])).unwrap();
    assert_eq!((written.appended, written.redelivered), (0, 3));
    desk.keep_settled().unwrap();
    drop(desk);
    // Killed once more: the first three are known to be acknowledged, the others come again.
    let (mut journal, _) = open();
    assert_eq!(journal.owed().len(), 3, "those that are not known to be acknowledged");
    let written = JournalCommitter::new(journal).write(&mut sent_again(1, &[4, 5, 6])).unwrap();
    assert_eq!((written.appended, written.redelivered), (0, 3));
}

#[test]
fn a_confirmation_covers_every_group_up_to_its_ticket_and_none_behind_it() {
    let (_folder, mut desk) = desk();
    for (first, packet_ids) in [(1, [1, 2]), (3, [3, 4]), (5, [5, 6])] {
        desk.write(&mut sent_again(first, &packet_ids)).unwrap();
    }
    assert_eq!(desk.journal.owed().len(), 6);
    desk.confirm(DeliveryTag { connection: 2, number: 4 });
    assert_eq!(desk.journal.owed().len(), 2);
    desk.confirm(DeliveryTag { connection: 2, number: 6 });
    assert_eq!(desk.journal.owed().len(), 0);
}

/// Three readings, the second one equal to the first, for a flow that takes only what has changed.
fn readings(dup: bool) -> Vec<InboundMessage> {
    let reading = |(packet_id, payload): (u16, &'static str)| InboundMessage {
        payload: Bytes::from_static(payload.as_bytes()),
        origin: Some(MessageOrigin { session: 1, packet_id, dup }),
        ..message(packet_id, 0)
    };
    [(1, r#"{"n":1}"#), (2, r#"{"n":1}"#), (3, r#"{"n":2}"#)].map(reading).into()
}

/// A flow with these options.
fn flow(id: i64, code: &str, options: &str) -> Arc<Flow> {
    let row = FlowRow {
        id,
        code: code.into(),
        topic: "#".into(),
        action: "STORE_DB".into(),
        payload_schema: "{}".into(),
        enabled: true,
        options: Some(options.into()),
        ..FlowRow::default()
    };
    Arc::new(Flow::compile(row).unwrap())
}

/// Messages of a connection, each for these flows.
fn batch(connection: u64, messages: Vec<(InboundMessage, Vec<Arc<Flow>>)>) -> CommitGroup {
    let mut group = CommitGroup::default();
    let (messages, flows): (Vec<_>, Vec<_>) = messages.into_iter().unzip();
    for (index, flows) in flows.into_iter().enumerate() {
        group.push(index, flows.into_iter().map(RouteDecision::Accepted));
    }
    group.close_batch(
        Arc::new(MessageBatch { first: DeliveryTag { connection, number: 1 }, messages, news: connected() }),
        0,
    );
    group
}

fn open_desk(folder: &std::path::Path) -> JournalCommitter {
    let (journal, _) = Journal::open(folder, JournalOptions::default()).unwrap();
    journal.handle().register(CONSUMER, ConsumerStart::Oldest).unwrap();
    JournalCommitter::new(journal)
}

#[test]
fn what_no_flow_stores_is_recognised_after_a_restart_and_hides_nothing_else() {
    let folder = TempDir::new().unwrap();
    let flow = flow(1, "F", r#"{"on_change":true}"#);
    // The second one is equal to the first, and no flow wants the third.
    let all = |dup| {
        let mut messages: Vec<_> =
            readings(dup).into_iter().map(|message| (message, vec![Arc::clone(&flow)])).collect();
        let origin = MessageOrigin { session: 1, packet_id: 9, dup };
        messages.insert(2, (InboundMessage { origin: Some(origin), ..message(9, 20) }, vec![]));
        messages
    };
    let written = open_desk(folder.path()).write(&mut batch(1, all(false))).unwrap();
    assert_eq!((written.appended, written.kept_back, written.redelivered), (2, 1, 0));
    for connection in 2..5 {
        let mut desk = open_desk(folder.path());
        let written = desk.write(&mut batch(connection, all(true))).unwrap();
        assert_eq!((written.appended, written.kept_back, written.redelivered), (0, 0, 4));
    }
}

#[test]
fn an_identifier_that_went_to_a_message_that_nobody_stores_stands_for_that_one_after_a_restart() {
    let folder = TempDir::new().unwrap();
    let flows = || vec![flow(1, "F", "{}")];
    let reading = |dup| {
        let origin = Some(MessageOrigin { session: 1, packet_id: 1, dup });
        InboundMessage { origin, payload: Bytes::from_static(b"{}"), ..message(1, 0) }
    };
    let command = InboundMessage { payload: Bytes::from_static(b"OPEN"), ..reading(false) };
    let sent = vec![(reading(false), flows()), (command, vec![])];
    assert_eq!(open_desk(folder.path()).write(&mut batch(1, sent)).unwrap().appended, 1);
    // An equal reading, whose first attempt was lost.
    let written = open_desk(folder.path()).write(&mut batch(2, vec![(reading(true), flows())])).unwrap();
    assert_eq!((written.appended, written.redelivered), (1, 0));
}

#[test]
fn a_retained_message_is_stored_once_by_each_flow_and_by_a_new_one_too() {
    let folder = TempDir::new().unwrap();
    let (first, new) = (flow(1, "FIRST", "{}"), flow(2, "NEW", "{}"));
    let published = InboundMessage { payload: Bytes::from_static(b"{}"), origin: None, ..message(1, 0) };
    let again = InboundMessage { retain: true, ..published.clone() };
    let both = vec![Arc::clone(&first), Arc::clone(&new)];
    let appended = |messages| open_desk(folder.path()).write(&mut batch(1, messages)).unwrap().appended;
    assert_eq!(appended(vec![(published, vec![Arc::clone(&first)])]), 1);
    assert_eq!(appended(vec![(again.clone(), vec![Arc::clone(&first)])]), 0);
    // Two subscriptions match: it comes twice.
    assert_eq!(appended(vec![(again.clone(), both.clone()), (again.clone(), both.clone())]), 1, "for the new one");
    assert_eq!(appended(vec![(again.clone(), both)]), 0);
    assert_eq!(appended(vec![(again.clone(), vec![flow(2, "OTHER", "{}")])]), 1, "the number is another flow's now");
    let changed = InboundMessage { payload: Bytes::from_static(br#"{"n":1}"#), ..again };
    assert_eq!(appended(vec![(changed.clone(), vec![first])]), 1);
    assert_eq!(appended(vec![(changed, vec![flow(1, "FIRST", r#"{"retained":"first_only"}"#)])]), 0);
}

#[test]
fn a_retained_message_that_comes_with_the_one_that_was_published_is_stored_once() {
    let folder = TempDir::new().unwrap();
    let flows = || vec![flow(1, "FIRST", "{}")];
    let live =
        |payload: &'static [u8]| InboundMessage { payload: Bytes::from_static(payload), origin: None, ..message(1, 0) };
    let kept = |payload| InboundMessage { retain: true, ..live(payload) };
    let sent = [live(b"{}"), live(br#"{"n":1}"#), kept(br#"{"n":1}"#), live(br#"{"n":1}"#)];
    let sent = sent.into_iter().map(|message| (message, flows())).collect();
    assert_eq!(open_desk(folder.path()).write(&mut batch(1, sent)).unwrap().appended, 3, "equal readings are two");
}

#[test]
fn what_the_broker_had_from_before_its_process_is_stored_once_whichever_comes_first() {
    let flows = || vec![flow(1, "FIRST", "{}")];
    let live = |payload: &'static [u8], dup| {
        let origin = Some(MessageOrigin { session: 1, packet_id: 1, dup });
        InboundMessage { payload: Bytes::from_static(payload), origin, ..message(1, 0) }
    };
    let restored = |payload| InboundMessage { retain: true, is_restored: true, origin: None, ..live(payload, false) };
    // Each line is a process of its own.
    let appended = |lines: &[InboundMessage]| {
        let folder = TempDir::new().unwrap();
        let write = |(index, line): (usize, &InboundMessage)| {
            let mut group = batch(index as u64 + 1, vec![(line.clone(), flows())]);
            open_desk(folder.path()).write(&mut group).unwrap().appended
        };
        lines.iter().enumerate().map(write).collect::<Vec<_>>()
    };
    // The store was ahead of the journal: the publisher has no acknowledgement, and sends it again.
    assert_eq!(appended(&[restored(b"{}"), restored(b"{}"), live(b"{}", true)]), [1, 0, 0]);
    assert_eq!(appended(&[restored(b"{}"), live(b"{}", true), live(b"{}", false)]), [1, 0, 1], "another reading");
    assert_eq!(appended(&[restored(b"{}"), live(b"{}", false), live(b"{}", true)]), [1, 1, 0], "of the second");
    // The journal was ahead of the store.
    assert_eq!(appended(&[live(b"{}", false), live(br#"{"n":1}"#, false), restored(b"{}")]), [1, 1, 0]);
}

#[test]
fn what_is_kept_back_takes_no_number_from_what_is_stored_and_sent_again_behind_it() {
    let (_folder, mut desk) = desk();
    let row = FlowRow {
        id: 1,
        code: "F".into(),
        topic: "a".into(),
        action: "STORE_DB".into(),
        payload_schema: "{}".into(),
        enabled: true,
        options: Some(r#"{"on_change":true}"#.into()),
        ..FlowRow::default()
    };
    let flow = Arc::new(Flow::compile(row).unwrap());
    let group = |connection: u64, messages: Vec<InboundMessage>| {
        let mut group = CommitGroup::default();
        (0..messages.len()).for_each(|index| group.push(index, [RouteDecision::Accepted(Arc::clone(&flow))]));
        let first = DeliveryTag { connection, number: 1 };
        group.close_batch(Arc::new(MessageBatch { first, messages, news: connected() }), 0);
        group
    };
    let written = desk.write(&mut group(1, readings(false))).unwrap();
    assert_eq!((written.appended, written.kept_back, written.redelivered), (2, 1, 0));
    desk.begin_anew();
    let written = desk.write(&mut group(2, readings(true))).unwrap();
    assert_eq!((written.appended, written.kept_back, written.redelivered), (0, 0, 3));
}

#[test]
fn a_release_is_durable_once_its_group_is_written() {
    let folder = TempDir::new().unwrap();
    let open = || Journal::open(folder.path(), JournalOptions::default()).unwrap();
    let (journal, _) = open();
    journal.handle().register(CONSUMER, ConsumerStart::Oldest).unwrap();
    let mut desk = JournalCommitter::new(journal);
    desk.write(&mut group(1, &[100, 100])).unwrap();
    let mut released = CommitGroup::default();
    released.push_release(0);
    assert!(released.needs_journal());
    let release = InboundMessage { origin: None, is_release: true, ..message(0, 0) };
    let news = vec![SenderNews { before: 0, session: 1, what: SenderEvent::Released { packet_id: 1 } }];
    let first = DeliveryTag { connection: 1, number: 3 };
    released.close_batch(Arc::new(MessageBatch { first, messages: vec![release], news }), 0);
    desk.write(&mut released).unwrap();
    assert_eq!(desk.safe(), first, "it is answered");
    assert_eq!(released.settled().count(), 0, "it is no message");
    drop(desk);
    // Killed: an equal message on that identifier is new, and the other one is known.
    let mut desk = JournalCommitter::new(open().0);
    let written = desk.write(&mut sent_again(1, &[1, 2])).unwrap();
    assert_eq!((written.appended, written.redelivered), (1, 1));
}
