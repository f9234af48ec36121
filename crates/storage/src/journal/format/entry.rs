//! Entries: what a message and the decisions about it look like in the journal.

use crate::journal::format::FieldReader;
use crate::journal::{JournalError, Seq};
use hearthgate_domain::delivery::{MessageOrigin, QoS, UnixMicros};
use hearthgate_domain::flow::{ActionKind, PromisedActions};
use std::fmt;

/// Fixed part of an entry, and so the least length of one.
pub(crate) const ENTRY_HEADER: usize = 32;
/// Longest reason or JSON pointer kept, in bytes; longer ones are cut and end in `…`.
const TEXT_LIMIT: usize = 1024;
/// Greatest entry, in bytes: what MQTT can carry, and some.
const ENTRY_LIMIT: u64 = 300 << 20;

const RETAIN: u8 = 1 << 2;
const DUP: u8 = 1 << 3;
const HAS_ORIGIN: u8 = 1 << 4;
/// Not set in what earlier versions wrote.
const IS_RESTORED: u8 = 1 << 5;
const REFUSED: u8 = 1;
const HAS_FLOW: u8 = 2;
/// Which part of an accepted message is replayed; none for an ordinary one. With [`MORE_PARTS`], which is a promise otherwise.
const PART: u8 = 0b1100;
const MORE_PARTS: u8 = 0b1000_0000;

/// Where [`PromisedActions::bits`] begin. None of them is set in what earlier versions wrote.
const PROMISE_SHIFT: u8 = 4;

/// A message to append.
#[derive(Clone, Copy)]
pub struct JournalEntry<'a> {
    /// Topic name.
    pub topic: &'a str,
    /// The bytes as they were sent.
    pub payload: &'a [u8],
    /// When it came in.
    pub received_at: UnixMicros,
    /// QoS of the delivery.
    pub qos: QoS,
    /// Whether it was a retained one.
    pub retain: bool,
    /// Whether it was a retained one that the embedded broker had from before its process.
    pub is_restored: bool,
    /// Who may send it again; absent at QoS 0.
    pub origin: Option<MessageOrigin>,
    /// Whom it is for, and what was decided.
    pub targets: &'a [EntryTarget<'a>],
}

/// One flow that an entry concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryTarget<'a> {
    /// The flow's number; `None` for a refusal that concerns every flow.
    pub flow_id: Option<i64>,
    /// What was decided.
    pub verdict: TargetVerdict<'a>,
}

impl EntryTarget<'_> {
    /// Whether it is of a message that came in, and not of a dead letter that is replayed in part.
    pub(crate) fn is_fresh(&self) -> bool {
        !matches!(self.verdict, TargetVerdict::Replayed(_))
    }
}

/// Whether a flow takes a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetVerdict<'a> {
    /// It is valid: the flow's actions are due, of which these were promised.
    Accepted(PromisedActions),
    /// A dead letter is replayed: only this part of the flow's actions is due, the others were done before.
    Replayed(ActionKind),
    /// It goes to the dead letters.
    Refused {
        /// Why, in words; cut after 1 KiB.
        reason: &'a str,
        /// JSON pointer to the field at fault, or empty; cut after 1 KiB.
        pointer: &'a str,
    },
}

impl TargetVerdict<'_> {
    /// Whether this part of the flow's actions has to be carried out.
    #[must_use]
    pub fn is_due(&self, part: ActionKind) -> bool {
        match self {
            TargetVerdict::Accepted(_) => true,
            TargetVerdict::Replayed(one) => *one == part,
            TargetVerdict::Refused { .. } => false,
        }
    }

    /// Whether this part was promised: it is carried out, or the message is a dead letter.
    #[must_use]
    pub fn promises(&self, part: ActionKind) -> bool {
        match self {
            TargetVerdict::Accepted(promise) => promise.includes(part),
            TargetVerdict::Replayed(one) => *one == part,
            TargetVerdict::Refused { .. } => false,
        }
    }
}

