//! Opening a journal: the lock, what is there, and the repair of what a crash or a bad disk left behind.

mod files;
mod fold;
pub(crate) mod salvage;
mod tail;

use super::writer::Journal;
use super::{JournalError, Options, Seq, hold};
use crate::journal::state::Shared;
use crate::journal::state::consumers::{Loaded, PositionFile};
use crate::journal::state::redelivery::OwedFile;
use hearthgate_domain::delivery::Micros;
use rustix::fs::{FlockOperation, flock};
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;

/// Readable entries of one damage that a message names.
const NAMED: usize = 20;

/// What was found when the journal was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// There was no journal; one was made.
    pub fresh: bool,
    /// The number that the next entry gets.
    pub next_seq: Seq,
    /// Bytes cut off the end: a group that a crash kept from being written as a whole.
    pub truncated_bytes: u64,
    /// All damage, the cut end included.
    pub damaged: Vec<Damage>,
    /// The positions were damaged: every consumer begins at the oldest entry, and some may do things again.
    pub positions_lost: bool,
}

/// A part of the journal that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The segment.
    pub path: PathBuf,
    /// Where in it, in bytes.
    pub offset: u64,
    /// How much, in bytes.
    pub bytes: u64,
    /// The entries that were there. At a torn end: at most these, and no one was told that they are safe, unless the disk
    /// lost what it had confirmed.
    pub lost: Range<Seq>,
    /// Those of them whose bytes can still be told apart, with their topics. Who reads the journal gets them as
    /// [`Skipped::salvaged`](super::Skipped).
    pub readable: Vec<(Seq, Box<str>)>,
    /// What kind of damage.
    pub what: What,
    /// Where the bytes are kept, if they could be.
    pub set_aside: Option<PathBuf>,
}

/// Kinds of damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// The end was not written as a whole.
    TornEnd,
    /// Groups amid sound ones.
    Groups,
    /// The header of a segment; its groups are sound, and it was written anew.
    Header,
    /// Entries that must have been there and are not.
    Missing,
    /// A segment of another journal, or one that cannot be read at all.
    Unreadable,
}

impl Damage {
    fn new(what: What, path: &Path, Range { start, end }: Range<u64>, lost: Range<Seq>) -> Self {
        let (path, bytes) = (path.to_owned(), end - start);
        Damage { path, offset: start, bytes, lost, readable: Vec::new(), what, set_aside: None }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Damage { path, offset, bytes, lost, .. } = self;
        let what = match self.what {
            What::TornEnd => "torn end cut off",
            What::Groups => "damaged groups",
            What::Header => "damaged segment header",
            What::Missing => "missing entries",
            What::Unreadable => "unreadable segment",
        };
        write!(f, "{what} in {} at byte {offset}, {bytes} bytes", path.display())?;
        if !lost.is_empty() {
            write!(f, ", entries {} to {}", lost.start, lost.end - 1)?;
        }
        for (place, (seq, topic)) in self.readable.iter().take(NAMED).enumerate() {
            write!(f, "{} {seq} {topic}", if place == 0 { ", readable:" } else { "," })?;
        }
        if let Some(more) = self.readable.len().checked_sub(NAMED).filter(|more| *more > 0) {
            write!(f, " and {more} more")?;
        }
        match &self.set_aside {
            Some(kept) => write!(f, ", kept in {}", kept.display()),
            None => Ok(()),
        }
    }
}

pub(super) fn open(dir: &Path, options: Options) -> Result<(Journal, Recovery), JournalError> {
    check(&options)?;
    fs::create_dir_all(dir).map_err(|source| JournalError::io("create", dir, source))?;
    let lock_file = lock_dir(dir)?;
    let mut recovery = Recovery::default();
    let mut files = files::list(dir)?;
    let id = files::settle_id(dir, &files)?;
    let Loaded { file: position_file, positions, next_seq: floor } = PositionFile::load(dir)?;
    recovery.positions_lost = positions.unknown;
    files::check_headers(dir, id, &mut files, &mut recovery)?;
    let tail = tail::mend(dir, id, &mut files, floor, &mut recovery)?;
    let (owed_file, snapshot) = OwedFile::load(dir, options.window)?;
    let (index, folded) = fold::read_owed(id, &files, tail.as_ref(), snapshot, options.window)?;
    let next_seq = tail.as_ref().map_or(floor, |tail| tail.next);
    let (synced, synced_rx) = watch::channel(next_seq - 1);
    let shared = Arc::new(Shared {
        id,
        max_bytes: options.max_bytes,
        index: Mutex::new(index),
        synced: synced_rx,
        positions: Mutex::new(positions),
        position_file: Mutex::new(position_file),
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
        owed: folded.owed,
        owed_file,
        unsettled: 0,
        newest: folded.newest,
        buffer: Vec::new(),
        started: false,
        lock: lock_file,
    };
    if journal.active.is_none() {
        recovery.fresh = recovery.damaged.is_empty();
        journal.begin_segment(now())?;
    }
    recovery.next_seq = next_seq;
    Ok((journal, recovery))
}

fn check(options: &Options) -> Result<(), JournalError> {
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

fn lock_dir(dir: &Path) -> Result<File, JournalError> {
    let path = dir.join("lock");
    let failed = |attempted| move |source| JournalError::io(attempted, &dir.join("lock"), source);
    let mut file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(failed("open"))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let mut text = String::new();
            let pid = file.read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok());
            return Err(JournalError::Locked { dir: dir.to_owned(), pid });
        }
        Err(errno) => return Err(failed("lock")(errno.into())),
    }
    // The number only serves the message above; a full disk must not keep the journal shut.
    if let Err(error) = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())) {
        tracing::debug!(%error, "the journal's lock file has no process id");
    }
    Ok(file)
}

fn now() -> Micros {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Micros::try_from(since.as_micros()).unwrap_or(Micros::MAX)
}
