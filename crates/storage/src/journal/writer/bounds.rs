//! Staying within the bounds of bytes and age: what is deleted, and what is refused.

use super::{DroppedEntries, Journal};
use crate::journal::state::{SegmentView, lock};
use crate::journal::{JournalError, WhenFull};
use hearthgate_domain::delivery::UnixMicros;
use std::time::Duration;

impl Journal {
    /// Stays within the bounds, by the policy.
    pub(super) fn make_room(&mut self, need: u64, now: UnixMicros) -> Result<Option<DroppedEntries>, JournalError> {
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

    fn is_full(&self, need: u64, now: UnixMicros) -> bool {
        let Some(limit) = self.options.max_age else { return self.is_over(need) };
        self.is_over(need) || self.usage().oldest_waiting.is_some_and(|at| now - at > micros(limit))
    }

    fn active_is_released(&self) -> bool {
        let released = lock(&self.shared.positions).released_by_all();
        self.active.as_ref().is_some_and(|active| active.base < self.next_seq)
            && released.is_some_and(|released| released >= self.next_seq - 1)
    }

    pub(super) fn drop_old(&mut self, now: UnixMicros) -> Result<Option<DroppedEntries>, JournalError> {
        self.shared.reclaim()?;
        let Some(limit) = self.options.max_age.filter(|_| self.options.when_full == WhenFull::DropOldest) else {
            return Ok(None);
        };
        let limit = micros(limit);
        self.drop_while(now, |journal| {
            let index = lock(&journal.shared.index);
            let is_old = |front: &SegmentView| front.newest > 0 && now - front.newest > limit;
            index.segments.front().is_some_and(|front| front.end > front.base && is_old(front))
        })
    }

    /// Deletes the oldest segments, begins a new one if it comes to the last, and accounts for what was waiting.
    fn drop_while(
        &mut self,
        now: UnixMicros,
        excess: impl Fn(&Journal) -> bool,
    ) -> Result<Option<DroppedEntries>, JournalError> {
        let mut dropped: Option<DroppedEntries> = None;
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

    fn account(&self, removed: &SegmentView) -> Option<DroppedEntries> {
        let positions = lock(&self.shared.positions);
        let unreleased: Vec<(String, u64)> = positions
            .consumers
            .iter()
            .map(|(name, position)| {
                (name.clone(), removed.end.saturating_sub(removed.base.max(position.released.saturating_add(1))))
            })
            .filter(|(_, count)| *count > 0)
            .collect();
        (!unreleased.is_empty()).then_some(DroppedEntries { seqs: removed.base..removed.end, unreleased })
    }
}

fn join(first: Option<DroppedEntries>, second: Option<DroppedEntries>) -> Option<DroppedEntries> {
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

pub(super) fn micros(duration: Duration) -> UnixMicros {
    UnixMicros::try_from(duration.as_micros()).unwrap_or(UnixMicros::MAX)
}
