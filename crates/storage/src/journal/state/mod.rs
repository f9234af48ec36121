//! What the writer, the readers and the consumers share: which segments there are, and who still needs them.

pub(crate) mod ages;
pub(crate) mod consumers;
pub(crate) mod redelivery;
use super::reader::Reader;
use super::{JournalError, Seq};
use crate::journal::state::ages::Ages;
use crate::journal::state::consumers::{NAME_LIMIT, Position, PositionFile, Positions, Start};
use hearthgate_domain::delivery::Micros;
use rustix::fs::{FlockOperation, flock};
use std::collections::VecDeque;
use std::fs::{self, File};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;
use uuid::Uuid;

/// A segment as readers may see it.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    /// Number of its first entry.
    pub(super) base: Seq,
    /// Number after its last durable entry.
    pub(super) end: Seq,
    /// Length of its durable part.
    pub(super) bytes: u64,
    /// When its newest entry came in; the journal's newest for the last segment.
    pub(super) newest: Micros,
    pub(super) path: Arc<Path>,
}

/// Everything that is in the directory.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// By base; never empty once the journal is open. The last one is being written.
    pub(super) segments: VecDeque<Segment>,
    /// Bytes in the last segment that are not durable yet.
    pub(super) pending: u64,
    pub(super) ages: Ages,
}

impl Index {
    pub(super) fn oldest(&self) -> Seq {
        self.segments.front().map_or(1, |segment| segment.base)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum::<u64>() + self.pending
    }

    /// The place of the segment that holds `seq`, or of the first one after it.
    pub(super) fn place_of(&self, seq: Seq) -> usize {
        self.segments.partition_point(|segment| segment.base <= seq).saturating_sub(1)
    }
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) id: Uuid,
    pub(super) max_bytes: u64,
    pub(super) index: Mutex<Index>,
    /// The newest durable entry; the sending end is the writer's.
    pub(super) synced: watch::Receiver<Seq>,
    pub(super) positions: Mutex<Positions>,
    /// Locked before `positions`, and held while the disk is at work.
    pub(super) position_file: Mutex<PositionFile>,
    /// Shared by whoever copies the journal, see [`Hold`](super::Hold).
    pub(super) hold: File,
}

/// A panic elsewhere leaves these maps whole: no step of theirs calls out half-way.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// Deletes the segments that nobody needs, never the last one, and none while somebody copies the journal.
    pub(super) fn reclaim(&self) -> Result<(), JournalError> {
        let Some(released) = lock(&self.positions).released_by_all() else { return Ok(()) };
        loop {
            let mut index = lock(&self.index);
            let done = index.segments.front().is_some_and(|front| front.end <= released.saturating_add(1));
            if !done || index.segments.len() < 2 || flock(&self.hold, FlockOperation::NonBlockingLockExclusive).is_err()
            {
                return Ok(());
            }
            let removed = self.remove_oldest(&mut index);
            // It can't fail for a lock that we have.
            let _ = flock(&self.hold, FlockOperation::Unlock);
            removed?;
        }
    }

    /// Deletes the oldest segment, whoever needs it.
    pub(super) fn remove_oldest(&self, index: &mut Index) -> Result<Option<Segment>, JournalError> {
        let Some(front) = index.segments.front() else { return Ok(None) };
        match fs::remove_file(&front.path) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(source) => return Err(JournalError::io("delete", &front.path, source)),
        }
        let removed = index.segments.pop_front();
        let oldest = index.oldest();
        index.ages.forget_below(oldest);
        Ok(removed)
    }
}

/// How full the journal is, and for whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of all segments.
    pub bytes: u64,
    /// The bound.
    pub max_bytes: u64,
    /// Number of segments.
    pub segments: usize,
    /// Durable entries that are still there, needed or not.
    pub entries: u64,
    /// When the oldest entry came in that some consumer has not released, to about a second; `None` when all have
    /// released everything.
    pub oldest_waiting: Option<Micros>,
    /// Newest durable entry; 0 when there was never one.
    pub synced: Seq,
    /// The consumers by name.
    pub consumers: Vec<ConsumerUsage>,
}

/// How far one consumer is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerUsage {
    /// Its name.
    pub name: String,
    /// It is done through this entry.
    pub released: Seq,
    /// Entries that are there and that it has not released.
    pub lag: u64,
}

/// Access to an open journal for everyone but its writer. Cheap to clone; everything on it can be called from any thread.
/// When the [`Journal`](super::Journal) is dropped, readers can read to the end, and positions can no longer be stored.
#[derive(Clone, Debug)]
pub struct Handle {
    pub(super) shared: Arc<Shared>,
}

impl Handle {
    /// The journal's UUID, the same for the life of the directory.
    #[must_use]
    pub fn id(&self) -> Uuid {
        self.shared.id
    }

    /// Follows the newest durable entry; 0 before the first one. It ends when the journal is closed.
    #[must_use]
    pub fn synced(&self) -> watch::Receiver<Seq> {
        self.shared.synced.clone()
    }

