//! Cuts a flood of log lines from a device or a child process, saying how many were cut.

use std::time::{Duration, Instant};

/// A bucket of lines: a burst is let through, then a steady rate.
#[derive(Debug)]
pub(crate) struct LogLimit {
    tokens: f64,
    refilled_at: Instant,
    suppressed: u64,
}

/// What to do with a line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum LogVerdict {
    /// Log it.
    Pass,
    /// Log it, after a line that says how many before it were cut.
    PassAfter(u64),
    /// Cut it.
    Cut,
}

const BURST: f64 = 100.0;
const LINES_PER_SECOND: f64 = 20.0;

impl LogLimit {
    pub(crate) fn new(now: Instant) -> Self {
        LogLimit { tokens: BURST, refilled_at: now, suppressed: 0 }
    }

    pub(crate) fn offer(&mut self, now: Instant) -> LogVerdict {
        let passed = now.saturating_duration_since(self.refilled_at).max(Duration::ZERO).as_secs_f64();
        self.tokens = (self.tokens + passed * LINES_PER_SECOND).min(BURST);
        self.refilled_at = now;
        if self.tokens < 1.0 {
            self.suppressed += 1;
            return LogVerdict::Cut;
        }
        self.tokens -= 1.0;
        match std::mem::take(&mut self.suppressed) {
            0 => LogVerdict::Pass,
            cut => LogVerdict::PassAfter(cut),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_cut_and_counted() {
        let start = Instant::now();
        let mut limit = LogLimit::new(start);
        let passed = (0..100_000).filter(|_| limit.offer(start) != LogVerdict::Cut).count();
        assert_eq!(passed, 100);
        assert_eq!(limit.offer(start + Duration::from_secs(1)), LogVerdict::PassAfter(99_900));
        assert_eq!(limit.offer(start + Duration::from_secs(1)), LogVerdict::Pass);
    }
}
