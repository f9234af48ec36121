//! The journal against real files: crashes, damage, full disks, bounds.

mod bounds;
mod crash;
mod damage;
mod faults;
mod ordinary;

use super::*;
use hearthgate_domain::delivery::{MessageOrigin, QoS, UnixMicros};
use hearthgate_domain::flow::{ActionKind, PromisedActions};
use hearthgate_domain::redelivery::{OwedEntry, SenderNote};
use std::path::{Path, PathBuf};

const ACCEPTED: &[EntryTarget<'static>] =
    &[EntryTarget { flow_id: Some(7), verdict: TargetVerdict::Accepted(PromisedActions::UNKNOWN) }];

/// Small segments, so that a test sees several.
fn small() -> JournalOptions {
    JournalOptions { segment_bytes: 64 << 10, max_bytes: 1 << 20, ..JournalOptions::default() }
}

fn open(dir: &Path) -> (Journal, JournalRecovery) {
    Journal::open(dir, small()).unwrap()
}

/// A journal with a consumer named `all`.
fn fresh(dir: &Path, options: JournalOptions) -> Journal {
    let (journal, recovery) = Journal::open(dir, options).unwrap();
    assert!(recovery.fresh);
    journal.handle().register("all", ConsumerStart::Oldest).unwrap();
    journal
}

fn origin(session: u64, packet_id: u16) -> Option<MessageOrigin> {
    Some(MessageOrigin { session, packet_id, dup: false })
}

fn entry<'a>(topic: &'a str, payload: &'a [u8], received_at: UnixMicros) -> JournalEntry<'a> {
    JournalEntry {
        topic,
        payload,
        received_at,
        qos: QoS::AtLeastOnce,
        retain: false,
        is_restored: false,
        origin: None,
        targets: ACCEPTED,
    }
}

/// Appends entries whose payloads are their numbers, and syncs.
fn append_numbered(journal: &mut Journal, count: usize) -> std::ops::Range<Seq> {
    let first = journal.next_seq();
    let payloads: Vec<String> = (first..first + count as u64).map(|seq| format!("{{\"n\":{seq}}}")).collect();
    let entries: Vec<_> = payloads.iter().map(|payload| entry("a/b", payload.as_bytes(), 1_000)).collect();
    let appended = journal.append(&entries).unwrap();
    journal.sync().unwrap();
    appended.seqs
}

/// Appends entries, and notes before that their senders may send them again.
fn append_owed(journal: &mut Journal, entries: &[JournalEntry<'_>]) -> std::ops::Range<Seq> {
    for (seq, entry) in (journal.next_seq()..).zip(entries) {
        if let Some(origin) = entry.origin {
            journal.owed().record(&origin, content_hash(entry.topic, entry.payload), seq);
        }
    }
    journal.append(entries).unwrap().seqs
}

/// The numbers of what is owed.
fn owed(journal: &mut Journal) -> Vec<Seq> {
    let mut seqs: Vec<Seq> = journal.owed().snapshot().filter_map(|entry| entry.seq).collect();
    seqs.sort_unstable();
    seqs
}

/// Everything a reader gives out, and what it skipped.
fn read_all(reader: &mut JournalReader) -> (Vec<(Seq, Vec<u8>)>, Vec<SkippedEntries>) {
    let (mut entries, mut skipped) = (Vec::new(), Vec::new());
    loop {
        let batch = reader.next_batch(97, 10_000).unwrap();
        entries.extend(batch.entries.iter().map(|entry| (entry.seq, entry.payload.to_vec())));
        skipped.extend(batch.skipped);
        if batch.caught_up {
            return (entries, skipped);
        }
    }
}

fn seqs_from(journal: &Journal, after: Seq) -> Vec<Seq> {
    read_all(&mut journal.handle().reader_after(after)).0.into_iter().map(|(seq, _)| seq).collect()
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    files_ending(dir, ".seg")
}

fn files_ending(dir: &Path, ending: &str) -> Vec<PathBuf> {
    let mut paths: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|item| item.unwrap().path())
        .filter(|path| path.to_string_lossy().ends_with(ending))
        .collect();
    paths.sort();
    paths
}
