//! What flows for some traffic could look like: proposals to review, one for each shape that came by.
//!
//! A shape is a number of topic levels, the first of them (or all but that), and the keys of the payload, those in nested objects included. Payloads that
//! share most of their keys are one shape: a sensor leaves out what it did not measure. Payloads that are a bare value have
//! a shape by the last topic level too, since nothing else tells them apart.

mod fields;
mod proposal;
mod shape;

pub use proposal::{LearnedFlow, code_for};

use shape::{SeenPayload, SeenShape};

/// Shapes beyond these are counted, not kept: traffic is other people's.
const MAX_SHAPES: usize = 200;

/// What has come by so far.
#[derive(Debug, Default)]
pub struct TrafficLearner {
    shapes: Vec<SeenShape>,
    messages: u64,
    unusable: u64,
}

impl TrafficLearner {
    /// Takes a message into account.
    pub fn observe(&mut self, topic: &str, payload: &[u8]) {
        let text = SeenPayload::text(payload);
        let Some(payload) = text.as_deref().and_then(SeenPayload::of) else {
            self.unusable += 1;
            return;
        };
        self.messages += 1;
        if let Some(shape) = self.shapes.iter_mut().find(|shape| shape.fits(topic, &payload)) {
            return shape.observe(topic, &payload);
        }
        if self.shapes.len() < MAX_SHAPES {
            let mut shape = SeenShape::default();
            shape.observe(topic, &payload);
            self.shapes.push(shape);
        }
    }

    /// Messages that a flow could take.
    #[must_use]
    pub fn messages(&self) -> u64 {
        self.messages
    }

    /// Messages that are nothing to a flow: empty, no text, or a list.
    #[must_use]
    pub fn unusable(&self) -> u64 {
        self.unusable
    }

    /// A flow for each shape, the most frequent first. `filter` is what was watched: the names that it gives to levels are
    /// kept.
    #[must_use]
    pub fn proposals(&self, filter: &str) -> Vec<LearnedFlow> {
        let mut shapes: Vec<&SeenShape> = self.shapes.iter().collect();
        shapes.sort_by_key(|shape| std::cmp::Reverse(shape.fields.messages()));
        let mut proposals: Vec<LearnedFlow> = Vec::new();
        for shape in shapes {
            let mut proposal = LearnedFlow::of(shape, filter);
            proposal.count_others(&self.shapes);
            proposal.distinguish(&proposals);
            proposals.push(proposal);
        }
        proposals
    }
}

#[cfg(test)]
mod tests;
