//! Torn ends and flipped bits.

use super::*;
use std::fs;
use std::os::unix::fs::FileExt;

/// A journal of three synced groups in one segment, closed; the lengths of its segment after each of them.
fn three_groups(dir: &Path) -> Vec<u64> {
    let mut journal = fresh(dir, small());
    let mut lengths = Vec::new();
    for count in [3, 4, 5] {
        let payloads: Vec<_> = (0..count).map(|_| "payload").collect();
        let entries: Vec<_> = payloads
            .iter()
            .map(|payload| JournalEntry { origin: origin(1, count as u16), ..entry("t/o/p", payload.as_bytes(), 5) })
            .collect();
        journal.append(&entries).unwrap();
        journal.sync().unwrap();
        lengths.push(fs::metadata(&segments(dir)[0]).unwrap().len());
    }
    lengths
}

fn copy(from: &Path, to: &Path) {
    for item in fs::read_dir(from).unwrap() {
        let item = item.unwrap();
        fs::copy(item.path(), to.join(item.file_name())).unwrap();
    }
}

#[test]
fn a_tail_torn_at_any_byte_is_cut_off_and_reported() {
    let original = tempfile::tempdir().unwrap();
    let lengths = three_groups(original.path());
    for length in lengths[1]..lengths[2] {
        let dir = tempfile::tempdir().unwrap();
        copy(original.path(), dir.path());
        let segment = segments(dir.path()).remove(0);
        fs::OpenOptions::new().write(true).open(&segment).unwrap().set_len(length).unwrap();
        let (mut journal, recovery) = open(dir.path());
        assert_eq!(recovery.truncated_bytes, length - lengths[1]);
        if length > lengths[1] {
            let [damage] = &recovery.damaged[..] else { panic!("{recovery:?}") };
            assert_eq!((&damage.path, damage.offset, damage.bytes), (&segment, lengths[1], length - lengths[1]));
            let header_is_whole = length - lengths[1] >= 40;
            assert_eq!(damage.lost.start, 8);
            assert!(if header_is_whole { damage.lost.end == 13 } else { damage.lost.end <= 9 }, "torn at {length}");
        }
        assert!(recovery.next_seq >= 8);
        let new = append_numbered(&mut journal, 2);
        let expected: Vec<Seq> = (1..8).chain(new).collect();
        assert_eq!(seqs_from(&journal, 0), expected);
        drop(journal);
        let (journal, recovery) = open(dir.path());
        assert_eq!(recovery.damaged, [], "reported once");
        assert_eq!(seqs_from(&journal, 0), expected);
    }
}

#[test]
fn garbage_and_zeros_after_the_end_are_cut_off() {
    for garbage in [vec![0; 5_000], b"HGG1".repeat(999)] {
        let dir = tempfile::tempdir().unwrap();
        let end = *three_groups(dir.path()).last().unwrap();
        let file = fs::OpenOptions::new().write(true).open(&segments(dir.path())[0]).unwrap();
        file.write_all_at(&garbage, end).unwrap();
        let (journal, recovery) = open(dir.path());
        assert_eq!(recovery.truncated_bytes, garbage.len() as u64);
        assert_eq!(seqs_from(&journal, 0), (1..=12).collect::<Vec<_>>());
    }
}

#[test]
fn a_number_that_was_visible_is_never_given_out_again_even_if_its_bytes_rot() {
    let dir = tempfile::tempdir().unwrap();
    let lengths = three_groups(dir.path());
    flip(&segments(dir.path())[0], lengths[1] + 10, 0xff);
    let (mut journal, recovery) = open(dir.path());
    assert!(recovery.next_seq >= 13, "{recovery:?}");
    assert!(append_numbered(&mut journal, 1).start >= 13);
}

fn flip(path: &Path, offset: u64, bits: u8) {
    let file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).unwrap();
    file.write_all_at(&[byte[0] ^ bits], offset).unwrap();
}

