//! The reading end: one for each consumer, in any thread.

use super::format::{GROUP_HEADER, GroupHeader, GroupKind, SEGMENT_HEADER, SegmentSalt};
use super::{JournalError, Seq};
use crate::journal::files::quarantine;
use crate::journal::format::entry;
use crate::journal::format::entry::StoredEntry;
use crate::journal::format::scan;
use crate::journal::format::scan::{FoundGroup, READ_AHEAD, ScanWindow};
use crate::journal::recovery::salvage;
use crate::journal::recovery::salvage::SalvagedEntry;
use crate::journal::state::{JournalState, SegmentView, lock};
use hearthgate_files::disk::{DiskFile, OpenMode};
use std::io;
use std::ops::Range;
use std::sync::Arc;
use tokio::sync::watch;

/// Reads durable entries in order. Each reader has its own place, buffer and file; it never waits for the writer.
#[derive(Debug)]
pub struct JournalReader {
    shared: Arc<JournalState>,
    synced: watch::Receiver<Seq>,
    open: Option<Open>,
    /// The next number to give out.
    next: Seq,
    window: ScanWindow,
}

/// The segment being read.
#[derive(Debug)]
struct Open {
    base: Seq,
    file: DiskFile,
    salt: SegmentSalt,
    /// Where the group stands that is looked at next.
    at: u64,
    /// How far into that group's body everything is given out.
    inside: usize,
    /// The number of the entry there.
    inside_seq: Seq,
    /// The number after those that the groups before `at` cover.
    covered: Seq,
}

/// Entries in order, borrowing from the reader's buffer.
#[derive(Debug, Default)]
pub struct EntryBatch<'a> {
    /// Those that were wanted.
    pub entries: Vec<StoredEntry<'a>>,
    /// Everything through this number has been looked at: what to release once these entries are dealt with.
    pub through: Seq,
    /// There is nothing more to read now; [`JournalReader::ready`] waits for more.
    pub caught_up: bool,
    /// Entries that this reader could not give out, before or among these.
    pub skipped: Vec<SkippedEntries>,
}

/// Entries that a reader could not give out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SkippedEntries {
    /// Their numbers.
    pub seqs: Range<Seq>,
    /// Why not.
    pub why: SkipReason,
    /// What could still be told apart in the damaged bytes, in order; nobody knows whether it is as it was written.
    pub salvaged: Vec<SalvagedEntry>,
}

/// Why entries could not be given out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SkipReason {
    /// They were deleted: dropped by the policy, or released before this reader came to them.
    Gone,
    /// Their bytes are damaged.
    Damaged,
}

/// What to do at the reader's place.
enum Step {
    CaughtUp,
    /// A group of entries is in the window.
    Entries(SegmentView),
    /// Moved on; look again.
    Again,
}

impl JournalReader {
    pub(super) fn new(shared: Arc<JournalState>, next: Seq) -> Self {
        let synced = shared.synced.clone();
        JournalReader { shared, synced, open: None, next, window: ScanWindow::default() }
    }

    /// The number of the next entry that it will look at.
    #[must_use]
    pub fn next_seq(&self) -> Seq {
        self.next
    }

    /// Waits until there is something to read.
    ///
    /// # Errors
    /// [`JournalError::Closed`] when the journal was closed and everything in it has been read.
    pub async fn ready(&mut self) -> Result<(), JournalError> {
        let next = self.next;
        self.synced.wait_for(|synced| *synced >= next).await.map(|_| ()).map_err(|_| JournalError::Closed)
    }

