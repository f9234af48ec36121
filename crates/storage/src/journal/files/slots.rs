//! Two files that are written in turn, so that the older one is whole when a crash tears the newer one.
//!
//! Layout, little endian: 8 bytes that name the content, u64 generation, the content, u32 CRC32C of all before.

use crate::journal::JournalError;
use hearthgate_files::disk::{DiskFile, OpenMode};
use std::path::{Path, PathBuf};

const HEAD: usize = 16;

/// The two files.
#[derive(Debug)]
pub(crate) struct SlotFiles {
    magic: &'static [u8; 8],
    files: [(PathBuf, DiskFile); 2],
    generation: u64,
    /// The newer file, as long as it may not be on the disk: a sync of an earlier process may have failed, and the system shows
    /// what was written all the same.
    unsure: Option<Vec<u8>>,
}

/// What the files held.
pub(crate) struct FoundSlot {
    /// The newest whole content.
    pub(crate) content: Option<Vec<u8>>,
    /// One of them held something else, and both had been written.
    pub(crate) is_damaged: bool,
}

impl SlotFiles {
    /// Opens or makes `name.a` and `name.b`.
    pub(crate) fn open(
        dir: &Path,
        name: &str,
        magic: &'static [u8; 8],
    ) -> Result<(SlotFiles, FoundSlot), JournalError> {
        let files = [open(dir.join(format!("{name}.a")))?, open(dir.join(format!("{name}.b")))?];
        let (mut generation, mut found) = (0, FoundSlot { content: None, is_damaged: false });
        let (mut sound, mut empty, mut newest) = (0, 0, None);
        for (path, file) in &files {
            let bytes = file.read_all().map_err(|source| JournalError::io("read", path, source))?;
            match decode(&bytes, magic) {
                Some((number, content)) => {
                    sound += 1;
                    if number > generation || found.content.is_none() {
                        (generation, found.content) = (number, Some(content.to_vec()));
                        newest = Some(bytes);
                    }
                }
                None => empty += usize::from(bytes.is_empty()),
            }
        }
        // As long as one was never written, what the other one lacks was never there.
        found.is_damaged = sound < 2 && empty == 0;
        Ok((SlotFiles { magic, files, generation, unsure: newest }, found))
    }

    /// Writes the older file and syncs it.
    pub(crate) fn store(&mut self, content: &[u8]) -> Result<(), JournalError> {
        self.secure()?;
        let generation = self.generation + 1;
        let (path, file) = &self.files[(generation % 2) as usize];
        let mut bytes = Vec::with_capacity(HEAD + content.len() + 4);
        bytes.extend_from_slice(self.magic);
        bytes.extend_from_slice(&generation.to_le_bytes());
        bytes.extend_from_slice(content);
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
        file.write_at(&bytes, 0)
            .and_then(|()| file.truncate(bytes.len() as u64))
            .and_then(|()| file.sync_data())
            .map_err(|source| JournalError::io("write", path, source))?;
        self.generation = generation;
        Ok(())
    }

    /// Writes the newer file once more, before the older one goes. It is the same to the byte: a power cut in this write
    /// takes nothing that is on the disk.
    fn secure(&mut self) -> Result<(), JournalError> {
        let Some(bytes) = &self.unsure else { return Ok(()) };
        let (path, file) = &self.files[(self.generation % 2) as usize];
        file.write_at(bytes, 0)
            .and_then(|()| file.sync_data())
            .map_err(|source| JournalError::io("write", path, source))?;
        self.unsure = None;
        Ok(())
    }
}

fn open(path: PathBuf) -> Result<(PathBuf, DiskFile), JournalError> {
    match DiskFile::open(&path, OpenMode::Keep) {
        Ok(file) => Ok((path, file)),
        Err(source) => Err(JournalError::io("open", &path, source)),
    }
}

fn decode<'a>(bytes: &'a [u8], magic: &[u8; 8]) -> Option<(u64, &'a [u8])> {
    let (content, checksum) = bytes.split_last_chunk::<4>()?;
    let (head, generation) = content.get(..HEAD)?.split_at(8);
    let is_sound = head == magic && crc32c::crc32c(content) == u32::from_le_bytes(*checksum);
    is_sound.then_some((u64::from_le_bytes(generation.try_into().ok()?), &content[HEAD..]))
}
