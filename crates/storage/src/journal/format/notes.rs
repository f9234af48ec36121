//! What is noted of senders beside the entries: new connections, and messages that were taken and are not stored.
//!
//! Body of a group of the kind `notes`, little endian: u64 number of the first note (they are counted), and per note a u8
//! kind (1 connected, 2 received, 3 released, 4 gone; bit 7 DUP), u32 `after`, u64 session, for the kinds 2 and 3 u16 packet
//! identifier, for the kind 2 u64 content hash. The note belongs before the entry whose number is that of the group plus
//! `after`; the group stands before the entries that were appended with it.

use crate::journal::Seq;
use crate::journal::format::groups::control_header;
use crate::journal::format::{FieldReader, GROUP_HEADER, GroupHeader, GroupKind, SegmentSalt, push_group};
use hearthgate_domain::delivery::MessageOrigin;
use hearthgate_domain::redelivery::SenderNote;

const CONNECTED: u8 = 1;
const RECEIVED: u8 = 2;
const RELEASED: u8 = 3;
const GONE: u8 = 4;
const DUP: u8 = 1 << 7;
/// The longest one.
const NOTE: usize = 1 + 4 + 8 + 2 + 8;

/// Something that is noted of a sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnstoredNote {
    /// It belongs before the entry with this number.
    pub before: Seq,
    /// What; a message that it tells of is not stored.
    pub event: SenderNote,
}

/// Upper bound of what the notes take on disk.
pub(crate) fn notes_len(notes: &[UnstoredNote]) -> u64 {
    if notes.is_empty() { 0 } else { (GROUP_HEADER + 16 + notes.len() * NOTE) as u64 }
}

/// Appends the notes, of which the first has that number, before the entries from `next` on, to a segment of which so many
/// bytes are `synced`.
pub(crate) fn encode(out: &mut Vec<u8>, notes: &[UnstoredNote], first: u64, next: Seq, salt: SegmentSalt, synced: u64) {
    if notes.is_empty() {
        return;
    }
    let mut body = first.to_le_bytes().to_vec();
    for UnstoredNote { before, event } in notes {
        let after = u32::try_from(before.saturating_sub(next)).unwrap_or(u32::MAX);
        let mut head = |kind: u8, session: u64| {
            body.push(kind);
            body.extend_from_slice(&after.to_le_bytes());
            body.extend_from_slice(&session.to_le_bytes());
        };
        match event {
            SenderNote::Connected { session } => head(CONNECTED, *session),
            SenderNote::Gone { session } => head(GONE, *session),
            SenderNote::Released { session, packet_id } => {
                head(RELEASED, *session);
                body.extend_from_slice(&packet_id.to_le_bytes());
            }
            SenderNote::Received { origin, hash, seq: _ } => {
                head(RECEIVED | if origin.dup { DUP } else { 0 }, origin.session);
                body.extend_from_slice(&origin.packet_id.to_le_bytes());
                body.extend_from_slice(&hash.to_le_bytes());
            }
        }
    }
    push_group(out, salt, GroupHeader { synced, ..control_header(GroupKind::Notes, next) }, &body);
}

/// The notes of a group's body, each with its number.
pub(crate) fn decode(body: &[u8], next: Seq) -> impl Iterator<Item = (u64, UnstoredNote)> {
    let mut fields = FieldReader(body);
    let first = fields.u64();
    let notes = std::iter::from_fn(move || take(&mut fields, next));
    first.into_iter().flat_map(|first| first..).zip(notes)
}

fn take(fields: &mut FieldReader<'_>, next: Seq) -> Option<UnstoredNote> {
    let (kind, after, session) = (fields.u8()?, fields.u32()?, fields.u64()?);
    let event = match kind & !DUP {
        CONNECTED => SenderNote::Connected { session },
        GONE => SenderNote::Gone { session },
        RELEASED => SenderNote::Released { session, packet_id: fields.u16()? },
        RECEIVED => {
            let origin = MessageOrigin { session, packet_id: fields.u16()?, dup: kind & DUP != 0 };
            SenderNote::Received { origin, hash: fields.u64()?, seq: None }
        }
        _ => return None,
    };
    Some(UnstoredNote { before: next.saturating_add(u64::from(after)), event })
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn notes_come_back_as_they_were_written() {
        let origin = MessageOrigin { session: u64::MAX, packet_id: 65_535, dup: true };
        let events = [
            SenderNote::Connected { session: 7 },
            SenderNote::Received { origin, hash: u64::MAX - 1, seq: None },
            SenderNote::Received { origin: MessageOrigin { dup: false, ..origin }, hash: 1, seq: None },
            SenderNote::Released { session: 7, packet_id: 3 },
            SenderNote::Gone { session: 8 },
        ];
        let notes: Vec<UnstoredNote> =
            (100..).zip(events).map(|(before, event)| UnstoredNote { before, event }).collect();
        let mut out = Vec::new();
        encode(&mut out, &notes, 9, 100, SegmentSalt::new(Uuid::nil(), 1), 0);
        assert!(out.len() as u64 <= notes_len(&notes));
        let expected: Vec<_> = (9..).zip(notes).collect();
        assert_eq!(decode(&out[GROUP_HEADER..], 100).collect::<Vec<_>>(), expected);
    }
}
