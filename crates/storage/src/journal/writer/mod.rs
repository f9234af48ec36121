//! The writing end: appending and syncing.

mod bounds;
mod segment;

pub(super) use crate::journal::files::active_segment::ActiveSegment;
pub(super) use crate::journal::format::groups::control_header;

use super::recovery;
use super::{JournalError, JournalOptions, LatestDigests, Seq, content_hash};
use crate::journal::format;
use crate::journal::format::entry::JournalEntry;
use crate::journal::format::notes::UnstoredNote;
use crate::journal::handle::{JournalHandle, JournalUsage};
use crate::journal::recovery::report::JournalRecovery;
use crate::journal::state::clock::SteadyClock;
use crate::journal::state::redelivery::OwedFile;
use crate::journal::state::{JournalState, lock};
use hearthgate_domain::delivery::UnixMicros;
use hearthgate_domain::redelivery::{RedeliveryWindow, SenderNote};
use hearthgate_files::disk::DiskFile;
use rustix::fs::FlockOperation;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::watch;

/// The buffer is given back when a burst has made it larger than this.
const BUFFER_KEPT: usize = 4 << 20;
/// What is settled is written beside so many entries, not beside each: until then it does no harm.
const SETTLED_EVERY: u64 = 64;
/// So many bytes of notes are taken although the journal is full.
const NOTES_BEYOND: u64 = 1 << 20;
/// Sessions of which that is written at once.
const SETTLED_AT_ONCE: usize = 1_000;

/// What an append did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppendOutcome {
    /// The numbers that the entries have, in order.
    pub seqs: Range<Seq>,
    /// What had to go for them ([`WhenFull::DropOldest`](super::WhenFull::DropOldest)).
    pub dropped: Option<DroppedEntries>,
}

/// Entries that were deleted although they were still waiting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DroppedEntries {
    /// Their numbers.
    pub seqs: Range<Seq>,
    /// For each consumer that had not released all of them: its name and how many. It may have had some in hand; what
    /// its reader never gave out, that reader tells ([`Skipped`](super::Skipped)).
    pub unreleased: Vec<(String, u64)>,
}

/// The writing end of a journal. There is one at a time for a directory.
#[derive(Debug)]
pub struct Journal {
    pub(super) dir: PathBuf,
    pub(super) options: JournalOptions,
    pub(super) shared: Arc<JournalState>,
    pub(super) synced: watch::Sender<Seq>,
    pub(super) active: Option<ActiveSegment>,
    pub(super) next_seq: Seq,
    /// Entries from here on in older segments are void: what the next segment's header will say.
    pub(super) voids_from: Seq,
    /// What senders may send again: see [`Journal::owed`].
    pub(super) owed: RedeliveryWindow,
    /// The same, as far as it is written.
    pub(super) written: RedeliveryWindow,
    /// Digests of what each flow stored last of each topic.
    pub(super) latest: LatestDigests,
    /// So many notes were written.
    pub(super) notes: u64,
    pub(super) owed_file: OwedFile,
    /// Entries since the last that was written of what is settled.
    pub(super) unsettled: u64,
    /// How long something waits is told by it.
    pub(super) clock: SteadyClock,
    /// When the newest entry was appended.
    pub(super) newest: UnixMicros,
    pub(super) buffer: Vec<u8>,
    /// Nothing is deleted before the first append, so that consumers can register.
    pub(super) started: bool,
    /// Holds the lock until the journal is dropped.
    pub(super) lock: DiskFile,
}

impl Journal {
    /// Opens the journal in `dir`, making it if there is none, and repairs what a crash left behind.
    ///
    /// # Errors
    /// [`JournalError::Locked`], [`JournalError::Invalid`] options, [`JournalError::Version`], or a failed file
    /// operation. Damage is no error: it is in the [`JournalRecovery`].
    pub fn open(dir: impl AsRef<Path>, options: JournalOptions) -> Result<(Journal, JournalRecovery), JournalError> {
        recovery::open(dir.as_ref(), options)
    }

    /// Access for readers and consumers.
    #[must_use]
    pub fn handle(&self) -> JournalHandle {
        JournalHandle { shared: Arc::clone(&self.shared) }
    }

    /// How full the journal is.
    #[must_use]
    pub fn usage(&self) -> JournalUsage {
        self.handle().usage()
    }

    /// The number that the next entry gets.
    #[must_use]
    pub fn next_seq(&self) -> Seq {
        self.next_seq
    }

    /// The most bytes that the entries of one [`append`](Self::append) may take.
    #[must_use]
    pub fn group_limit(&self) -> u64 {
        self.options.max_bytes / 2
    }

    /// What senders may send again, as far as the journal has it or is about to. Whoever appends an entry with an origin
    /// notes it here before; after a restart it is as the last run left it on disk.
    pub fn owed(&mut self) -> &mut RedeliveryWindow {
        &mut self.owed
    }

