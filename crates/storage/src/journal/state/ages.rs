//! A sparse record of when entries came in, to tell how old the oldest waiting one is without reading it.

use crate::journal::Seq;
use hearthgate_domain::delivery::UnixMicros;
use std::collections::VecDeque;

const SPACING: UnixMicros = 1_000_000;
const MOST: usize = 4096;

#[derive(Debug, Default)]
pub(crate) struct SegmentAges {
    /// Both fields rise; a clock that was set back adds nothing until it has caught up.
    samples: VecDeque<(Seq, UnixMicros)>,
    spacing: UnixMicros,
}

impl SegmentAges {
    /// The entry `seq` came in at `at`. A time from before 1970 is none: of a segment whose header was damaged.
    pub(crate) fn note(&mut self, seq: Seq, at: UnixMicros) {
        if at <= 0 {
            return;
        }
        let due = self.samples.back().is_none_or(|(last, when)| *last < seq && at - when >= self.spacing.max(SPACING));
        if !due {
            return;
        }
        if self.samples.len() >= MOST {
            self.spacing = self.spacing.max(SPACING) * 2;
            let mut odd = false;
            self.samples.retain(|_| {
                odd = !odd;
                odd
            });
        }
        self.samples.push_back((seq, at));
    }

    /// When the entry `seq` came in: at the sample's spacing or less before that.
    pub(crate) fn of(&self, seq: Seq) -> Option<UnixMicros> {
        let after = self.samples.partition_point(|(sampled, _)| *sampled <= seq);
        self.samples.get(after.saturating_sub(1)).map(|(_, at)| *at)
    }

    /// Entries below are gone.
    pub(crate) fn forget_below(&mut self, seq: Seq) {
        while self.samples.get(1).is_some_and(|(second, _)| *second <= seq) {
            self.samples.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_age_of_an_entry_is_known_to_a_second_and_the_record_stays_small() {
        let mut ages = SegmentAges::default();
        for second in 0..20_000 {
            ages.note(second * 10 + 1, second as UnixMicros * 1_000_000);
        }
        assert!(ages.samples.len() <= MOST);
        let error = 15_005 * 100_000 - ages.of(15_005).unwrap();
        assert!((0..=9_000_000).contains(&error), "{error}");
        ages.forget_below(150_000);
        assert!(ages.of(1).unwrap() > 14_000 * 1_000_000);
    }

    #[test]
    fn a_clock_set_back_does_not_disturb_the_record() {
        let mut ages = SegmentAges::default();
        ages.note(1, 5_000_000);
        ages.note(2, 1_000_000);
        ages.note(3, 7_000_000);
        assert_eq!(ages.of(2), Some(5_000_000));
        assert_eq!(ages.of(3), Some(7_000_000));
    }
}
