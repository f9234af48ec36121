//! Opening a journal: the lock, what is there, and the repair of what a crash or a bad disk left behind.

mod files;
mod fold;
pub(super) mod report;
pub(crate) mod salvage;
mod tail;

use super::writer::Journal;
use super::{JournalError, JournalOptions, hold};
use crate::journal::recovery::report::JournalRecovery;
use crate::journal::state::JournalState;
use crate::journal::state::clock::SteadyClock;
use crate::journal::state::consumers::{LoadedPositions, PositionFile};
use crate::journal::state::redelivery::OwedFile;
use crate::journal::state::runs::JournalRuns;
use hearthgate_domain::delivery::unix_micros;
use hearthgate_files::disk::{self, DiskFile, OpenMode};
use rustix::fs::FlockOperation;
use std::io;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};
use tokio::sync::watch;

pub(super) fn open(dir: &Path, options: JournalOptions) -> Result<(Journal, JournalRecovery), JournalError> {
    check(&options)?;
    disk::create_folder(dir).map_err(|source| JournalError::io("create", dir, source))?;
    let lock_file = lock_dir(dir)?;
    let mut recovery = JournalRecovery::default();
    let mut files = files::list(dir)?;
    let id = files::settle_id(dir, &files)?;
    let LoadedPositions { file: position_file, positions, next_seq: floor } = PositionFile::load(dir)?;
    recovery.positions_lost = positions.unknown;
    files::check_headers(dir, id, &mut files, &mut recovery)?;
    let tail = tail::mend(dir, id, &mut files, floor, &mut recovery)?;
    let (owed_file, snapshot) = OwedFile::load(dir, options.window)?;
    let (index, folded) = fold::read_owed(id, &files, tail.as_ref(), snapshot, options.window)?;
    let next_seq = tail.as_ref().map_or(floor, |tail| tail.next);
    let (synced, synced_rx) = watch::channel(next_seq - 1);
    let runs = JournalRuns::open(dir, next_seq, index.oldest());
    let shared = Arc::new(JournalState {
        id,
        runs: Mutex::new(runs),
        max_bytes: options.max_bytes,
        index: Mutex::new(index),
        synced: synced_rx,
        positions: Mutex::new(positions),
        position_file: Mutex::new(position_file),
        snapshot_is_safe: AtomicBool::new(false),
        hold: hold::open(dir)?,
    });
    let mut journal = Journal {
        dir: dir.to_owned(),
        options,
        shared,
        synced,
        active: tail.map(|tail| tail.active),
        next_seq,
        voids_from: next_seq,
        owed: folded.owed.clone(),
        written: folded.owed,
        notes: folded.notes,
        latest: folded.latest,
        owed_file,
        unsettled: 0,
        clock: SteadyClock::from(if folded.newest > 0 { folded.newest } else { unix_micros(SystemTime::now()) }),
        newest: folded.newest,
        buffer: Vec::new(),
        started: false,
        lock: lock_file,
    };
    if journal.active.is_none() {
        recovery.fresh = recovery.damaged.is_empty();
        journal.begin_segment(journal.clock.now())?;
    } else if let Err(error) = journal.keep_latest() {
        tracing::warn!(%error, "the journal frees no room before its next segment");
    }
    recovery.next_seq = next_seq;
    Ok((journal, recovery))
}

fn check(options: &JournalOptions) -> Result<(), JournalError> {
    let problem = if options.segment_bytes < 64 << 10 {
        format!("segment_bytes is {}, at least 65536 are needed", options.segment_bytes)
    } else if options.max_bytes < options.segment_bytes.saturating_mul(4) {
        format!("max_bytes is {}, at least four segments of {} are needed", options.max_bytes, options.segment_bytes)
    } else if options.max_age.is_some_and(|age| age < Duration::from_secs(1)) {
        "max_age is below a second".to_owned()
    } else {
        return Ok(());
    };
    Err(JournalError::Invalid(format!("journal options: {problem}")))
}

fn lock_dir(dir: &Path) -> Result<DiskFile, JournalError> {
    let path = dir.join("lock");
    let failed = |attempted| move |source| JournalError::io(attempted, &dir.join("lock"), source);
    let file = DiskFile::open(&path, OpenMode::Keep).map_err(failed("open"))?;
    match file.lock(FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            let text = file.read_all().unwrap_or_default();
            let pid = String::from_utf8_lossy(&text).trim().parse().ok();
            return Err(JournalError::Locked { dir: dir.to_owned(), pid });
        }
        Err(error) => return Err(failed("lock")(error)),
    }
    // The number only serves the message above; a full disk must not keep the journal shut.
    if let Err(error) = file.truncate(0).and_then(|()| file.write_at(format!("{}\n", std::process::id()).as_bytes(), 0))
    {
        tracing::debug!(%error, "the journal's lock file has no process id");
    }
    Ok(file)
}
