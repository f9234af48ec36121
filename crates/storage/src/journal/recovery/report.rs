//! What was found when a journal was opened.

use crate::journal::Seq;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// What was found when the journal was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JournalRecovery {
    /// There was no journal; one was made.
    pub fresh: bool,
    /// The number that the next entry gets.
    pub next_seq: Seq,
    /// Bytes cut off the end: a group that a crash kept from being written as a whole.
    pub truncated_bytes: u64,
    /// All damage, the cut end included.
    pub damaged: Vec<JournalDamage>,
    /// The positions were damaged: every consumer begins at the oldest entry, and some may do things again.
    pub positions_lost: bool,
}

/// A part of the journal that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalDamage {
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
    pub what: DamageKind,
    /// Where the bytes are kept, if they could be.
    pub set_aside: Option<PathBuf>,
}

impl JournalDamage {
    pub(super) fn new(what: DamageKind, path: &Path, Range { start, end }: Range<u64>, lost: Range<Seq>) -> Self {
        let (path, bytes) = (path.to_owned(), end - start);
        JournalDamage { path, offset: start, bytes, lost, readable: Vec::new(), what, set_aside: None }
    }
}

impl fmt::Display for JournalDamage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let JournalDamage { path, offset, bytes, lost, .. } = self;
        let what = match self.what {
            DamageKind::TornEnd => "torn end cut off",
            DamageKind::Groups => "damaged groups",
            DamageKind::Header => "damaged segment header",
            DamageKind::Missing => "missing entries",
            DamageKind::Unreadable => "unreadable segment",
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

/// Kinds of damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DamageKind {
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

/// Readable entries of one damage that a message names.
pub(super) const NAMED: usize = 20;
