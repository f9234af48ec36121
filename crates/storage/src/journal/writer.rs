//! The writing end: appending, syncing, beginning segments, and staying within bounds.

use super::entry::{self, Entry};
use super::format::{GROUP_HEADER, GroupHeader, Kind, SEGMENT_HEADER, Salt, SegmentHeader, push_group, segment_path};
use super::owed::OwedFile;
use super::recovery::{self, Recovery};
use super::shared::{Handle, Segment, Shared, Usage, lock};
use super::{JournalError, Options, Seq, WhenFull, disk};
use hearthgate_domain::delivery::Micros;
use hearthgate_domain::redelivery::Owed;
use rustix::fs::{FlockOperation, flock};
use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::watch;

/// A group is closed when its body reaches this many bytes, so that readers need little memory.
const GROUP_TARGET: usize = 128 << 10;
/// The buffer is given back when a burst has made it larger than this.
const BUFFER_KEPT: usize = 4 << 20;
/// What is settled is written beside so many entries, not beside each: until then it does no harm.
const SETTLED_EVERY: u64 = 64;
/// Sessions of which that is written at once.
const SETTLED_AT_ONCE: usize = 1_000;
/// Session and number.
const SETTLED_RECORD: usize = 16;

/// What an append did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The numbers that the entries have, in order.
    pub seqs: Range<Seq>,
    /// What had to go for them ([`WhenFull::DropOldest`]).
    pub dropped: Option<Dropped>,
}

/// Entries that were deleted although they were still waiting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dropped {
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
    pub(super) options: Options,
    pub(super) shared: Arc<Shared>,
    pub(super) synced: watch::Sender<Seq>,
    pub(super) active: Option<Active>,
    pub(super) next_seq: Seq,
    /// Entries from here on in older segments are void: what the next segment's header will say.
    pub(super) voids_from: Seq,
    /// What senders may send again: see [`Journal::owed`].
    pub(super) owed: Owed,
    pub(super) owed_file: OwedFile,
    /// Entries since the last that was written of what is settled.
    pub(super) unsettled: u64,
    /// When the newest entry came in.
    pub(super) newest: Micros,
    pub(super) buffer: Vec<u8>,
    /// Nothing is deleted before the first append, so that consumers can register.
    pub(super) started: bool,
    /// Holds the lock until the journal is dropped.
    pub(super) lock: File,
}

/// The segment being written.
#[derive(Debug)]
pub(super) struct Active {
    pub(super) file: File,
    pub(super) path: PathBuf,
    pub(super) base: Seq,
    pub(super) salt: Salt,
    /// End of the last whole group.
    pub(super) written: u64,
    /// End of the durable part.
    pub(super) durable: u64,
    /// A failed write may have left bytes after `written`.
    pub(super) untidy: bool,
    /// When it was begun, by the clock of the entries.
    pub(super) created_at: Micros,
}

impl Journal {
    /// Opens the journal in `dir`, making it if there is none, and repairs what a crash left behind.
    ///
    /// # Errors
    /// [`JournalError::Locked`], [`JournalError::Invalid`] options, [`JournalError::Version`], or a failed file
    /// operation. Damage is no error: it is in the [`Recovery`].
    pub fn open(dir: impl AsRef<Path>, options: Options) -> Result<(Journal, Recovery), JournalError> {
        recovery::open(dir.as_ref(), options)
    }

