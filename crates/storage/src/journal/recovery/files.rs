//! The segment files of a journal: which there are, whose they are, and their headers.

use crate::journal::files::quarantine;
use crate::journal::format::scan::ScanWindow;
use crate::journal::format::{SEGMENT_HEADER, SegmentFault, SegmentHeader, SegmentSalt, VERSION, segment_base};
use crate::journal::recovery::report::{DamageKind, JournalDamage, JournalRecovery};
use crate::journal::{JournalError, Seq};
use hearthgate_domain::delivery::UnixMicros;
use hearthgate_files::disk::{self, DiskFile, OpenMode};
use hearthgate_files::replace_file;
use std::io;
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// A segment file that was found.
pub(super) struct SegmentFile {
    pub(super) path: PathBuf,
    pub(super) base: Seq,
    pub(super) file: DiskFile,
    pub(super) length: u64,
    header: Option<SegmentHeader>,
    /// The header was damaged and is made up.
    pub(super) is_headless: bool,
}

impl SegmentFile {
    pub(super) fn salt(&self, id: Uuid) -> SegmentSalt {
        SegmentSalt::new(id, self.base)
    }

    pub(super) fn voids_from(&self) -> Seq {
        self.header.map_or(self.base, |header| header.voids_from)
    }

    /// Everything below this number was durable when the segment was begun, as far as its header can be read.
    pub(super) fn safe_before(&self) -> Seq {
        self.header.filter(|_| !self.is_headless).map_or(0, |header| header.voids_from)
    }

    pub(super) fn created_at(&self) -> UnixMicros {
        self.header.map_or(0, |header| header.created_at)
    }

    pub(super) fn failed(&self, attempted: &'static str) -> impl Fn(io::Error) -> JournalError {
        move |source| JournalError::io(attempted, &self.path, source)
    }

    /// Renames it, so that it is no segment any more.
    pub(super) fn set_aside(&self, dir: &Path) -> Result<JournalDamage, JournalError> {
        let kept = self.path.with_extension("seg.damaged");
        disk::rename(&self.path, &kept).map_err(self.failed("set aside"))?;
        quarantine::prune(dir);
        let damage = JournalDamage::new(DamageKind::Unreadable, &self.path, 0..self.length, self.base..self.base);
        Ok(JournalDamage { set_aside: Some(kept), ..damage })
    }
}

pub(super) fn list(dir: &Path) -> Result<Vec<SegmentFile>, JournalError> {
    let failed = |source| JournalError::io("list", dir, source);
    let mut files = Vec::new();
    for path in disk::list(dir).map_err(failed)? {
        let Some(base) = segment_base(&path) else { continue };
        let file = DiskFile::open(&path, OpenMode::Write).map_err(|source| JournalError::io("open", &path, source))?;
        let length = file.length().map_err(|source| JournalError::io("examine", &path, source))?;
        let mut window = ScanWindow::default();
        let head = SEGMENT_HEADER as usize;
        window.load(&file, 0, head, head, length).map_err(|source| JournalError::io("read", &path, source))?;
        let header = match SegmentHeader::decode(window.from(0)) {
            Ok(header) => Some(header),
            Err(SegmentFault::Damaged) => None,
            Err(SegmentFault::Version(found)) => return Err(JournalError::Version { path, found, known: VERSION }),
        };
        files.push(SegmentFile { path, base, file, length, header, is_headless: header.is_none() });
    }
    files.sort_by_key(|file| file.base);
    Ok(files)
}

/// The journal's UUID: from its file, else from a segment, else a new one.
pub(super) fn settle_id(dir: &Path, files: &[SegmentFile]) -> Result<Uuid, JournalError> {
    let path = dir.join("journal.id");
    match DiskFile::open(&path, OpenMode::Read).and_then(|file| file.read_all()) {
        Ok(text) => {
            if let Ok(id) = Uuid::try_parse_ascii(text.trim_ascii()) {
                return Ok(id);
            }
            tracing::warn!(path = %path.display(), "the journal's identity is damaged; its segments tell it");
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(source) => return Err(JournalError::io("read", &path, source)),
    }
    let known = files.iter().rev().find_map(|file| file.header).map(|header| header.journal);
    let id = known.unwrap_or_else(Uuid::now_v7);
    replace_file(&path, format!("{id}\n").as_bytes()).map_err(|source| JournalError::io("write", &path, source))?;
    Ok(id)
}

/// Sets segments aside that are not of this journal, and writes damaged headers anew.
pub(super) fn check_headers(
    dir: &Path,
    id: Uuid,
    files: &mut Vec<SegmentFile>,
    recovery: &mut JournalRecovery,
) -> Result<(), JournalError> {
    let mut kept = Vec::with_capacity(files.len());
    for mut file in files.drain(..) {
        let ours = file.header.is_none_or(|header| header.journal == id && header.base == file.base);
        if !ours {
            recovery.damaged.push(file.set_aside(dir)?);
            continue;
        }
        if file.header.is_none() && file.length > SEGMENT_HEADER {
            let created_at = kept.last().map_or(0, SegmentFile::created_at);
            let header = SegmentHeader { journal: id, base: file.base, voids_from: file.base, created_at };
            file.file.write_at(&header.encode(), 0).map_err(file.failed("write the header of"))?;
            file.header = Some(header);
            let lost = file.base..file.base;
            recovery.damaged.push(JournalDamage::new(DamageKind::Header, &file.path, 0..SEGMENT_HEADER, lost));
        }
        kept.push(file);
    }
    *files = kept;
    Ok(())
}
