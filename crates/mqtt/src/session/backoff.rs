//! When to try again, and what to say about a connection that does not last.

use super::options::ReconnectDelay;
use std::time::Duration;

/// A connection that the broker closed this soon after accepting it is suspicious.
const SHORT_LIVED: Duration = Duration::from_secs(5);
/// So many in a row are a pattern.
const PATTERN: u32 = 3;

/// Why a connection, or the attempt to make one, ended.
#[derive(Debug)]
pub(super) struct ConnectionLoss {
    pub(super) kind: LossKind,
    pub(super) reason: String,
}

/// What the kind of a loss says about the next attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LossKind {
    /// No connection came about.
    Unreachable,
    /// The broker answered, and said no: a setting is wrong.
    Refused,
    /// The broker closed a connection without a word.
    ClosedByBroker,
    /// The broker says that another client took our session.
    TakenOver,
    /// Anything else on a standing connection.
    Broken,
}

impl ConnectionLoss {
    pub(super) fn new(kind: LossKind, reason: impl Into<String>) -> Self {
        ConnectionLoss { kind, reason: reason.into() }
    }
}

/// The waits between attempts.
#[derive(Debug)]
pub(super) struct ReconnectWaits {
    options: ReconnectDelay,
    failures: u32,
    short_lived: u32,
}

impl ReconnectWaits {
    pub(super) fn new(options: ReconnectDelay) -> Self {
        ReconnectWaits { options, failures: 0, short_lived: 0 }
    }

    /// Takes a loss in; returns the wait before the next attempt and the reason in words. `lasted` is how long the
    /// connection stood, if it did.
    pub(super) fn after(
        &mut self,
        loss: ConnectionLoss,
        lasted: Option<Duration>,
        client_id: &str,
    ) -> (Duration, String) {
        if lasted.is_some_and(|it| it >= self.options.stable_after) {
            self.failures = 0;
        }
        let suspicious = match loss.kind {
            LossKind::TakenOver => true,
            LossKind::ClosedByBroker => lasted.is_some_and(|it| it < SHORT_LIVED),
            LossKind::Unreachable | LossKind::Refused | LossKind::Broken => false,
        };
        self.short_lived = if suspicious { self.short_lived + 1 } else { 0 };
        let reason = match self.short_lived {
            PATTERN.. => format!(
                "{}; {} times in a row: another client seems to use the client id `{client_id}` too, and the two push \
                 each other out; give each its own",
                loss.reason, self.short_lived
            ),
            _ => loss.reason,
        };
        let wait = match loss.kind {
            LossKind::Refused => self.options.longest,
            _ => self.doubled(),
        };
        self.failures = self.failures.saturating_add(1);
        (self.jittered(wait), reason)
    }

    fn doubled(&self) -> Duration {
        self.options.first.saturating_mul(1 << self.failures.min(16)).min(self.options.longest)
    }

    /// Varied, so that clients of a restarted broker don't come back all at once.
    fn jittered(&self, wait: Duration) -> Duration {
        wait.mul_f64(1.0 + self.options.jitter.clamp(0.0, 1.0) * (2.0 * fastrand::f64() - 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn wait(waits: &mut ReconnectWaits, kind: LossKind, lasted: Option<Duration>) -> (Duration, String) {
        waits.after(ConnectionLoss::new(kind, "closed"), lasted, "gateway")
    }

    #[test]
    fn waits_double_up_to_the_longest_and_start_anew_after_a_stable_connection() {
        let mut waits = ReconnectWaits::new(ReconnectDelay::default());
        for expected in [1, 2, 4, 8, 16, 32, 60, 60] {
            let (found, _) = wait(&mut waits, LossKind::Unreachable, None);
            assert!(
                found <= SECOND * expected * 6 / 5 && found >= SECOND * expected * 4 / 5,
                "{found:?} for {expected} s"
            );
        }
        let (found, _) = wait(&mut waits, LossKind::Broken, Some(SECOND * 31));
        assert!(found <= SECOND * 6 / 5);
    }

    #[test]
    fn without_jitter_each_pause_is_as_configured() {
        let mut waits = ReconnectWaits::new(ReconnectDelay {
            first: SECOND,
            longest: SECOND,
            jitter: 0.0,
            ..ReconnectDelay::default()
        });
        for _ in 0..20 {
            assert_eq!(wait(&mut waits, LossKind::Unreachable, None).0, SECOND);
        }
    }

    #[test]
    fn a_refusal_waits_long_at_once() {
        let (found, _) = wait(&mut ReconnectWaits::new(ReconnectDelay::default()), LossKind::Refused, None);
        assert!(found >= SECOND * 30);
    }

    #[test]
    fn being_closed_right_away_again_and_again_is_called_a_shared_client_id() {
        let mut waits = ReconnectWaits::new(ReconnectDelay::default());
        let reasons: Vec<String> = (0..3).map(|_| wait(&mut waits, LossKind::ClosedByBroker, Some(SECOND)).1).collect();
        assert_eq!(reasons[..2], ["closed", "closed"]);
        assert!(reasons[2].contains("client id `gateway`"), "{}", reasons[2]);
        assert_eq!(wait(&mut waits, LossKind::ClosedByBroker, Some(SECOND * 60)).1, "closed");
    }
}
