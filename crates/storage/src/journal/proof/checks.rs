//! What must hold whenever the journal is open again.

use super::world::{DATABASE, ENDPOINT, MessageName, OutsideWorld};
use crate::journal::*;
use std::collections::{BTreeMap, BTreeSet};

/// Everything that is there.
pub(super) fn read_all(journal: &Journal) -> (BTreeMap<Seq, MessageName>, Vec<SkippedEntries>) {
    let mut reader = journal.handle().reader_after(0);
    let (mut entries, mut skipped, mut before) = (BTreeMap::new(), Vec::new(), 0);
    loop {
        let batch = reader.next_batch(1_000, 1 << 20).expect("a disk without faults is read");
        for entry in &batch.entries {
            assert!(entry.seq > before, "entry {} comes after {before}", entry.seq);
            before = entry.seq;
            let name = MessageName::of(entry.payload).expect("a payload as it was sent");
            entries.insert(entry.seq, name);
        }
        skipped.extend(batch.skipped);
        if batch.caught_up {
            return (entries, skipped);
        }
    }
}

/// After a recovery from a power cut on a disk that keeps what it has confirmed.
pub(super) fn check(world: &mut OutsideWorld, journal: &Journal, recovery: &JournalRecovery) {
    for damage in &recovery.damaged {
        let is_torn_end = matches!(damage.what, DamageKind::TornEnd | DamageKind::Unreadable | DamageKind::Header);
        assert!(is_torn_end, "false alarm: {damage}");
    }
    assert!(!recovery.positions_lost, "the positions are lost");
    let (there, skipped) = read_all(journal);
    let is_needed = |skipped: &SkippedEntries| skipped.seqs.end > world.position + 1;
    assert!(!skipped.iter().any(is_needed), "a reader is told of damage: {skipped:?}");
    let newest = there.keys().next_back().copied().unwrap_or_default();
    assert!(journal.next_seq() > newest);

    for (seq, name) in &there {
        let known = world.given_out.get(seq);
        assert!(known.is_none_or(|known| known == name), "number {seq} was {known:?}, is {name:?}");
    }
    for consumer in [DATABASE, ENDPOINT] {
        let released = journal.handle().released(consumer).unwrap_or_default();
        assert!(released < journal.next_seq(), "{consumer} is done through {released}, which is not there yet");
        let position = if consumer == DATABASE { world.position } else { released };
        assert!(released <= position, "{consumer} is at {released}, and stored through {position}");
    }
    let waiting: BTreeMap<Seq, MessageName> =
        there.iter().filter(|(seq, _)| **seq > world.position).map(|(seq, name)| (*seq, *name)).collect();
    check_once_and_in_order(world, &waiting);
    let stored: BTreeSet<MessageName> = world.rows.values().chain(waiting.values()).copied().collect();
    let lost: Vec<_> = world.safe.difference(&stored).collect();
    assert!(lost.is_empty(), "acknowledged and nowhere: {lost:?}");
    let released = journal.handle().released(ENDPOINT).unwrap_or_default();
    let to_post: BTreeSet<MessageName> =
        there.iter().filter(|(seq, _)| **seq > released).map(|(_, name)| *name).collect();
    let lost: Vec<_> =
        world.safe.iter().filter(|name| !world.posted.contains(name) && !to_post.contains(name)).collect();
    assert!(lost.is_empty(), "acknowledged, not posted and not waiting: {lost:?}");
    world.given_out.extend(there);
}

/// Rows, and what will become rows: each message once, those of a sender in its order.
fn check_once_and_in_order(world: &OutsideWorld, waiting: &BTreeMap<Seq, MessageName>) {
    let mut last: BTreeMap<u64, u64> = BTreeMap::new();
    for (seq, name) in world.rows.iter().chain(waiting) {
        let before = last.insert(name.session, name.number).unwrap_or_default();
        assert!(before < name.number, "{name:?} as entry {seq} comes after message {before} of its sender");
    }
}
