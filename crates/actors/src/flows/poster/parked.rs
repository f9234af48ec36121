//! The messages that are set aside, and how much they take.

use hearthgate_storage::dead_letters::ParkedFlow;
use hearthgate_storage::journal::Seq;
use std::collections::HashMap;
use std::time::Instant;

/// What is set aside.
#[derive(Debug, Default)]
pub(super) struct ParkedMessages {
    pub(super) bytes: u64,
    /// Per flow: through which entry it was removed because it is done.
    pub(super) removed: HashMap<i64, Seq>,
    /// It failed; not before this it is tried again.
    pub(super) retry_at: Option<Instant>,
}

impl ParkedMessages {
    pub(super) fn new(flows: &[ParkedFlow]) -> Self {
        ParkedMessages { bytes: flows.iter().map(|flow| flow.bytes).sum(), removed: HashMap::new(), retry_at: None }
    }
}
