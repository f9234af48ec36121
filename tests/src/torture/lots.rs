//! The messages of a run: what each says, and what is due to it.

use super::plan::Payloads;
use serde_json::{Value, json};

/// The flow that stores all messages below `torture`.
pub(super) const STORED: &str = "TORTURE_STORED";
/// The flow that posts some of them.
pub(super) const POSTED: &str = "TORTURE_POSTED";
/// A second flow that stores some of them.
pub(super) const SHARED: &str = "TORTURE_SHARED";
/// The flow that publishes some of them once more.
pub(super) const PUBLISHED: &str = "TORTURE_PUBLISHED";
/// The flow that stores changes, and holds back what is no change.
pub(super) const CHANGED: &str = "TORTURE_CHANGED";
/// The flow that holds back what comes too soon.
pub(super) const THINNED: &str = "TORTURE_THINNED";
/// Where the flow [`PUBLISHED`] publishes.
pub(super) const OUT: &str = "out/torture";
/// How many flows there are.
pub(super) const FLOWS: usize = 6;

/// After so many messages the lots repeat themselves.
const CYCLE: u64 = 20;
/// So many cycles have the same value for the flow [`CHANGED`].
const CYCLES_OF_A_VALUE: u64 = 10;
const RETAINED_TOPICS: u64 = 8;

/// What is due to a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lot {
    /// A row.
    Stored,
    /// A row, and a call.
    Posted,
    /// A row of each of two flows.
    Shared,
    /// A row, and a message to the subscriber.
    Published,
    /// A row, though the broker keeps it as the last one of its topic, and sends it again when asked.
    Retained,
    /// A dead letter.
    Refused,
    /// At most one row, and at least one of all that have the same value.
    Changed,
    /// At most one row.
    Thinned,
    /// It is carried out in time and once, or not at all.
    Command,
    /// Nothing: only an interface hears it.
    Status,
}

impl Lot {
    /// By its place in the order of publishing.
    pub(super) fn of(index: u64) -> Self {
        match index % CYCLE {
            0 => Lot::Posted,
            3 => Lot::Command,
            5 => Lot::Status,
            7 => Lot::Refused,
            9 => Lot::Changed,
            11 => Lot::Thinned,
            13 => Lot::Published,
            15 => Lot::Retained,
            17 => Lot::Shared,
            _ => Lot::Stored,
        }
    }

    /// Whether the flow [`STORED`] stores it.
    pub(super) fn is_stored(self) -> bool {
        use Lot::{Posted, Published, Retained, Shared, Stored};
        matches!(self, Stored | Posted | Shared | Published | Retained)
    }

    /// Whether it is stored by [`STORED`] or a dead letter, so that what has come can be counted.
    fn is_accounted(self) -> bool {
        self.is_stored() || self == Lot::Refused
    }
}

/// How many messages before this one are stored or dead letters in the end.
pub(super) fn accounted_before(index: u64) -> u64 {
    let in_cycles = |range: std::ops::Range<u64>| range.filter(|one| Lot::of(*one).is_accounted()).count() as u64;
    index / CYCLE * in_cycles(0..CYCLE) + in_cycles(0..index % CYCLE)
}

/// The first message behind so many that are stored or dead letters in the end.
pub(super) fn index_behind(accounted: u64) -> u64 {
    // Whole cycles first, and the rest one by one.
    let whole = accounted / accounted_before(CYCLE).max(1);
    (whole * CYCLE..).find(|index| accounted_before(*index) >= accounted).unwrap_or(u64::MAX)
}

/// The value that the flow [`CHANGED`] looks at.
pub(super) fn value(index: u64) -> u64 {
    index / (CYCLE * CYCLES_OF_A_VALUE)
}

/// A message as it is published.
pub(super) struct Message {
    pub(super) topic: String,
    pub(super) payload: String,
    pub(super) retain: bool,
}

impl Message {
    /// Equal ones bear no number but in what must be told apart: commands.
    pub(super) fn of(index: u64, payloads: Payloads) -> Self {
        let lot = Lot::of(index);
        let (number, value) = match payloads {
            Payloads::Distinct => (index, value(index)),
            Payloads::Equal => (0, 0),
        };
        let topic = match lot {
            Lot::Stored => "torture/stored".to_owned(),
            Lot::Posted => "torture/posted".to_owned(),
            Lot::Shared => "torture/shared/both".to_owned(),
            Lot::Published => "torture/published".to_owned(),
            Lot::Retained => format!("torture/retained/{}", index / CYCLE % RETAINED_TOPICS),
            Lot::Refused => "torture/refused".to_owned(),
            Lot::Changed => "held/changes".to_owned(),
            Lot::Thinned => "held/moments".to_owned(),
            Lot::Command => "house/bells/hub/hall/bell/phone/C".to_owned(),
            Lot::Status => "house/bells/hub/attic/button/button/S".to_owned(),
        };
        let payload = match lot {
            Lot::Refused => json!({"n": number.to_string(), "v": 21.5}),
            Lot::Changed => json!({"n": number, "c": value}),
            Lot::Command => json!({"action": "RING", "n": index}),
            Lot::Status => json!({"action": "PRESSED"}),
            _ => json!({"n": number, "v": 21.5}),
        };
        Message { topic, payload: payload.to_string(), retain: lot == Lot::Retained }
    }
}

/// Statements that make all flows. They come into force with the last one: no reload sees only some.
pub(super) fn flows(endpoint: &str) -> Vec<String> {
    let publish = json!({"actions": [{"type": "PUBLISH", "topic": OUT, "qos": 1}]});
    let flows: [(&str, &str, &str, &str, Option<Value>); FLOWS] = [
        (STORED, "torture/#", "STORE_DB", r#"{"n":"int","v":"float"}"#, None),
        (POSTED, "torture/posted", "POST_ENDPOINT", r#"{"n":"int"}"#, None),
        (SHARED, "torture/+/both", "STORE_DB", r#"{"n":"int"}"#, None),
        (PUBLISHED, "torture/published", "PUBLISH", r#"{"n":"int"}"#, Some(publish)),
        (CHANGED, "held/changes", "STORE_DB", r#"{"n":"int","c":"int"}"#, Some(json!({"on_change": ["c"]}))),
        (THINNED, "held/moments", "STORE_DB", r#"{"n":"int"}"#, Some(json!({"min_interval": "200ms"}))),
    ];
    let mut statements = Vec::new();
    for (code, topic, action, schema, options) in flows {
        let url = if action == "POST_ENDPOINT" { format!("'{endpoint}'") } else { "NULL".to_owned() };
        statements.push(format!(
            "INSERT INTO flows (code, description, topic, action, payload_schema, endpoint_url, enabled)
             VALUES ('{code}', '', '{topic}', '{action}', '{schema}', {url}, 1 = 0)"
        ));
        if let Some(options) = options {
            statements.push(format!(
                "INSERT INTO hearthgate_flow_options (flow_id, flow_code, options)
                 SELECT id, code, '{options}' FROM flows WHERE code = '{code}'"
            ));
        }
    }
    statements.push("UPDATE flows SET enabled = (1 = 1) WHERE code LIKE 'TORTURE_%'".to_owned());
    statements
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_accounted_for_leads_back_to_the_messages() {
        for index in 0..100 {
            let behind = index_behind(accounted_before(index));
            assert!(behind <= index, "{behind} behind {index}");
            assert!((behind..index).all(|between| !Lot::of(between).is_accounted()), "{behind} to {index}");
        }
    }
}
