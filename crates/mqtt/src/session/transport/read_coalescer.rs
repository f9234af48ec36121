//! When much comes in, reading rests for a moment, so that few large pieces come out of the socket instead of many small.
//!
//! A broker writes message by message. Read as they come, each few of them wake this thread, the router, the journal's
//! and the mapper's, one after the other, and a sync and an acknowledgement are made for each few. A rest of a millisecond
//! makes one piece of fifty and more, and lets the broker write without waking anybody.
//!
//! A broker that sends only so many messages ahead of our acknowledgements (Mosquitto: `max_inflight_messages`) is held up
//! by it instead. That shows: not half as much comes in with rests as without. Then there are none for a while.

use std::time::{Duration, Instant};

/// The timer's grain is as long.
const REST: Duration = Duration::from_millis(1);
/// Rates are measured over this time.
const WINDOW: Duration = Duration::from_millis(20);
/// Packets in a window from which on it is worth a rest: 15,000 a second.
const MUCH: u128 = 300;
/// So long there are no rests after they held up the broker.
const PENANCE: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
pub(crate) struct ReadCoalescer {
    window: Instant,
    packets: u128,
    /// Packets a window in the last window without rests.
    unrested: u128,
    phase: Phase,
    rest_until: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Everything is read as it comes, at least until then.
    Prompt(Instant),
    /// The first window with rests.
    Trial,
    Resting,
}

impl ReadCoalescer {
    pub(crate) fn new(now: Instant) -> Self {
        ReadCoalescer { window: now, packets: 0, unrested: 0, phase: Phase::Prompt(now), rest_until: None }
    }

    /// So many packets were read.
    pub(crate) fn read(&mut self, packets: usize, now: Instant) {
        self.packets += packets as u128;
        let passed = now.saturating_duration_since(self.window);
        if passed >= WINDOW {
            let rate = self.packets * WINDOW.as_micros() / passed.as_micros();
            self.phase = self.next_phase(rate, now);
            (self.window, self.packets) = (now, 0);
        }
        self.rest_until = (!matches!(self.phase, Phase::Prompt(_))).then(|| now + REST);
    }

    fn next_phase(&mut self, rate: u128, now: Instant) -> Phase {
        match self.phase {
            Phase::Prompt(until) => {
                self.unrested = rate;
                if rate >= MUCH && now >= until { Phase::Trial } else { Phase::Prompt(until) }
            }
            Phase::Trial if rate * 2 < self.unrested => Phase::Prompt(now + PENANCE),
            Phase::Trial | Phase::Resting if rate >= MUCH => Phase::Resting,
            Phase::Trial | Phase::Resting => Phase::Prompt(now),
        }
    }

    /// Until when nothing is to be read, if so.
    pub(crate) fn rests_until(&mut self, now: Instant) -> Option<Instant> {
        self.rest_until = self.rest_until.filter(|until| *until > now);
        self.rest_until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays a second in which so many packets come in for each 100 µs, but no more than `ahead` before the next read.
    fn reads(per_tick: usize, ahead: usize) -> (usize, usize) {
        let start = Instant::now();
        let mut pace = ReadCoalescer::new(start);
        let (mut waiting, mut reads, mut packets) = (0, 0, 0);
        for tick in 0..10_000_u64 {
            let now = start + Duration::from_micros(100 * tick);
            waiting = (waiting + per_tick).min(ahead);
            if waiting > 0 && pace.rests_until(now).is_none() {
                pace.read(waiting, now);
                packets += waiting;
                (waiting, reads) = (0, reads + 1);
            }
        }
        (reads, packets)
    }

    #[test]
    fn what_comes_now_and_then_is_read_as_it_comes() {
        assert_eq!(reads(1, usize::MAX), (10_000, 10_000));
    }

    #[test]
    fn much_is_read_in_large_pieces() {
        let (reads, packets) = reads(5, usize::MAX);
        assert!(reads < 1_200, "{reads} reads");
        assert!(packets > 49_900, "{packets} packets");
    }

    #[test]
    fn a_broker_that_waits_for_us_is_not_held_up() {
        let (_, packets) = reads(5, 5);
        assert!(packets > 48_000, "{packets} packets");
    }
}
