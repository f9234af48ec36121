//! When to try again: a schedule of delays, and a circuit breaker that spares a receiver that is down.

use crate::delivery::UnixMicros;
use crate::duration::BoundedDuration;
use std::time::Duration;
use thiserror::Error;

/// The delays before the first attempt and before each further one. After the last a delivery is a dead letter.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RetrySchedule {
    delays: Vec<BoundedDuration>,
}

/// Why a list of delays is no schedule.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ScheduleError {
    /// There would be no attempt at all.
    #[error("a retry schedule needs at least one delay, that before the first attempt, such as \"0s\"")]
    Empty,
    /// More than any receiver needs.
    #[error("a retry schedule has at most 100 delays, this one has {delays}")]
    TooLong {
        /// How many it has.
        delays: usize,
    },
}

/// How much longer than the schedule says a delay can become: receivers that fail together are not retried together.
const JITTER: f64 = 0.2;
const MAX_DELAYS: usize = 100;
const DEFAULT_SECONDS: [u64; 6] = [0, 5, 30, 120, 600, 3_600];

impl Default for RetrySchedule {
    /// 0 s, 5 s, 30 s, 2 min, 10 min, 1 h.
    fn default() -> Self {
        Self {
            delays: DEFAULT_SECONDS.iter().map(|seconds| BoundedDuration::new(Duration::from_secs(*seconds))).collect(),
        }
    }
}

impl RetrySchedule {
    /// A schedule of these delays.
    ///
    /// # Errors
    /// There is none, or there are more than 100.
    pub fn new(delays: Vec<BoundedDuration>) -> Result<Self, ScheduleError> {
        match delays.len() {
            0 => Err(ScheduleError::Empty),
            1..=MAX_DELAYS => Ok(Self { delays }),
            delays => Err(ScheduleError::TooLong { delays }),
        }
    }

    /// The delays, without jitter.
    #[must_use]
    pub fn delays(&self) -> &[BoundedDuration] {
        &self.delays
    }

    /// How long to wait before the next attempt when `failed` attempts have failed; none when no attempt is left.
    ///
    /// `random`, from 0 to 1, lengthens the delay by up to a fifth. `retry_after`, what the receiver asked for
    /// (RFC 9110, section 10.2.3), is never undercut.
    #[must_use]
    pub fn next_delay(&self, failed: usize, random: f64, retry_after: Option<Duration>) -> Option<Duration> {
        let delay = self.delays.get(failed)?.duration();
        let delay = delay.mul_f64(1.0 + JITTER * random.clamp(0.0, 1.0));
        Some(delay.max(retry_after.unwrap_or_default()))
    }
}

/// Whether a call may be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallPermission {
    /// Yes.
    Call,
    /// Yes, this one alone: its outcome decides.
    Probe,
    /// Not before this time.
    Wait {
        /// When to ask again.
        until: UnixMicros,
    },
    /// Not before the probe that is under way has ended.
    WaitForProbe,
}

/// Stops calls to a receiver after failures in a row, and lets a single probe through from time to time.
#[derive(Clone, Debug, PartialEq)]
pub struct CircuitBreaker {
    settings: BreakerSettings,
    state: BreakerState,
}

/// When a circuit breaker opens, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerSettings {
    /// Failures in a row that open it; at least 1.
    pub failures: u32,
    /// How long it stays open at first; doubled with each probe that fails.
    pub pause: Duration,
    /// The longest it stays open.
    pub max_pause: Duration,
}

impl Default for BreakerSettings {
    /// 5 failures; 5 s to 5 min.
    fn default() -> Self {
        Self { failures: 5, pause: Duration::from_secs(5), max_pause: Duration::from_secs(300) }
    }
}

/// How a circuit breaker stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    /// Calls go out.
    Closed {
        /// Failures since the last success.
        failures: u32,
    },
    /// Nothing goes out.
    Open {
        /// Until when.
        until: UnixMicros,
        /// How long this pause is.
        pause: Duration,
    },
    /// A probe is under way.
    Probing {
        /// How long the pause before it was.
        pause: Duration,
    },
}

impl CircuitBreaker {
    /// A closed one.
    #[must_use]
    pub fn new(settings: BreakerSettings) -> Self {
        Self { settings, state: BreakerState::Closed { failures: 0 } }
    }

    /// How it stands.
    #[must_use]
    pub fn state(&self) -> BreakerState {
        self.state
    }

