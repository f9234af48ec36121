//! The segment that is written: beginning it, closing it, and giving it up.

use super::{Journal, bounds};
use crate::journal::JournalError;
use crate::journal::files::active_segment::ActiveSegment;
use crate::journal::format::groups::control_header;
use crate::journal::format::{
    GroupHeader, GroupKind, SEGMENT_HEADER, SegmentHeader, SegmentSalt, push_group, segment_path,
};
use crate::journal::state::{SegmentView, lock};
use hearthgate_domain::delivery::UnixMicros;
use hearthgate_files::disk::{self, DiskFile, OpenMode};
use std::io;
use std::path::{Path, PathBuf};

/// So many bytes of notes may stand behind the last entry.
const NOTES_AT_MOST: u64 = 256 << 10;

impl Journal {
    /// After a failed sync nothing in the unsynced part can be trusted, although reading it back would succeed. It is cut
    /// off, its numbers are void, and the next append begins a new segment.
    pub(super) fn abandon_segment(&mut self, source: io::Error) -> JournalError {
        let first = lock(&self.shared.index).segments.back().map_or(self.next_seq, |segment| segment.end);
        let last = self.next_seq - 1;
        let mut path = PathBuf::new();
        if let Some(active) = self.active.take() {
            if let Err(error) = active.file.truncate(active.durable) {
                tracing::warn!(path = %active.path.display(), %error, "the unsafe end of a segment could not be cut off");
            }
            // A new segment needs a name of its own.
            self.next_seq = self.next_seq.max(active.base + 1);
            path = active.path;
        }
        lock(&self.shared.index).pending = 0;
        self.voids_from = first;
        self.owed.retract_from(first);
        self.written.retract_from(first);
        JournalError::SyncFailed { path, first, last, source }
    }

    /// Makes sure that the segment being written has room for `need` bytes.
    pub(super) fn segment_for(&mut self, need: u64, now: UnixMicros) -> Result<(), JournalError> {
        if let Some(active) = &self.active {
            let fits = active.written + need <= self.options.segment_bytes && !self.is_stale(active, now);
            if fits || active.base == self.next_seq {
                return Ok(());
            }
            self.close_segment()?;
        }
        self.begin_segment(now)?;
        if self.started { self.shared.reclaim() } else { Ok(()) }
    }

    /// Begins a new segment when much was noted since the last entry: a snapshot takes less room. An unused number stands
    /// for the entry that the new segment's name needs. To be called while no numbers are promised.
    ///
    /// # Errors
    /// A failed file operation, or [`JournalError::SyncFailed`].
    pub fn tidy_notes(&mut self) -> Result<(), JournalError> {
        let Some(active) = &self.active else { return Ok(()) };
        let is_full = || lock(&self.shared.index).bytes() > self.options.max_bytes;
        if active.written - active.entries_end < NOTES_AT_MOST || is_full() {
            return Ok(());
        }
        let mut group = Vec::new();
        let unused =
            GroupHeader { count: 1, synced: active.durable, ..control_header(GroupKind::Unused, self.next_seq) };
        push_group(&mut group, active.salt, unused, &[]);
        self.start();
        self.write(&group)?;
        self.next_seq += 1;
        self.close_segment()?;
        self.begin_segment(self.newest)?;
        self.shared.reclaim()
    }

    /// With a bound on age, segments span little time, so that they can go when they are old.
    fn is_stale(&self, active: &ActiveSegment, now: UnixMicros) -> bool {
        self.options.max_age.is_some_and(|limit| now - active.created_at > bounds::micros(limit) / 4)
    }

    pub(super) fn close_segment(&mut self) -> Result<(), JournalError> {
        self.sync()?;
        if let Some(active) = self.active.take() {
            // Gives back the reserved blocks; without them the file is as good.
            if let Err(error) = active.file.truncate(active.durable) {
                tracing::debug!(%error, "the reserve of a closed segment stays allocated");
            }
        }
        self.voids_from = self.next_seq;
        Ok(())
    }

    /// Begins the segment of the next entry: durable before anything is in it. The segments before it are not needed for
    /// what is owed from then on, so that they may be deleted.
    pub(in crate::journal) fn begin_segment(&mut self, now: UnixMicros) -> Result<(), JournalError> {
        let base = self.next_seq;
        let path = segment_path(&self.dir, base);
        let (journal, voids_from) = (self.shared.id, self.voids_from);
        let header = SegmentHeader { journal, base, voids_from, created_at: now };
        let salt = SegmentSalt::new(journal, base);
        self.keep_snapshot(voids_from)?;
        let mut head = header.encode().to_vec();
        push_group(&mut head, salt, control_header(GroupKind::Begin, base), &[]);
        let file = create_segment(&self.dir, &path, &head, self.options.segment_bytes).inspect_err(|_| {
            if let Err(error) = disk::remove(&path) {
                tracing::debug!(path = %path.display(), %error, "a segment that could not be begun stays behind");
            }
        })?;
        let written = head.len() as u64;
        let created_at = now;
        let segment =
            SegmentView { base, voids_from, end: base, bytes: written, newest: now, path: path.as_path().into() };
        lock(&self.shared.index).segments.push_back(segment);
        self.active = Some(ActiveSegment {
            file,
            path,
            base,
            salt,
            written,
            durable: written,
            entries_end: written,
            untidy: false,
            created_at,
        });
        Ok(())
    }
}

fn create_segment(dir: &Path, path: &Path, head: &[u8], reserve: u64) -> Result<DiskFile, JournalError> {
    let failed = |attempted| move |source| JournalError::io(attempted, path, source);
    let file = DiskFile::open(path, OpenMode::Replace).map_err(failed("create"))?;
    file.reserve(reserve).map_err(failed("reserve room for"))?;
    file.write_at(head, 0).map_err(failed("write the head of"))?;
    file.sync_all().map_err(failed("sync"))?;
    disk::sync_folder(dir).map_err(|source| JournalError::io("sync", dir, source))?;
    debug_assert!(head.len() as u64 > SEGMENT_HEADER);
    Ok(file)
}