/// An entry as it is read back, borrowing from the reader's buffer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct StoredEntry<'a> {
    /// Its number.
    pub seq: Seq,
    /// Topic name.
    pub topic: &'a str,
    /// The bytes as they were sent.
    pub payload: &'a [u8],
    /// When it came in.
    pub received_at: UnixMicros,
    /// QoS of the delivery.
    pub qos: QoS,
    /// Whether it was a retained one.
    pub retain: bool,
    /// Whether it was a retained one that the embedded broker had from before its process.
    pub is_restored: bool,
    /// Who may send it again.
    pub origin: Option<MessageOrigin>,
    /// Whom it is for.
    pub targets: EntryTargets<'a>,
}

// Payloads stay out of logs.
impl fmt::Debug for StoredEntry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoredEntry({} {} {} B, {} targets)", self.seq, self.topic, self.payload.len(), self.targets.count)
    }
}

/// The targets of a stored entry.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct EntryTargets<'a> {
    bytes: &'a [u8],
    count: u16,
}

impl<'a> EntryTargets<'a> {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        usize::from(self.count)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Each target, in the order in which they were appended.
    pub fn iter(&self) -> impl Iterator<Item = EntryTarget<'a>> + use<'a> {
        let mut fields = FieldReader(self.bytes);
        // Reading an entry has already walked through them once, so `None` only ends it.
        (0..self.count).map_while(move |_| take_target(&mut fields))
    }
}

impl fmt::Debug for EntryTargets<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// Length of an entry on disk.
///
/// # Errors
/// [`JournalError::TooLarge`] when the format cannot hold it.
pub(crate) fn encoded_len(entry: &JournalEntry<'_>) -> Result<usize, JournalError> {
    let within = |what, size: usize, limit: u64| {
        let size = size as u64;
        if size > limit { Err(JournalError::TooLarge { what, size, limit }) } else { Ok(()) }
    };
    within("topic", entry.topic.len(), u64::from(u16::MAX))?;
    within("list of targets", entry.targets.len(), u64::from(u16::MAX))?;
    let targets: usize = entry.targets.iter().map(target_len).sum();
    let length = ENTRY_HEADER + targets + entry.topic.len() + entry.payload.len();
    within("size", length, ENTRY_LIMIT)?;
    Ok(length)
}

fn target_len(target: &EntryTarget<'_>) -> usize {
    let flow = if target.flow_id.is_some() { 8 } else { 0 };
    let verdict = match target.verdict {
        TargetVerdict::Accepted(_) | TargetVerdict::Replayed(_) => 0,
        TargetVerdict::Refused { reason, pointer } => 4 + kept_len(reason) + kept_len(pointer),
    };
    1 + flow + verdict
}

/// Appends an entry whose length `encoded_len` told.
pub(crate) fn encode(out: &mut Vec<u8>, entry: &JournalEntry<'_>, length: usize) {
    let origin = entry.origin.unwrap_or(MessageOrigin { session: 0, packet_id: 0, dup: false });
    let mut flags = u8::from(entry.qos);
    flags |= if entry.retain { RETAIN } else { 0 };
    flags |= if entry.is_restored { IS_RESTORED } else { 0 };
    flags |= if origin.dup { DUP } else { 0 };
    flags |= if entry.origin.is_some() { HAS_ORIGIN } else { 0 };
    let mut header = [0; ENTRY_HEADER];
    header[..4].copy_from_slice(&(length as u32).to_le_bytes());
    header[4] = flags;
    header[6..8].copy_from_slice(&(entry.topic.len() as u16).to_le_bytes());
    header[8..10].copy_from_slice(&origin.packet_id.to_le_bytes());
    header[10..12].copy_from_slice(&(entry.targets.len() as u16).to_le_bytes());
    header[12..16].copy_from_slice(&(entry.payload.len() as u32).to_le_bytes());
    header[16..24].copy_from_slice(&entry.received_at.to_le_bytes());
    header[24..].copy_from_slice(&origin.session.to_le_bytes());
    out.extend_from_slice(&header);
    for target in entry.targets {
        encode_target(out, target);
    }
    out.extend_from_slice(entry.topic.as_bytes());
    out.extend_from_slice(entry.payload);
}

