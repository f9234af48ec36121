//! Access to an open journal for everyone but its writer.

use crate::journal::reader::JournalReader;
use crate::journal::state::consumers::{ConsumerPosition, ConsumerStart, NAME_LIMIT};
use crate::journal::state::{JournalState, lock};
use crate::journal::{JournalError, Seq};
use hearthgate_domain::delivery::UnixMicros;
use std::sync::Arc;
use tokio::sync::watch;
use uuid::Uuid;

/// How full the journal is, and for whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalUsage {
    /// Bytes of all segments.
    pub bytes: u64,
    /// The bound.
    pub max_bytes: u64,
    /// Number of segments.
    pub segments: usize,
    /// Durable entries that are still there, needed or not.
    pub entries: u64,
    /// When the oldest entry was appended that some consumer has not released, to about a second and by the journal's own
    /// clock; `None` when all have released everything.
    pub(crate) oldest_waiting: Option<UnixMicros>,
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
pub struct JournalHandle {
    pub(super) shared: Arc<JournalState>,
}

impl JournalHandle {
    /// The journal's UUID, the same for the life of the directory.
    #[must_use]
    pub fn id(&self) -> Uuid {
        self.shared.id
    }

    /// The identity of this opening, to be noted beside a position that is kept elsewhere. `None` when it could not be kept.
    #[must_use]
    pub fn run(&self) -> Option<Uuid> {
        lock(&self.shared.runs).current()
    }

    /// Under which identity an entry's number is unique: also where the journal was put back from an older copy and has
    /// given the number out once more.
    #[must_use]
    pub fn origin_of(&self, seq: Seq) -> Uuid {
        lock(&self.shared.runs).of(seq).unwrap_or(self.shared.id)
    }

    /// Through which entry a position holds that is kept elsewhere and that was left by this run.
    #[must_use]
    pub fn bound_position(&self, position: Seq, left_by: Option<Uuid>) -> Seq {
        lock(&self.shared.runs).bound(position, left_by)
    }

    /// Whether a run is one of this journal.
    #[must_use]
    pub fn knows_run(&self, run: Uuid) -> bool {
        lock(&self.shared.runs).knows(run)
    }

    /// Whether a later run than this one was noted elsewhere: who knows this one alone is older than the journal.
    #[must_use]
    pub fn has_noted_after(&self, run: Uuid) -> bool {
        lock(&self.shared.runs).has_noted_after(run)
    }

    /// Whether somebody else has this journal too, a copy of it: we have noted our run elsewhere, and find there one that
    /// we do not know.
    #[must_use]
    pub fn is_rivalled_by(&self, run: Uuid) -> bool {
        let runs = lock(&self.shared.runs);
        runs.is_noted() && !runs.knows(run)
    }

    /// The run was noted beside a position that is kept elsewhere.
    ///
    /// # Errors
    /// Failures of the file.
    pub fn note_run(&self) -> Result<(), JournalError> {
        lock(&self.shared.runs).note()
    }

    /// Through which entry a registered consumer is done.
    #[must_use]
    pub fn released(&self, name: &str) -> Option<Seq> {
        lock(&self.shared.positions).consumers.get(name).map(|position| position.released)
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
    pub fn register(&self, name: &str, start: ConsumerStart) -> Result<Seq, JournalError> {
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
                ConsumerStart::After(seq) => seq,
                ConsumerStart::Newest if !unknown => newest,
                ConsumerStart::Newest | ConsumerStart::Oldest => before_oldest,
            };
            positions.revision += 1;
            let position = ConsumerPosition { released: fresh, durable: before_oldest.min(fresh) };
            positions.consumers.entry(name.to_owned()).or_insert(position).released
        };
        self.flush()?;
        Ok(released)
    }

    /// The names of all registered consumers, also of those that were registered in an earlier run.
    #[must_use]
    pub fn consumers(&self) -> Vec<String> {
        lock(&self.shared.positions).consumers.keys().cloned().collect()
    }

    /// Notes that a consumer is done with every entry through `through`; going back has no effect. It lasts over a
    /// restart once [`JournalHandle::flush`] returns.
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
        debug_assert!(
            consumers.values().all(|position| position.durable <= position.released),
            "a position is on disk that nobody has told"
        );
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
    pub fn reader(&self, name: &str) -> Result<JournalReader, JournalError> {
        let released = lock(&self.shared.positions).consumers.get(name).map(|position| position.released);
        let released = released.ok_or_else(|| JournalError::UnknownConsumer { name: name.to_owned() })?;
        Ok(self.reader_after(released))
    }

    /// A reader from after an entry: for a consumer that keeps its position elsewhere, and for looking.
    #[must_use]
    pub fn reader_after(&self, seq: Seq) -> JournalReader {
        JournalReader::new(Arc::clone(&self.shared), seq.saturating_add(1))
    }

    /// Bytes of the segments that somebody holds who is done through `seq`.
    #[must_use]
    pub fn held_after(&self, seq: Seq) -> u64 {
        let index = lock(&self.shared.index);
        index.segments.iter().filter(|segment| segment.end > seq.saturating_add(1)).map(|segment| segment.bytes).sum()
    }

    /// The bound of all segments together, in bytes.
    #[must_use]
    pub fn max_bytes(&self) -> u64 {
        self.shared.max_bytes
    }

    /// How full the journal is.
    #[must_use]
    pub fn usage(&self) -> JournalUsage {
        let released: Vec<(String, Seq)> = {
            let positions = lock(&self.shared.positions);
            positions.consumers.iter().map(|(name, position)| (name.clone(), position.released)).collect()
        };
        let index = lock(&self.shared.index);
        let oldest = index.oldest();
        let end = index.segments.back().map_or(1, |segment| segment.end);
        let lag = |released: Seq| end.saturating_sub(released.saturating_add(1).max(oldest));
        let waiting = released.iter().map(|(_, released)| released.saturating_add(1)).min().filter(|next| *next < end);
        JournalUsage {
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
