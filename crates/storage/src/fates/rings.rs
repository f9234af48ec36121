//! A ring for each flow and outcome, so that the many good ones never push out the rare bad one.

use super::kept::KeptFate;
use hearthgate_domain::fate::FateOutcome;
use std::cmp::Reverse;
use std::collections::{HashMap, VecDeque};

/// Bytes of all fates together, as lines.
pub(super) const MOST_BYTES: usize = 2 * 1024 * 1024;
/// Fates of one flow and outcome.
const RING: usize = 20;

type RingKey = (Option<String>, FateOutcome);

/// All of them.
#[derive(Debug, Default)]
pub(super) struct FateRings {
    rings: HashMap<RingKey, VecDeque<(KeptFate, usize)>>,
    bytes: usize,
}

impl FateRings {
    /// Their bytes as lines.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds one whose line has so many bytes.
    pub(super) fn push(&mut self, fate: KeptFate, bytes: usize) {
        let ring = self.rings.entry((fate.flow.clone(), fate.outcome)).or_default();
        ring.push_back((fate, bytes));
        self.bytes += bytes;
        if ring.len() > RING {
            self.bytes -= ring.pop_front().map_or(0, |(_, bytes)| bytes);
        }
        if self.bytes > MOST_BYTES {
            self.make_room();
        }
    }

    /// The good ones go first, and of each ring the older half; where each has but one, the oldest.
    fn make_room(&mut self) {
        for is_bad in [false, true] {
            while self.is_full() && self.halve(is_bad) {}
            self.drop_oldest(is_bad);
        }
    }

    /// Somewhat below the bound, so that room is not made for each.
    fn is_full(&self) -> bool {
        self.bytes > MOST_BYTES / 8 * 7
    }

    fn drop_oldest(&mut self, is_bad: bool) {
        let of_kind = self.rings.iter().filter(|((_, outcome), _)| outcome.is_bad() == is_bad);
        let mut rings: Vec<(Option<i64>, RingKey)> =
            of_kind.map(|(key, ring)| (ring.back().map(|(fate, _)| fate.at), key.clone())).collect();
        rings.sort_by_key(|(newest, _)| Reverse(*newest));
        while self.is_full() {
            let Some(ring) = rings.pop().and_then(|(_, key)| self.rings.remove(&key)) else { return };
            self.bytes -= ring.iter().map(|(_, bytes)| bytes).sum::<usize>();
        }
    }

    /// Whether anything went.
    fn halve(&mut self, is_bad: bool) -> bool {
        let before = self.bytes;
        for (_, ring) in self.rings.iter_mut().filter(|((_, outcome), _)| outcome.is_bad() == is_bad) {
            let half = ring.len() / 2;
            self.bytes -= ring.drain(..half).map(|(_, bytes)| bytes).sum::<usize>();
        }
        self.bytes < before
    }

    pub(super) fn newest(&self, most: usize, passes: impl Fn(&KeptFate) -> bool) -> Vec<KeptFate> {
        let mut found: Vec<&KeptFate> =
            self.rings.values().flatten().map(|(fate, _)| fate).filter(|fate| passes(fate)).collect();
        found.sort_by_key(|fate| Reverse((fate.at, fate.seq)));
        found.into_iter().take(most).cloned().collect()
    }

    /// All of them as lines, the oldest first.
    pub(super) fn lines(&self) -> Vec<u8> {
        let mut all = self.newest(usize::MAX, |_| true);
        all.reverse();
        // A fate that came out of JSON goes into it again.
        all.iter().filter_map(|fate| fate.line().ok()).flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fates::kept::fate;

    #[test]
    fn a_million_good_ones_leave_the_newest_bad_ones_of_each_kind_in_place() {
        let mut rings = FateRings::default();
        for at in 0..30 {
            rings.push(fate("ONE", FateOutcome::Refused, at), 200);
            rings.push(fate("ONE", FateOutcome::Dead, at), 200);
        }
        for at in 0..1_000_000 {
            rings.push(fate("ONE", FateOutcome::Stored, at), 200);
        }
        for outcome in [FateOutcome::Refused, FateOutcome::Dead] {
            let kept = rings.newest(100, |fate| fate.outcome == outcome);
            assert_eq!(kept.iter().map(|fate| fate.at).collect::<Vec<_>>(), (10..30).rev().collect::<Vec<_>>());
        }
    }

    #[test]
    fn however_many_flows_there_are_their_fates_stay_within_the_bound_and_the_good_ones_go_first() {
        let mut rings = FateRings::default();
        for at in 0..4_000 {
            rings.push(fate(&format!("FLOW{at}"), FateOutcome::Stored, at), 3_000);
            rings.push(fate("ONE", FateOutcome::Refused, at), 3_000);
            assert!(rings.bytes() <= MOST_BYTES);
        }
        assert_eq!(rings.newest(100, |fate| fate.outcome == FateOutcome::Refused).len(), RING);
        assert_eq!(rings.newest(1, |_| true)[0].at, 3_999);
    }
}
