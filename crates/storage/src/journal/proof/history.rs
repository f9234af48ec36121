//! A history: the journal lives, the power goes, it lives again, until the world has seen enough of it.

use super::checks;
use super::world::{DATABASE, ENDPOINT, OutsideWorld};
use crate::journal::*;
use hearthgate_files::disk::simulated::{SECTOR, SimulatedDisk};
use std::fmt;
use std::path::Path;

const FOLDER: &str = "/journal";
/// Of payloads, in bytes: at most, each as often as the others.
const SIZES: [usize; 16] = [10, 10, 10, 10, 10, 100, 100, 100, 100, 100, 600, 600, 600, 600, 3_000, 60_000];
const LIVES: usize = 8;
const ACTS: usize = 60;
/// A recovery that makes more calls than this does not end.
const CALLS_AT_MOST: u64 = 20_000;

/// When the power goes in the first life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FirstCut {
    ByChance,
    At(u64),
    Never,
}

/// What a history came through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct HistoryCount {
    pub(super) histories: u64,
    /// Times that the power went, in recoveries too.
    pub(super) cuts: u64,
    /// Of these in a recovery.
    pub(super) recovery_cuts: u64,
    /// Messages that were acknowledged.
    pub(super) safe: u64,
    /// Calls of the disk in the first life.
    pub(super) first_calls: u64,
    /// Of all calls of the disk.
    digest: u64,
}

impl HistoryCount {
    pub(super) fn add(&mut self, other: &HistoryCount) {
        self.histories += other.histories;
        self.cuts += other.cuts;
        self.recovery_cuts += other.recovery_cuts;
        self.safe += other.safe;
    }
}

impl fmt::Display for HistoryCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let HistoryCount { histories, cuts, recovery_cuts, safe, .. } = self;
        write!(
            f,
            "{histories} histories, {cuts} power cuts ({recovery_cuts} in a recovery), {safe} messages acknowledged, "
        )?;
        write!(f, "lost 0, duplicated 0")
    }
}

pub(super) fn options() -> JournalOptions {
    JournalOptions { segment_bytes: 64 << 10, max_bytes: 512 << 10, ..JournalOptions::default() }
}

fn open() -> Result<(Journal, JournalRecovery), JournalError> {
    Journal::open(Path::new(FOLDER), options())
}

/// Ejects the disk also when a check fails.
struct InsertedDisk;

impl Drop for InsertedDisk {
    fn drop(&mut self) {
        SimulatedDisk::eject();
    }
}

/// See the module.
pub(super) struct History {
    random: fastrand::Rng,
    disk: SimulatedDisk,
    world: OutsideWorld,
    cut: FirstCut,
    count: HistoryCount,
    /// Nothing on the disk waits for a sync.
    is_settled: bool,
    _inserted: InsertedDisk,
}

impl History {
    pub(super) fn new(seed: u64, cut: FirstCut) -> Self {
        let disk = SimulatedDisk::new(seed);
        disk.insert();
        History {
            random: fastrand::Rng::with_seed(seed.rotate_left(32) ^ 0x5EED),
            disk,
            world: OutsideWorld::new(),
            cut,
            count: HistoryCount { histories: 1, ..HistoryCount::default() },
            is_settled: true,
            _inserted: InsertedDisk,
        }
    }

    pub(super) fn run(mut self) -> HistoryCount {
        for life in 0..LIVES {
            self.live(life == 0);
        }
        let (journal, _) = self.recover();
        while self.world.position + 1 < journal.next_seq() {
            self.world.store(&journal, 1_000, 1 << 20).expect("a disk without faults is read");
        }
        self.count.safe = self.world.safe.len() as u64;
        self.count.digest ^= self.disk.calls().1;
        self.count
    }

    fn live(&mut self, is_first: bool) {
        let (mut journal, recovery) = self.recover();
        checks::check(&mut self.world, &journal, &recovery);
        self.world.senders.iter_mut().for_each(|sender| sender.lose_connection());
        let begun = self.disk.calls().0;
        self.is_settled = false;
        let by_chance = Some(self.random.u64(0..300));
        match self.cut {
            FirstCut::At(call) if is_first => self.disk.cut_after(Some(call)),
            FirstCut::Never if is_first => {}
            _ => self.disk.cut_after(by_chance),
        }
        let faults = [0, 0, 0, 20, 200];
        self.disk.fail(self.random.choice(faults).unwrap_or_default());
        let registered = [DATABASE, ENDPOINT].map(|name| journal.handle().register(name, ConsumerStart::Oldest));
        if registered.iter().all(Result::is_ok) {
            for _ in 0..ACTS {
                self.act(&mut journal);
                if self.disk.is_off() {
                    break;
                }
            }
        }
        if is_first {
            self.count.first_calls = self.disk.calls().0 - begun;
        }
        drop(journal);
        // Else the process was killed, or stopped: what the system has is kept.
        if self.disk.is_off() || self.random.bool() {
            self.cut_power();
        }
        self.disk.fail(0);
        self.disk.cut_after(None);
    }

