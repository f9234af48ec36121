//! What became of a message, step by step, for whoever looks on.

use crate::delivery::{QoS, UnixMicros};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Bytes of a payload that are shown; what is beyond is left out, and its size told.
pub const EXCERPT: usize = 2_048;

/// How a flow, or what comes behind it, decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FateOutcome {
    /// The flow takes it; it is in the journal.
    Accepted,
    /// Kept back by the flow's `on_change`, `min_interval` or rule for retained messages.
    KeptBack,
    /// Refused: a dead letter.
    Refused,
    /// It came before, and was passed over.
    Repeated,
    /// No flow wants it.
    Unwanted,
    /// Its rows are in the database.
    Stored,
    /// An endpoint, or the broker, has it.
    Delivered,
    /// A delivery failed and will be tried again.
    Retried,
    /// Given up: a dead letter.
    Dead,
}

impl FateOutcome {
    /// For programs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            FateOutcome::Accepted => "accepted",
            FateOutcome::KeptBack => "kept_back",
            FateOutcome::Refused => "refused",
            FateOutcome::Repeated => "repeated",
            FateOutcome::Unwanted => "unwanted",
            FateOutcome::Stored => "stored",
            FateOutcome::Delivered => "delivered",
            FateOutcome::Retried => "retried",
            FateOutcome::Dead => "dead",
        }
    }

    /// Whether somebody should look at it.
    #[must_use]
    pub fn is_bad(self) -> bool {
        matches!(self, FateOutcome::Refused | FateOutcome::Retried | FateOutcome::Dead)
    }
}

/// What one flow made of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FateStep {
    /// The flow's code; absent: it concerns every flow.
    pub flow: Option<Arc<str>>,
    /// How it ended.
    pub outcome: FateOutcome,
    /// Why, if it was refused.
    pub reason: String,
    /// JSON pointer to the field at fault, or empty.
    pub pointer: String,
}

/// A message and what became of it so far. Later steps come as further fates of the same number in the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageFate {
    /// Its number in the journal; absent when it is not in there.
    pub seq: Option<u64>,
    /// Its topic; one of more than [`EXCERPT`] bytes is cut, and ends in `…`.
    pub topic: Arc<str>,
    /// The first [`EXCERPT`] bytes of its payload; empty for a later step.
    pub payload: Vec<u8>,
    /// Size of the payload in bytes.
    pub size: usize,
    /// Its quality of service.
    pub qos: QoS,
    /// Whether the broker had retained it.
    pub retain: bool,
    /// When it came in.
    pub received_at: UnixMicros,
    /// When the steps were done.
    pub at: UnixMicros,
    /// It was told before: these are later steps.
    pub is_later: bool,
    /// So many fates before it were not told, because there were too many at once.
    pub missed: u64,
    /// What became of it.
    pub steps: Vec<FateStep>,
}
