//! What happens at a time: delayed wills, sessions and retained messages that expire.

use super::BrokerState;
use crate::broker::state::timer_queue::{DueTimer, SessionTimer};
use crate::broker::state::tree::SessionKey;
use crate::link::SenderEvent;
use std::time::Duration;
use tokio::time::Instant;

impl BrokerState {
    pub(super) fn expire_session_in(&mut self, session: SessionKey, lifetime: Duration) {
        self.add_timer(session, lifetime, DueTimer::Session);
    }

    pub(super) fn send_will_in(&mut self, session: SessionKey, delay: Duration) {
        self.add_timer(session, delay, DueTimer::Will);
    }

    /// A client that is back makes its timers void.
    pub(super) fn cancel_timers(&mut self, session: SessionKey) {
        self.timers.timers.retain(|_, timer| timer.session != session);
    }

    fn add_timer(&mut self, session: SessionKey, after: Duration, due: DueTimer) {
        let Some(number) = self.sessions.get(session).map(|session| session.number) else { return };
        let at = Instant::now() + after.min(Duration::from_secs(10 * 365 * 24 * 3600));
        self.timers.add(at, SessionTimer { session, number, due });
    }

    /// Ends a session whose client is away.
    pub(super) fn expire_session(&mut self, session: SessionKey) {
        if let (Some(gateway), Some(session)) = (&mut self.gateway, self.sessions.get(session)) {
            gateway.hear(session.origin, SenderEvent::Gone);
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
        if self.timers.figures.is_some_and(|at| at <= now) {
            self.timers.figures = None;
            if self.publish_figures() {
                self.timers.look_at_figures();
            }
        }
        while let Some(entry) = self.timers.timers.first_entry().filter(|entry| entry.key().0 <= now) {
            let timer = entry.remove();
            let current = self.sessions.get(timer.session).filter(|session| session.number == timer.number);
            if current.is_none_or(|session| session.link.is_some()) {
                continue;
            }
            match timer.due {
                DueTimer::Will => self.publish_will(timer.session),
                DueTimer::Session => self.expire_session(timer.session),
            }
        }
    }
}
