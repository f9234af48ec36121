//! The segment that is being written.

use crate::journal::format::SegmentSalt;
use crate::journal::{JournalError, Seq};
use hearthgate_domain::delivery::UnixMicros;
use hearthgate_files::disk::DiskFile;
use std::path::PathBuf;

/// The segment being written.
#[derive(Debug)]
pub(in crate::journal) struct ActiveSegment {
    pub(in crate::journal) file: DiskFile,
    pub(in crate::journal) path: PathBuf,
    pub(in crate::journal) base: Seq,
    pub(in crate::journal) salt: SegmentSalt,
    /// End of the last whole group.
    pub(in crate::journal) written: u64,
    /// End of the durable part.
    pub(in crate::journal) durable: u64,
    /// End of the last group that is more than notes.
    pub(in crate::journal) entries_end: u64,
    /// A failed write may have left bytes after `written`.
    pub(in crate::journal) untidy: bool,
    /// When it was begun, by the clock of the entries.
    pub(in crate::journal) created_at: UnixMicros,
}

impl ActiveSegment {
    /// Cuts off what a failed write may have left.
    pub(in crate::journal) fn tidy(&mut self) -> Result<(), JournalError> {
        if self.untidy {
            self.file
                .truncate(self.written)
                .map_err(|source| JournalError::io("cut a partial write off", &self.path, source))?;
            self.untidy = false;
        }
        Ok(())
    }
}