#[test]
fn a_damaged_group_in_the_middle_loses_exactly_itself() {
    let original = tempfile::tempdir().unwrap();
    let lengths = three_groups(original.path());
    for offset in lengths[0]..lengths[1] {
        let dir = tempfile::tempdir().unwrap();
        copy(original.path(), dir.path());
        let segment = segments(dir.path()).remove(0);
        flip(&segment, offset, 0x10);
        let (mut journal, recovery) = open(dir.path());
        let survivors: Vec<Seq> = (1..=3).chain(8..=12).collect();
        if recovery.damaged.is_empty() {
            assert_eq!(seqs_from(&journal, 0), (1..=12).collect::<Vec<_>>(), "only filling was hit");
            continue;
        }
        let [damage] = &recovery.damaged[..] else { panic!("{recovery:?}") };
        assert_eq!((damage.offset, damage.bytes, damage.lost.clone()), (lengths[0], lengths[1] - lengths[0], 4..8));
        assert_eq!(fs::read(damage.set_aside.as_ref().unwrap()).unwrap().len() as u64, damage.bytes);
        let (entries, skipped) = read_all(&mut journal.handle().reader("all").unwrap());
        assert_eq!(entries.iter().map(|(seq, _)| *seq).collect::<Vec<_>>(), survivors);
        let [SkippedEntries { seqs, why: SkipReason::Damaged, salvaged }] = &skipped[..] else { panic!("{skipped:?}") };
        assert_eq!(*seqs, 4..8);
        // One bit can hide one entry, and no more.
        assert!(salvaged.len() >= 3, "{offset}: {salvaged:?}");
        let named: Vec<_> = salvaged.iter().filter_map(|one| Some((one.seq(), one.entry()?.topic.into()))).collect();
        assert_eq!(damage.readable, named);
        let as_written = salvaged.iter().filter_map(SalvagedEntry::entry).filter(|entry| entry.payload == b"payload");
        assert!(as_written.filter(|entry| entry.topic == "t/o/p" && (4..8).contains(&entry.seq)).count() >= 3);
        assert_eq!(append_numbered(&mut journal, 1), 13..14);
        drop(journal);
        assert_eq!(open(dir.path()).1.damaged, [], "reported once");
    }
}

#[test]
fn a_lost_block_hides_only_the_entries_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let options = JournalOptions { segment_bytes: 1 << 20, max_bytes: 8 << 20, ..JournalOptions::default() };
    let mut journal = fresh(dir.path(), options.clone());
    append_numbered(&mut journal, 1);
    append_numbered(&mut journal, 1_000);
    append_numbered(&mut journal, 1);
    drop(journal);
    // All entries of a synced group, about 60 bytes each, but for one block of the disk.
    let file = fs::OpenOptions::new().write(true).open(&segments(dir.path())[0]).unwrap();
    file.write_all_at(&[0; 4096], 20_480).unwrap();
    for round in ["after it", "later"] {
        let (mut journal, recovery) = Journal::open(dir.path(), options.clone()).unwrap();
        append_numbered(&mut journal, 1);
        let (entries, skipped) = read_all(&mut journal.handle().reader_after(0));
        let [SkippedEntries { seqs, why: SkipReason::Damaged, salvaged }] = &skipped[..] else {
            panic!("{round} {skipped:?}")
        };
        let hidden = seqs.clone().count() - salvaged.len();
        assert!((1..=4096 / 40 + 2).contains(&hidden), "{round}: {hidden} of {seqs:?}");
        let entry = |salvaged: &SalvagedEntry| {
            let entry = salvaged.entry().unwrap();
            (entry.topic == "a/b" && entry.payload == format!("{{\"n\":{}}}", entry.seq).as_bytes()).then_some(())
        };
        // Of an entry that is partly in the block the lengths may make sense.
        assert!(salvaged.iter().filter_map(entry).count() >= salvaged.len() - 1);
        assert_eq!(entries.len() + seqs.clone().count(), journal.next_seq() as usize - 1);
        let told: Vec<String> = recovery.damaged.iter().map(ToString::to_string).collect();
        assert!(round == "later" || told[0].contains("readable: 2 a/b, 3 a/b,"), "{told:?}");
    }
}

#[test]
fn a_reader_that_comes_upon_damage_keeps_the_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let lengths = three_groups(dir.path());
    let (mut journal, _) = open(dir.path());
    append_numbered(&mut journal, 1);
    flip(&segments(dir.path())[0], lengths[0] + 40 + 40, 1);
    for reader in [journal.handle().reader_after(0), journal.handle().reader_after(5)] {
        let mut reader = reader;
        let from = reader.next_seq().max(4);
        let skipped = read_all(&mut reader).1;
        let [SkippedEntries { seqs, salvaged, .. }] = &skipped[..] else { panic!("{skipped:?}") };
        assert_eq!(*seqs, from..8);
        assert_eq!(salvaged.iter().map(SalvagedEntry::seq).collect::<Vec<_>>(), (from..8).collect::<Vec<_>>());
    }
    let [kept] = &files_ending(dir.path(), ".damaged")[..] else { panic!("one copy") };
    let segment = fs::read(&segments(dir.path())[0]).unwrap();
    assert_eq!(fs::read(kept).unwrap(), segment[lengths[0] as usize..lengths[1] as usize]);
}

