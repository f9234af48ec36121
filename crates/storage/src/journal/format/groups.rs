//! Entries, and what is settled, as groups of bytes.

use crate::journal::format::entry;
use crate::journal::format::entry::JournalEntry;
use crate::journal::format::{GROUP_HEADER, GroupHeader, GroupKind, SegmentSalt, push_group};
use crate::journal::{JournalError, Seq};

/// A group is closed when its body reaches this many bytes, so that readers need little memory.
const GROUP_TARGET: usize = 128 << 10;
/// Session and number.
const SETTLED_RECORD: usize = 16;

/// Upper bound of what the entries take on disk.
pub(crate) fn frames_len(entries: &[JournalEntry<'_>]) -> Result<u64, JournalError> {
    let mut total = 0;
    for entry in entries {
        total += entry::encoded_len(entry)?;
    }
    Ok((total + (total / GROUP_TARGET + 1) * (GROUP_HEADER + 8)) as u64)
}

/// Appends entries, from the number `first` on, to a segment of which so many bytes are `synced`.
pub(crate) fn encode(out: &mut Vec<u8>, entries: &[JournalEntry<'_>], first: Seq, salt: SegmentSalt, synced: u64) {
    let mut next = first;
    let mut entries = entries.iter();
    while !entries.as_slice().is_empty() {
        let start = out.len();
        out.resize(start + GROUP_HEADER, 0);
        let group_first = next;
        while out.len() - start < GROUP_TARGET {
            let Some(entry) = entries.next() else { break };
            // The lengths were checked when room was made.
            entry::encode(out, entry, entry::encoded_len(entry).unwrap_or_default());
            next += 1;
        }
        let body = &out[start + GROUP_HEADER..];
        let header = GroupHeader {
            kind: GroupKind::Entries,
            first: group_first,
            count: (next - group_first) as u32,
            body_len: body.len() as u32,
            body_checksum: salt.checksum(body),
            synced,
        };
        out[start..start + GROUP_HEADER].copy_from_slice(&header.encode(salt));
        out.resize(out.len().next_multiple_of(8), 0);
    }
}

pub(crate) fn settled_len(settled: &[(u64, Seq)]) -> u64 {
    if settled.is_empty() { 0 } else { (GROUP_HEADER + settled.len() * SETTLED_RECORD) as u64 }
}

/// Of each session everything through that number will not be sent again.
pub(crate) fn encode_settled(out: &mut Vec<u8>, settled: &[(u64, Seq)], next: Seq, salt: SegmentSalt, synced: u64) {
    if settled.is_empty() {
        return;
    }
    let record = |(session, through): &(u64, Seq)| [session.to_le_bytes(), through.to_le_bytes()].concat();
    let body: Vec<u8> = settled.iter().flat_map(record).collect();
    push_group(out, salt, GroupHeader { synced, ..control_header(GroupKind::Settled, next) }, &body);
}

/// Of a group that holds no entries.
pub(in crate::journal) fn control_header(kind: GroupKind, first: Seq) -> GroupHeader {
    GroupHeader { kind, first, count: 0, body_len: 0, body_checksum: 0, synced: 0 }
}
