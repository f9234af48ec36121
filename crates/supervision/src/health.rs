//! What is known of an actor, readable at any time, and how it comes to be known.

use crate::failure::{ActorFailure, FailureKind};
use crate::pulse::ActorHeartbeat;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};
use tokio::sync::watch;
use tracing::{error, info, warn};

/// Where an actor stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ActorStatus {
    /// An incarnation was begun and does not take messages yet.
    Starting,
    /// It takes messages.
    Running,
    /// It failed and starts again at `next_restart`.
    BackingOff,
    /// It failed too often. Its mailbox is open and bounded; `resume` goes on with what is queued.
    Parked,
    /// It ended in order, or by an operator. Its mailbox is open and bounded; `start` goes on with what is queued.
    Stopped,
    /// It has not taken a message for `stall_timeout` though it should.
    Unresponsive,
}

impl ActorStatus {
    /// The name in logs, metrics and the API.
    pub fn as_str(self) -> &'static str {
        match self {
            ActorStatus::Starting => "starting",
            ActorStatus::Running => "running",
            ActorStatus::BackingOff => "backing_off",
            ActorStatus::Parked => "parked",
            ActorStatus::Stopped => "stopped",
            ActorStatus::Unresponsive => "unresponsive",
        }
    }
}

impl std::fmt::Display for ActorStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The state of one guarded actor; cheap to clone.
#[derive(Clone, Debug, PartialEq)]
pub struct ActorHealth {
    /// The name it was started under.
    pub name: Arc<str>,
    /// Where it stands.
    pub status: ActorStatus,
    /// Incarnations begun after the first one.
    pub restarts: u64,
    /// Failures so far, whether a restart followed or not.
    pub failures: FailureCounts,
    /// The latest failure; stays readable after the recovery.
    pub last_error: Option<Arc<str>>,
    /// When `status` was entered, wall clock.
    pub since: SystemTime,
    /// When it starts again by itself, wall clock: while backing off, and while parked with a cool-down.
    pub next_restart: Option<SystemTime>,
    /// The process cannot do without it.
    pub essential: bool,
}

impl ActorHealth {
    fn count(&mut self, failure: &ActorFailure) {
        self.failures.0[failure.kind() as usize] += 1;
        self.last_error = Some(failure.reason().into());
    }
}

/// How often an actor failed, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FailureCounts([u64; FailureKind::ALL.len()]);

impl FailureCounts {
    /// Of one kind.
    #[must_use]
    pub fn of(&self, kind: FailureKind) -> u64 {
        self.0[kind as usize]
    }

    /// Of all kinds.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }
}

/// An essential actor is down for good: the process is to end in order, with a non-zero exit status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Escalation {
    /// The actor.
    pub actor: Arc<str>,
    /// Its last error.
    pub error: Arc<str>,
}

/// What all reporters of one registry share: that something changed, and that all is lost.
#[derive(Debug)]
pub(crate) struct HealthBoard {
    pub(crate) revision: watch::Sender<u64>,
    pub(crate) escalation: watch::Sender<Option<Escalation>>,
}

impl Default for HealthBoard {
    fn default() -> Self {
        HealthBoard { revision: watch::Sender::new(0), escalation: watch::Sender::new(None) }
    }
}

/// Publishes one actor's health and logs each change once. Written to by its guard and by the watchdog.
#[derive(Debug)]
pub(crate) struct HealthReporter {
    health: watch::Sender<ActorHealth>,
    board: Arc<HealthBoard>,
    pulse: Arc<ActorHeartbeat>,
}