    /// The next entries: at most `max_entries`, and at most about `max_bytes` of them, but at least one if there is any.
    /// It reads from disk and never waits for new ones.
    ///
    /// # Errors
    /// A failed file operation; the place stays, so that it can be asked again. Damage is no error: it is skipped and told.
    pub fn next_batch(&mut self, max_entries: usize, max_bytes: usize) -> Result<EntryBatch<'_>, JournalError> {
        self.next_batch_where(max_entries, max_bytes, |_| true)
    }

    /// As [`JournalReader::next_batch`], with only the entries that are `wanted`. It looks at a bounded stretch: a batch can be
    /// empty although it is not `caught_up`.
    ///
    /// # Errors
    /// As [`JournalReader::next_batch`].
    pub fn next_batch_where(
        &mut self,
        max_entries: usize,
        max_bytes: usize,
        wanted: impl FnMut(&StoredEntry<'_>) -> bool,
    ) -> Result<EntryBatch<'_>, JournalError> {
        let mut skipped = Vec::new();
        let segment = loop {
            match self.step(max_bytes, &mut skipped)? {
                Step::Again => {}
                Step::Entries(segment) => break Some(segment),
                Step::CaughtUp => break None,
            }
        };
        let JournalReader { window, open, next, .. } = self;
        let limits = Limits { entries: max_entries.max(1), bytes: max_bytes };
        let entries = match (segment, open) {
            (Some(segment), Some(open)) => collect(window, open, next, &segment, &limits, &mut skipped, wanted),
            _ => return Ok(EntryBatch { through: *next - 1, caught_up: true, skipped, ..EntryBatch::default() }),
        };
        Ok(EntryBatch { entries, through: *next - 1, caught_up: false, skipped })
    }

    fn step(&mut self, max_bytes: usize, skipped: &mut Vec<SkippedEntries>) -> Result<Step, JournalError> {
        let Some(segment) = self.locate(skipped)? else { return Ok(Step::CaughtUp) };
        let Some(open) = &mut self.open else { return Ok(Step::Again) };
        let failed = |source: io::Error| JournalError::io("read", &segment.path, source);
        let ahead = max_bytes.clamp(READ_AHEAD / 4, READ_AHEAD);
        if self.window.from(open.at).len() < ahead / 2 {
            self.window.load(&open.file, open.at, ahead, ahead, segment.bytes).map_err(failed)?;
        }
        let found = scan::look(&mut self.window, &open.file, open.salt, open.at, segment.bytes).map_err(failed)?;
        let (at, next) = (open.at, self.next);
        match found {
            FoundGroup::End => {
                // All numbers up to the segment's end are covered, or the file is shorter than it was.
                self.skip_to(segment.end, SkipReason::Damaged, skipped);
                Ok(Step::Again)
            }
            FoundGroup::Group(header) if header.first >= segment.end && header.kind == GroupKind::Entries => {
                self.skip_to(segment.end, SkipReason::Damaged, skipped);
                Ok(Step::Again)
            }
            FoundGroup::Group(header) => {
                self.skip_to(header.first, SkipReason::Damaged, skipped);
                match header.kind {
                    GroupKind::Entries if header.end() > next => return Ok(Step::Entries(segment)),
                    GroupKind::Lost => {
                        let lost = header.first..header.end();
                        self.skip_damage(at..at + header.frame_len(), &lost, skipped).map_err(failed)?;
                    }
                    GroupKind::Unused => self.next = self.next.max(header.end()),
                    GroupKind::Entries | GroupKind::Begin | GroupKind::Settled | GroupKind::Notes => {}
                }
                self.go_to(at + header.frame_len(), header.end());
                Ok(Step::Again)
            }
            FoundGroup::BadBody(_) | FoundGroup::BadHeader => {
                let (file, salt, covered) = (&open.file, open.salt, open.covered);
                let stretch =
                    scan::past_damage(&mut self.window, file, salt, at, segment.bytes, found).map_err(failed)?;
                let end = stretch.lost_end.unwrap_or(segment.end).min(segment.end);
                let first = if let FoundGroup::BadBody(header) = found { header.first } else { covered };
                if let Some(dir) = segment.path.parent().filter(|_| next < end) {
                    quarantine::keep(dir, &segment.path, file, at..stretch.to);
                }
                self.skip_damage(at..stretch.to, &(first..end), skipped).map_err(failed)?;
                self.go_to(stretch.to, end);
                Ok(Step::Again)
            }
        }
    }

    /// Passes over a damaged stretch that begins with a group's header, and takes along what can be told apart in it.
    fn skip_damage(
        &mut self,
        Range { start, end }: Range<u64>,
        lost: &Range<Seq>,
        skipped: &mut Vec<SkippedEntries>,
    ) -> io::Result<()> {
        let (Some(open), next) = (&self.open, self.next) else { return Ok(()) };
        if lost.end <= next {
            return Ok(());
        }
        let body = start + GROUP_HEADER as u64..end;
        let mut salvaged = salvage::read(&mut self.window, &open.file, open.salt, body, lost)?;
        salvaged.retain(|salvaged| salvaged.seq() >= next);
        self.skip_to(lost.end, SkipReason::Damaged, skipped);
        if let Some(last) = skipped.last_mut() {
            last.salvaged.extend(salvaged);
        }
        Ok(())
    }

    fn go_to(&mut self, at: u64, covered: Seq) {
        if let Some(open) = &mut self.open {
            (open.at, open.inside, open.covered) = (at, 0, open.covered.max(covered));
        }
    }

    fn skip_to(&mut self, end: Seq, why: SkipReason, skipped: &mut Vec<SkippedEntries>) {
        if self.next >= end {
            return;
        }
        let start = self.next;
        self.next = end;
        match skipped.last_mut() {
            Some(last) if last.why == why && last.seqs.end == start => last.seqs.end = end,
            _ => skipped.push(SkippedEntries { seqs: start..end, why, salvaged: Vec::new() }),
        }
    }

    /// Opens the segment that holds the next entry. `None` when everything has been read.
    fn locate(&mut self, skipped: &mut Vec<SkippedEntries>) -> Result<Option<SegmentView>, JournalError> {
        loop {
            let (segment, oldest, voids_from) = {
                let index = lock(&self.shared.index);
                let mut place = index.place_of(self.next);
                // Numbers between the end of a segment and the next one's first are void; there may be segments of these alone.
                while index.segments.get(place).is_some_and(|segment| self.next >= segment.end)
                    && let Some(after) = index.segments.get(place + 1)
                {
                    self.next = self.next.max(after.base);
                    place += 1;
                }
                (index.segments.get(place).cloned(), index.oldest(), index.voids_from())
            };
            let Some(segment) = segment else { return Ok(None) };
            if self.next < oldest {
                self.open = None;
                self.skip_to(voids_from, SkipReason::Gone, skipped);
                self.next = self.next.max(oldest);
                continue;
            }
            if self.next >= segment.end {
                return Ok(None);
            }
            if self.open.as_ref().is_some_and(|open| open.base == segment.base) {
                return Ok(Some(segment));
            }
            match DiskFile::open(&segment.path, OpenMode::Read) {
                Ok(file) => {
                    let salt = SegmentSalt::new(self.shared.id, segment.base);
                    self.window.clear();
                    let (at, base) = (SEGMENT_HEADER, segment.base);
                    self.open = Some(Open { base, file, salt, at, inside: 0, inside_seq: 0, covered: base });
                    return Ok(Some(segment));
                }
                // Dropped since we looked; whoever removed it by hand is told with the next error.
                Err(error) if error.kind() == io::ErrorKind::NotFound && self.is_gone(segment.base) => {}
                Err(source) => return Err(JournalError::io("open", &segment.path, source)),
            }
        }
    }

    fn is_gone(&self, base: Seq) -> bool {
        lock(&self.shared.index).oldest() > base
    }
}

