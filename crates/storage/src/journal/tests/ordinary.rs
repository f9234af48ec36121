//! What the journal does when nothing goes wrong.

use super::*;

#[test]
fn an_entry_comes_back_as_it_was_appended() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = fresh(dir.path(), small());
    let long = "é".repeat(2_000);
    let targets = [
        EntryTarget {
            flow_id: Some(-3),
            verdict: TargetVerdict::Accepted(PromisedActions::of([ActionKind::Store, ActionKind::Publish])),
        },
        EntryTarget { flow_id: Some(4), verdict: TargetVerdict::Refused { reason: "not a number", pointer: "/temp" } },
        EntryTarget { flow_id: None, verdict: TargetVerdict::Refused { reason: &long, pointer: "" } },
    ];
    let origin = Some(MessageOrigin { session: u64::MAX, packet_id: 65_535, dup: true });
    let sent = JournalEntry {
        topic: "haus/küche",
        payload: &[0, 255, 1],
        received_at: -5,
        qos: QoS::ExactlyOnce,
        retain: true,
        is_restored: true,
        origin,
        targets: &targets,
    };
    assert_eq!(journal.append(&[sent, entry("", b"", 0)]).unwrap().seqs, 1..3);
    journal.sync().unwrap();
    let mut reader = journal.handle().reader("all").unwrap();
    let batch = reader.next_batch(10, 10_000).unwrap();
    let [first, second] = batch.entries[..] else { panic!("{batch:?}") };
    assert_eq!((first.seq, first.topic, first.payload, first.received_at), (1, "haus/küche", &[0, 255, 1][..], -5));
    assert_eq!((first.qos, first.retain, first.origin), (QoS::ExactlyOnce, true, origin));
    let stored: Vec<_> = first.targets.iter().collect();
    assert_eq!(stored[..2], targets[..2]);
    let TargetVerdict::Refused { reason, .. } = stored[2].verdict else { panic!("{stored:?}") };
    assert!(reason.len() <= 1_030 && reason.ends_with("é…"), "cut at a character");
    assert_eq!((second.seq, second.topic, second.payload, second.origin), (2, "", &[][..], None));
    assert_eq!(batch.through, 2);
}

#[test]
fn each_part_that_is_replayed_or_promised_comes_back_as_itself() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = fresh(dir.path(), small());
    let verdicts = ActionKind::ALL
        .into_iter()
        .flat_map(|part| [TargetVerdict::Replayed(part), TargetVerdict::Accepted(PromisedActions::of([part]))]);
    let targets: Vec<_> = verdicts.map(|verdict| EntryTarget { flow_id: Some(-3), verdict }).collect();
    journal.append(&[JournalEntry { targets: &targets, ..entry("a", b"1", 0) }]).unwrap();
    journal.sync().unwrap();
    let mut reader = journal.handle().reader("all").unwrap();
    let batch = reader.next_batch(10, 1_000).unwrap();
    assert_eq!(batch.entries[0].targets.iter().collect::<Vec<_>>(), targets);
}

#[test]
fn nothing_is_visible_before_it_is_synced() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = fresh(dir.path(), small());
    let mut reader = journal.handle().reader("all").unwrap();
    journal.append(&[entry("a", b"1", 0)]).unwrap();
    let batch = reader.next_batch(10, 1_000).unwrap();
    assert!(batch.caught_up && batch.entries.is_empty());
    assert_eq!(journal.sync().unwrap(), 1);
    assert_eq!(reader.next_batch(10, 1_000).unwrap().entries.len(), 1);
}

#[test]
fn entries_run_through_many_segments_and_survive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = fresh(dir.path(), small());
    let id = journal.handle().id();
    for _ in 0..30 {
        append_numbered(&mut journal, 200);
    }
    assert!(segments(dir.path()).len() > 4);
    assert_eq!(seqs_from(&journal, 0), (1..=6_000).collect::<Vec<_>>());
    assert_eq!(seqs_from(&journal, 4_321), (4_322..=6_000).collect::<Vec<_>>());
    drop(journal);
    let (mut journal, recovery) = open(dir.path());
    assert_eq!((recovery.next_seq, recovery.damaged, recovery.fresh), (6_001, vec![], false));
    assert_eq!(journal.handle().id(), id);
    append_numbered(&mut journal, 1);
    let (entries, skipped) = read_all(&mut journal.handle().reader("all").unwrap());
    assert_eq!(entries.len(), 6_001);
    assert!(entries.iter().all(|(seq, payload)| *payload == format!("{{\"n\":{seq}}}").into_bytes()));
    assert_eq!(skipped, []);
}

#[test]
fn a_batch_keeps_its_bounds_and_gives_at_least_one_entry() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = fresh(dir.path(), JournalOptions { segment_bytes: 8 << 20, max_bytes: 64 << 20, ..small() });
    let large = vec![7; 700_000];
    journal.append(&[entry("a", &large, 0), entry("a", b"x", 0), entry("a", b"y", 0)]).unwrap();
    journal.sync().unwrap();
    let mut reader = journal.handle().reader("all").unwrap();
    assert_eq!(reader.next_batch(10, 1).unwrap().entries[0].payload.len(), 700_000);
    assert_eq!(reader.next_batch(1, 10_000).unwrap().through, 2);
    assert_eq!(reader.next_batch(1, 10_000).unwrap().through, 3);
    assert!(reader.next_batch(1, 10_000).unwrap().caught_up);
}