    /// What senders may send again is once more as the journal has it: what was promised beyond that will not come to be.
    pub fn forget_promises(&mut self) {
        self.owed.clone_from(&self.written);
    }

    /// [Appends](Self::append_with_notes) entries without notes.
    ///
    /// # Errors
    /// As there.
    pub fn append(&mut self, entries: &[JournalEntry<'_>]) -> Result<AppendOutcome, JournalError> {
        self.append_with_notes(entries, &[])
    }

    /// Notes what happened to senders, where there is no entry that tells it; a full journal takes it as long as it is
    /// little.
    fn append_notes(&mut self, notes: &[UnstoredNote]) -> Result<(), JournalError> {
        let need = format::notes::notes_len(notes);
        if lock(&self.shared.index).bytes() + need > self.options.max_bytes + NOTES_BEYOND {
            tracing::debug!(notes = notes.len(), "the journal is full: this is noted with its next segment");
            self.take_as_written(&[], notes, self.next_seq);
            return Ok(());
        }
        if self.active.is_none() {
            self.begin_segment(self.newest)?;
        }
        let Some(active) = &self.active else { return Ok(()) };
        let mut group = Vec::new();
        format::notes::encode(&mut group, notes, self.notes, self.next_seq, active.salt, active.durable);
        self.write(&group)?;
        self.take_as_written(&[], notes, self.next_seq);
        Ok(())
    }

    /// Follows what is written.
    fn take_as_written(&mut self, entries: &[JournalEntry<'_>], notes: &[UnstoredNote], first: Seq) {
        self.notes += notes.len() as u64;
        let mut notes = notes.iter().peekable();
        for (seq, entry) in (first..).zip(entries) {
            while let Some(note) = notes.next_if(|note| note.before <= seq) {
                self.written.replay(note.event);
            }
            if let Some(origin) = entry.origin {
                let hash = content_hash(entry.topic, entry.payload);
                self.written.replay(SenderNote::Received { origin, hash, seq: Some(seq) });
            }
        }
        notes.for_each(|note| self.written.replay(note.event));
    }

    /// Digests of what each flow stored last of each topic. Whoever appends entries notes them here after; after a restart
    /// they are as the entries tell.
    pub fn latest(&mut self) -> &mut LatestDigests {
        &mut self.latest
    }

    /// Keeps [`Journal::latest`] with what the entries do not tell. To be called when everything is synced.
    ///
    /// # Errors
    /// A failed file operation.
    pub fn keep_latest(&mut self) -> Result<(), JournalError> {
        // What a failed sync took back may be on the disk all the same until the next segment says that it is void.
        let through = if self.active.is_some() { self.next_seq } else { self.voids_from };
        self.keep_snapshot(through)
    }

    pub(in crate::journal) fn keep_snapshot(&mut self, through: Seq) -> Result<(), JournalError> {
        self.owed_file.store(&self.written, &self.latest, through, self.notes)?;
        self.shared.snapshot_is_safe.store(true, Ordering::Release);
        Ok(())
    }

    /// Appends entries in one write, with what happened to senders before and between them, and tells their numbers. They are neither safe nor visible before
    /// [`Journal::sync`].
    ///
    /// # Errors
    /// None of the entries was appended. [`JournalError::Full`] at a bound, [`JournalError::TooLarge`],
    /// [`JournalError::NoSpace`]; [`JournalError::SyncFailed`] when a segment that had to be closed could not be synced:
    /// then unsynced entries of earlier appends are taken back too.
    pub fn append_with_notes(
        &mut self,
        entries: &[JournalEntry<'_>],
        notes: &[UnstoredNote],
    ) -> Result<AppendOutcome, JournalError> {
        if entries.is_empty() {
            if !notes.is_empty() {
                self.append_notes(notes)?;
            }
            return Ok(AppendOutcome { seqs: self.next_seq..self.next_seq, dropped: None });
        }
        let settled = self.settled_beside(entries.len());
        let need = crate::journal::format::groups::frames_len(entries)?
            + crate::journal::format::groups::settled_len(&settled)
            + format::notes::notes_len(notes);
        let now = self.clock.now();
        self.start();
        let dropped = self.make_room(need, now)?;
        self.segment_for(need, now)?;
        let first = self.next_seq;
        let seqs = first..first + entries.len() as u64;
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        let written = match &self.active {
            Some(active) => {
                format::notes::encode(&mut buffer, notes, self.notes, first, active.salt, active.durable);
                crate::journal::format::groups::encode(&mut buffer, entries, first, active.salt, active.durable);
                crate::journal::format::groups::encode_settled(
                    &mut buffer,
                    &settled,
                    seqs.end,
                    active.salt,
                    active.durable,
                );
                self.write(&buffer)
            }
            None => Ok(()),
        };
        if buffer.capacity() <= BUFFER_KEPT {
            self.buffer = buffer;
        }
        written?;
        if let Some(active) = &mut self.active {
            active.entries_end = active.written;
            if active.base == first {
                active.created_at = now;
            }
        }
        self.take_as_written(entries, notes, first);
        self.settle_written(&settled);
        debug_assert!(seqs.start == self.next_seq, "numbers rise without a gap");
        self.next_seq = seqs.end;
        self.newest = now;
        lock(&self.shared.index).ages.note(first, now);
        Ok(AppendOutcome { seqs, dropped })
    }

    /// Makes everything appended durable and visible to readers, and tells the newest durable entry.
    ///
    /// # Errors
    /// [`JournalError::SyncFailed`]: the entries that it names are gone from the journal. They must be appended again,
    /// in a new segment, or stay unacknowledged. The sync is never simply tried again: the system may have forgotten what
    /// it could not write.
    pub fn sync(&mut self) -> Result<Seq, JournalError> {
        let end = self.next_seq;
        if let Some(active) = &mut self.active
            && active.durable < active.written
        {
            if let Err(source) = active.file.sync_data() {
                return Err(self.abandon_segment(source));
            }
            active.durable = active.written;
            self.publish(end);
        }
        Ok(*self.synced.borrow())
    }

    /// What senders will not send again, as far as [`Journal::owed`] knows, is recorded by the next append. Without this
    /// call it is by one of the next.
    pub fn settle_soon(&mut self) {
        self.unsettled = SETTLED_EVERY;
    }

    /// Records what senders will not send again, as far as [`Journal::owed`] knows, when no append is at hand to carry it.
    /// It survives a crash of the process at once, and one of the machine after the next sync. A full journal takes it
    /// all the same: it is small.
    ///
    /// # Errors
    /// As [`Journal::append`].
    pub fn keep_settled(&mut self) -> Result<(), JournalError> {
        loop {
            let settled = self.owed.take_settled(SETTLED_AT_ONCE);
            if settled.is_empty() {
                return Ok(());
            }
            self.segment_for(crate::journal::format::groups::settled_len(&settled), self.newest)?;
            let Some(active) = &self.active else { return Ok(()) };
            let mut group = Vec::new();
            crate::journal::format::groups::encode_settled(
                &mut group,
                &settled,
                self.next_seq,
                active.salt,
                active.durable,
            );
            self.write(&group)?;
            self.settle_written(&settled);
        }
    }

    fn settle_written(&mut self, settled: &[(u64, Seq)]) {
        settled.iter().for_each(|(session, through)| self.written.settle_through(*session, *through));
        // Only what is told of the other one is written.
        self.written.take_settled(usize::MAX);
    }

    /// What is settled, if it is to be written beside so many entries. Should that fail it is not known, which is no harm.
    fn settled_beside(&mut self, entries: usize) -> Vec<(u64, Seq)> {
        self.unsettled += entries as u64;
        if self.unsettled < SETTLED_EVERY {
            return Vec::new();
        }
        self.unsettled = 0;
        self.owed.take_settled(SETTLED_AT_ONCE)
    }

    /// From the first append on, all consumers are known.
    fn start(&mut self) {
        if !self.started {
            self.started = true;
            lock(&self.shared.positions).unknown = false;
        }
    }

    /// Writes whole groups at the end, or leaves the segment as it was.
    fn write(&mut self, groups: &[u8]) -> Result<(), JournalError> {
        let Some(active) = &mut self.active else { return Ok(()) };
        active.tidy()?;
        if let Err(source) = active.file.write_at(groups, active.written) {
            active.untidy = true;
            if let Err(error) = active.tidy() {
                tracing::warn!(%error, "a partial write could not be taken back yet; the next append tries again");
            }
            return Err(JournalError::io("write to", &active.path, source));
        }
        active.written += groups.len() as u64;
        let pending = active.written - active.durable;
        lock(&self.shared.index).pending = pending;
        Ok(())
    }

    /// Shows readers what is durable now: everything below `end`.
    fn publish(&mut self, end: Seq) {
        let Some(active) = &self.active else { return };
        debug_assert!(active.durable <= active.written, "more is durable than was written");
        debug_assert!(end <= self.next_seq, "a number is visible that was not given out");
        {
            let mut index = lock(&self.shared.index);
            index.pending = 0;
            if let Some(segment) = index.segments.back_mut() {
                segment.end = end;
                segment.bytes = active.durable;
                segment.newest = self.newest;
            }
        }
        self.synced.send_if_modified(|synced| {
            let newer = *synced < end - 1;
            *synced = (*synced).max(end - 1);
            newer
        });
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        // A child process that is just being started shares the file until it executes its program, so closing it would
        // not free the lock at once.
        if let Err(error) = self.lock.lock(FlockOperation::Unlock) {
            tracing::warn!(%error, "the journal's lock could not be given up");
        }
    }
}
