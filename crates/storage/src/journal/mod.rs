//! The journal: the durable intake between the acknowledgement to the broker and every action.
//!
//! A message that a flow wants is appended here and synced before its sender is told that it is safe. Every consumer
//! (database writer, endpoint poster, dead letters) reads from here by its own position, in good times and bad, so that
//! an outage only moves a position later. One [`Journal`] writes; any number of [`JournalReader`]s follow in other threads,
//! and see nothing that is not on disk yet. The code is synchronous: an actor drives it from a blocking thread.
//!
//! Register every consumer ([`JournalHandle::register`]) before the first append: what no registered consumer still needs is
//! deleted.
//!
//! # Files
//! | name | holds |
//! | --- | --- |
//! | `lock` | locked by the process that has the journal open; its process id, for the error message |
//! | `journal.id` | the journal's UUID (version 7), made once; consumers elsewhere key their positions by it |
//! | `NNNNNNNNNNNNNNNNNNNN.seg` | a segment; the name is the sequence number that it starts with, 20 digits |
//! | `positions.a`, `positions.b` | released positions of the consumers, two slots written in turn |
//! | `runs.a`, `runs.b` | the openings, to tell an older copy of the journal; two slots written in turn |
//! | `owed.a`, `owed.b` | what senders may send again, and digests of what flows stored last, two slots written in turn |
//! | `*.damaged` | damaged bytes as they were found, at most 16 files, the oldest go first |
//!
//! # Segment
//! All integers are little endian. A segment is a header of 64 bytes and then groups, back to back.
//!
//! | offset | segment header |
//! | --- | --- |
//! | 0 | `HGJRNL` and the format version, u16, 2 (1 without groups of the kind 6) |
//! | 8 | journal UUID, 16 bytes |
//! | 24 | u64, sequence number of its first entry |
//! | 32 | u64, voids from: entries with this number or above in *earlier* segments were never safe and do not count |
//! | 40 | i64, when it was begun, in microseconds by the journal's own clock (`state/clock.rs`) |
//! | 48 | zero |
//! | 60 | u32, CRC32C of the 60 bytes before |
//!
//! | offset | group header |
//! | --- | --- |
//! | 0 | `HGG1` |
//! | 4 | u8, kind: 1 entries, 2 begin, 3 lost, 4 unused, 5 settled, 6 notes; three zero bytes |
//! | 8 | u64, first sequence number |
//! | 16 | u32, count of sequence numbers that the group covers (0 for the kinds 2, 5 and 6) |
//! | 20 | u32, length of the body; zero bytes fill it up to a multiple of 8 |
//! | 24 | u64, bytes of the segment that were synced when the group was written; 0: all before it |
//! | 32 | u32, CRC32C of the body (kinds 3 and 4: not used) |
//! | 36 | u32, CRC32C of the 36 bytes before |
//!
//! Both checksums of a group start from the CRC32C of journal UUID and segment number, so that bytes in a payload, or
//! of another segment, are never taken for a group.
//!
//! The groups of a segment cover its sequence numbers without a hole. An empty `begin` stands first; `lost` stands where recovery found damage, `unused`
//! for numbers that may have been given to entries that a crash cut off: a number that a consumer may have seen is
//! never given out again.
//!
//! | offset | entry (in a group of kind 1) |
//! | --- | --- |
//! | 0 | u32, length of the whole entry |
//! | 4 | u8: bits 0 and 1 QoS, bit 2 retain, bit 3 DUP, bit 4 has an origin; a zero byte |
//! | 6 | u16, length of the topic |
//! | 8 | u16, packet identifier |
//! | 10 | u16, number of targets |
//! | 12 | u32, length of the payload |
//! | 16 | i64, received at, microseconds since 1970 |
//! | 24 | u64, session |
//! | 32 | targets, topic, payload |
//!
//! A target is a u8 (bit 0 refused, bit 1 has a flow), the flow's number (i64) if it has one, and when refused the
//! lengths of reason and JSON pointer (two u16) and their bytes.
//!
//! # What a sender may still send again
//! An entry whose sender may not have our acknowledgement is *owed*: it may come again and must be recognised. The rules
//! are [`hearthgate_domain::redelivery`]'s; the journal keeps its list over restarts. When a segment is begun, a snapshot
//! is written ([`owed`](self#files): only the newest is needed, and it is no part of the journal's bounds); the entries
//! since then are found in the segments. `settled` groups tell what of them will not be sent again: records of 16 bytes,
//! u64 session and u64 number, through which it holds. They come a little late; what is still taken for owed then does
//! no harm. `notes` groups (see `format/notes.rs`) tell of the messages in between that were acknowledged and that nobody
//! stores, in 23 bytes each, and of connections: without them such a message would be new when it is sent again, and one
//! whose identifier it took would be taken for sent again. So recovery needs no more than the snapshot and the last
//! segment, and old ones can be deleted. Where there are only notes for long, a snapshot takes their place.
//!
//! # Measured
//! `cargo bench --bench journal` on a virtual machine with 2 cores under foreign load, ext4, 60-byte payloads, one
//! fdatasync a group, medians: a group of 500 in 3.6 ms (140,000 entries a second), of 1,000 in 4.6 ms (216,000), of
//! 2,000 in 7.5 ms (267,000), of 5,000 in 10.2 ms (490,000); without the sync 500 in 0.43 ms; reading 3.3 million a second. The
//! sync is the bound, so groups should be as they come, and grow while a sync runs. Of 50,000 bytes and fdatasync, 150
//! times, the median was 4.0 ms in every way that was tried: plain appending, reserved blocks, blocks written with zeros
//! before, and direct I/O on either, with fdatasync or O_DSYNC. So blocks are reserved only to learn early that the disk
//! is full, and to keep segments in one piece.

