//! What can go wrong with the journal, and what to do then.

use super::Seq;
use std::io;
use std::path::{Path, PathBuf};

/// Why the journal could not do what was asked. After each of them it is consistent and can be asked again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// Somebody else has it open.
    #[error("the journal in {dir} is in use by another process{}; stop that one, or give this one its own state \
             directory", .pid.map(|pid| format!(" (process {pid})")).unwrap_or_default())]
    Locked {
        /// The journal's directory.
        dir: PathBuf,
        /// The process that holds it, as far as known.
        pid: Option<u32>,
    },
    /// The bounds are reached and the policy is not to drop.
    #[error("the journal is full: {bytes} of {max_bytes} bytes are waiting{}; it goes on when its consumers catch up, \
             or raise the bounds", .too_old.then_some(", the oldest beyond the greatest age").unwrap_or_default())]
    Full {
        /// Bytes of all segments.
        bytes: u64,
        /// The bound.
        max_bytes: u64,
        /// It is the age, not the size, that is at its bound.
        too_old: bool,
    },
    /// The file system has no room.
    #[error("no room on the file system for {path}: {source}; the journal is intact, free some space")]
    NoSpace {
        /// The file that should have grown.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The disk refused to make entries durable. They are gone from the journal and must be appended again or left
    /// unacknowledged.
    #[error(
        "could not sync {path}: {source}; entries {first} to {last} are not safe and were taken back; check the disk"
    )]
    SyncFailed {
        /// The segment.
        path: PathBuf,
        /// First entry that is not safe.
        first: Seq,
        /// Last entry that is not safe; below `first` when there were none.
        last: Seq,
        /// What the system said.
        source: io::Error,
    },
    /// Any other failure of a file operation.
    #[error("could not {attempted} {path}: {source}")]
    Io {
        /// The operation.
        attempted: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// One entry exceeds what the format, or the journal's bound, can hold.
    #[error("an entry's {what} is {size}, the journal takes at most {limit}")]
    TooLarge {
        /// Which part.
        what: &'static str,
        /// Its size, in bytes or pieces.
        size: u64,
        /// The bound.
        limit: u64,
    },
    /// A consumer's name that is not registered.
    #[error("the journal knows no consumer {name:?}; register it first")]
    UnknownConsumer {
        /// The name.
        name: String,
    },
    /// The journal was closed; take a handle of the one that was opened after it.
    #[error("the journal was closed")]
    Closed,
    /// Options, or a consumer's name, that make no sense.
    #[error("{0}")]
    Invalid(String),
    /// Written by a newer version.
    #[error("{path} has journal format {found}, this version reads format {known}; use the newer version")]
    Version {
        /// The segment.
        path: PathBuf,
        /// Its format.
        found: u16,
        /// Ours.
        known: u16,
    },
}

impl JournalError {
    /// A failed file operation; lack of space becomes [`JournalError::NoSpace`].
    pub(super) fn io(attempted: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                JournalError::NoSpace { path, source }
            }
            _ => JournalError::Io { attempted, path, source },
        }
    }
}
