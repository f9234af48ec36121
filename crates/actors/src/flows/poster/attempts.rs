//! The last attempts to call endpoints, for whoever looks on. Bounded, in memory alone, and nobody waits for it.

use crate::flows::dead_letters;
use hearthgate_domain::delivery::UnixMicros;
use hearthgate_domain::retry::BreakerState;
use hearthgate_endpoints::CallOutcome;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Attempts that are kept of a flow.
const MOST: usize = 30;
/// Flows that are told apart; of more, what was delivered by the others is not kept.
const MOST_FLOWS: usize = 1_000;
/// Bytes of an answer that are kept.
const SHOWN: usize = 300;
/// One that came through is kept at most this often: there may be thousands a second.
const EVERY: UnixMicros = 200_000;

/// What became of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptEnd {
    /// The endpoint has the message.
    Delivered,
    /// It is tried again.
    Retried,
    /// It is not.
    GivenUp,
}

/// One call of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryAttempt {
    /// When it ended.
    pub at: UnixMicros,
    /// The message's number in the journal; 0 for a trial.
    pub seq: u64,
    /// The message's topic.
    pub topic: Arc<str>,
    /// The how manieth for this message, from 1.
    pub number: usize,
    /// What became of it.
    pub end: AttemptEnd,
    /// HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// Why it failed, with the beginning of the answer.
    pub reason: String,
    /// How long it took.
    pub took: Duration,
}

/// What is known of a flow's calls.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlowAttempts {
    /// The oldest first.
    pub attempts: VecDeque<DeliveryAttempt>,
    /// Attempts that came through and were not kept.
    pub left_out: u64,
    /// When the next one is due.
    pub next_at: Option<UnixMicros>,
    /// The endpoint's breaker after the last one.
    pub breaker: Option<BreakerState>,
}

/// The attempts of all flows, by code. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct AttemptBoard(Arc<Mutex<HashMap<String, FlowAttempts>>>);

impl DeliveryAttempt {
    /// An attempt that has just ended.
    pub(super) fn of(outcome: &CallOutcome, topic: &Arc<str>, seq: u64, number: usize, took: Duration) -> Self {
        let (end, status, reason) = match outcome {
            CallOutcome::Delivered { status } => (AttemptEnd::Delivered, Some(*status), ""),
            CallOutcome::RetryLater { status, reason, .. } => (AttemptEnd::Retried, *status, reason.as_str()),
            CallOutcome::Refused { status, reason } => (AttemptEnd::GivenUp, *status, reason.as_str()),
            CallOutcome::Gone { reason } => (AttemptEnd::GivenUp, Some(410), reason.as_str()),
        };
        let reason = reason[..reason.floor_char_boundary(SHOWN)].to_owned();
        DeliveryAttempt { at: dead_letters::now(), seq, topic: Arc::clone(topic), number, end, status, reason, took }
    }
}

/// The attempts for one message of a flow.
pub(super) struct AttemptLog<'a> {
    pub(super) board: &'a AttemptBoard,
    pub(super) flow: &'a str,
    pub(super) topic: &'a Arc<str>,
    pub(super) seq: u64,
}

impl AttemptLog<'_> {
    /// The next attempt is made after this time.
    pub(super) fn plan(&self, delay: Duration) {
        self.board.plan(self.flow, delay);
    }

    /// The how manieth attempt has ended, after this time, and this is how the breaker stands now.
    pub(super) fn note(&self, outcome: &CallOutcome, number: usize, took: Duration, breaker: BreakerState) {
        let is_good = matches!(outcome, CallOutcome::Delivered { .. });
        let attempt = || DeliveryAttempt::of(outcome, self.topic, self.seq, number, took);
        self.board.note(self.flow, breaker, attempt, is_good);
    }

    /// There is no further one.
    pub(super) fn give_up(&self) {
        self.board.give_up(self.flow, self.seq);
    }
}

impl AttemptBoard {
    /// What is known of a flow's calls.
    #[must_use]
    pub fn of(&self, flow: &str) -> FlowAttempts {
        let flows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        flows.get(flow).cloned().unwrap_or_default()
    }

    /// An attempt has ended, and this is how the endpoint's breaker stands now.
    fn note(&self, flow: &str, breaker: BreakerState, attempt: impl FnOnce() -> DeliveryAttempt, is_good: bool) {
        self.with(flow, |kept| {
            kept.breaker = Some(breaker);
            kept.next_at = None;
            let last = kept.attempts.back().filter(|last| last.end == AttemptEnd::Delivered);
            if is_good && last.is_some_and(|last| dead_letters::now() - last.at < EVERY) {
                kept.left_out += 1;
                return;
            }
            if kept.attempts.len() >= MOST {
                kept.attempts.pop_front();
            }
            kept.attempts.push_back(attempt());
        });
    }

    /// The next attempt is made after this time.
    fn plan(&self, flow: &str, delay: Duration) {
        let delay = UnixMicros::try_from(delay.as_micros()).unwrap_or(UnixMicros::MAX);
        self.with(flow, |kept| kept.next_at = Some(dead_letters::now().saturating_add(delay)));
    }

    /// There is no further attempt for this message.
    fn give_up(&self, flow: &str, seq: u64) {
        self.with(flow, |kept| {
            if let Some(last) = kept.attempts.iter_mut().rev().find(|attempt| attempt.seq == seq) {
                last.end = AttemptEnd::GivenUp;
            }
        });
    }

    fn with(&self, flow: &str, change: impl FnOnce(&mut FlowAttempts)) {
        // Somebody looks: this one is not worth a wait.
        let Ok(mut flows) = self.0.try_lock() else { return };
        if let Some(kept) = flows.get_mut(flow) {
            change(kept);
        } else if flows.len() < MOST_FLOWS {
            change(flows.entry(flow.to_owned()).or_default());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(board: &AttemptBoard, outcome: &CallOutcome, seq: u64) {
        let topic: Arc<str> = "a/b".into();
        let is_good = matches!(outcome, CallOutcome::Delivered { .. });
        let attempt = || DeliveryAttempt::of(outcome, &topic, seq, 1, Duration::from_millis(3));
        board.note("HOOK", BreakerState::Closed { failures: 0 }, attempt, is_good);
    }

    #[test]
    fn failures_are_kept_and_of_many_that_came_through_few() {
        let board = AttemptBoard::default();
        let failure = CallOutcome::RetryLater { status: Some(503), after: None, reason: "é".repeat(400) };
        for seq in 0..1_000 {
            note(&board, &CallOutcome::Delivered { status: 200 }, seq);
        }
        for seq in 0..3 {
            note(&board, &failure, seq);
        }
        board.give_up("HOOK", 2);
        let kept = board.of("HOOK");
        let failures: Vec<AttemptEnd> = kept.attempts.iter().rev().take(3).map(|attempt| attempt.end).collect();
        assert_eq!(failures, [AttemptEnd::GivenUp, AttemptEnd::Retried, AttemptEnd::Retried]);
        assert!(kept.attempts.len() <= MOST && kept.left_out + kept.attempts.len() as u64 >= MOST as u64);
        assert!(kept.attempts.iter().all(|attempt| attempt.reason.len() <= SHOWN));
    }
}
