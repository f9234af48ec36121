//! Attempts at one receiver, an endpoint or a notifier: when to make them, what an outcome means, and when to give up.

use super::attempts::AttemptLog;
use crate::condition::Condition;
use crate::flows::dead_letters;
use crate::metrics::MetricCounter;
use hearthgate_domain::delivery::UnixMicros;
use hearthgate_domain::flow::Flow;
use hearthgate_domain::retry::{BreakerSettings, CallPermission, CircuitBreaker, RetrySchedule};
use hearthgate_endpoints::CallOutcome;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit};
use tracing::{debug, info, warn};

/// Longest sleep while somebody else tries out whether a receiver is back.
const PROBE_WAIT: Duration = Duration::from_secs(1);

/// Something that is up or down as a whole: a host and port, a notifier.
pub(super) struct CallReceiver {
    /// What the log calls it.
    name: String,
    breaker: RefCell<CircuitBreaker>,
    /// Permits for calls under way.
    calls: Semaphore,
    /// Why it takes nothing.
    trouble: Condition,
}

/// How a message ended.
pub(super) enum PostingEnd {
    Delivered,
    /// It will not be tried again.
    GivenUp {
        reason: String,
        attempts: usize,
    },
    /// The flow was changed or switched off while the message waited for a secret.
    Outdated,
    /// Nor will any other message of this flow: the endpoint answered 410.
    Gone {
        reason: String,
        attempts: usize,
    },
}

/// What became of one attempt, at whom, and how long it took.
pub(super) struct AttemptOutcome {
    pub(super) receiver: Rc<CallReceiver>,
    pub(super) outcome: CallOutcome,
    pub(super) took: Duration,
}

/// Why there is no attempt.
pub(super) enum AttemptFailure {
    /// However often it is tried.
    Impossible(String),
    /// The flow was changed or switched off while the message waited for a secret.
    Outdated,
}

impl CallReceiver {
    pub(super) fn new(name: &str, breaker: BreakerSettings, parallel: usize) -> Self {
        CallReceiver {
            name: name.to_owned(),
            breaker: RefCell::new(CircuitBreaker::new(breaker)),
            calls: Semaphore::new(parallel),
            trouble: Condition::new().0,
        }
    }

    /// Waits until it may be called. The permit is to be kept for as long as the call is under way.
    pub(super) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        wait_for(&self.breaker).await;
        // It is never closed.
        self.calls.acquire().await.ok()
    }

    fn note_answer(&self) {
        self.breaker.borrow_mut().succeeded();
        if let Some(lasted) = self.trouble.clear() {
            info!(endpoint = self.name, "the endpoint answers again after {lasted}");
        }
    }

    fn note_failure(&self, flow: &Flow, attempt: usize, reason: &str) {
        self.breaker.borrow_mut().failed(dead_letters::now(), fastrand::f64());
        if self.trouble.is_news(reason) {
            warn!(flow = %flow.code, attempt, %reason, "not delivered, it will be tried again");
        } else {
            debug!(flow = %flow.code, attempt, %reason, "still not delivered");
        }
    }
}

/// Makes attempts until the receiver has the message or it is given up, however long that takes.
pub(super) async fn attempt_until_settled(
    flow: &Flow,
    schedule: &RetrySchedule,
    retried: &MetricCounter,
    log: &AttemptLog<'_>,
    mut attempt: impl AsyncFnMut() -> Result<AttemptOutcome, AttemptFailure>,
) -> PostingEnd {
    let (mut attempts, mut after, mut failure) = (0, None, String::new());
    loop {
        let Some(delay) = schedule.next_delay(attempts, fastrand::f64(), after) else {
            log.give_up();
            let reason = format!("given up after {attempts} attempts; the last one: {failure}");
            return PostingEnd::GivenUp { reason, attempts };
        };
        // A timer's tick is 1 ms: even no pause at all would take until the next one.
        if !delay.is_zero() {
            log.plan(delay);
            tokio::time::sleep(delay).await;
        }
        let AttemptOutcome { receiver, outcome, took } = match attempt().await {
            Ok(outcome) => outcome,
            Err(AttemptFailure::Impossible(reason)) => return PostingEnd::GivenUp { reason, attempts },
            Err(AttemptFailure::Outdated) => return PostingEnd::Outdated,
        };
        attempts += 1;
        match &outcome {
            CallOutcome::RetryLater { reason, .. } => receiver.note_failure(flow, attempts, reason),
            // Whatever it says, it is there.
            _ => receiver.note_answer(),
        }
        log.note(&outcome, attempts, took, receiver.breaker.borrow().state());
        match outcome {
            CallOutcome::Delivered { .. } => return PostingEnd::Delivered,
            CallOutcome::RetryLater { after: wait, reason, .. } => {
                retried.add(1);
                (after, failure) = (wait, reason);
            }
            CallOutcome::Refused { reason, .. } => return PostingEnd::GivenUp { reason, attempts },
            CallOutcome::Gone { reason } => return PostingEnd::Gone { reason, attempts },
        }
    }
}

/// Waits until the receiver may be called.
async fn wait_for(breaker: &RefCell<CircuitBreaker>) {
    loop {
        let now = dead_letters::now();
        let permission = breaker.borrow_mut().ask(now);
        match permission {
            CallPermission::Call | CallPermission::Probe => return,
            CallPermission::Wait { until } => tokio::time::sleep(micros(until - now)).await,
            CallPermission::WaitForProbe => tokio::time::sleep(PROBE_WAIT).await,
        }
    }
}

fn micros(time: UnixMicros) -> Duration {
    Duration::from_micros(u64::try_from(time).unwrap_or_default())
}
