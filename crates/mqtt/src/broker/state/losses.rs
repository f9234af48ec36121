//! What the broker could not keep, counted.

use crate::broker::{BrokerLoss, LossObserver};
use std::fmt;

/// Counts of this process, and whoever wants to hear of each loss.
#[derive(Default)]
pub(crate) struct LossCounters {
    counts: [u64; BrokerLoss::ALL.len()],
    observer: Option<LossObserver>,
}

impl LossCounters {
    pub(crate) fn new(observer: Option<LossObserver>) -> Self {
        LossCounters { observer, ..LossCounters::default() }
    }

    /// Counts a loss; returns how many of its kind there were by now.
    pub(crate) fn count(&mut self, loss: BrokerLoss) -> u64 {
        if let Some(observer) = &self.observer {
            observer(loss);
        }
        let count = &mut self.counts[loss as usize];
        *count += 1;
        *count
    }

    /// How many of this kind there were by now.
    pub(crate) fn total(&self, loss: BrokerLoss) -> u64 {
        self.counts[loss as usize]
    }
}

impl fmt::Debug for LossCounters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Losses").field("counts", &self.counts).finish_non_exhaustive()
    }
}
