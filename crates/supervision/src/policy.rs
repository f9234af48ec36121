//! When a failed actor starts again: the decision, pure.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How one actor is restarted, watched and ended.
#[derive(Clone, Debug, PartialEq)]
pub struct RestartPolicy {
    /// Wait before the first restart; doubles with each failure within `window`.
    pub initial_backoff: Duration,
    /// The wait never exceeds this.
    pub max_backoff: Duration,
    /// Share of the wait that is left to chance, 0.0 to 1.0: the wait lies between `(1 - jitter) * backoff` and `backoff`,
    /// so that `backoff` stays an upper bound.
    pub jitter: f64,
    /// Restarts within `window` after which the next failure parks the actor. 0 parks at the first failure.
    pub max_restarts: u32,
    /// Span within which failures are counted.
    pub window: Duration,
    /// A parked actor tries again by itself after this, with its restarts counted anew; `None`: only an operator resumes it.
    pub cool_down: Option<Duration>,
    /// The process cannot do its work without this actor: when it parks, [`Registry::essential_failure`] resolves.
    ///
    /// [`Registry::essential_failure`]: crate::Registry::essential_failure
    pub essential: bool,
    /// An actor that takes no message for this long is reported as unresponsive. It is looked at four times within it, so
    /// less than 4 s means waking up more often than once a second.
    pub stall_timeout: Duration,
    /// An orderly stop that takes longer (because `stopping()` said `Running::Continue`) is cut off.
    pub stop_timeout: Duration,
}

impl Default for RestartPolicy {
    fn default() -> Self {
        RestartPolicy {
            initial_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(30),
            jitter: 0.2,
            max_restarts: 5,
            window: Duration::from_secs(60),
            cool_down: Some(Duration::from_secs(300)),
            essential: false,
            stall_timeout: Duration::from_secs(10),
            stop_timeout: Duration::from_secs(5),
        }
    }
}

/// What follows a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestartDecision {
    /// Start the next incarnation after this wait.
    RestartAfter(Duration),
    /// Stay down, mailbox open, until resumed or until the cool-down (if any) is over.
    Park,
}

impl RestartPolicy {
    /// Decides on the `nth` failure (1 is the first) within the window. `chance` is a random number from 0.0 to 1.0.
    pub fn decide(&self, nth: u32, chance: f64) -> RestartDecision {
        if nth > self.max_restarts {
            return RestartDecision::Park;
        }
        let doublings = nth.saturating_sub(1).min(31);
        let backoff = self.initial_backoff.saturating_mul(1 << doublings).min(self.max_backoff);
        let cut = self.jitter.clamp(0.0, 1.0) * chance.clamp(0.0, 1.0);
        RestartDecision::RestartAfter(backoff.mul_f64(1.0 - cut))
    }
}

/// The failures of one actor that still count.
#[derive(Clone, Debug, Default)]
pub struct FailureWindow(VecDeque<Instant>);

impl FailureWindow {
    /// Adds a failure at `now`; returns how many lie within `window`, this one included.
    pub fn record(&mut self, now: Instant, window: Duration) -> u32 {
        self.0.retain(|at| now.duration_since(*at) < window);
        self.0.push_back(now);
        u32::try_from(self.0.len()).unwrap_or(u32::MAX)
    }

    /// Forgets them all, as after an operator's order.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn policy() -> RestartPolicy {
        RestartPolicy {
            initial_backoff: ms(100),
            max_backoff: ms(1000),
            jitter: 0.5,
            max_restarts: 6,
            window: ms(60_000),
            ..RestartPolicy::default()
        }
    }

    #[test]
    fn the_wait_doubles_up_to_the_maximum_and_then_the_actor_parks() {
        let table = [
            (1, RestartDecision::RestartAfter(ms(100))),
            (2, RestartDecision::RestartAfter(ms(200))),
            (3, RestartDecision::RestartAfter(ms(400))),
            (4, RestartDecision::RestartAfter(ms(800))),
            (5, RestartDecision::RestartAfter(ms(1000))),
            (6, RestartDecision::RestartAfter(ms(1000))),
            (7, RestartDecision::Park),
            (u32::MAX, RestartDecision::Park),
        ];
        for (nth, expected) in table {
            assert_eq!(policy().decide(nth, 0.0), expected, "failure {nth}");
        }
    }

    #[test]
    fn chance_only_ever_shortens_the_wait_and_never_below_its_share() {
        let table = [(0.0, 0.5, 100), (0.5, 0.5, 75), (1.0, 0.5, 50), (7.0, 0.5, 50), (1.0, 0.0, 100), (1.0, 3.0, 0)];
        for (chance, jitter, expected) in table {
            let policy = RestartPolicy { jitter, ..policy() };
            assert_eq!(
                policy.decide(1, chance),
                RestartDecision::RestartAfter(ms(expected)),
                "chance {chance}, jitter {jitter}"
            );
        }
    }

    #[test]
    fn no_restarts_allowed_means_parking_at_the_first_failure() {
        assert_eq!(RestartPolicy { max_restarts: 0, ..policy() }.decide(1, 0.0), RestartDecision::Park);
    }

    #[test]
    fn huge_figures_do_not_overflow() {
        let policy = RestartPolicy {
            initial_backoff: Duration::MAX,
            max_backoff: Duration::MAX,
            jitter: 0.0,
            max_restarts: u32::MAX,
            ..policy()
        };
        let half = RestartPolicy {
            initial_backoff: ms(100),
            max_backoff: Duration::from_secs(u64::MAX / 4),
            ..policy.clone()
        };
        assert!(matches!(half.decide(u32::MAX, 0.0), RestartDecision::RestartAfter(_)));
        assert_eq!(
            RestartPolicy { max_backoff: ms(5), ..policy }.decide(40, 0.0),
            RestartDecision::RestartAfter(ms(5))
        );
    }

    #[test]
    fn a_failure_counts_until_its_window_has_passed() {
        let start = Instant::now();
        let mut failures = FailureWindow::default();
        let counted: Vec<u32> =
            [0, 10, 20, 59_999, 60_000, 60_015, 200_000].map(|at| failures.record(start + ms(at), ms(60_000))).to_vec();
        assert_eq!(counted, [1, 2, 3, 4, 4, 4, 1]);
    }

    #[test]
    fn an_order_from_outside_makes_earlier_failures_forgotten() {
        let mut failures = FailureWindow::default();
        failures.record(Instant::now(), ms(60_000));
        failures.clear();
        assert_eq!(failures.record(Instant::now(), ms(60_000)), 1);
    }
}
