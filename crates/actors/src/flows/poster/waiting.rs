//! Flows whose deliveries wait until somebody puts a secret where they look for it.

use crate::lock::lock;
use std::collections::HashMap;
use std::sync::Mutex;

/// For what each flow waits, by its number.
#[derive(Debug, Default)]
pub struct WaitingFlows(Mutex<HashMap<i64, String>>);

impl WaitingFlows {
    /// For what a flow waits, in words, if it does.
    #[must_use]
    pub fn reason(&self, flow_id: i64) -> Option<String> {
        lock(&self.0).get(&flow_id).cloned()
    }

    /// Tells whether that is news.
    pub(super) fn note(&self, flow_id: i64, reason: &str) -> bool {
        lock(&self.0).insert(flow_id, reason.to_owned()).as_deref() != Some(reason)
    }

    pub(super) fn clear(&self, flow_id: i64) {
        lock(&self.0).remove(&flow_id);
    }
}
