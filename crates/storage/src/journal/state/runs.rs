//! The openings of a journal, so that one that is older than what others know of it is recognised.
//!
//! A journal may be put back from a backup, or be copied to another machine: then numbers are given out that were given out
//! before, to other entries. So each opening is a *run* with an identity of its own and the first number that it may
//! give out. Whoever keeps a position elsewhere notes the run beside it: a position that a run has left that this journal
//! does not know says nothing of the entries that came in since they parted.
//!
//! Content of the files ([`SlotFiles`]), little endian: 16 bytes the run that was noted elsewhere last (zero: none), then per run
//! 16 bytes identity and u64 first number, in order.

use crate::journal::files::slots::{FoundSlot, SlotFiles};
use crate::journal::format::FieldReader;
use crate::journal::{JournalError, Seq};
use std::path::Path;
use uuid::Uuid;

const MAGIC: &[u8; 8] = b"HGRUNS1\n";
/// Runs that are kept although nothing of them is in the journal any more.
const KEPT: usize = 64;
/// Bound of all that are kept.
const MOST: usize = 4_096;

/// One opening.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    id: Uuid,
    first: Seq,
}

/// See the module.
#[derive(Debug)]
pub(in crate::journal) struct JournalRuns {
    /// Where they are kept; none when that failed: then this opening is no run of its own.
    slots: Option<SlotFiles>,
    /// In order.
    runs: Vec<Run>,
    /// The last one that was noted elsewhere.
    noted: Option<Uuid>,
    /// That is this opening.
    is_noted: bool,
}

impl JournalRuns {
    /// Begins a run whose first number is `next`; `oldest` is the oldest that is still there.
    pub(in crate::journal) fn open(dir: &Path, next: Seq, oldest: Seq) -> Self {
        let mut runs = JournalRuns { slots: None, runs: Vec::new(), noted: None, is_noted: false };
        if let Err(error) = runs.begin(dir, next, oldest) {
            tracing::warn!(%error, "an older copy of this journal would not be told from it: its runs can't be kept");
            runs.slots = None;
        }
        runs
    }

    fn begin(&mut self, dir: &Path, next: Seq, oldest: Seq) -> Result<(), JournalError> {
        let (slots, FoundSlot { content, is_damaged }) = SlotFiles::open(dir, "runs", MAGIC)?;
        match content.as_deref().and_then(decode) {
            Some((noted, runs)) => (self.noted, self.runs) = (noted, runs),
            None if is_damaged || content.is_some() => {
                tracing::error!("the journal's runs were damaged: an older copy of it may not be recognised");
            }
            None => {}
        }
        self.prune(oldest);
        self.runs.push(Run { id: Uuid::now_v7(), first: next });
        self.slots = Some(slots);
        self.store()
    }

    fn prune(&mut self, oldest: Seq) {
        let is_noted = |run: &Run, noted: Option<Uuid>| noted == Some(run.id);
        while self.runs.len() > KEPT
            && self.runs.get(1).is_some_and(|second| second.first <= oldest)
            && !is_noted(&self.runs[0], self.noted)
        {
            self.runs.remove(0);
        }
        while self.runs.len() >= MOST {
            // The oldest of them, and where those begin that were not noted, matter more.
            self.runs.remove(MOST / 2);
        }
    }

    fn store(&mut self) -> Result<(), JournalError> {
        let Some(slots) = &mut self.slots else { return Ok(()) };
        let mut content = self.noted.unwrap_or_default().as_bytes().to_vec();
        for Run { id, first } in &self.runs {
            content.extend_from_slice(id.as_bytes());
            content.extend_from_slice(&first.to_le_bytes());
        }
        slots.store(&content)
    }

    /// This one; none when it could not be kept.
    pub(in crate::journal) fn current(&self) -> Option<Uuid> {
        self.slots.as_ref()?;
        self.runs.last().map(|run| run.id)
    }

    /// In which run an entry came in; none for the time before there were any.
    pub(in crate::journal) fn of(&self, seq: Seq) -> Option<Uuid> {
        let after = self.runs.partition_point(|run| run.first <= seq);
        Some(self.runs[after.checked_sub(1)?].id)
    }