#[test]
fn a_filter_passes_over_what_is_not_wanted_and_counts_it_as_seen() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = fresh(dir.path(), small());
    append_numbered(&mut journal, 1_000);
    let mut reader = journal.handle().reader("all").unwrap();
    let mut found = Vec::new();
    loop {
        let batch = reader.next_batch_where(3, 10_000, |entry| entry.seq % 100 == 0).unwrap();
        found.extend(batch.entries.iter().map(|entry| entry.seq));
        if batch.caught_up {
            assert_eq!(batch.through, 1_000);
            break;
        }
    }
    assert_eq!(found, (1..=10).map(|hundred| hundred * 100).collect::<Vec<_>>());
}

#[test]
fn what_is_owed_survives_the_deletion_of_old_segments() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = fresh(dir.path(), small());
    let handle = journal.handle();
    let with_origin = |packet_id| JournalEntry { origin: origin(9, packet_id), ..entry("a/b", b"owed", 0) };
    append_owed(&mut journal, &[with_origin(1), with_origin(2), with_origin(3)]);
    journal.owed().confirm_through(9, 2);
    for _ in 0..20 {
        append_numbered(&mut journal, 200);
        handle.release("all", journal.next_seq() - 1).unwrap();
        handle.flush().unwrap();
    }
    assert_eq!(segments(dir.path()).len(), 1, "released segments are gone");
    drop(journal);
    let (mut journal, _) = open(dir.path());
    let hash = content_hash("a/b", b"owed");
    let known: Vec<_> = journal.owed().snapshot().collect();
    assert_eq!(known, [OwedEntry { session: 9, packet_id: 3, hash, seq: Some(3), position: 2, connection: 0 }]);
    journal.owed().forget_session(9);
    journal.keep_settled().unwrap();
    drop(journal);
    assert!(owed(&mut open(dir.path()).0).is_empty());
}

#[test]
fn what_an_absent_sender_is_owed_survives_restarts_and_others_confirmations() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = fresh(dir.path(), small());
    let entry = |session, packet_id| JournalEntry { origin: origin(session, packet_id), ..entry("a", b"", 0) };
    append_owed(&mut journal, &[entry(1, 1), entry(2, 1)]);
    drop(journal);
    for _ in 0..3 {
        let (mut journal, _) = open(dir.path());
        assert_eq!(owed(&mut journal)[0], 1);
        for packet_id in 2..600 {
            // Not in turn: then what was confirmed is forgotten.
            let seqs = append_owed(&mut journal, &[entry(2, 2 * packet_id)]);
            journal.owed().confirm_through(2, seqs.start);
        }
        journal.sync().unwrap();
        journal.handle().release("all", journal.next_seq() - 1).unwrap();
        journal.handle().flush().unwrap();
    }
    let (mut journal, _) = open(dir.path());
    assert_eq!(owed(&mut journal)[0], 1);
    assert!(owed(&mut journal).len() < 80, "what is settled is written now and then");
}

#[test]
fn what_is_only_noted_is_known_after_a_restart_and_takes_little_room_however_much_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(dir.path(), JournalOptions { window: 100, ..small() }).unwrap().0;
    journal.handle().register("all", ConsumerStart::Oldest).unwrap();
    append_owed(&mut journal, &[JournalEntry { origin: origin(1, 1), ..entry("a", b"", 0) }]);
    for round in 0..400_u16 {
        journal.tidy_notes().unwrap();
        let before = journal.next_seq();
        let event = |n| {
            let origin = MessageOrigin { session: 2, packet_id: round * 100 + n, dup: false };
            SenderNote::Received { origin, hash: 5, seq: None }
        };
        let notes: Vec<UnstoredNote> = (1..=100).map(|n| UnstoredNote { before, event: event(n) }).collect();
        journal.append_with_notes(&[], &notes).unwrap();
        journal.handle().release("all", journal.next_seq() - 1).unwrap();
        journal.handle().flush().unwrap();
    }
    let usage = journal.usage();
    assert!(usage.segments < 3 && usage.bytes < 600 << 10, "{usage:?}");
    drop(journal);
    let (mut journal, recovery) = Journal::open(dir.path(), JournalOptions { window: 100, ..small() }).unwrap();
    assert_eq!(recovery.damaged, []);
    let known: Vec<u16> = journal.owed().snapshot().map(|entry| entry.packet_id).filter(|id| *id > 1).collect();
    assert_eq!(known, (39_901..=40_000).collect::<Vec<u16>>());
    assert_eq!(owed(&mut journal), [1]);
    assert_eq!(append_numbered(&mut journal, 3).count(), 3);
}

