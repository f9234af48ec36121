//! What senders may send again, on disk: a snapshot whenever a segment is begun, of which only the newest is kept.
//!
//! Content of the files ([`Slots`]), little endian: u64 `through` (the snapshot is of the entries before that number; those
//! from it on are found in the segments), and per session u64 session, u32 count, and per entry u16 packet identifier, u64
//! content hash, and the distance of its number from that of the entry before (LEB128).

use crate::journal::files::slots::{Found, Slots};
use crate::journal::format::Fields;
use crate::journal::{JournalError, Seq};
use hearthgate_domain::redelivery::{Owed, OwedEntry};
use std::path::Path;

const MAGIC: &[u8; 8] = b"HGOWED1\n";

/// The snapshot on disk.
#[derive(Debug)]
pub(crate) struct OwedFile(Slots);

/// A snapshot.
pub(crate) struct Snapshot {
    /// It says nothing of the entries from this number on.
    pub(crate) through: Seq,
    pub(crate) owed: Owed,
}

impl OwedFile {
    /// Opens it and reads the newest snapshot that is whole.
    pub(crate) fn load(dir: &Path, window: usize) -> Result<(Self, Option<Snapshot>), JournalError> {
        let (slots, Found { content, is_damaged }) = Slots::open(dir, "owed", MAGIC)?;
        let snapshot = content.as_deref().and_then(|content| Snapshot::decode(content, window));
        if snapshot.is_none() && (is_damaged || content.is_some()) {
            tracing::error!(
                "what senders may send again is only known as far as the journal still has it: its files were damaged"
            );
        }
        Ok((OwedFile(slots), snapshot))
    }

    /// Makes a snapshot durable of what is owed of the entries before `through`.
    pub(crate) fn store(&mut self, owed: &Owed, through: Seq) -> Result<(), JournalError> {
        self.0.store(&Snapshot::encode(owed, through))
    }
}

impl Snapshot {
    fn encode(owed: &Owed, through: Seq) -> Vec<u8> {
        let mut out = through.to_le_bytes().to_vec();
        let mut entries = Vec::new();
        let mut all = owed.snapshot().peekable();
        while let Some(OwedEntry { session, .. }) = all.peek().copied() {
            entries.clear();
            let (mut count, mut before) = (0_u32, 0);
            // One session after the other.
            while let Some(entry) = all.next_if(|entry| entry.session == session) {
                let Some(seq) = entry.seq.filter(|seq| *seq < through) else { continue };
                entries.extend_from_slice(&entry.packet_id.to_le_bytes());
                entries.extend_from_slice(&entry.hash.to_le_bytes());
                push_number(&mut entries, seq.saturating_sub(before));
                (count, before) = (count + 1, seq);
            }
            if count > 0 {
                out.extend_from_slice(&session.to_le_bytes());
                out.extend_from_slice(&count.to_le_bytes());
                out.extend_from_slice(&entries);
            }
        }
        out
    }

    fn decode(content: &[u8], window: usize) -> Option<Self> {
        let mut fields = Fields(content);
        let through = fields.u64()?;
        let mut entries = Vec::new();
        while !fields.0.is_empty() {
            let (session, count) = (fields.u64()?, fields.u32()?);
            let mut seq: Seq = 0;
            for _ in 0..count {
                let (packet_id, hash) = (fields.u16()?, fields.u64()?);
                seq = seq.checked_add(take_number(&mut fields)?)?;
                entries.push(OwedEntry { session, packet_id, hash, seq: Some(seq) });
            }
        }
        Some(Snapshot { through, owed: Owed::restore(window, entries) })
    }
}

fn push_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn take_number(fields: &mut Fields<'_>) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let byte = fields.u8()?;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use hearthgate_domain::delivery::Origin;

    #[test]
    fn a_snapshot_comes_back_without_what_is_not_in_the_journal_yet() {
        let mut owed = Owed::default();
        for (session, packet_id, seq) in
            [(7, 1, 1), (8, 1, 200), (7, 2, 70_000), (7, 3, u64::MAX - 1), (8, 2, u64::MAX)]
        {
            owed.record(&Origin { session, packet_id, dup: false }, u64::from(packet_id) << 50, seq);
        }
        owed.record_unstored(&Origin { session: 9, packet_id: 1, dup: false }, 5);
        let Snapshot { through, owed: restored } =
            Snapshot::decode(&Snapshot::encode(&owed, u64::MAX - 1), 100).unwrap();
        assert_eq!(through, u64::MAX - 1);
        let sorted = |owed: &Owed| {
            let mut entries: Vec<_> = owed.snapshot().map(|entry| (entry.seq, entry)).collect();
            entries.sort_by_key(|(seq, _)| *seq);
            entries
        };
        let mut expected = sorted(&owed);
        expected.retain(|(seq, _)| seq.is_some_and(|seq| seq < u64::MAX - 1));
        assert_eq!(sorted(&restored), expected);
        assert_eq!(expected.len(), 3);
    }

    #[test]
    fn a_hundred_thousand_entries_take_little_more_than_their_identifiers_and_hashes() {
        let mut owed = Owed::default();
        for seq in 1..=100_000_u64 {
            owed.record(&Origin { session: seq % 4, packet_id: (seq / 4 + 1) as u16, dup: false }, seq, seq);
        }
        assert_eq!(owed.len(), 100_000);
        let bytes = Snapshot::encode(&owed, u64::MAX).len();
        assert!(bytes < 100_000 * 11 + 100, "{bytes}");
    }
}