fn encode_target(out: &mut Vec<u8>, target: &EntryTarget<'_>) {
    let verdict = match target.verdict {
        TargetVerdict::Accepted(promise) => promise.bits() << PROMISE_SHIFT,
        TargetVerdict::Replayed(part) => part_flags(part),
        TargetVerdict::Refused { .. } => REFUSED,
    };
    out.push(verdict | if target.flow_id.is_some() { HAS_FLOW } else { 0 });
    if let Some(flow) = target.flow_id {
        out.extend_from_slice(&flow.to_le_bytes());
    }
    if let TargetVerdict::Refused { reason, pointer } = target.verdict {
        out.extend_from_slice(&(kept_len(reason) as u16).to_le_bytes());
        out.extend_from_slice(&(kept_len(pointer) as u16).to_le_bytes());
        push_text(out, reason);
        push_text(out, pointer);
    }
}

fn part_flags(part: ActionKind) -> u8 {
    match part {
        ActionKind::Store => 0b0100,
        ActionKind::Post => 0b1000,
        ActionKind::Publish => 0b1100,
        ActionKind::Notify => 0b0100 | MORE_PARTS,
    }
}

const ELLIPSIS: &str = "…";

fn kept_len(text: &str) -> usize {
    if text.len() <= TEXT_LIMIT { text.len() } else { text.floor_char_boundary(TEXT_LIMIT) + ELLIPSIS.len() }
}

fn push_text(out: &mut Vec<u8>, text: &str) {
    if text.len() <= TEXT_LIMIT {
        out.extend_from_slice(text.as_bytes());
    } else {
        out.extend_from_slice(&text.as_bytes()[..text.floor_char_boundary(TEXT_LIMIT)]);
        out.extend_from_slice(ELLIPSIS.as_bytes());
    }
}

/// Reads the entry at the front of a group's body and tells its length; `None` when it makes no sense.
pub(crate) fn decode(body: &[u8], seq: Seq) -> Option<(StoredEntry<'_>, usize)> {
    let length = FieldReader(body).u32()? as usize;
    let mut fields = FieldReader(body.get(..length)?);
    fields.take(4)?;
    let flags = fields.u8()?;
    fields.take(1)?;
    let topic_len = usize::from(fields.u16()?);
    let packet_id = fields.u16()?;
    let count = fields.u16()?;
    let payload_len = fields.u32()? as usize;
    let received_at = fields.i64()?;
    let session = fields.u64()?;
    let before = fields.0;
    for _ in 0..count {
        take_target(&mut fields)?;
    }
    let targets = EntryTargets { bytes: &before[..before.len() - fields.0.len()], count };
    let topic = std::str::from_utf8(fields.take(topic_len)?).ok()?;
    let payload = fields.take(payload_len)?;
    let origin = (flags & HAS_ORIGIN != 0).then_some(MessageOrigin { session, packet_id, dup: flags & DUP != 0 });
    let (qos, retain, is_restored) = (QoS::try_from(flags & 3).ok()?, flags & RETAIN != 0, flags & IS_RESTORED != 0);
    Some((StoredEntry { seq, topic, payload, received_at, qos, retain, is_restored, origin, targets }, length))
}

/// As [`decode`], for bytes that may be damaged: an entry's parts must fill it to the last byte.
pub(crate) fn decode_exactly(body: &[u8], seq: Seq) -> Option<(StoredEntry<'_>, usize)> {
    let (entry, length) = decode(body, seq)?;
    let parts = entry.targets.bytes.len() + entry.topic.len() + entry.payload.len();
    (ENTRY_HEADER + parts == length).then_some((entry, length))
}

fn take_target<'a>(fields: &mut FieldReader<'a>) -> Option<EntryTarget<'a>> {
    let target = fields.u8()?;
    let flow_id = if target & HAS_FLOW != 0 { Some(fields.i64()?) } else { None };
    if target & REFUSED == 0 {
        let verdict = match target & PART {
            0 => TargetVerdict::Accepted(PromisedActions::from_bits(target >> PROMISE_SHIFT)),
            _ => {
                let flags = target & (PART | MORE_PARTS);
                TargetVerdict::Replayed(ActionKind::ALL.into_iter().find(|part| part_flags(*part) == flags)?)
            }
        };
        return Some(EntryTarget { flow_id, verdict });
    }
    let (reason, pointer) = (usize::from(fields.u16()?), usize::from(fields.u16()?));
    let reason = std::str::from_utf8(fields.take(reason)?).ok()?;
    let pointer = std::str::from_utf8(fields.take(pointer)?).ok()?;
    Some(EntryTarget { flow_id, verdict: TargetVerdict::Refused { reason, pointer } })
}
