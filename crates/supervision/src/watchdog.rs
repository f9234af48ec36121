//! The watchdog: it looks at each actor, and reports the one that does not answer.

use crate::health::{ActorStatus, HealthReporter};
use crate::pulse::ActorHeartbeat;
use std::sync::Arc;
use std::time::Duration;

/// Looks at an actor within its `stall_timeout`.
const LOOKS: u32 = 4;
/// Lower bound of the watchdog's period, whatever the policies say.
const SHORTEST_PERIOD: Duration = Duration::from_millis(10);

/// The watchdog's view of one actor.
#[derive(Debug)]
pub(crate) struct WatchedActor {
    pub(crate) pulse: Arc<ActorHeartbeat>,
    pub(crate) reporter: Arc<HealthReporter>,
    pub(crate) stall_timeout: Duration,
    /// Counted in looks, not read from a clock: a process that was stopped and continued has not stalled.
    silent: Duration,
}

impl WatchedActor {
    pub(crate) fn new(pulse: Arc<ActorHeartbeat>, reporter: Arc<HealthReporter>, stall_timeout: Duration) -> Self {
        WatchedActor { pulse, reporter, stall_timeout, silent: Duration::ZERO }
    }

    /// One look, `period` after the one before.
    pub(crate) fn look(&mut self, period: Duration) {
        let answered = match self.reporter.status() {
            // Down on purpose: nothing is asked of it.
            ActorStatus::BackingOff | ActorStatus::Parked | ActorStatus::Stopped => {
                self.silent = Duration::ZERO;
                return;
            }
            // It may wait for what it needs to start; only a blocked thread is wrong.
            ActorStatus::Starting => self.pulse.answered(&self.pulse.thread),
            ActorStatus::Running | ActorStatus::Unresponsive => self.pulse.answered(&self.pulse.mailbox),
        };
        if answered {
            self.silent = Duration::ZERO;
            self.pulse.ask();
        } else {
            self.silent += period;
            if self.silent >= self.stall_timeout {
                self.reporter.unresponsive(&self.reason());
            }
        }
        self.pulse.wake.notify_one();
    }

    fn reason(&self) -> String {
        let cause = if self.pulse.answered(&self.pulse.thread) {
            "it waits for a future (ctx.wait) that does not end"
        } else {
            "its thread is blocked"
        };
        format!("took no message for {:?}: {cause}", self.stall_timeout)
    }
}

/// How often to look, so that the shortest `stall_timeout` is met.
pub(crate) fn period(stall_timeouts: impl Iterator<Item = Duration>) -> Option<Duration> {
    stall_timeouts.min().map(|shortest| (shortest / LOOKS).max(SHORTEST_PERIOD))
}