    fn cut_power(&mut self) {
        let sector = self.random.choice([SECTOR, SECTOR, SECTOR, 4_096, 8]).unwrap_or(SECTOR);
        self.count.cuts += 1;
        self.count.digest = self.count.digest.rotate_left(7) ^ self.disk.calls().1;
        self.is_settled = true;
        self.disk = self.disk.after_cut(sector);
        self.disk.insert();
    }

    /// Opens the journal; the power may go meanwhile, more than once, or the disk fail. That changes nothing of what is there
    /// then.
    fn recover(&mut self) -> (Journal, JournalRecovery) {
        let undisturbed = self.is_settled.then(|| {
            self.disk.copy().insert();
            let (journal, _) = open().expect("a disk without faults is opened");
            checks::read_all(&journal).0
        });
        self.disk.insert();
        for _ in 0..3 {
            if self.random.bool() {
                break;
            }
            let has_faults = self.random.u8(0..3) == 0;
            self.disk.fail(if has_faults { 300 } else { 0 });
            self.disk.cut_after(Some(self.random.u64(0..60)));
            drop(open());
            if self.disk.is_off() {
                self.count.recovery_cuts += 1;
                self.cut_power();
            }
            self.disk.fail(0);
            self.disk.cut_after(None);
        }
        let before = self.disk.calls().0;
        let (journal, recovery) = open().expect("a disk without faults is opened");
        assert!(self.disk.calls().0 - before < CALLS_AT_MOST, "the recovery does not end");
        if let Some(undisturbed) = undisturbed {
            let (there, _) = checks::read_all(&journal);
            assert_eq!(there, undisturbed, "a crash in the recovery changes what is there");
        }
        (journal, recovery)
    }

    fn act(&mut self, journal: &mut Journal) {
        let History { random, world, .. } = self;
        match random.u8(0..20) {
            0..=10 => {
                for sender in &mut world.senders {
                    for _ in 0..random.usize(0..4) {
                        let size = random.choice(SIZES).unwrap_or(10);
                        sender.publish(random.usize(0..size), random.u8(0..8) > 0);
                    }
                }
                if !world.commit(journal, random) && !self.disk.is_off() {
                    // It may be full: then consumers make room.
                    for _ in 0..10 {
                        let _ = world.store(journal, 1_000, 1 << 20).and_then(|()| world.post(journal, 1_000, 1 << 20));
                    }
                    let _ = journal.handle().flush();
                }
            }
            11..=13 => drop(world.store(journal, random.usize(1..60), 20_000)),
            14 | 15 => drop(world.post(journal, random.usize(1..60), 20_000)),
            16 => drop(journal.handle().flush()),
            17 | 18 => drop(journal.keep_settled()),
            _ => drop(journal.keep_latest()),
        }
    }
}

/// Bits flip while the journal is closed: what is read is as it was sent, and what is not there was told.
pub(super) fn run_with_rot(seed: u64) {
    let mut history = History::new(seed, FirstCut::Never);
    let (mut journal, _) = history.recover();
    for name in [DATABASE, ENDPOINT] {
        journal.handle().register(name, ConsumerStart::Oldest).expect("a disk without faults is written");
    }
    for _ in 0..ACTS {
        history.world.senders.iter_mut().for_each(|sender| sender.publish(200, true));
        history.world.commit(&mut journal, &mut history.random);
    }
    drop(journal);
    let (journal, _) = open().expect("a disk without faults is opened");
    let before = checks::read_all(&journal).0;
    drop(journal);
    for _ in 0..history.random.usize(1..4) {
        let ending = history.random.choice([".seg", ".seg", ".a", ".b"]).unwrap_or(".seg");
        history.disk.flip_bit(ending);
    }
    let (journal, recovery) = open().expect("damage is no error");
    let (there, skipped) = checks::read_all(&journal);
    let is_told = |seq: &Seq| {
        skipped.iter().any(|skipped| skipped.seqs.contains(seq))
            || recovery.damaged.iter().any(|damage| damage.lost.contains(seq) || damage.what == DamageKind::Unreadable)
    };
    for (seq, name) in &before {
        match there.get(seq) {
            Some(found) => assert_eq!(found, name),
            None => assert!(is_told(seq), "{seq} vanished silently: {recovery:?} {skipped:?}"),
        }
    }
    assert!(there.keys().all(|seq| before.contains_key(seq)));
    assert!(before.keys().all(|seq| *seq < journal.next_seq()), "a number is given out again");
}
