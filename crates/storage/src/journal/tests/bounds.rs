//! What happens when the journal is full.

use super::*;
use std::time::Duration;

/// Appends until refused; tells how many were taken.
fn fill(journal: &mut Journal) -> u64 {
    let payload = vec![1; 1_000];
    let mut taken = 0;
    loop {
        match journal.append(&[entry("a", &payload, 0); 10]) {
            Ok(appended) => {
                assert_eq!(appended.dropped, None);
                journal.sync().unwrap();
                taken += 10;
            }
            Err(JournalError::Full { bytes, max_bytes, too_old: false }) => {
                assert!(bytes <= max_bytes);
                return taken;
            }
            Err(other) => panic!("{other}"),
        }
    }
}

#[test]
fn a_full_journal_refuses_until_a_consumer_makes_room() {
    for when_full in [WhenFull::Block, WhenFull::Reject] {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = fresh(dir.path(), JournalOptions { when_full, ..small() });
        let taken = fill(&mut journal);
        assert!((900..1_024).contains(&taken), "{taken}");
        journal.handle().release("all", taken).unwrap();
        journal.handle().flush().unwrap();
        assert!(fill(&mut journal) > 800);
    }
}

#[test]
fn dropping_the_oldest_accounts_for_every_entry_and_consumer() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = fresh(dir.path(), JournalOptions { when_full: WhenFull::DropOldest, ..small() });
    journal.handle().register("ahead", ConsumerStart::Oldest).unwrap();
    let payload = vec![1; 1_000];
    let mut dropped: Vec<(String, u64)> = Vec::new();
    for round in 0..300u64 {
        let appended = journal.append(&[entry("a", &payload, 0); 10]).unwrap();
        for (name, count) in appended.dropped.map(|dropped| dropped.unreleased).unwrap_or_default() {
            match dropped.iter_mut().find(|(known, _)| *known == name) {
                Some((_, total)) => *total += count,
                None => dropped.push((name, count)),
            }
        }
        journal.sync().unwrap();
        // This one keeps up for a while, then hangs.
        let handle = journal.handle();
        handle.release("ahead", (round * 10).min(1_005)).unwrap();
        handle.flush().unwrap();
    }
    assert!(journal.usage().bytes <= 1 << 20);
    let (entries, skipped) = read_all(&mut journal.handle().reader("all").unwrap());
    let [SkippedEntries { seqs, why: SkipReason::Gone, .. }] = &skipped[..] else { panic!("{skipped:?}") };
    assert_eq!(seqs.end - seqs.start + entries.len() as u64, 3_000);
    let oldest = seqs.end;
    dropped.sort();
    assert_eq!(dropped, [("ahead".to_owned(), oldest - 1 - 1_005), ("all".to_owned(), oldest - 1)]);
    let lag = |name| journal.usage().consumers.iter().find(|consumer| consumer.name == name).unwrap().lag;
    assert_eq!((lag("all"), lag("ahead")), (3_000 - oldest + 1, 3_000 - oldest + 1));
}

#[test]
fn old_entries_make_a_journal_full_or_go_by_policy() {
    let second = 1_000_000;
    let aged = |when_full| {
        let dir = tempfile::tempdir().unwrap();
        let max_age = Some(Duration::from_secs(100));
        let mut journal = fresh(dir.path(), JournalOptions { max_age, when_full, ..small() });
        for at in 0..90 {
            // The wall clock is of no account.
            journal.append(&[entry("a", b"", 1 << (at % 60))]).unwrap();
            journal.sync().unwrap();
            journal.clock.advance(second);
        }
        journal.clock.advance(60 * second);
        (dir, journal)
    };
    let (_dir, mut journal) = aged(WhenFull::Block);
    let late = entry("a", b"late", 0);
    assert!(matches!(journal.append(&[late]), Err(JournalError::Full { too_old: true, .. })));
    journal.handle().release("all", 60).unwrap();
    assert_eq!(journal.append(&[late]).unwrap().seqs, 91..92);

    let (_dir, mut journal) = aged(WhenFull::DropOldest);
    let dropped = journal.append(&[late]).unwrap().dropped.unwrap();
    assert_eq!(dropped.seqs.start, 1);
    let (_, lost) = &dropped.unreleased[0];
    assert!((25..=50).contains(lost), "what is older than the bound, to a quarter of it: {lost}");
    journal.clock.advance(850 * second);
    let appended = journal.append(&[late]).unwrap();
    assert_eq!(appended.dropped.unwrap().seqs.end, 91, "all that is too old goes");
    assert_eq!(appended.seqs, 92..93);
}

#[test]
fn what_waits_over_a_restart_is_no_older_than_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let options = || JournalOptions { max_age: Some(Duration::from_secs(100)), ..small() };
    let mut journal = fresh(dir.path(), options());
    append_numbered(&mut journal, 3);
    drop(journal);
    let (mut journal, _) = Journal::open(dir.path(), options()).unwrap();
    assert_eq!(append_numbered(&mut journal, 1), 4..5, "it is not full");
    journal.clock.advance(101 * 1_000_000);
    assert!(matches!(journal.append(&[entry("a", b"", 0)]), Err(JournalError::Full { too_old: true, .. })));
}

#[test]
fn options_that_make_no_sense_are_refused_in_words() {
    let dir = tempfile::tempdir().unwrap();
    for options in [
        JournalOptions { segment_bytes: 10, ..small() },
        JournalOptions { max_bytes: 100_000, ..small() },
        JournalOptions { max_age: Some(Duration::ZERO), ..small() },
    ] {
        assert!(matches!(Journal::open(dir.path(), options), Err(JournalError::Invalid(_))));
    }
}

#[test]
fn nothing_is_deleted_before_the_first_append_has_seen_all_consumers() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = fresh(dir.path(), small());
    for _ in 0..10 {
        append_numbered(&mut journal, 300);
    }
    drop(journal);
    let (journal, _) = open(dir.path());
    let count = segments(dir.path()).len();
    assert_eq!(journal.handle().consumers(), ["all"]);
    assert_eq!(segments(dir.path()).len(), count);
}

#[test]
fn a_held_journal_keeps_what_is_done_with_until_it_is_let_go() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = fresh(dir.path(), small());
    let hold = SegmentHold::take(dir.path()).unwrap();
    let taken = fill(&mut journal);
    let segments = journal.usage().segments;
    journal.handle().release("all", taken).unwrap();
    journal.handle().flush().unwrap();
    assert_eq!(journal.usage().segments, segments);
    drop(hold);
    assert!(fill(&mut journal) > 800, "room is made again by whoever needs it");
}
