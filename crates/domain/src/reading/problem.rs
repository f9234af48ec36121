//! Why a message has no record.

use crate::payload::PayloadError;
use thiserror::Error;

/// Why a message has no record.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{reason}")]
pub struct ReadingProblem {
    /// JSON Pointer to the place in the payload, or empty.
    pub pointer: String,
    /// In words.
    pub reason: String,
}

impl ReadingProblem {
    pub(super) fn whole(reason: impl Into<String>) -> Self {
        ReadingProblem { pointer: String::new(), reason: reason.into() }
    }
}

impl From<PayloadError> for ReadingProblem {
    fn from(error: PayloadError) -> Self {
        ReadingProblem::whole(error.to_string())
    }
}