#[test]
fn what_is_owed_takes_no_room_from_entries_however_small_the_segments_are() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = fresh(dir.path(), small());
    // 600 KB of it, where segments have 64 KiB and the journal one MiB.
    for seq in 1..=60_000_u16 {
        journal.owed().record(&origin(u64::from(seq % 2), seq).unwrap(), 7, u64::from(seq));
    }
    let mut seqs = Vec::new();
    for _ in 0..20 {
        seqs.extend(append_numbered(&mut journal, 200));
    }
    assert_eq!(seqs_from(&journal, 0), seqs);
    let usage = journal.usage();
    assert!(usage.segments < 8 && usage.bytes < 400 << 10, "{usage:?}");
}

#[test]
fn consumers_hold_segments_until_they_release_them_or_are_unregistered() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = fresh(dir.path(), small());
    let handle = journal.handle();
    handle.register("slow", ConsumerStart::Oldest).unwrap();
    for _ in 0..10 {
        append_numbered(&mut journal, 300);
    }
    let before = segments(dir.path()).len();
    handle.release("all", 3_000).unwrap();
    handle.flush().unwrap();
    assert_eq!(segments(dir.path()).len(), before);
    let usage = journal.usage();
    let lags: Vec<_> = usage.consumers.iter().map(|consumer| (consumer.name.as_str(), consumer.lag)).collect();
    assert_eq!(lags, [("all", 0), ("slow", 3_000)]);
    assert_eq!((usage.entries, usage.synced), (3_000, 3_000));
    // By the journal's own clock, whatever `received_at` says.
    assert!(usage.oldest_waiting.is_some_and(|at| at > 1_000 && at <= journal.clock.now()));
    handle.release("slow", 3_000).unwrap();
    handle.flush().unwrap();
    assert_eq!(segments(dir.path()).len(), 1);
    assert_eq!(journal.usage().oldest_waiting, None);
}

#[test]
fn positions_are_kept_over_a_restart_once_flushed() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = fresh(dir.path(), small());
    append_numbered(&mut journal, 10);
    let handle = journal.handle();
    handle.release("all", 4).unwrap();
    handle.flush().unwrap();
    handle.release("all", 9).unwrap();
    drop(journal);
    assert!(matches!(handle.flush(), Err(JournalError::Closed)), "a closed journal's positions are not written");
    let (journal, _) = open(dir.path());
    assert_eq!(
        journal.handle().register("all", ConsumerStart::Newest).unwrap(),
        4,
        "known, so the start does not count"
    );
    assert_eq!(journal.handle().register("new", ConsumerStart::Newest).unwrap(), 10);
    assert_eq!(journal.handle().register("elsewhere", ConsumerStart::After(6)).unwrap(), 6);
    assert_eq!(read_all(&mut journal.handle().reader("all").unwrap()).0[0].0, 5);
    assert!(matches!(journal.handle().reader("nobody"), Err(JournalError::UnknownConsumer { .. })));
}

#[test]
fn a_second_opener_is_told_who_has_it() {
    let dir = tempfile::tempdir().unwrap();
    let journal = fresh(dir.path(), small());
    let error = Journal::open(dir.path(), small()).unwrap_err();
    assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
    drop(journal);
    open(dir.path());
}

#[test]
fn a_clock_set_back_an_hour_changes_nothing_in_the_order() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal =
        fresh(dir.path(), JournalOptions { max_age: Some(std::time::Duration::from_secs(60)), ..small() });
    let hour = 3_600_000_000;
    for at in [2 * hour, hour, hour + 1, 2 * hour + 1] {
        journal.append(&[entry("a", b"", at)]).unwrap();
        journal.sync().unwrap();
    }
    let mut reader = journal.handle().reader("all").unwrap();
    let batch = reader.next_batch(10, 10_000).unwrap();
    let times: Vec<_> = batch.entries.iter().map(|entry| entry.received_at).collect();
    assert_eq!(times, [2 * hour, hour, hour + 1, 2 * hour + 1]);
}

#[tokio::test(flavor = "current_thread")]
async fn a_reader_in_another_thread_follows_the_writer() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = fresh(dir.path(), small());
    let mut reader = journal.handle().reader("all").unwrap();
    let writer = std::thread::spawn(move || {
        for round in 0..60 {
            append_numbered(&mut journal, 1 + round * 7);
        }
        journal.next_seq() - 1
    });
    let mut seen = 0;
    while reader.ready().await.is_ok() {
        let batch = reader.next_batch(500, 100_000).unwrap();
        assert_eq!(batch.skipped, []);
        for entry in &batch.entries {
            seen += 1;
            assert_eq!(entry.seq, seen);
        }
    }
    assert_eq!(seen, writer.join().unwrap(), "the end comes only after everything was read");
}

#[test]
fn an_entry_that_cannot_be_held_is_refused_and_leaves_no_trace() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = fresh(dir.path(), small());
    let topic = "x".repeat(70_000);
    let refused = journal.append(&[entry("a", b"", 0), entry(&topic, b"", 0)]);
    assert!(matches!(refused, Err(JournalError::TooLarge { what: "topic", .. })));
    let payload = vec![0; 900_000];
    assert!(matches!(journal.append(&[entry("a", &payload, 0)]), Err(JournalError::TooLarge { .. })));
    assert_eq!(append_numbered(&mut journal, 1), 1..2);
}
