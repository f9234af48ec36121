//! Crashes: a real process killed in the middle, and arbitrary histories.

use super::*;
use proptest::prelude::*;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

const CHILD_DIR: &str = "HEARTHGATE_JOURNAL_CHILD";

/// Not a test of its own: the process that `a_killed_writer_loses_nothing_that_it_had_synced` starts and kills. It prints
/// what is safe, and keeps what it prints true.
#[test]
fn child_that_appends_until_it_is_killed() {
    let Some(dir) = std::env::var_os(CHILD_DIR) else { return };
    let (mut journal, recovery) = Journal::open(Path::new(&dir), small()).unwrap();
    journal.handle().register("all", ConsumerStart::Oldest).unwrap();
    for damage in recovery.damaged {
        println!("damage {} {}", damage.lost.start, damage.lost.end);
    }
    loop {
        let count = 1 + (journal.next_seq() % 40) as usize;
        let seqs = append_numbered(&mut journal, count);
        println!("safe {} {}", seqs.start, seqs.end);
        // Keeps the directory small: only the newest thousand are wanted.
        journal.handle().release("all", seqs.start.saturating_sub(1_000)).unwrap();
        journal.handle().flush().unwrap();
    }
}

#[test]
fn a_killed_writer_loses_nothing_that_it_had_synced() {
    let dir = tempfile::tempdir().unwrap();
    let mut random = fastrand::Rng::with_seed(11);
    let mut safe: Vec<Seq> = Vec::new();
    for round in 0..25 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["journal::tests::crash::child_that_appends_until_it_is_killed", "--exact", "--nocapture"])
            .env(CHILD_DIR, dir.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let until = random.usize(1..12);
        let mut reports = 0;
        let mut take = |line: &str, safe: &mut Vec<Seq>| {
            // The harness writes the test's name before the first line.
            let Some(at) = line.find("safe ") else { return };
            let mut numbers = line[at + 5..].split(' ').map(|number| number.parse::<Seq>());
            if let (Some(Ok(start)), Some(Ok(end))) = (numbers.next(), numbers.next()) {
                safe.extend(start..end);
                reports += 1;
            }
        };
        let mut killed = false;
        while let Some(Ok(line)) = lines.next() {
            take(&line, &mut safe);
            if !killed && safe.len() > round && random.usize(0..until) == 0 {
                child.kill().unwrap();
                killed = true;
            }
        }
        child.wait().unwrap();
        let (journal, recovery) = open(dir.path());
        assert_eq!(
            recovery.damaged.iter().map(|damage| damage.lost.clone()).find(|lost| safe.contains(&lost.start)),
            None
        );
        let stored = read_all(&mut journal.handle().reader_after(0)).0;
        let oldest = stored.first().map_or(1, |(seq, _)| *seq);
        for (seq, payload) in &stored {
            assert_eq!(*payload, format!("{{\"n\":{seq}}}").into_bytes());
        }
        let stored: std::collections::BTreeSet<Seq> = stored.into_iter().map(|(seq, _)| seq).collect();
        let lost: Vec<_> = safe.iter().filter(|seq| **seq >= oldest && !stored.contains(seq)).collect();
        assert!(lost.is_empty(), "round {round}: {lost:?}");
        let given_twice = safe.windows(2).find(|pair| pair[0] >= pair[1]);
        assert_eq!(given_twice, None);
    }
    assert!(safe.len() > 200, "the child came to work: {}", safe.len());
}

#[derive(Clone, Debug)]
enum Act {
    Append(Vec<u16>),
    Sync,
    /// The process dies: what the system has is kept.
    Kill,
    /// The machine dies: of what is not synced, this share of bytes is kept.
    PowerCut(f64),
    Read,
    Release,
    Confirm,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => proptest::collection::vec(0..3_000u16, 1..60).prop_map(Act::Append),
        5 => Just(Act::Sync),
        1 => Just(Act::Kill),
        2 => (0.0..1.0f64).prop_map(Act::PowerCut),
        3 => Just(Act::Read),
        1 => Just(Act::Release),
        2 => Just(Act::Confirm),
    ]
}

