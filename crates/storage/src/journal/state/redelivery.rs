//! What senders may send again, on disk: a snapshot whenever a segment is begun, of which only the newest is kept.
//!
//! Content of the files ([`SlotFiles`]), little endian: u64 `through` (the snapshot is of the entries before that number; those
//! from it on are found in the segments), u64 `notes` (and of so many notes), [`LatestDigests`], and per session u64 session, u32 count, and
//! per entry u16 packet identifier, u64 content hash, and three LEB128: how much its place in the session, and the count
//! of its connection, are greater than those of the entry before, and 0 for an entry that is not stored, else 1 and the
//! distance of its number from that of the stored one before.

use crate::journal::files::slots::{FoundSlot, SlotFiles};
use crate::journal::format::FieldReader;
use crate::journal::state::latest::LatestDigests;
use crate::journal::{JournalError, Seq};
use hearthgate_domain::redelivery::{OwedEntry, RedeliveryWindow};
use std::path::Path;

const MAGIC: &[u8; 8] = b"HGOWED2\n";

/// The snapshot on disk.
#[derive(Debug)]
pub(crate) struct OwedFile(SlotFiles);

/// A snapshot.
pub(crate) struct WindowSnapshot {
    /// It says nothing of the entries from this number on.
    pub(crate) through: Seq,
    /// Nor of the notes from this one on.
    pub(crate) notes: u64,
    pub(crate) latest: LatestDigests,
    pub(crate) owed: RedeliveryWindow,
}

impl OwedFile {
    /// Opens it and reads the newest snapshot that is whole.
    pub(crate) fn load(dir: &Path, window: usize) -> Result<(Self, Option<WindowSnapshot>), JournalError> {
        let (slots, FoundSlot { content, is_damaged }) = SlotFiles::open(dir, "owed", MAGIC)?;
        let snapshot = content.as_deref().and_then(|content| WindowSnapshot::decode(content, window));
        if snapshot.is_none() && (is_damaged || content.is_some()) {
            tracing::error!(
                "what senders may send again is only known as far as the journal still has it: its files were damaged"
            );
        }
        Ok((OwedFile(slots), snapshot))
    }

    /// Makes a snapshot durable of what is owed of the entries before `through`.
    pub(crate) fn store(
        &mut self,
        owed: &RedeliveryWindow,
        latest: &LatestDigests,
        through: Seq,
        notes: u64,
    ) -> Result<(), JournalError> {
        self.0.store(&WindowSnapshot::encode(owed, latest, through, notes))
    }
}

impl WindowSnapshot {
    fn encode(owed: &RedeliveryWindow, latest: &LatestDigests, through: Seq, notes: u64) -> Vec<u8> {
        let mut out = [through.to_le_bytes(), notes.to_le_bytes()].concat();
        latest.encode(&mut out);
        let mut entries = Vec::new();
        let mut all = owed.snapshot().peekable();
        while let Some(OwedEntry { session, .. }) = all.peek().copied() {
            entries.clear();
            let mut count = 0_u32;
            let (mut position, mut connection, mut before) = (0, 0, 0);
            // One session after the other.
            while let Some(entry) = all.next_if(|entry| entry.session == session) {
                if entry.seq.is_some_and(|seq| seq >= through) {
                    continue;
                }
                entries.extend_from_slice(&entry.packet_id.to_le_bytes());
                entries.extend_from_slice(&entry.hash.to_le_bytes());
                push_number(&mut entries, entry.position.saturating_sub(position));
                push_number(&mut entries, u64::from(entry.connection.wrapping_sub(connection)));
                push_number(&mut entries, entry.seq.map_or(0, |seq| seq.saturating_sub(before).saturating_add(1)));
                (count, position, connection) = (count + 1, entry.position, entry.connection);
                before = entry.seq.unwrap_or(before);
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
        let mut fields = FieldReader(content);
        let (through, notes) = (fields.u64()?, fields.u64()?);
        let latest = LatestDigests::decode(&mut fields)?;
        let mut entries = Vec::new();
        while !fields.0.is_empty() {
            let (session, count) = (fields.u64()?, fields.u32()?);
            let (mut position, mut connection, mut before): (u64, u32, Seq) = (0, 0, 0);
            for _ in 0..count {
                let (packet_id, hash) = (fields.u16()?, fields.u64()?);
                position = position.checked_add(take_number(&mut fields)?)?;
                connection = connection.wrapping_add(u32::try_from(take_number(&mut fields)?).ok()?);
                let seq = match take_number(&mut fields)?.checked_sub(1) {
                    Some(distance) => Some(before.checked_add(distance)?),
                    None => None,
                };
                before = seq.unwrap_or(before);
                entries.push(OwedEntry { session, packet_id, hash, seq, position, connection });
            }
        }
        Some(WindowSnapshot { through, notes, latest, owed: RedeliveryWindow::restore(window, entries) })
    }
}

fn push_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn take_number(fields: &mut FieldReader<'_>) -> Option<u64> {
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
    use hearthgate_domain::delivery::MessageOrigin;

    #[test]
    fn a_snapshot_comes_back_without_what_is_not_in_the_journal_yet() {
        let mut owed = RedeliveryWindow::default();
        for (session, packet_id, seq) in
            [(7, 1, 1), (8, 1, 200), (7, 2, 70_000), (7, 3, u64::MAX - 1), (8, 2, u64::MAX)]
        {
            owed.record(&MessageOrigin { session, packet_id, dup: false }, u64::from(packet_id) << 50, seq);
        }
        owed.record_unstored(&MessageOrigin { session: 9, packet_id: 1, dup: false }, 5);
        let WindowSnapshot { through, notes, owed: restored, latest: _ } =
            WindowSnapshot::decode(&WindowSnapshot::encode(&owed, &LatestDigests::default(), u64::MAX - 1, 5), 100)
                .unwrap();
        assert_eq!((through, notes), (u64::MAX - 1, 5));
        let sorted = |owed: &RedeliveryWindow| {
            let mut entries: Vec<_> = owed.snapshot().map(|entry| (entry.seq, entry)).collect();
            entries.sort_by_key(|(seq, _)| *seq);
            entries
        };
        let mut expected = sorted(&owed);
        expected.retain(|(seq, _)| seq.is_none_or(|seq| seq < u64::MAX - 1));
        assert_eq!(sorted(&restored), expected);
        assert_eq!(expected.len(), 4);
    }

    #[test]
    fn a_hundred_thousand_entries_take_little_more_than_their_identifiers_and_hashes() {
        let mut owed = RedeliveryWindow::default();
        for seq in 1..=100_000_u64 {
            owed.record(&MessageOrigin { session: seq % 4, packet_id: (seq / 4 + 1) as u16, dup: false }, seq, seq);
        }
        assert_eq!(owed.len(), 100_000);
        let bytes = WindowSnapshot::encode(&owed, &LatestDigests::default(), u64::MAX, 0).len();
        assert!(bytes < 100_000 * 13 + 100, "{bytes}");
    }
}
