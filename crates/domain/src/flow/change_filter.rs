//! Which messages of a flow count: only what changed, not too often, and of retained ones perhaps only the first.
//!
//! A gate keeps what it saw of each topic, so that `sensors/+` is not one sensor but many. It keeps the topics that were
//! in use last and forgets others, whose next message then counts. Of a topic it keeps a digest, so that its memory does not
//! depend on how long topics are: about 5 MB at most. That two topics share a digest, and one keeps the other's messages
//! back, has a chance of 10⁻⁹ when all places are taken; the digests differ from run to run.

use crate::delivery::UnixMicros;
use crate::flow::{Flow, OnChange, RetainedPolicy};
use crate::payload::{JsonPayload, RawJson, ValueFormat, field_text};
use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::time::Duration;

/// The gate of one flow.
///
/// [`check`](Self::check) changes nothing; [`passed`](Self::passed) is told when a message was taken into the journal.
/// When the journal then fails, and the sender will send again, [`forget`](Self::forget) makes the messages count anew.
#[derive(Debug)]
pub struct ChangeFilter {
    rules: Rules,
    hasher: RandomState,
    topics: Recent,
}

/// Whether a message counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeVerdict {
    /// It does.
    Pass,
    /// It is retained, and the flow does not want it (any more).
    Retained,
    /// It says what the last one of its topic said.
    Unchanged,
    /// The last one of its topic was not long enough ago.
    TooSoon,
}

#[derive(Clone, Debug)]
struct Rules {
    retained: RetainedPolicy,
    on_change: Option<OnChange>,
    min_interval: Option<Duration>,
}

/// What is known of a topic.
#[derive(Clone, Copy, Debug)]
struct Seen {
    /// Of the fields that matter.
    hash: u64,
    /// When the last message passed.
    at: UnixMicros,
}

/// Topics that a gate remembers at least; at most twice as many.
const TOPICS: usize = 50_000;

impl ChangeFilter {
    /// The gate of a flow; none for a flow that wants every message.
    #[must_use]
    pub fn for_flow(flow: &Flow) -> Option<Self> {
        let rules =
            Rules { retained: flow.retained, on_change: flow.on_change.clone(), min_interval: flow.min_interval };
        let open =
            rules.retained == RetainedPolicy::Process && rules.on_change.is_none() && rules.min_interval.is_none();
        (!open).then(|| Self { rules, hasher: RandomState::new(), topics: Recent::default() })
    }

    /// Whether a message counts. `retain` is the flag of the message that came in, `now` the time of its receipt.
    #[must_use]
    pub fn check(&self, topic: &str, payload: &JsonPayload<'_>, retain: bool, now: UnixMicros) -> ChangeVerdict {
        let seen = self.topics.get(self.digest(topic));
        match (retain, self.rules.retained, seen) {
            (true, RetainedPolicy::Skip, _) | (true, RetainedPolicy::FirstOnly, Some(_)) => {
                return ChangeVerdict::Retained;
            }
            (_, RetainedPolicy::Process | RetainedPolicy::FirstOnly, _) | (false, RetainedPolicy::Skip, _) => {}
        }
        let Some(seen) = seen else { return ChangeVerdict::Pass };
        if self.rules.on_change.is_some() && self.hash(payload) == seen.hash {
            return ChangeVerdict::Unchanged;
        }
        // A clock that was set back must not close the gate.
        let since = Duration::from_micros(u64::try_from(now.saturating_sub(seen.at)).unwrap_or(u64::MAX));
        if self.rules.min_interval.is_some_and(|interval| since < interval) {
            return ChangeVerdict::TooSoon;
        }
        ChangeVerdict::Pass
    }

    /// A message for which [`check`](Self::check) said [`ChangeVerdict::Pass`] was taken.
    pub fn passed(&mut self, topic: &str, payload: &JsonPayload<'_>, now: UnixMicros) {
        let hash = self.hash(payload);
        self.topics.put(self.digest(topic), Seen { hash, at: now });
    }

    fn digest(&self, topic: &str) -> TopicDigest {
        self.hasher.hash_one(topic)
    }

    /// Of the fields that matter, whatever their order.
    fn hash(&self, payload: &JsonPayload<'_>) -> u64 {
        let one = |name: &str, value: Option<RawJson<'_>>| {
            let mut hasher = self.hasher.build_hasher();
            name.hash(&mut hasher);
            let text = value.map(|value| (value.kind() as u8, field_text(&value, ValueFormat::Json)));
            text.hash(&mut hasher);
            hasher.finish()
        };
        match &self.rules.on_change {
            None => 0,
            Some(OnChange::All) => {
                let hashes = payload.fields().iter().map(|field| one(&field.name, Some(field.value)));
                hashes.fold(0, u64::wrapping_add)
            }
            Some(OnChange::Fields(names)) => {
                names.iter().map(|name| one(name, payload.get(name))).fold(0, u64::wrapping_add)
            }
        }
    }
}

/// Topics in two generations: when the young one is full it becomes the old one, and what was old and not used since
/// is gone.
#[derive(Debug, Default)]
struct Recent {
    young: HashMap<TopicDigest, Seen>,
    old: HashMap<TopicDigest, Seen>,
}

