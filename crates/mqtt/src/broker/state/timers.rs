//! What happens at a time: delayed wills, sessions and retained messages that expire.

use super::Hub;
use crate::broker::state::tree::SessionKey;
use crate::link::Heard;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// How often expired retained messages are cleared away; they are not delivered before that either.
const SWEEP: Duration = Duration::from_secs(60);

/// How often it is looked who keeps the others' payloads waiting.
const LOOK_AT_OUTPUTS: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug)]
pub(crate) enum Due {
    Will,
    Session,
}

#[derive(Debug)]
struct Timer {
    session: SessionKey,
    /// The session's number and the absence that it belongs to: a client that is back makes it void.
    number: u64,
    due: Due,
}

/// Timers by their time.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    timers: BTreeMap<(Instant, u64), Timer>,
    counter: u64,
    sweep: Option<Instant>,
    outputs: Option<Instant>,
    /// Tells the task that waits for the first timer that there is an earlier one.
    pub(crate) changed: Rc<Notify>,
}

impl Timers {
    /// When to look again.
    pub(crate) fn next(&self) -> Option<Instant> {
        let first = self.timers.first_key_value().map(|((at, _), _)| *at);
        [first, self.sweep, self.outputs].into_iter().flatten().min()
    }

    fn add(&mut self, at: Instant, timer: Timer) {
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

    pub(crate) fn sweep_retained(&mut self) {
        if self.sweep.is_none() {
            self.sweep = Some(Instant::now() + SWEEP);
            self.changed.notify_one();
        }
    }
}

impl Hub {
    pub(super) fn expire_session_in(&mut self, session: SessionKey, lifetime: Duration) {
        self.add_timer(session, lifetime, Due::Session);
    }

    pub(super) fn send_will_in(&mut self, session: SessionKey, delay: Duration) {
        self.add_timer(session, delay, Due::Will);
    }

    /// A client that is back makes its timers void.
    pub(super) fn cancel_timers(&mut self, session: SessionKey) {
        self.timers.timers.retain(|_, timer| timer.session != session);
    }

    fn add_timer(&mut self, session: SessionKey, after: Duration, due: Due) {
        let Some(number) = self.sessions.get(session).map(|session| session.number) else { return };
        let at = Instant::now() + after.min(Duration::from_secs(10 * 365 * 24 * 3600));
        self.timers.add(at, Timer { session, number, due });
    }

    /// Ends a session whose client is away.
    pub(super) fn expire_session(&mut self, session: SessionKey) {
        if let (Some(gateway), Some(session)) = (&mut self.gateway, self.sessions.get(session)) {
            gateway.hear(session.origin, Heard::Gone);
        }
        self.remove_session(session);
    }

    /// Does what is due.
    pub(crate) fn run_timers(&mut self) {
        let now = Instant::now();
        if self.timers.outputs.is_some_and(|at| at <= now) {
            self.timers.outputs = None;
            if !self.crowded.is_empty() {
                self.end_blocked(now);
            }
        }
        if self.timers.sweep.is_some_and(|at| at <= now) {
            self.timers.sweep = None;
            for topic in self.retained.expire(now) {
                self.store(|delta| delta.retain(topic, None));
            }
            if self.retained.has_expiring() {
                self.timers.sweep_retained();
            }
        }
        while let Some(entry) = self.timers.timers.first_entry().filter(|entry| entry.key().0 <= now) {
            let timer = entry.remove();
            let current = self.sessions.get(timer.session).filter(|session| session.number == timer.number);
            if current.is_none_or(|session| session.link.is_some()) {
                continue;
            }
            match timer.due {
                Due::Will => self.publish_will(timer.session),
                Due::Session => self.expire_session(timer.session),
            }
        }
    }
}
