//! How far each consumer is done: what nobody needs any more may be deleted.
//!
//! Two files are written in turn, so that the older one is whole when a crash tears the newer one. Layout, little endian:
//! `HGPOS1\r\n`, u64 generation, u64 next sequence number known, u32 count, per consumer u16 length, name, u64 released
//! through; u32 CRC32C of all before.

use super::format::Fields;
use super::{JournalError, Seq, disk};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Read;
use std::path::{Path, PathBuf};

const MAGIC: &[u8; 8] = b"HGPOS1\r\n";
const SLOTS: [&str; 2] = ["positions.a", "positions.b"];
/// Longest name of a consumer, in bytes.
pub(super) const NAME_LIMIT: usize = 255;

/// Where a consumer begins that was not registered before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With the oldest entry that is there.
    Oldest,
    /// After the newest entry that is there.
    Newest,
    /// After this entry: for a consumer that keeps its position elsewhere.
    After(Seq),
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Position {
    /// As the consumer told.
    pub(super) released: Seq,
    /// As the file tells.
    pub(super) durable: Seq,
}

/// The consumers of one journal.
#[derive(Debug, Default)]
pub(super) struct Positions {
    pub(super) consumers: BTreeMap<String, Position>,
    /// Changes so far; compared with what the file has.
    pub(super) revision: u64,
    /// Both files were there but unreadable: who consumes, and how far, is not known.
    pub(super) unknown: bool,
}

impl Positions {
    /// Through which entry everybody is done, durably. `None` when nothing may be deleted.
    pub(super) fn released_by_all(&self) -> Option<Seq> {
        if self.unknown {
            return None;
        }
        Some(self.consumers.values().map(|position| position.durable).min().unwrap_or(Seq::MAX))
    }
}

/// What the files said when the journal was opened.
pub(super) struct Loaded {
    pub(super) file: PositionFile,
    pub(super) positions: Positions,
    /// A number below which all have been given out.
    pub(super) next_seq: Seq,
}

/// The two slots.
#[derive(Debug)]
pub(super) struct PositionFile {
    slots: [(PathBuf, File); 2],
    generation: u64,
    /// Revision that is in the file.
    pub(super) revision: u64,
}

impl PositionFile {
    pub(super) fn load(dir: &Path) -> Result<Loaded, JournalError> {
        let slots = [open_slot(dir, SLOTS[0])?, open_slot(dir, SLOTS[1])?];
        let mut newest: Option<Slot> = None;
        let mut unreadable = false;
        for (path, file) in &slots {
            let mut bytes = Vec::new();
            let mut reading: &File = file;
            reading.read_to_end(&mut bytes).map_err(|source| JournalError::io("read", path, source))?;
            match Slot::decode(&bytes) {
                Some(slot) if newest.as_ref().is_none_or(|other| other.generation < slot.generation) => {
                    newest = Some(slot);
                }
                Some(_) => {}
                None => unreadable |= !bytes.is_empty(),
            }
        }
        // One torn slot is what a crash leaves behind; then the other one counts.
        let unknown = unreadable && newest.is_none();
        let slot = newest.unwrap_or_default();
        let positions = Positions { consumers: slot.consumers, revision: 0, unknown };
        let file = PositionFile { slots, generation: slot.generation, revision: 0 };
        Ok(Loaded { file, positions, next_seq: slot.next_seq.max(1) })
    }

    /// Writes the older slot and syncs it.
    pub(super) fn store(&mut self, consumers: &BTreeMap<String, Position>, next_seq: Seq) -> Result<(), JournalError> {
        let generation = self.generation + 1;
        let (path, file) = &self.slots[(generation % 2) as usize];
        let bytes = Slot::encode(generation, next_seq, consumers);
        disk::write_at(file, &bytes, 0)
            .and_then(|()| disk::truncate(file, bytes.len() as u64))
            .and_then(|()| disk::sync_data(file))
            .map_err(|source| JournalError::io("write", path, source))?;
        self.generation = generation;
        Ok(())
    }
}

fn open_slot(dir: &Path, name: &str) -> Result<(PathBuf, File), JournalError> {
    let path = dir.join(name);
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(|source| JournalError::io("open", &path, source))?;
    Ok((path, file))
}

#[derive(Default)]
struct Slot {
    generation: u64,
    next_seq: Seq,
    consumers: BTreeMap<String, Position>,
}

impl Slot {
    fn encode(generation: u64, next_seq: Seq, consumers: &BTreeMap<String, Position>) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&generation.to_le_bytes());
        out.extend_from_slice(&next_seq.to_le_bytes());
        out.extend_from_slice(&(consumers.len() as u32).to_le_bytes());
        for (name, position) in consumers {
            out.extend_from_slice(&(name.len() as u16).to_le_bytes());
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(&position.released.to_le_bytes());
        }
        out.extend_from_slice(&crc32c::crc32c(&out).to_le_bytes());
        out
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (content, checksum) = bytes.split_last_chunk::<4>()?;
        let mut fields = Fields(content);
        if fields.take(8)? != MAGIC || crc32c::crc32c(content) != u32::from_le_bytes(*checksum) {
            return None;
        }
        let (generation, next_seq, count) = (fields.u64()?, fields.u64()?, fields.u32()?);
        let mut consumers = BTreeMap::new();
        for _ in 0..count {
            let length = usize::from(fields.u16()?);
            let name = std::str::from_utf8(fields.take(length)?).ok()?.to_owned();
            let released = fields.u64()?;
            consumers.insert(name, Position { released, durable: released });
        }
        Some(Slot { generation, next_seq, consumers })
    }
}
