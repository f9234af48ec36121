//! Messages that could not be served, kept with their bytes and the reason until somebody looks at them.
//!
//! They are in an SQLite file of their own beside the journal, so that they can be kept while the database is down. A
//! letter is known by journal, sequence number and flow: storing it again after a crash changes nothing. The file is
//! bounded; the oldest letters make room, and are counted.

mod claims;
mod file;
mod groups;
mod parked;
mod rows;
mod tables;
mod undo;

pub use claims::OpenClaim;
pub use file::DeadLetters;
pub use groups::DeadLetterGroup;
pub use parked::{ParkedFlow, ParkedMessage};
pub use undo::{DroppedLetters, UNDO_TIME};

use bytes::Bytes;
use hearthgate_domain::delivery::UnixMicros;
use hearthgate_domain::flow::ActionKind;
use std::path::PathBuf;
use std::time::Duration;
use uuid::Uuid;

/// Where dead letters are kept, and how many.
#[derive(Clone, Debug)]
pub struct DeadLetterOptions {
    /// The SQLite file; made when it is missing.
    pub path: PathBuf,
    /// At most this many letters; at least 1.
    pub max_letters: u64,
    /// At most this many bytes of payloads and texts (the newest letter is kept even when it alone is larger).
    pub max_bytes: u64,
    /// Letters older than this make room, whenever letters are added; none: they are kept whatever their age.
    pub max_age: Option<Duration>,
}

impl DeadLetterOptions {
    /// 100,000 letters, 256 MiB, whatever their age.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), max_letters: 100_000, max_bytes: 256 << 20, max_age: None }
    }
}

/// A letter to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewDeadLetter {
    /// The journal that the message is in.
    pub journal: Uuid,
    /// Its sequence number there; a letter without one is never taken for a repetition.
    pub seq: Option<u64>,
    /// The flow that refused it, by code; `None`: refused for every flow.
    pub flow_code: Option<String>,
    /// Topic name.
    pub topic: String,
    /// The bytes as they were sent.
    pub payload: Bytes,
    /// Why, for people.
    pub reason: String,
    /// Where in the payload, a JSON pointer (RFC 6901).
    pub pointer: Option<String>,
    /// When the message came in.
    pub received_at: UnixMicros,
    /// When it was given up.
    pub dead_at: UnixMicros,
    /// How often its delivery was tried.
    pub attempts: u32,
    /// What of the flow's actions failed; `None`: none of them had begun.
    pub part: Option<ActionKind>,
}

/// A letter as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Its number, rising, never used again.
    pub id: i64,
    /// What was kept. In a list the payload is cut off after 256 bytes.
    pub letter: NewDeadLetter,
    /// How long the payload is, in bytes.
    pub payload_len: u64,
    /// When it was replayed last.
    pub replayed_at: Option<UnixMicros>,
}

/// Which letters to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeadLetterFilter {
    /// Of this flow only.
    pub flow_code: Option<String>,
    /// With this topic name only.
    pub topic: Option<String>,
    /// Replayed ones only, or those only that were not.
    pub replayed: Option<bool>,
    /// Older than this letter: the last id of the page before.
    pub before: Option<i64>,
}

/// What an insertion did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InsertOutcome {
    /// New letters.
    pub new: u64,
    /// Letters that were there already.
    pub repeated: u64,
    /// Old letters that made room.
    pub evicted: u64,
}

/// How full the file is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeadLetterTotals {
    /// Letters kept.
    pub letters: u64,
    /// Their bytes, payloads and texts.
    pub bytes: u64,
    /// Letters that ever made room for newer ones, unread.
    pub evicted: u64,
}
