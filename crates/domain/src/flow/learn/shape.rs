//! The messages of one shape.

use super::fields::SeenFields;
use crate::payload::JsonPayload;
use std::collections::BTreeMap;

/// Topics beyond these are counted, not kept.
pub(super) const MAX_TOPICS: usize = 1_000;

/// What was seen of one shape.
#[derive(Debug, Default)]
pub(super) struct SeenShape {
    /// Each with its messages; all have as many levels, and the same first one.
    pub(super) topics: BTreeMap<Box<str>, u64>,
    pub(super) fields: SeenFields,
}

impl SeenShape {
    /// Whether a message is of this shape.
    pub(super) fn fits(&self, topic: &str, payload: &JsonPayload<'_>) -> bool {
        let form = |topic: &str| (topic.split('/').count(), topic.split('/').next().map(str::to_owned));
        self.topics.keys().next().is_some_and(|known| form(known) == form(topic)) && self.fields.resemble(payload)
    }

    pub(super) fn observe(&mut self, topic: &str, payload: &JsonPayload<'_>) {
        let is_full = self.topics.len() >= MAX_TOPICS;
        match self.topics.get_mut(topic) {
            Some(count) => *count += 1,
            None if !is_full => drop(self.topics.insert(topic.into(), 1)),
            None => {}
        }
        self.fields.observe(payload);
    }
}