type TopicDigest = u64;

impl Recent {
    fn get(&self, topic: TopicDigest) -> Option<Seen> {
        self.young.get(&topic).or_else(|| self.old.get(&topic)).copied()
    }

    fn put(&mut self, topic: TopicDigest, seen: Seen) {
        if let Some(known) = self.young.get_mut(&topic) {
            *known = seen;
            return;
        }
        self.old.remove(&topic);
        if self.young.len() >= TOPICS {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(topic, seen);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::FlowRow;

    const SECOND: UnixMicros = 1_000_000;

    fn gate(options: &str) -> Option<ChangeFilter> {
        let row = FlowRow {
            code: "F".into(),
            topic: "#".into(),
            action: "STORE_DB".into(),
            payload_schema: "{}".into(),
            options: Some(options.into()),
            ..FlowRow::default()
        };
        ChangeFilter::for_flow(&Flow::compile(row).unwrap())
    }

    /// Checks and, if it may pass, passes.
    fn send(gate: &mut ChangeFilter, topic: &str, payload: &str, retain: bool, now: UnixMicros) -> ChangeVerdict {
        let payload = JsonPayload::parse_text(payload).unwrap();
        let verdict = gate.check(topic, &payload, retain, now);
        if verdict == ChangeVerdict::Pass {
            gate.passed(topic, &payload, now);
        }
        verdict
    }

    #[test]
    fn a_flow_without_such_options_has_no_gate() {
        assert!(gate("{}").is_none());
    }

    #[test]
    fn only_a_change_passes_for_each_topic_by_itself() {
        let mut gate = gate(r#"{"on_change": true}"#).unwrap();
        assert_eq!(send(&mut gate, "a", r#"{"t": 1, "u": [1, 2]}"#, false, 0), ChangeVerdict::Pass);
        assert_eq!(send(&mut gate, "a", r#"{"u":[1,2],"t":1}"#, false, 1), ChangeVerdict::Unchanged);
        assert_eq!(send(&mut gate, "b", r#"{"t": 1, "u": [1, 2]}"#, false, 2), ChangeVerdict::Pass);
        assert_eq!(send(&mut gate, "a", r#"{"t": "1", "u": [1, 2]}"#, false, 3), ChangeVerdict::Pass);
    }

    #[test]
    fn with_a_list_only_its_fields_count() {
        let mut gate = gate(r#"{"on_change": ["t"]}"#).unwrap();
        assert_eq!(send(&mut gate, "a", r#"{"t": 1, "seq": 1}"#, false, 0), ChangeVerdict::Pass);
        assert_eq!(send(&mut gate, "a", r#"{"t": 1, "seq": 2}"#, false, 0), ChangeVerdict::Unchanged);
        assert_eq!(send(&mut gate, "a", r#"{"seq": 2}"#, false, 0), ChangeVerdict::Pass);
        assert_eq!(send(&mut gate, "a", r#"{"t": null}"#, false, 0), ChangeVerdict::Pass);
    }

    #[test]
    fn within_the_interval_nothing_passes_and_a_clock_set_back_does_no_harm() {
        let mut gate = gate(r#"{"min_interval": "10s"}"#).unwrap();
        assert_eq!(send(&mut gate, "a", "{}", false, 100 * SECOND), ChangeVerdict::Pass);
        assert_eq!(send(&mut gate, "a", "{}", false, 109 * SECOND), ChangeVerdict::TooSoon);
        assert_eq!(send(&mut gate, "a", "{}", false, 110 * SECOND), ChangeVerdict::Pass);
        assert_eq!(send(&mut gate, "a", "{}", false, 5 * SECOND), ChangeVerdict::Pass);
    }

    #[test]
    fn retained_messages_are_skipped_or_taken_once() {
        let mut skipping = gate(r#"{"retained": "skip"}"#).unwrap();
        assert_eq!(send(&mut skipping, "a", "{}", true, 0), ChangeVerdict::Retained);
        assert_eq!(send(&mut skipping, "a", "{}", false, 0), ChangeVerdict::Pass);
        let mut first = gate(r#"{"retained": "first_only"}"#).unwrap();
        assert_eq!(send(&mut first, "a", "{}", true, 0), ChangeVerdict::Pass);
        assert_eq!(send(&mut first, "a", "{}", true, 0), ChangeVerdict::Retained);
        assert_eq!(send(&mut first, "b", "{}", true, 0), ChangeVerdict::Pass);
        assert_eq!(send(&mut first, "a", "{}", false, 0), ChangeVerdict::Pass);
    }

    #[test]
    fn the_memory_is_bounded() {
        let mut gate = gate(r#"{"on_change": true}"#).unwrap();
        for number in 0..TOPICS * 3 {
            send(&mut gate, &format!("t/{number}"), "{}", false, 0);
        }
        assert!(gate.topics.young.len() + gate.topics.old.len() <= TOPICS * 2);
        assert!(size_of::<(TopicDigest, Seen)>() <= 24, "however long the topics are");
        assert_eq!(send(&mut gate, &format!("t/{}", TOPICS * 3 - 1), "{}", false, 0), ChangeVerdict::Unchanged);
    }
}
