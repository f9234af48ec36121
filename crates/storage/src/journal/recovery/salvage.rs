//! What can still be told apart in damaged groups.
//!
//! A group's checksum says that something in it is wrong, not what. Its entries are told apart by their own lengths: from the
//! front up to the first that makes no sense, and from the back, beginning where everything up to the group's end makes sense. Each
//! may be as it was written or not, so nobody must act on one by himself: they are for people to look at.

use crate::journal::Seq;
use crate::journal::format::entry;
use crate::journal::format::entry::StoredEntry;
use crate::journal::format::scan::{READ_AHEAD, ScanWindow};
use crate::journal::format::{GROUP_HEADER, GroupHeader, GroupKind, SegmentSalt};
use hearthgate_domain::topic::validate_topic_name;
use hearthgate_files::disk::DiskFile;
use std::io;
use std::ops::Range;

/// How much of a stretch is looked at, in bytes.
const MOST: u64 = 16 << 20;

/// An entry from damaged bytes; any part of it may be wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SalvagedEntry {
    seq: Seq,
    bytes: Box<[u8]>,
}

impl SalvagedEntry {
    /// Its number.
    #[must_use]
    pub fn seq(&self) -> Seq {
        self.seq
    }

    /// The entry.
    #[must_use]
    pub fn entry(&self) -> Option<StoredEntry<'_>> {
        entry::decode(&self.bytes, self.seq).map(|(entry, _)| entry)
    }
}

/// Entries in a stretch of a file that begins behind the header of a group, which may be damaged itself.
///
/// # Errors
/// The file can't be read.
pub(crate) fn read(
    window: &mut ScanWindow,
    file: &DiskFile,
    salt: SegmentSalt,
    Range { start, end }: Range<u64>,
    lost: &Range<Seq>,
) -> io::Result<Vec<SalvagedEntry>> {
    if start >= end || lost.is_empty() {
        return Ok(Vec::new());
    }
    let length = usize::try_from((end - start).min(MOST)).unwrap_or(usize::MAX);
    let there = window.load(file, start, length, READ_AHEAD, end)?.min(length);
    Ok(salvage(&window.from(start)[..there], salt, lost))
}

/// Entries in `bytes`, which begin behind the header of a group; `lost` are the numbers that may be in there.
pub(crate) fn salvage(bytes: &[u8], salt: SegmentSalt, lost: &Range<Seq>) -> Vec<SalvagedEntry> {
    let mut found = Vec::new();
    let (mut from, mut first) = (0, Some(lost.start));
    let mut at = 0;
    // Sound headers of further groups: they stand at multiples of 8.
    while let Some(rest) = bytes.get(at..).filter(|rest| rest.len() >= GROUP_HEADER) {
        let Some(header) = GroupHeader::decode(rest, salt) else {
            at += 8;
            continue;
        };
        if let Some(first) = first {
            of_group(&bytes[from..at], first..header.first, &mut found);
        }
        at += GROUP_HEADER;
        (from, first) = (at, (header.kind == GroupKind::Entries).then_some(header.first));
    }
    if let Some(first) = first {
        of_group(&bytes[from.min(bytes.len())..], first..lost.end, &mut found);
    }
    found.retain(|salvaged| lost.contains(&salvaged.seq));
    found
}

/// Entries of one group, whose body this is, perhaps with filling.
fn of_group(body: &[u8], Range { start: mut seq, end }: Range<Seq>, found: &mut Vec<SalvagedEntry>) {
    let mut at = 0;
    while let Some(length) = sensible(&body[at..]).filter(|_| seq < end) {
        found.push(SalvagedEntry { seq, bytes: body[at..at + length].into() });
        (at, seq) = (at + length, seq + 1);
    }
    if seq >= end {
        return;
    }
    for mut from in at + 1..body.len() {
        let Some(lengths) = to_the_end(&body[from..], end - seq) else { continue };
        seq = end - lengths.len() as u64;
        for length in lengths {
            found.push(SalvagedEntry { seq, bytes: body[from..from + length].into() });
            (from, seq) = (from + length, seq + 1);
        }
        return;
    }
}

/// The lengths of the entries that these bytes are to the end, if they are between one and `most`, and then filling.
fn to_the_end(mut bytes: &[u8], most: u64) -> Option<Vec<usize>> {
    let mut lengths = Vec::new();
    while bytes.len() >= 8 || bytes.iter().any(|byte| *byte != 0) {
        let length = sensible(bytes).filter(|_| (lengths.len() as u64) < most)?;
        lengths.push(length);
        bytes = &bytes[length..];
    }
    (!lengths.is_empty()).then_some(lengths)
}

/// The length of an entry that begins here and makes sense in all its lengths and its topic.
fn sensible(bytes: &[u8]) -> Option<usize> {
    let (entry, length) = entry::decode_exactly(bytes, 0)?;
    validate_topic_name(entry.topic).ok().map(|()| length)
}