impl HealthReporter {
    pub(crate) fn new(name: Arc<str>, essential: bool, board: Arc<HealthBoard>, pulse: Arc<ActorHeartbeat>) -> Self {
        let health = ActorHealth {
            name,
            status: ActorStatus::Starting,
            restarts: 0,
            failures: FailureCounts::default(),
            last_error: None,
            since: SystemTime::now(),
            next_restart: None,
            essential,
        };
        HealthReporter { health: watch::Sender::new(health), board, pulse }
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<ActorHealth> {
        self.health.subscribe()
    }

    pub(crate) fn status(&self) -> ActorStatus {
        self.health.borrow().status
    }

    pub(crate) fn starting(&self, first: bool) {
        self.enter(ActorStatus::Starting, |h| h.restarts += u64::from(!first));
    }

    /// Called after every turn in which messages could be taken: news only after the start and after a stall.
    pub(crate) fn serving(&self) {
        if self.pulse.shown_running.swap(true, Ordering::Relaxed) {
            return;
        }
        let before = self.status();
        self.enter(ActorStatus::Running, |_| {});
        let health = self.health.borrow();
        match before {
            ActorStatus::Unresponsive => warn!(actor = %health.name, "actor takes messages again"),
            _ => info!(actor = %health.name, restarts = health.restarts, "actor is running"),
        }
    }

    pub(crate) fn backing_off(&self, failure: &ActorFailure, delay: Duration) {
        self.enter(ActorStatus::BackingOff, |h| {
            h.count(failure);
            h.next_restart = SystemTime::now().checked_add(delay);
        });
        let health = self.health.borrow();
        let kind = failure.kind().as_str();
        error!(actor = %health.name, error = %failure, kind, restart_in_ms = delay.as_millis(), "actor failed");
    }

    pub(crate) fn parked(&self, failure: &ActorFailure, cool_down: Option<Duration>) {
        self.enter(ActorStatus::Parked, |h| {
            h.count(failure);
            h.next_restart = cool_down.and_then(|wait| SystemTime::now().checked_add(wait));
        });
        let health = self.health.borrow().clone();
        let (kind, essential) = (failure.kind().as_str(), health.essential);
        error!(actor = %health.name, error = %failure, kind, essential, "actor failed too often and is parked");
        if health.essential {
            let escalation = Escalation { actor: health.name, error: failure.reason().into() };
            self.board.escalation.send_if_modified(|first| {
                let news = first.is_none();
                first.get_or_insert(escalation);
                news
            });
        }
    }

    pub(crate) fn stopped(&self) {
        self.enter(ActorStatus::Stopped, |_| {});
        info!(actor = %self.health.borrow().name, "actor stopped");
    }

    /// An error on the way down, which changes nothing in what follows.
    pub(crate) fn note(&self, failure: &ActorFailure) {
        self.health.send_modify(|h| h.last_error = Some(failure.reason().into()));
        warn!(actor = %self.health.borrow().name, error = %failure, "actor did not end in order");
    }

    /// Called by the watchdog. No news for an actor that is down, or already known to be stuck.
    pub(crate) fn unresponsive(&self, reason: &str) {
        let changed = self.health.send_if_modified(|h| {
            let stuck = matches!(h.status, ActorStatus::Running | ActorStatus::Starting);
            if stuck {
                h.status = ActorStatus::Unresponsive;
                h.last_error = Some(reason.into());
                h.since = SystemTime::now();
                self.pulse.shown_running.store(false, Ordering::Relaxed);
            }
            stuck
        });
        if changed {
            self.board.revision.send_modify(|n| *n += 1);
            error!(actor = %self.health.borrow().name, reason, "actor is unresponsive");
        }
    }

    fn enter(&self, status: ActorStatus, change: impl FnOnce(&mut ActorHealth)) {
        self.pulse.shown_running.store(status == ActorStatus::Running, Ordering::Relaxed);
        self.health.send_modify(|h| {
            h.status = status;
            h.since = SystemTime::now();
            h.next_restart = None;
            change(h);
        });
        self.board.revision.send_modify(|n| *n += 1);
    }
}

/// Held by the guard's task: when that ends, however it ends, the actor's health says so.
pub(crate) struct LastWord(pub(crate) Arc<HealthReporter>);

impl Drop for LastWord {
    fn drop(&mut self) {
        if !matches!(self.0.status(), ActorStatus::Stopped | ActorStatus::Parked) {
            self.0.stopped();
        }
    }
}
