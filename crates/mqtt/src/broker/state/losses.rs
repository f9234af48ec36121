//! What the broker could not keep, counted.

use crate::broker::{Loss, LossObserver};
use std::fmt;

/// Counts of this process, and whoever wants to hear of each loss.
#[derive(Default)]
pub(crate) struct Losses {
    counts: [u64; Loss::ALL.len()],
    observer: Option<LossObserver>,
}

impl Losses {
    pub(crate) fn new(observer: Option<LossObserver>) -> Self {
        Losses { observer, ..Losses::default() }
    }

    /// Counts a loss; returns how many of its kind there were by now.
    pub(crate) fn count(&mut self, loss: Loss) -> u64 {
        if let Some(observer) = &self.observer {
            observer(loss);
        }
        let count = &mut self.counts[loss as usize];
        *count += 1;
        *count
    }

    /// How many of this kind there were by now.
    pub(crate) fn total(&self, loss: Loss) -> u64 {
        self.counts[loss as usize]
    }
}

impl fmt::Debug for Losses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Losses").field("counts", &self.counts).finish_non_exhaustive()
    }
}
