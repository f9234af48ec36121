//! What is told of silence: the topics, and the texts.

use hearthgate_domain::delivery::UnixMicros;
use hearthgate_domain::duration::BoundedDuration;
use serde_json::{Value, json};

/// Devices that one text names; the others are only counted.
const MOST_NAMED: usize = 1_000;
/// What a key's parts are joined with.
const JOINT: char = '\u{1f}';

/// Devices of one flow that have fallen silent, or that are back.
pub(super) struct SilenceNotice {
    pub(super) is_silent: bool,
    pub(super) keys: Vec<Box<str>>,
}

impl SilenceNotice {
    /// As the flow's `silent_actions` get it.
    pub(super) fn json(&self, code: &str, after: BoundedDuration) -> String {
        let named: Vec<Value> = self.keys.iter().take(MOST_NAMED).map(|key| shown(key)).collect();
        let count = self.keys.len();
        json!({"flow": code, "silent": self.is_silent, "after": after.to_string(), "count": count, "keys": named})
            .to_string()
    }

    /// The first ones, for the log.
    pub(super) fn named(&self) -> String {
        let first = self.keys.iter().take(5).map(|key| key.replace(JOINT, " "));
        let more = if self.keys.len() > 5 { ", …" } else { "" };
        format!("{}{more}", first.collect::<Vec<_>>().join(", "))
    }
}

/// Who of a flow is silent, for everybody.
pub(super) fn state_json(code: &str, after: BoundedDuration, silent: &[(&str, UnixMicros)]) -> String {
    let count = silent.len();
    let named: Vec<Value> = silent
        .iter()
        .take(MOST_NAMED)
        .map(|(key, since)| json!({"key": shown(key), "since": since.div_euclid(1_000_000)}))
        .collect();
    json!({"flow": code, "after": after.to_string(), "silent": count, "keys": named}).to_string()
}

/// Where that is told. What a level of a topic can't hold is replaced.
pub(super) fn state_topic(prefix: &str, code: &str) -> String {
    let level: String = code.chars().map(|c| if "/+#".contains(c) || c.is_control() { '_' } else { c }).collect();
    format!("{prefix}/flow/{level}/silent")
}

/// The parts of a key; a topic is one.
pub(super) fn key_parts(key: &str) -> Vec<String> {
    key.split(JOINT).map(str::to_owned).collect()
}

/// A key of one part is a text, another one a list.
fn shown(key: &str) -> Value {
    match &*key_parts(key) {
        [one] => json!(one),
        parts => json!(parts),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_names_the_devices_and_a_key_of_several_parts_is_a_list() {
        let keys: Vec<Box<str>> = vec!["plug".into(), "hall\u{1f}7".into()];
        let notice = SilenceNotice { is_silent: true, keys };
        let after: BoundedDuration = "90m".parse().unwrap();
        assert_eq!(
            notice.json("F", after),
            r#"{"flow":"F","silent":true,"after":"1h30m","count":2,"keys":["plug",["hall","7"]]}"#
        );
        assert_eq!(notice.named(), "plug, hall 7");
        let many = SilenceNotice { is_silent: false, keys: (0..2_000).map(|n| n.to_string().into()).collect() };
        let json: Value = serde_json::from_str(&many.json("F", after)).unwrap();
        assert_eq!((json["count"].as_u64(), json["keys"].as_array().unwrap().len()), (Some(2_000), 1_000));
        assert_eq!(many.named(), "0, 1, 2, 3, 4, …");
    }

    #[test]
    fn the_state_of_a_flow_stands_on_a_topic_of_its_own() {
        assert_eq!(state_topic("hearthgate/home", "TEMP/1+#"), "hearthgate/home/flow/TEMP_1__/silent");
        let state = state_json("F", "1h".parse().unwrap(), &[("a", 1_000_000), ("b", 2_500_000)]);
        assert_eq!(
            state,
            r#"{"flow":"F","after":"1h","silent":2,"keys":[{"key":"a","since":1},{"key":"b","since":2}]}"#
        );
    }
}