    /// Registers a consumer, durably, and tells through which entry it is done. `start` counts only for a new one; when
    /// the positions were lost to damage, everybody starts at the oldest entry.
    ///
    /// # Errors
    /// [`JournalError::Invalid`] for an empty name or one over 255 bytes, else failures of the positions file.
    pub fn register(&self, name: &str, start: Start) -> Result<Seq, JournalError> {
        if name.is_empty() || name.len() > NAME_LIMIT {
            return Err(JournalError::Invalid(format!(
                "a consumer's name has 1 to {NAME_LIMIT} bytes, {name:?} has {}",
                name.len()
            )));
        }
        let before_oldest = lock(&self.shared.index).oldest().saturating_sub(1);
        let newest = *self.shared.synced.borrow();
        let released = {
            let mut positions = lock(&self.shared.positions);
            let unknown = positions.unknown;
            let fresh = match start {
                Start::After(seq) => seq,
                Start::Newest if !unknown => newest,
                Start::Newest | Start::Oldest => before_oldest,
            };
            positions.revision += 1;
            let position = Position { released: fresh, durable: before_oldest.min(fresh) };
            positions.consumers.entry(name.to_owned()).or_insert(position).released
        };
        self.flush()?;
        Ok(released)
    }

    /// Forgets a consumer, durably: what only it needed can be deleted. An unknown name is no error.
    ///
    /// # Errors
    /// Failures of the positions file.
    pub fn unregister(&self, name: &str) -> Result<(), JournalError> {
        {
            let mut positions = lock(&self.shared.positions);
            positions.consumers.remove(name);
            positions.revision += 1;
        }
        self.flush()
    }

    /// The names of all registered consumers, also of those that were registered in an earlier run.
    #[must_use]
    pub fn consumers(&self) -> Vec<String> {
        lock(&self.shared.positions).consumers.keys().cloned().collect()
    }

    /// Notes that a consumer is done with every entry through `through`; going back has no effect. It lasts over a
    /// restart once [`Handle::flush`] returns.
    ///
    /// # Errors
    /// [`JournalError::UnknownConsumer`].
    pub fn release(&self, name: &str, through: Seq) -> Result<(), JournalError> {
        let mut positions = lock(&self.shared.positions);
        let Some(position) = positions.consumers.get_mut(name) else {
            return Err(JournalError::UnknownConsumer { name: name.to_owned() });
        };
        if position.released < through {
            position.released = through;
            positions.revision += 1;
        }
        Ok(())
    }

    /// Makes all positions durable and deletes what nobody needs any more. Calls from several consumers at once share one
    /// sync.
    ///
    /// # Errors
    /// [`JournalError::Closed`]; failures of the positions file, and of deleting: the positions stay as they were on disk.
    pub fn flush(&self) -> Result<(), JournalError> {
        if self.shared.synced.has_changed().is_err() {
            return Err(JournalError::Closed);
        }
        let mut file = lock(&self.shared.position_file);
        let (consumers, revision) = {
            let positions = lock(&self.shared.positions);
            (positions.consumers.clone(), positions.revision)
        };
        if file.revision == revision {
            return Ok(());
        }
        let next_seq = *self.shared.synced.borrow() + 1;
        file.store(&consumers, next_seq)?;
        file.revision = revision;
        drop(file);
        {
            let mut positions = lock(&self.shared.positions);
            for (name, stored) in consumers {
                if let Some(position) = positions.consumers.get_mut(&name) {
                    position.durable = position.durable.max(stored.released);
                }
            }
        }
        self.shared.reclaim()
    }

    /// A reader for a registered consumer, from where it has released.
    ///
    /// # Errors
    /// [`JournalError::UnknownConsumer`].
    pub fn reader(&self, name: &str) -> Result<Reader, JournalError> {
        let released = lock(&self.shared.positions).consumers.get(name).map(|position| position.released);
        let released = released.ok_or_else(|| JournalError::UnknownConsumer { name: name.to_owned() })?;
        Ok(self.reader_after(released))
    }

    /// A reader from after an entry: for a consumer that keeps its position elsewhere, and for looking.
    #[must_use]
    pub fn reader_after(&self, seq: Seq) -> Reader {
        Reader::new(Arc::clone(&self.shared), seq.saturating_add(1))
    }

    /// How full the journal is.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let released: Vec<(String, Seq)> = {
            let positions = lock(&self.shared.positions);
            positions.consumers.iter().map(|(name, position)| (name.clone(), position.released)).collect()
        };
        let index = lock(&self.shared.index);
        let oldest = index.oldest();
        let end = index.segments.back().map_or(1, |segment| segment.end);
        let lag = |released: Seq| end.saturating_sub(released.saturating_add(1).max(oldest));
        let waiting = released.iter().map(|(_, released)| released.saturating_add(1)).min().filter(|next| *next < end);
        Usage {
            bytes: index.bytes(),
            max_bytes: self.shared.max_bytes,
            segments: index.segments.len(),
            entries: index.segments.iter().map(|segment| segment.end - segment.base).sum(),
            oldest_waiting: waiting.and_then(|next| index.ages.of(next.max(oldest))),
            synced: end - 1,
            consumers: released
                .into_iter()
                .map(|(name, released)| ConsumerUsage { lag: lag(released), name, released })
                .collect(),
        }
    }
}