mod error;
pub(crate) mod files;
mod format;
mod handle;
mod hold;
mod reader;
mod recovery;
mod state;
mod writer;

#[cfg(test)]
mod proof;
#[cfg(test)]
mod tests;

pub use crate::journal::format::entry::{EntryTarget, EntryTargets, JournalEntry, StoredEntry, TargetVerdict};
pub use crate::journal::format::hash::{content_hash, topic_hash};
pub use crate::journal::format::notes::UnstoredNote;
pub use crate::journal::handle::{ConsumerUsage, JournalHandle, JournalUsage};
pub use crate::journal::recovery::report::{DamageKind, JournalDamage, JournalRecovery};
pub use crate::journal::recovery::salvage::SalvagedEntry;
pub use crate::journal::state::consumers::ConsumerStart;
pub use crate::journal::state::latest::{FlowKey, LatestDigest, LatestDigests};
pub use error::JournalError;
pub use hold::SegmentHold;
pub use reader::{EntryBatch, JournalReader, SkipReason, SkippedEntries};
pub use writer::{AppendOutcome, DroppedEntries, Journal};

use hearthgate_domain::redelivery::CLIENT_WINDOW;
use std::time::Duration;

/// Number of an entry: from 1, rising by one, never given out twice in the life of a journal.
pub type Seq = u64;

/// What to do with new entries when the journal has reached its bounds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenFull {
    /// [`JournalError::Full`]; the caller stops acknowledging until consumers have made room.
    #[default]
    Block,
    /// The oldest segments go, and [`AppendOutcome::dropped`] tells what was lost to whom.
    DropOldest,
    /// [`JournalError::Full`]; the caller acknowledges and records the message as a dead letter.
    Reject,
}

/// Bounds of a journal.
#[derive(Clone, Debug)]
pub struct JournalOptions {
    /// A segment is closed when it would grow beyond this, in bytes; at least 64 KiB. Space comes back by whole segments.
    pub segment_bytes: u64,
    /// Bound of all segments together, in bytes; at least four segments.
    pub max_bytes: u64,
    /// Bound of the age of what waits, in time that the gateway has lived through with it, whatever the wall clock says; at
    /// least a second.
    pub max_age: Option<Duration>,
    /// What happens at a bound.
    pub when_full: WhenFull,
    /// So many messages of a sender are remembered as what it may send again; see
    /// [`Owed::new`](hearthgate_domain::redelivery::Owed::new).
    pub window: usize,
}

impl Default for JournalOptions {
    fn default() -> Self {
        JournalOptions {
            segment_bytes: 8 << 20,
            max_bytes: 1 << 30,
            max_age: None,
            when_full: WhenFull::Block,
            window: CLIENT_WINDOW,
        }
    }
}
