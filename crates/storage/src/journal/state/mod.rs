//! What the writer, the readers and the consumers share: which segments there are, and who still needs them.

pub(crate) mod ages;
pub(crate) mod clock;
pub(crate) mod consumers;
pub(crate) mod latest;
pub(crate) mod redelivery;
pub(crate) mod runs;
use super::{JournalError, Seq};
use crate::journal::state::ages::SegmentAges;
use crate::journal::state::consumers::{ConsumerPositions, PositionFile};
use crate::journal::state::runs::JournalRuns;
use hearthgate_domain::delivery::UnixMicros;
use hearthgate_files::disk::{self, DiskFile};
use rustix::fs::FlockOperation;
use std::collections::VecDeque;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;
use uuid::Uuid;

/// A segment as readers may see it.
#[derive(Clone, Debug)]
pub(super) struct SegmentView {
    /// Number of its first entry.
    pub(super) base: Seq,
    /// From this number on, those below `base` were never safe.
    pub(super) voids_from: Seq,
    /// Number after its last durable entry.
    pub(super) end: Seq,
    /// Length of its durable part.
    pub(super) bytes: u64,
    /// When its newest entry was appended, by the journal's clock; the journal's newest for the last segment.
    pub(super) newest: UnixMicros,
    pub(super) path: Arc<Path>,
}

/// Everything that is in the directory.
#[derive(Debug, Default)]
pub(super) struct SegmentIndex {
    /// By base; never empty once the journal is open. The last one is being written.
    pub(super) segments: VecDeque<SegmentView>,
    /// Bytes in the last segment that are not durable yet.
    pub(super) pending: u64,
    pub(super) ages: SegmentAges,
}

impl SegmentIndex {
    pub(super) fn oldest(&self) -> Seq {
        self.segments.front().map_or(1, |segment| segment.base)
    }

    /// The first number below the oldest entry that never was one.
    pub(super) fn voids_from(&self) -> Seq {
        self.segments.front().map_or(1, |segment| segment.voids_from.min(segment.base))
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
pub(super) struct JournalState {
    pub(super) id: Uuid,
    pub(super) runs: Mutex<JournalRuns>,
    pub(super) max_bytes: u64,
    pub(super) index: Mutex<SegmentIndex>,
    /// The newest durable entry; the sending end is the writer's.
    pub(super) synced: watch::Receiver<Seq>,
    pub(super) positions: Mutex<ConsumerPositions>,
    /// Locked before `positions`, and held while the disk is at work.
    pub(super) position_file: Mutex<PositionFile>,
    /// What senders may send again was synced by us. Before that no segment may go: what an earlier process wrote is read
    /// back whether the disk has it or not.
    pub(super) snapshot_is_safe: AtomicBool,
    /// Shared by whoever copies the journal, see [`Hold`](super::Hold).
    pub(super) hold: DiskFile,
}

/// A panic elsewhere leaves these maps whole: no step of theirs calls out half-way.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl JournalState {
    /// Deletes the segments that nobody needs, never the last one, and none while somebody copies the journal.
    pub(super) fn reclaim(&self) -> Result<(), JournalError> {
        if !self.snapshot_is_safe.load(Ordering::Acquire) {
            return Ok(());
        }
        let Some(released) = lock(&self.positions).released_by_all() else { return Ok(()) };
        loop {
            let mut index = lock(&self.index);
            let done = index.segments.front().is_some_and(|front| front.end <= released.saturating_add(1));
            if !done || index.segments.len() < 2 || self.hold.lock(FlockOperation::NonBlockingLockExclusive).is_err() {
                return Ok(());
            }
            let removed = self.remove_oldest(&mut index);
            // It can't fail for a lock that we have.
            let _ = self.hold.lock(FlockOperation::Unlock);
            removed?;
        }
    }

    /// Deletes the oldest segment, whoever needs it.
    pub(super) fn remove_oldest(&self, index: &mut SegmentIndex) -> Result<Option<SegmentView>, JournalError> {
        let Some(front) = index.segments.front() else { return Ok(None) };
        match disk::remove(&front.path) {
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