    /// Access for readers and consumers.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle { shared: Arc::clone(&self.shared) }
    }

    /// How full the journal is.
    #[must_use]
    pub fn usage(&self) -> Usage {
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
    pub fn owed(&mut self) -> &mut Owed {
        &mut self.owed
    }

    /// Appends entries in one write and tells their numbers. They are neither safe nor visible before
    /// [`Journal::sync`].
    ///
    /// # Errors
    /// None of the entries was appended. [`JournalError::Full`] at a bound, [`JournalError::TooLarge`],
    /// [`JournalError::NoSpace`]; [`JournalError::SyncFailed`] when a segment that had to be closed could not be synced:
    /// then unsynced entries of earlier appends are taken back too.
    pub fn append(&mut self, entries: &[Entry<'_>]) -> Result<Appended, JournalError> {
        if entries.is_empty() {
            return Ok(Appended { seqs: self.next_seq..self.next_seq, dropped: None });
        }
        let settled = self.settled_beside(entries.len());
        let need = frames_len(entries)? + settled_len(&settled);
        let now = entries.iter().map(|entry| entry.received_at).fold(self.newest, Micros::max);
        self.start();
        let dropped = self.make_room(need, now)?;
        self.segment_for(need, now)?;
        let first = self.next_seq;
        let seqs = first..first + entries.len() as u64;
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        let written = match &self.active {
            Some(active) => {
                encode_groups(&mut buffer, entries, first, active.salt);
                encode_settled(&mut buffer, &settled, seqs.end, active.salt);
                self.write(&buffer)
            }
            None => Ok(()),
        };
        if buffer.capacity() <= BUFFER_KEPT {
            self.buffer = buffer;
        }
        written?;
        if let Some(active) = self.active.as_mut().filter(|active| active.base == first) {
            active.created_at = now;
        }
        self.next_seq = seqs.end;
        self.newest = now;
        lock(&self.shared.index).ages.note(first, now);
        Ok(Appended { seqs, dropped })
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
            if let Err(source) = disk::sync_data(&active.file) {
                return Err(self.abandon_segment(source));
            }
            active.durable = active.written;
            self.publish(end);
        }
        Ok(*self.synced.borrow())
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
            self.segment_for(settled_len(&settled), self.newest)?;
            let Some(active) = &self.active else { return Ok(()) };
            let mut group = Vec::new();
            encode_settled(&mut group, &settled, self.next_seq, active.salt);
            self.write(&group)?;
        }
    }

    /// Deletes what is older than [`Options::max_age`] under [`WhenFull::DropOldest`], and what nobody needs. To be
    /// called now and then while nothing is appended; `now` is the clock of `received_at`.
    ///
    /// # Errors
    /// A failed file operation.
    pub fn expire(&mut self, now: Micros) -> Result<Option<Dropped>, JournalError> {
        if self.started { self.drop_old(now) } else { Ok(None) }
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
        if let Err(source) = disk::write_at(&active.file, groups, active.written) {
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

    /// After a failed sync nothing in the unsynced part can be trusted, although reading it back would succeed. It is cut
    /// off, its numbers are void, and the next append begins a new segment.
    fn abandon_segment(&mut self, source: io::Error) -> JournalError {
        let first = lock(&self.shared.index).segments.back().map_or(self.next_seq, |segment| segment.end);
        let last = self.next_seq - 1;
        let mut path = PathBuf::new();
        if let Some(active) = self.active.take() {
            if let Err(error) = disk::truncate(&active.file, active.durable) {
                tracing::warn!(path = %active.path.display(), %error, "the unsafe end of a segment could not be cut off");
            }
            // A new segment needs a name of its own.
            self.next_seq = self.next_seq.max(active.base + 1);
            path = active.path;
        }
        lock(&self.shared.index).pending = 0;
        self.voids_from = first;
        self.owed.retract_from(first);
        JournalError::SyncFailed { path, first, last, source }
    }

    /// Makes sure that the segment being written has room for `need` bytes.
    fn segment_for(&mut self, need: u64, now: Micros) -> Result<(), JournalError> {
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

    /// With a bound on age, segments span little time, so that they can go when they are old.
    fn is_stale(&self, active: &Active, now: Micros) -> bool {
        self.options.max_age.is_some_and(|limit| now - active.created_at > micros(limit) / 4)
    }

    fn close_segment(&mut self) -> Result<(), JournalError> {
        self.sync()?;
        if let Some(active) = self.active.take() {
            // Gives back the reserved blocks; without them the file is as good.
            if let Err(error) = active.file.set_len(active.durable) {
                tracing::debug!(%error, "the reserve of a closed segment stays allocated");
            }
        }
        self.voids_from = self.next_seq;
        Ok(())
    }

    /// Begins the segment of the next entry: durable before anything is in it. The segments before it are not needed for
    /// what is owed from then on, so that they may be deleted.
    pub(super) fn begin_segment(&mut self, now: Micros) -> Result<(), JournalError> {
        let base = self.next_seq;
        let path = segment_path(&self.dir, base);
        let (journal, voids_from) = (self.shared.id, self.voids_from);
        let header = SegmentHeader { journal, base, voids_from, created_at: now };
        let salt = Salt::new(journal, base);
        // Numbers from there on were not written as they were promised, or are not written yet.
        self.owed_file.store(&self.owed, voids_from)?;
        let mut head = header.encode().to_vec();
        push_group(&mut head, salt, control_header(Kind::Begin, base), &[]);
        let file = create_segment(&self.dir, &path, &head, self.options.segment_bytes).inspect_err(|_| {
            if let Err(error) = fs::remove_file(&path) {
                tracing::debug!(path = %path.display(), %error, "a segment that could not be begun stays behind");
            }
        })?;
        let written = head.len() as u64;
        let created_at = now;
        let segment = Segment { base, end: base, bytes: written, newest: now, path: path.as_path().into() };
        lock(&self.shared.index).segments.push_back(segment);
        self.active = Some(Active { file, path, base, salt, written, durable: written, untidy: false, created_at });
        Ok(())
    }

    /// Stays within the bounds, by the policy.
    fn make_room(&mut self, need: u64, now: Micros) -> Result<Option<Dropped>, JournalError> {
        let limit = self.group_limit();
        if need > limit {
            return Err(JournalError::TooLarge { what: "group", size: need, limit });
        }
        if !self.is_full(need, now) {
            return Ok(None);
        }
        // A consumer that is done and has nothing to do would not say so durably before there is something new.
        self.handle().flush()?;
        self.shared.reclaim()?;
        if self.is_full(need, now) && self.active_is_released() {
            self.close_segment()?;
            self.begin_segment(now)?;
            self.shared.reclaim()?;
        }
        match self.options.when_full {
            WhenFull::Block | WhenFull::Reject if self.is_full(need, now) => {
                let (bytes, max_bytes) = (lock(&self.shared.index).bytes(), self.options.max_bytes);
                Err(JournalError::Full { bytes, max_bytes, too_old: bytes + need <= max_bytes })
            }
            WhenFull::Block | WhenFull::Reject => Ok(None),
            WhenFull::DropOldest => {
                let aged = self.drop_old(now)?;
                let excess = self.drop_while(now, |journal| journal.is_over(need))?;
                Ok(join(aged, excess))
            }
        }
    }

    fn is_over(&self, need: u64) -> bool {
        lock(&self.shared.index).bytes() + need > self.options.max_bytes
    }

    fn is_full(&self, need: u64, now: Micros) -> bool {
        let Some(limit) = self.options.max_age else { return self.is_over(need) };
        self.is_over(need) || self.usage().oldest_waiting.is_some_and(|at| now - at > micros(limit))
    }

    fn active_is_released(&self) -> bool {
        let released = lock(&self.shared.positions).released_by_all();
        self.active.as_ref().is_some_and(|active| active.base < self.next_seq)
            && released.is_some_and(|released| released >= self.next_seq - 1)
    }

    fn drop_old(&mut self, now: Micros) -> Result<Option<Dropped>, JournalError> {
        self.shared.reclaim()?;
        let Some(limit) = self.options.max_age.filter(|_| self.options.when_full == WhenFull::DropOldest) else {
            return Ok(None);
        };
        let limit = micros(limit);
        self.drop_while(now, |journal| {
            let index = lock(&journal.shared.index);
            index.segments.front().is_some_and(|front| front.end > front.base && now - front.newest > limit)
        })
    }

    /// Deletes the oldest segments, begins a new one if it comes to the last, and accounts for what was waiting.
    fn drop_while(&mut self, now: Micros, excess: impl Fn(&Journal) -> bool) -> Result<Option<Dropped>, JournalError> {
        let mut dropped: Option<Dropped> = None;
        while excess(self) {
            if lock(&self.shared.index).segments.len() < 2 {
                if self.active.as_ref().is_none_or(|active| active.base == self.next_seq) {
                    break;
                }
                self.close_segment()?;
                self.begin_segment(now)?;
            }
            let removed = self.shared.remove_oldest(&mut lock(&self.shared.index))?;
            let Some(removed) = removed else { break };
            dropped = join(dropped, self.account(&removed));
        }
        Ok(dropped)
    }

    fn account(&self, removed: &Segment) -> Option<Dropped> {
        let positions = lock(&self.shared.positions);
        let unreleased: Vec<(String, u64)> = positions
            .consumers
            .iter()
            .map(|(name, position)| {
                (name.clone(), removed.end.saturating_sub(removed.base.max(position.released.saturating_add(1))))
            })
            .filter(|(_, count)| *count > 0)
            .collect();
        (!unreleased.is_empty()).then_some(Dropped { seqs: removed.base..removed.end, unreleased })
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        // A child process that is just being started shares the file until it executes its program, so closing it would
        // not free the lock at once.
        if let Err(error) = flock(&self.lock, FlockOperation::Unlock) {
            tracing::warn!(%error, "the journal's lock could not be given up");
        }
    }
}

impl Active {
    /// Cuts off what a failed write may have left.
    fn tidy(&mut self) -> Result<(), JournalError> {
        if self.untidy {
            disk::truncate(&self.file, self.written)
                .map_err(|source| JournalError::io("cut a partial write off", &self.path, source))?;
            self.untidy = false;
        }
        Ok(())
    }
}

fn join(first: Option<Dropped>, second: Option<Dropped>) -> Option<Dropped> {
    let (Some(mut first), Some(second)) = (first.clone(), second.clone()) else { return first.or(second) };
    first.seqs.end = second.seqs.end;
    for (name, count) in second.unreleased {
        match first.unreleased.iter_mut().find(|(known, _)| *known == name) {
            Some((_, total)) => *total += count,
            None => first.unreleased.push((name, count)),
        }
    }
    Some(first)
}

pub(super) fn control_header(kind: Kind, first: Seq) -> GroupHeader {
    GroupHeader { kind, first, count: 0, body_len: 0, body_checksum: 0 }
}

fn create_segment(dir: &Path, path: &Path, head: &[u8], reserve: u64) -> Result<File, JournalError> {
    let failed = |attempted| move |source| JournalError::io(attempted, path, source);
    let file = disk::create(path).map_err(failed("create"))?;
    disk::reserve(&file, reserve).map_err(failed("reserve room for"))?;
    disk::write_at(&file, head, 0).map_err(failed("write the head of"))?;
    file.sync_all().map_err(failed("sync"))?;
    disk::sync_dir(dir).map_err(|source| JournalError::io("sync", dir, source))?;
    debug_assert!(head.len() as u64 > SEGMENT_HEADER);
    Ok(file)
}

/// Upper bound of what the entries take on disk.
fn frames_len(entries: &[Entry<'_>]) -> Result<u64, JournalError> {
    let mut total = 0;
    for entry in entries {
        total += entry::encoded_len(entry)?;
    }
    Ok((total + (total / GROUP_TARGET + 1) * (GROUP_HEADER + 8)) as u64)
}

fn encode_groups(out: &mut Vec<u8>, entries: &[Entry<'_>], first: Seq, salt: Salt) {
    let mut next = first;
    let mut entries = entries.iter();
    while !entries.as_slice().is_empty() {
        let start = out.len();
        out.resize(start + GROUP_HEADER, 0);
        let group_first = next;
        while out.len() - start < GROUP_TARGET {
            let Some(entry) = entries.next() else { break };
            // The lengths were checked when room was made.
            entry::encode(out, entry, entry::encoded_len(entry).unwrap_or_default());
            next += 1;
        }
        let body = &out[start + GROUP_HEADER..];
        let header = GroupHeader {
            kind: Kind::Entries,
            first: group_first,
            count: (next - group_first) as u32,
            body_len: body.len() as u32,
            body_checksum: salt.checksum(body),
        };
        out[start..start + GROUP_HEADER].copy_from_slice(&header.encode(salt));
        out.resize(out.len().next_multiple_of(8), 0);
    }
}

fn settled_len(settled: &[(u64, Seq)]) -> u64 {
    if settled.is_empty() { 0 } else { (GROUP_HEADER + settled.len() * SETTLED_RECORD) as u64 }
}

/// Of each session everything through that number will not be sent again.
fn encode_settled(out: &mut Vec<u8>, settled: &[(u64, Seq)], next: Seq, salt: Salt) {
    if settled.is_empty() {
        return;
    }
    let record = |(session, through): &(u64, Seq)| [session.to_le_bytes(), through.to_le_bytes()].concat();
    let body: Vec<u8> = settled.iter().flat_map(record).collect();
    push_group(out, salt, control_header(Kind::Settled, next), &body);
}

fn micros(duration: std::time::Duration) -> Micros {
    Micros::try_from(duration.as_micros()).unwrap_or(Micros::MAX)
}
