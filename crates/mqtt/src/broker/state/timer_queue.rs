//! What is due at which time.

use crate::broker::state::tree::SessionKey;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// How often expired retained messages are cleared away; they are not delivered before that either.
pub(super) const SWEEP: Duration = Duration::from_secs(60);

/// How often it is looked who keeps the others' payloads waiting.
pub(super) const LOOK_AT_OUTPUTS: Duration = Duration::from_secs(1);

/// How often the broker's figures are published while somebody subscribes to them.
const PUBLISH_FIGURES: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug)]
pub(crate) enum DueTimer {
    Will,
    Session,
}

#[derive(Debug)]
pub(super) struct SessionTimer {
    pub(super) session: SessionKey,
    /// The session's number and the absence that it belongs to: a client that is back makes it void.
    pub(super) number: u64,
    pub(super) due: DueTimer,
}

/// Timers by their time.
#[derive(Debug, Default)]
pub(crate) struct TimerQueue {
    pub(super) timers: BTreeMap<(Instant, u64), SessionTimer>,
    pub(super) counter: u64,
    pub(super) sweep: Option<Instant>,
    pub(super) outputs: Option<Instant>,
    pub(super) figures: Option<Instant>,
    /// Tells the task that waits for the first timer that there is an earlier one.
    pub(crate) changed: Rc<Notify>,
}

impl TimerQueue {
    /// When to look again.
    pub(crate) fn next(&self) -> Option<Instant> {
        let first = self.timers.first_key_value().map(|((at, _), _)| *at);
        [first, self.sweep, self.outputs, self.figures].into_iter().flatten().min()
    }

    pub(super) fn add(&mut self, at: Instant, timer: SessionTimer) {
        self.counter += 1;
        self.timers.insert((at, self.counter), timer);
        self.changed.notify_one();
    }

    /// Looks soon whether anyone blocks others.
    pub(crate) fn look_at_outputs(&mut self) {
        if self.outputs.is_none() {
            self.outputs = Some(Instant::now() + LOOK_AT_OUTPUTS);
            self.changed.notify_one();
        }
    }

    /// Publishes the broker's figures before long.
    pub(super) fn look_at_figures(&mut self) {
        if self.figures.is_none() {
            self.figures = Some(Instant::now() + PUBLISH_FIGURES);
            self.changed.notify_one();
        }
    }

    pub(crate) fn sweep_retained(&mut self) {
        if self.sweep.is_none() {
            self.sweep = Some(Instant::now() + SWEEP);
            self.changed.notify_one();
        }
    }
}