#[test]
fn bits_flipped_anywhere_are_reported_and_the_rest_is_read() {
    let original = tempfile::tempdir().unwrap();
    let mut journal = fresh(original.path(), small());
    for round in 0..20 {
        append_numbered(&mut journal, 100 + round);
    }
    let newest = journal.next_seq() - 1;
    let whole = read_all(&mut journal.handle().reader_after(0)).0;
    drop(journal);
    let mut random = fastrand::Rng::with_seed(5);
    for _ in 0..150 {
        let dir = tempfile::tempdir().unwrap();
        copy(original.path(), dir.path());
        for _ in 0..random.usize(1..4) {
            let segments = segments(dir.path());
            let segment = &segments[random.usize(0..segments.len())];
            let length = fs::metadata(segment).unwrap().len();
            flip(segment, random.u64(0..length), 1 << random.u8(0..8));
        }
        let (mut journal, recovery) = open(dir.path());
        assert!(recovery.next_seq > newest);
        let (entries, skipped) = read_all(&mut journal.handle().reader_after(0));
        let lost = |seq: &Seq| {
            skipped.iter().any(|skipped| skipped.seqs.contains(seq))
                || recovery
                    .damaged
                    .iter()
                    .any(|damage| damage.lost.contains(seq) || damage.what == DamageKind::Unreadable)
        };
        let mut entries = entries.into_iter().peekable();
        for (seq, payload) in &whole {
            match entries.next_if(|(found, _)| found == seq) {
                Some((_, found)) => assert_eq!(&found, payload),
                None => assert!(lost(seq), "{seq} vanished silently: {recovery:?} {skipped:?}"),
            }
        }
        assert_eq!(entries.next(), None);
        let new = append_numbered(&mut journal, 1);
        assert!(seqs_from(&journal, newest).contains(&new.start));
    }
}

#[test]
fn a_damaged_owed_snapshot_is_made_up_from_the_one_before_and_the_segments() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = fresh(dir.path(), small());
    append_owed(&mut journal, &[JournalEntry { origin: origin(3, 1), ..entry("a", b"", 0) }]);
    while segments(dir.path()).len() < 3 {
        append_numbered(&mut journal, 100);
    }
    drop(journal);
    for slot in ["owed.a", "owed.b"] {
        flip(&dir.path().join(slot), 20, 1);
        assert_eq!(owed(&mut open(dir.path()).0), [1], "{slot}");
    }
}

#[test]
fn lost_positions_let_everybody_begin_at_the_oldest_entry() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = fresh(dir.path(), small());
    append_numbered(&mut journal, 5);
    journal.handle().release("all", 5).unwrap();
    journal.handle().flush().unwrap();
    drop(journal);
    for slot in ["positions.a", "positions.b"] {
        fs::write(dir.path().join(slot), b"rubbish").unwrap();
    }
    let (journal, recovery) = open(dir.path());
    assert!(recovery.positions_lost);
    assert_eq!(journal.handle().register("all", ConsumerStart::Newest).unwrap(), 0);
}

#[test]
fn one_torn_position_slot_leaves_the_other() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = fresh(dir.path(), small());
    append_numbered(&mut journal, 5);
    for through in [2, 4] {
        journal.handle().release("all", through).unwrap();
        journal.handle().flush().unwrap();
    }
    drop(journal);
    for (slot, other) in [("positions.a", "positions.b"), ("positions.b", "positions.a")] {
        let copied = tempfile::tempdir().unwrap();
        copy(dir.path(), copied.path());
        let torn = copied.path().join(slot);
        let bytes = fs::read(&torn).unwrap();
        fs::write(&torn, &bytes[..bytes.len() / 2]).unwrap();
        let (journal, recovery) = open(copied.path());
        assert!(!recovery.positions_lost);
        let released = journal.handle().register("all", ConsumerStart::Newest).unwrap();
        assert!([2, 4].contains(&released), "{other} says {released}");
    }
}

#[test]
fn segments_of_another_journal_are_set_aside() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    append_numbered(&mut fresh(dir.path(), small()), 5);
    append_numbered(&mut fresh(other.path(), small()), 5);
    fs::copy(&segments(other.path())[0], dir.path().join("00000000000000000099.seg")).unwrap();
    let (journal, recovery) = open(dir.path());
    assert_eq!(recovery.damaged.len(), 1);
    assert_eq!(files_ending(dir.path(), ".damaged").len(), 1);
    assert_eq!(seqs_from(&journal, 0), [1, 2, 3, 4, 5]);
}

#[test]
fn a_newer_format_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    append_numbered(&mut fresh(dir.path(), small()), 1);
    let path = segments(dir.path()).remove(0);
    let mut bytes = fs::read(&path).unwrap();
    bytes[6] = 9;
    let checksum = crc32c::crc32c(&bytes[..60]);
    bytes[60..64].copy_from_slice(&checksum.to_le_bytes());
    fs::write(&path, bytes).unwrap();
    assert!(matches!(Journal::open(dir.path(), small()), Err(JournalError::Version { found: 9, known: 2, .. })));
}