    /// Through which entry a position holds that another keeps, and that was left by this run.
    pub(in crate::journal) fn bound(&self, position: Seq, left_by: Option<Uuid>) -> Seq {
        if self.current().is_none() {
            return position;
        }
        let at = |id: Uuid| self.runs.iter().position(|run| run.id == id);
        let parted = match left_by.and_then(at) {
            Some(known) => self.runs.get(known + 1),
            // All that came in since a run of ours was noted last is ours alone.
            None => match self.noted.and_then(at) {
                Some(noted) => self.runs.get(noted + 1).or(self.runs.last()),
                None => self.runs.first(),
            },
        };
        parted.map_or(position, |parted| position.min(parted.first - 1))
    }

    /// Whether a later run than this one was noted elsewhere.
    pub(in crate::journal) fn has_noted_after(&self, run: Uuid) -> bool {
        let at = |id: Uuid| self.runs.iter().position(|run| run.id == id);
        at(run).is_some_and(|known| self.noted.and_then(at).is_some_and(|noted| noted > known))
    }

    /// Whether this is a run of this journal.
    pub(in crate::journal) fn knows(&self, run: Uuid) -> bool {
        self.runs.iter().any(|known| known.id == run)
    }

    /// Whether this opening was noted elsewhere.
    pub(in crate::journal) fn is_noted(&self) -> bool {
        self.is_noted
    }

    /// This opening was noted elsewhere.
    pub(in crate::journal) fn note(&mut self) -> Result<(), JournalError> {
        let current = self.current();
        if current.is_none() || self.is_noted {
            return Ok(());
        }
        (self.noted, self.is_noted) = (current, true);
        self.store()
    }
}

fn decode(content: &[u8]) -> Option<(Option<Uuid>, Vec<Run>)> {
    let mut fields = FieldReader(content);
    let uuid = |fields: &mut FieldReader<'_>| Uuid::from_slice(fields.take(16)?).ok();
    let noted = uuid(&mut fields)?;
    let mut runs = Vec::new();
    while !fields.0.is_empty() {
        runs.push(Run { id: uuid(&mut fields)?, first: fields.u64()?.max(1) });
    }
    Some(((!noted.is_nil()).then_some(noted), runs))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copy(from: &Path, to: &Path) {
        for name in ["runs.a", "runs.b"] {
            std::fs::copy(from.join(name), to.join(name)).unwrap();
        }
    }

    #[test]
    fn a_position_left_by_a_run_that_an_older_copy_does_not_know_ends_where_they_parted() {
        let (dir, older) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut first = JournalRuns::open(dir.path(), 1, 1);
        first.note().unwrap();
        copy(dir.path(), older.path());
        let mut second = JournalRuns::open(dir.path(), 11, 1);
        assert!(!second.has_noted_after(first.current().unwrap()));
        second.note().unwrap();
        assert!(second.has_noted_after(first.current().unwrap()), "who has the first one is older");
        let left_by = second.current();
        assert_eq!(second.bound(1_010, left_by), 1_010, "its own");

        // The copy goes on from 11, is started once more before anybody asks, and is far beyond the position by then.
        drop(JournalRuns::open(older.path(), 11, 1));
        let restored = JournalRuns::open(older.path(), 2_000, 1);
        assert!(!restored.knows(left_by.unwrap()));
        assert_eq!(restored.bound(1_010, left_by), 10);
        assert_eq!(restored.bound(5, left_by), 5, "one that was behind stays there");
        assert_eq!(restored.bound(1_010, None), 10, "nor does one without a run say more");
        assert_eq!(restored.bound(1_010, first.current()), 10, "of the last common run, too");
    }

    #[test]
    fn an_entry_of_an_older_copy_is_not_taken_for_the_one_with_the_same_number() {
        let (dir, older) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let first = JournalRuns::open(dir.path(), 5, 1);
        copy(dir.path(), older.path());
        let (second, restored) = (JournalRuns::open(dir.path(), 11, 1), JournalRuns::open(older.path(), 11, 1));
        assert_eq!((first.of(4), first.of(5)), (None, first.current()));
        assert_eq!((second.of(10), restored.of(10)), (first.current(), first.current()));
        assert_ne!(second.of(11), restored.of(11));
    }

    #[test]
    fn runs_of_which_nothing_is_left_are_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        for start in 1..=200 {
            JournalRuns::open(dir.path(), start * 10, start * 10).note().unwrap();
        }
        assert!(JournalRuns::open(dir.path(), 5_000, 2_000).runs.len() <= KEPT + 2);
    }
}
