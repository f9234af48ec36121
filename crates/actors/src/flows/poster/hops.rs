//! How often a message was published by flows: one that goes round and round ends.
//!
//! A message that comes back is known by topic and payload, as they were published, without anything added to it that a
//! broker might drop. What is remembered says only how far it has come: for flows without a circle
//! that is never more than the longest way through them, however often equal messages come.

use hearthgate_storage::journal::content_hash;
use std::collections::HashMap;

/// Flows that a message may pass through by `PUBLISH`.
pub(super) const MOST: u32 = 16;
/// Messages that are remembered, in each of two generations.
const REMEMBERED: usize = 16_384;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct HopCounts {
    young: HashMap<u64, u32>,
    old: HashMap<u64, u32>,
}

impl HopCounts {
    /// How far this message has come already.
    pub(super) fn of(&self, topic: &str, payload: &[u8]) -> u32 {
        let key = content_hash(topic, payload);
        self.young.get(&key).or_else(|| self.old.get(&key)).copied().unwrap_or(0)
    }

    /// It is published now, having come so far.
    pub(super) fn note(&mut self, topic: &str, payload: &[u8], hops: u32) {
        if self.young.len() >= REMEMBERED {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(content_hash(topic, payload), hops);
    }

    /// Other flows are in force: what went round may not any more.
    pub(super) fn clear(&mut self) {
        *self = HopCounts::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_messages_come_no_farther_than_the_way_is_long_and_in_a_circle_each_round_counts() {
        let mut hops = HopCounts::default();
        for _ in 0..100 {
            let first = hops.of("a", b"1") + 1;
            hops.note("b", b"1", first);
            let second = hops.of("b", b"1") + 1;
            assert_eq!((first, second), (1, 2));
        }
        for round in 0..20 {
            assert_eq!(hops.of("c", b"1"), round * 2);
            let there = hops.of("c", b"1") + 1;
            hops.note("d", b"1", there);
            let back = hops.of("d", b"1") + 1;
            hops.note("c", b"1", back);
        }
        hops.clear();
        assert_eq!(hops.of("c", b"1"), 0);
    }

    #[test]
    fn only_the_newest_are_remembered() {
        let mut hops = HopCounts::default();
        for n in 0..REMEMBERED * 3 {
            hops.note("t", n.to_string().as_bytes(), 1);
        }
        assert!(hops.young.len() + hops.old.len() <= 2 * REMEMBERED);
        assert_eq!((hops.of("t", b"0"), hops.of("t", (REMEMBERED * 3 - 1).to_string().as_bytes())), (0, 1));
    }
}