struct Limits {
    entries: usize,
    bytes: usize,
}

/// Takes entries out of the groups in the window; the first group has been checked. Whatever is odd ends the batch; the
/// next one looks at it closely.
fn collect<'w>(
    window: &'w ScanWindow,
    open: &mut Open,
    next: &mut Seq,
    segment: &SegmentView,
    limits: &Limits,
    skipped: &mut Vec<SkippedEntries>,
    mut wanted: impl FnMut(&StoredEntry<'_>) -> bool,
) -> Vec<StoredEntry<'w>> {
    let mut entries = Vec::new();
    let mut bytes = 0;
    while let Some((header, body)) = sound_group(window.from(open.at), open, segment, *next) {
        if open.inside == 0 {
            open.inside_seq = header.first;
        }
        while open.inside_seq < header.end() {
            let Some((entry, length)) = body.get(open.inside..).and_then(|rest| entry::decode(rest, open.inside_seq))
            else {
                // Its checksum is right, but this version does not understand it.
                let seqs = open.inside_seq.max(*next)..header.end();
                skipped.push(SkippedEntries { seqs, why: SkipReason::Damaged, salvaged: Vec::new() });
                *next = header.end();
                break;
            };
            let given = entry.seq >= *next && wanted(&entry);
            if given && !entries.is_empty() && bytes + length > limits.bytes {
                return entries;
            }
            open.inside += length;
            open.inside_seq += 1;
            *next = (*next).max(open.inside_seq);
            if given {
                bytes += length;
                entries.push(entry);
                if entries.len() >= limits.entries {
                    return entries;
                }
            }
        }
        (open.at, open.inside, open.covered) = (open.at + header.frame_len(), 0, header.end());
    }
    entries
}

/// The group of entries at the front of these bytes, if it is whole, sound and the next one.
fn sound_group<'w>(frame: &'w [u8], open: &Open, segment: &SegmentView, next: Seq) -> Option<(GroupHeader, &'w [u8])> {
    let header = GroupHeader::decode(frame, open.salt)?;
    let fits = open.at + header.frame_len() <= segment.bytes && header.first <= next && header.first < segment.end;
    if header.kind != GroupKind::Entries || !fits {
        return None;
    }
    let body = scan::body(frame, &header)?;
    header.body_is_sound(body, open.salt).then_some((header, body))
}