/// What must hold, beside the journal.
#[derive(Default)]
struct Model {
    synced: Vec<(Seq, usize)>,
    unsynced: Vec<(Seq, usize)>,
    given_out: Seq,
    confirmed: Seq,
    /// What each packet identifier was last used for, whether that came to stay or not: its sender had the
    /// acknowledgement of what it stood for before.
    newest: std::collections::BTreeMap<usize, Seq>,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_history_gives_exactly_the_synced_entries(acts in proptest::collection::vec(act(), 1..60)) {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = fresh(dir.path(), JournalOptions { max_bytes: 64 << 20, ..small() });
        let mut model = Model::default();
        let mut read_through = 0;
        for act in acts {
            match act {
                Act::Append(sizes) => append(&mut journal, &sizes, &mut model),
                Act::Sync => {
                    journal.sync().unwrap();
                    model.synced.append(&mut model.unsynced);
                }
                Act::Confirm => {
                    model.confirmed = journal.next_seq() - 1;
                    journal.owed().settle_through(1, model.confirmed);
                    journal.keep_settled().unwrap();
                    note_synced(&journal, &mut model);
                }
                Act::Read => {
                    let mut reader = journal.handle().reader_after(read_through);
                    read_through = check_read(&mut reader, read_through, &model);
                }
                Act::Release => {
                    journal.handle().release("all", read_through).unwrap();
                    journal.handle().flush().unwrap();
                }
                Act::Kill => journal = reopen(dir.path(), journal, None, &mut model),
                Act::PowerCut(share) => journal = reopen(dir.path(), journal, Some(share), &mut model),
            }
        }
        journal.sync().unwrap();
        model.synced.append(&mut model.unsynced);
        check_read(&mut journal.handle().reader_after(read_through), read_through, &model);
    }
}

fn append(journal: &mut Journal, sizes: &[u16], model: &mut Model) {
    let payload = vec![b'x'; 3_000];
    let entries: Vec<_> = sizes
        .iter()
        .map(|size| JournalEntry { origin: origin(1, *size + 1), ..entry("a", &payload[..usize::from(*size)], 0) })
        .collect();
    let seqs = append_owed(journal, &entries);
    assert!(seqs.start > model.given_out, "given out twice");
    model.given_out = seqs.end - 1;
    model.newest.extend(sizes.iter().map(|size| usize::from(*size)).zip(seqs.clone()));
    note_synced(journal, model);
    model.unsynced.extend(seqs.zip(sizes.iter().map(|size| usize::from(*size))));
}

/// Closing a segment syncs what is in it.
fn note_synced(journal: &Journal, model: &mut Model) {
    let synced = journal.usage().synced;
    let later = model.unsynced.split_off(model.unsynced.partition_point(|(seq, _)| *seq <= synced));
    model.synced.append(&mut std::mem::replace(&mut model.unsynced, later));
}

fn check_read(reader: &mut JournalReader, after: Seq, model: &Model) -> Seq {
    let (entries, skipped) = read_all(reader);
    assert_eq!(skipped, []);
    let found: Vec<_> = entries.iter().map(|(seq, payload)| (*seq, payload.len())).collect();
    let expected: Vec<_> = model.synced.iter().copied().filter(|(seq, _)| *seq > after).collect();
    assert_eq!(found, expected);
    found.last().map_or(after, |(seq, _)| *seq)
}

/// Ends the journal as a crash would and opens it again. Whole groups that were written but not synced may be there.
fn reopen(dir: &Path, journal: Journal, cut: Option<f64>, model: &mut Model) -> Journal {
    let (durable, written) = journal.active.as_ref().map_or((0, 0), |active| (active.durable, active.written));
    drop(journal);
    if let Some(share) = cut {
        let last = segments(dir).pop().unwrap();
        let kept = durable + ((written - durable) as f64 * share) as u64;
        std::fs::OpenOptions::new().write(true).open(last).unwrap().set_len(kept).unwrap();
    }
    let (mut journal, recovery) = Journal::open(dir, JournalOptions { max_bytes: 64 << 20, ..small() }).unwrap();
    assert!(recovery.next_seq > model.given_out || cut.is_some());
    let mut unsynced = std::mem::take(&mut model.unsynced);
    let found = read_all(&mut journal.handle().reader_after(model.synced.last().map_or(0, |(seq, _)| *seq))).0;
    unsynced.truncate(found.len());
    model.synced.extend(unsynced);
    model.given_out = model.given_out.min(recovery.next_seq - 1);
    let recovered = owed(&mut journal);
    if cut.is_some() {
        // The confirmation itself may have been cut off: then what it was about is owed once more.
        let first = recovered.first().map_or(recovery.next_seq, |first| *first);
        model.confirmed = model.confirmed.min(first - 1);
    }
    assert!(
        recovered.iter().all(|seq| *seq > model.confirmed),
        "a confirmed entry is owed after a crash of the process"
    );
    let kept = |seq| model.synced.iter().any(|(synced, _)| *synced == seq);
    assert!(recovered.iter().all(|seq| kept(*seq)));
    let is_newest = |seq: &Seq, size: &usize| model.newest.get(size) == Some(seq);
    let mut unconfirmed = model.synced.iter().filter(|(seq, size)| *seq > model.confirmed && is_newest(seq, size));
    assert!(unconfirmed.all(|(seq, _)| recovered.contains(seq)), "an unconfirmed entry is not owed");
    journal
}