    /// Asks for a call. After `Call` or `Probe`, [`succeeded`](Self::succeeded) or [`failed`](Self::failed)
    /// must follow.
    pub fn ask(&mut self, now: UnixMicros) -> CallPermission {
        match self.state {
            BreakerState::Closed { .. } => CallPermission::Call,
            BreakerState::Open { until, .. } if now < until => CallPermission::Wait { until },
            BreakerState::Open { pause, .. } => {
                self.state = BreakerState::Probing { pause };
                CallPermission::Probe
            }
            BreakerState::Probing { .. } => CallPermission::WaitForProbe,
        }
    }

    /// A call came through.
    pub fn succeeded(&mut self) {
        self.state = BreakerState::Closed { failures: 0 };
    }

    /// A call failed. `random`, from 0 to 1, lengthens the pause by up to a fifth.
    pub fn failed(&mut self, now: UnixMicros, random: f64) {
        match self.state {
            BreakerState::Closed { failures } if failures + 1 < self.settings.failures => {
                self.state = BreakerState::Closed { failures: failures + 1 };
            }
            BreakerState::Closed { .. } => self.open(now, self.settings.pause, random),
            BreakerState::Probing { pause } => self.open(now, pause.saturating_mul(2), random),
            // A call that was under way when it opened tells nothing new.
            BreakerState::Open { .. } => {}
        }
    }

    fn open(&mut self, now: UnixMicros, pause: Duration, random: f64) {
        let pause = pause.min(self.settings.max_pause);
        let lengthened = pause.mul_f64(1.0 + JITTER * random.clamp(0.0, 1.0));
        let until = now.saturating_add(UnixMicros::try_from(lengthened.as_micros()).unwrap_or(UnixMicros::MAX));
        self.state = BreakerState::Open { until, pause };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: UnixMicros = 1_000_000;

    #[test]
    fn the_default_schedule_ends_after_an_hour() {
        let schedule = RetrySchedule::default();
        let seconds: Vec<_> =
            (0..7).map(|failed| schedule.next_delay(failed, 0.0, None).map(|delay| delay.as_secs())).collect();
        assert_eq!(seconds, [Some(0), Some(5), Some(30), Some(120), Some(600), Some(3_600), None]);
    }

    #[test]
    fn jitter_only_lengthens_and_retry_after_is_kept() {
        let schedule = RetrySchedule::default();
        assert_eq!(schedule.next_delay(1, 1.0, None), Some(Duration::from_secs(6)));
        assert_eq!(schedule.next_delay(1, 0.5, Some(Duration::from_secs(60))), Some(Duration::from_secs(60)));
        assert_eq!(schedule.next_delay(4, 0.0, Some(Duration::from_secs(60))), Some(Duration::from_secs(600)));
        assert_eq!(schedule.next_delay(6, 0.0, Some(Duration::from_secs(60))), None);
        assert_eq!(RetrySchedule::new(Vec::new()), Err(ScheduleError::Empty));
    }

    #[test]
    fn a_breaker_opens_after_failures_in_a_row_and_closes_after_one_success() {
        let mut breaker = CircuitBreaker::new(BreakerSettings { failures: 3, ..BreakerSettings::default() });
        for _ in 0..2 {
            breaker.failed(0, 0.0);
        }
        breaker.succeeded();
        for _ in 0..3 {
            assert_eq!(breaker.ask(0), CallPermission::Call);
            breaker.failed(0, 0.0);
        }
        assert_eq!(breaker.ask(4 * SECOND), CallPermission::Wait { until: 5 * SECOND });
        assert_eq!(breaker.ask(5 * SECOND), CallPermission::Probe);
        assert_eq!(breaker.ask(5 * SECOND), CallPermission::WaitForProbe);
        breaker.succeeded();
        assert_eq!(breaker.state(), BreakerState::Closed { failures: 0 });
    }

    #[test]
    fn each_failed_probe_doubles_the_pause_up_to_its_limit() {
        let mut breaker = CircuitBreaker::new(BreakerSettings { failures: 1, ..BreakerSettings::default() });
        let (mut now, mut pauses) = (0, Vec::new());
        breaker.failed(now, 0.0);
        while pauses.len() < 8 {
            let BreakerState::Open { until, .. } = breaker.state() else { panic!("not open: {:?}", breaker.state()) };
            pauses.push((until - now) / SECOND);
            now = until;
            assert_eq!(breaker.ask(now), CallPermission::Probe);
            breaker.failed(now, 0.0);
        }
        assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 300, 300]);
    }
}
