//! Which retained messages, sent because somebody subscribed, a flow has stored before.

use super::group::RouteDecision;
use hearthgate_domain::delivery::InboundMessage;
use hearthgate_domain::flow::{Flow, RetainedPolicy};
use hearthgate_storage::journal::{FlowKey, LatestDigest, LatestDigests, content_hash, topic_hash};
use std::collections::HashMap;

/// What flows store last of each topic with the group in hand, which the journal does not have yet.
pub(super) struct LastStored {
    group: HashMap<(Option<i64>, u64), LatestDigest>,
    /// Without a retained message in the group nobody asks.
    is_followed: bool,
}

impl LastStored {
    /// For a group, before its first message.
    pub(super) fn new(has_retained: bool) -> Self {
        LastStored { group: HashMap::new(), is_followed: has_retained }
    }

    /// The decisions whose flows have stored this message before it came this time.
    pub(super) fn known(
        &self,
        journal: &LatestDigests,
        message: &InboundMessage,
        decisions: &[RouteDecision],
    ) -> Vec<usize> {
        let is_repeated = message.origin.is_some_and(|origin| origin.dup);
        if !message.retain && !is_repeated {
            return Vec::new();
        }
        (0..decisions.len()).filter(|index| self.has(journal, message, &decisions[*index], decisions)).collect()
    }

    /// A retained one has come before if its content was the last of its topic. One that the embedded broker had from
    /// before its process may be older than that; so it counts for a flow that has stored nothing of the topic, and for
    /// no other. Then its publisher may send it once more, as it has no acknowledgement.
    fn has(
        &self,
        journal: &LatestDigests,
        message: &InboundMessage,
        decision: &RouteDecision,
        decisions: &[RouteDecision],
    ) -> bool {
        let Some(flow) = decision.flow_key() else { return false };
        let topic = topic_hash(&message.topic);
        let in_group = self.group.get(&(flow.id, topic)).copied();
        let Some(stored) = in_group.or_else(|| journal.get(flow, topic)) else { return false };
        // Of several records the last one is known.
        let last = decisions.iter().rev().find(|other| other.flow_key() == Some(flow)).unwrap_or(decision);
        let is_same = stored.has(content_hash(&message.topic, last.payload_of(message)));
        if !message.retain {
            return is_same && stored.is_restored();
        }
        is_same || message.is_restored || wants_the_first_only(decision)
    }

    /// The flows of these decisions store a message.
    pub(super) fn follow(&mut self, message: &InboundMessage, decisions: &[RouteDecision]) {
        if !self.is_followed {
            return;
        }
        for (flow, topic, digest) in digests(message, decisions) {
            self.group.insert((flow.id, topic), digest);
        }
    }
}

/// What the flows of these decisions have stored last when they have stored the message.
pub(super) fn digests(
    message: &InboundMessage,
    decisions: &[RouteDecision],
) -> impl Iterator<Item = (FlowKey, u64, LatestDigest)> {
    decisions.iter().filter_map(|decision| {
        let flow = decision.flow_key()?;
        let content = content_hash(&message.topic, decision.payload_of(message));
        Some((flow, topic_hash(&message.topic), LatestDigest::new(content, message.is_restored)))
    })
}

fn wants_the_first_only(decision: &RouteDecision) -> bool {
    let has_key = |flow: &Flow| flow.reading.as_ref().is_some_and(|reading| reading.has_key());
    matches!(decision, RouteDecision::Accepted(flow) if flow.retained == RetainedPolicy::FirstOnly && !has_key(flow))
}
