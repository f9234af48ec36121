//! Whether an actor still takes its messages, found out from another thread.
//!
//! The watchdog asks by raising a number and waking the guard; the guard answers when its thread polls it, and the mailbox
//! when it may hand out messages. An idle actor is woken four times within its `stall_timeout` and not once more.

use crate::health::{Reporter, Status};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Notify;

/// Looks at an actor within its `stall_timeout`.
const LOOKS: u32 = 4;
/// Lower bound of the watchdog's period, whatever the policies say.
const SHORTEST_PERIOD: Duration = Duration::from_millis(10);

#[derive(Debug, Default)]
pub(crate) struct Pulse {
    asked: AtomicU64,
    thread: AtomicU64,
    mailbox: AtomicU64,
    wake: Notify,
    /// Health says `Running`; saves the guard from looking there after every turn.
    pub(crate) shown_running: AtomicBool,
}

impl Pulse {
    /// The guard is being polled, so its thread is not blocked.
    pub(crate) fn thread_answers(&self) {
        self.thread.store(self.asked.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// The mailbox hands out messages, so the actor does not sit in `ctx.wait`.
    pub(crate) fn mailbox_answers(&self) {
        self.mailbox.store(self.asked.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Resolves when the watchdog wants an answer.
    pub(crate) async fn asked(&self) {
        self.wake.notified().await;
    }

    fn answered(&self, by: &AtomicU64) -> bool {
        by.load(Ordering::Relaxed) >= self.asked.load(Ordering::Relaxed)
    }

    fn ask(&self) {
        self.asked.fetch_add(1, Ordering::Relaxed);
    }
}

/// The watchdog's view of one actor.
#[derive(Debug)]
pub(crate) struct Watched {
    pub(crate) pulse: Arc<Pulse>,
    pub(crate) reporter: Arc<Reporter>,
    pub(crate) stall_timeout: Duration,
    /// Counted in looks, not read from a clock: a process that was stopped and continued has not stalled.
    silent: Duration,
}

impl Watched {
    pub(crate) fn new(pulse: Arc<Pulse>, reporter: Arc<Reporter>, stall_timeout: Duration) -> Self {
        Watched { pulse, reporter, stall_timeout, silent: Duration::ZERO }
    }

    /// One look, `period` after the one before.
    pub(crate) fn look(&mut self, period: Duration) {
        let answered = match self.reporter.status() {
            // Down on purpose: nothing is asked of it.
            Status::BackingOff | Status::Parked | Status::Stopped => {
                self.silent = Duration::ZERO;
                return;
            }
            // It may wait for what it needs to start; only a blocked thread is wrong.
            Status::Starting => self.pulse.answered(&self.pulse.thread),
            Status::Running | Status::Unresponsive => self.pulse.answered(&self.pulse.mailbox),
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
