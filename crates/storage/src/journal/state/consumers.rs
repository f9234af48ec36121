//! How far each consumer is done: what nobody needs any more may be deleted.
//!
//! Content of the files ([`SlotFiles`]), little endian: u64 next sequence number known, u32 count, per consumer u16 length,
//! name, u64 released through.

use crate::journal::files::slots::{FoundSlot, SlotFiles};
use crate::journal::format::FieldReader;
use crate::journal::{JournalError, Seq};
use std::collections::BTreeMap;
use std::path::Path;

const MAGIC: &[u8; 8] = b"HGPOS1\r\n";
/// Longest name of a consumer, in bytes.
pub(crate) const NAME_LIMIT: usize = 255;

/// Where a consumer begins that was not registered before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsumerStart {
    /// With the oldest entry that is there.
    Oldest,
    /// After the newest entry that is there.
    Newest,
    /// After this entry: for a consumer that keeps its position elsewhere.
    After(Seq),
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct ConsumerPosition {
    /// As the consumer told.
    pub(crate) released: Seq,
    /// As the file tells that we have synced. What an earlier process wrote is read back whether the disk has it or not.
    pub(crate) durable: Seq,
}

/// The consumers of one journal.
#[derive(Debug, Default)]
pub(crate) struct ConsumerPositions {
    pub(crate) consumers: BTreeMap<String, ConsumerPosition>,
    /// Changes so far; compared with what the file has.
    pub(crate) revision: u64,
    /// Both files were there but unreadable: who consumes, and how far, is not known.
    pub(crate) unknown: bool,
}

impl ConsumerPositions {
    /// Through which entry everybody is done, durably. `None` when nothing may be deleted.
    pub(crate) fn released_by_all(&self) -> Option<Seq> {
        if self.unknown {
            return None;
        }
        Some(self.consumers.values().map(|position| position.durable).min().unwrap_or(Seq::MAX))
    }
}

/// What the files said when the journal was opened.
pub(crate) struct LoadedPositions {
    pub(crate) file: PositionFile,
    pub(crate) positions: ConsumerPositions,
    /// A number below which all have been given out.
    pub(crate) next_seq: Seq,
}

/// The positions on disk.
#[derive(Debug)]
pub(crate) struct PositionFile {
    slots: SlotFiles,
    /// Revision that is in the file.
    pub(crate) revision: u64,
}

impl PositionFile {
    pub(crate) fn load(dir: &Path) -> Result<LoadedPositions, JournalError> {
        let (slots, FoundSlot { content, is_damaged }) = SlotFiles::open(dir, "positions", MAGIC)?;
        let known = content.as_deref().and_then(Known::decode);
        // One torn file is what a crash leaves behind; then the other one counts.
        let unknown = known.is_none() && (is_damaged || content.is_some());
        let known = known.unwrap_or_default();
        let positions = ConsumerPositions { consumers: known.consumers, revision: 1, unknown };
        Ok(LoadedPositions { file: PositionFile { slots, revision: 0 }, positions, next_seq: known.next_seq.max(1) })
    }

    /// Makes them durable.
    pub(crate) fn store(
        &mut self,
        consumers: &BTreeMap<String, ConsumerPosition>,
        next_seq: Seq,
    ) -> Result<(), JournalError> {
        self.slots.store(&Known::encode(next_seq, consumers))
    }
}

#[derive(Default)]
struct Known {
    next_seq: Seq,
    consumers: BTreeMap<String, ConsumerPosition>,
}

impl Known {
    fn encode(next_seq: Seq, consumers: &BTreeMap<String, ConsumerPosition>) -> Vec<u8> {
        let mut out = next_seq.to_le_bytes().to_vec();
        out.extend_from_slice(&(consumers.len() as u32).to_le_bytes());
        for (name, position) in consumers {
            out.extend_from_slice(&(name.len() as u16).to_le_bytes());
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(&position.released.to_le_bytes());
        }
        out
    }

    fn decode(content: &[u8]) -> Option<Self> {
        let mut fields = FieldReader(content);
        let (next_seq, count) = (fields.u64()?, fields.u32()?);
        let mut consumers = BTreeMap::new();
        for _ in 0..count {
            let length = usize::from(fields.u16()?);
            let name = std::str::from_utf8(fields.take(length)?).ok()?.to_owned();
            let released = fields.u64()?;
            consumers.insert(name, ConsumerPosition { released, durable: 0 });
        }
        Some(Known { next_seq, consumers })
    }
}
