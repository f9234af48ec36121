//! Keeping the journal's segments for as long as a copy is made, from another process too.

use super::JournalError;
use hearthgate_files::disk::{DiskFile, OpenMode};
use rustix::fs::FlockOperation;
use std::path::Path;

/// The file whose lock it is. The lock goes with the process that has it, so none is left behind by a crash.
const FILE: &str = "hold";

/// While it lives, no segment is deleted that is done with: what is copied one after the other fits together. Segments that
/// `drop_oldest` gives up are deleted all the same.
#[derive(Debug)]
pub struct SegmentHold {
    /// Holds the lock.
    _file: DiskFile,
}

impl SegmentHold {
    /// Holds the journal in `dir`, which may be open elsewhere.
    ///
    /// # Errors
    /// The folder can't be written.
    pub fn take(dir: &Path) -> Result<SegmentHold, JournalError> {
        let file = open(dir)?;
        file.lock(FlockOperation::LockShared).map_err(|source| JournalError::io("hold", &dir.join(FILE), source))?;
        Ok(SegmentHold { _file: file })
    }
}

pub(super) fn open(dir: &Path) -> Result<DiskFile, JournalError> {
    let path = dir.join(FILE);
    DiskFile::open(&path, OpenMode::Keep).map_err(|source| JournalError::io("open", &path, source))
}
