//! The recorded answers under `tests/vectors`: what the Python library and MQTT's rules say, line by line.
#![expect(clippy::unwrap_used, reason = "a test ends with its first surprise, in its helpers too")]

use hearthgate_domain::mapping::internal_msg::InternalMsg;
use hearthgate_domain::mapping::{KeywordMaps, MessageCodec};
use hearthgate_domain::payload::JsonPayload;
use hearthgate_domain::routing::FilterTree;
use hearthgate_domain::schema::PayloadSchema;
use hearthgate_domain::topic::{TopicFilter, validate_topic_name};
use serde_json::Value;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

fn vectors() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors")
}

fn lines(file: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(vectors().join(file)).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn text<'a>(case: &'a Value, key: &str) -> &'a str {
    case[key].as_str().unwrap()
}

/// Codecs by map file, as the cases name them.
#[derive(Default)]
struct Codecs(HashMap<String, MessageCodec>);

impl Codecs {
    fn of(&mut self, case: &Value) -> &MessageCodec {
        let (map, name) = (text(case, "map"), text(case, "name"));
        self.0.entry(format!("{map} {name}")).or_insert_with(|| {
            let file = std::fs::read_to_string(vectors().join("mapping").join(map)).unwrap();
            MessageCodec::new(Arc::new(KeywordMaps::from_json(&file).unwrap()), name)
        })
    }
}

#[test]
fn every_topic_filter_answers_as_recorded_alone_and_in_the_tree() {
    let cases = lines("topic_filters.jsonl");
    assert_eq!(cases.len(), 300);
    for case in &cases {
        let (filter, topic) = (TopicFilter::parse(text(case, "filter")).unwrap(), text(case, "topic"));
        validate_topic_name(topic).unwrap();
        let mut tree = FilterTree::new();
        tree.insert(&filter, ());
        let mut found = false;
        tree.for_each_match(topic, |()| found = true);
        assert_eq!(filter.matches(topic), case["match"].as_bool().unwrap(), "{case}");
        assert_eq!(found, case["match"].as_bool().unwrap(), "tree: {case}");
    }
}

#[test]
fn every_message_is_decoded_as_recorded() {
    let cases = lines("mapping/decode.jsonl");
    assert_eq!(cases.len(), 499);
    let mut codecs = Codecs::default();
    for case in &cases {
        let answer = codecs.of(case).decode(text(case, "topic"), text(case, "payload").as_bytes());
        match (case["expect"].get("ok"), answer) {
            (Some(expected), Ok(message)) => {
                let answer = serde_json::to_value(&message).unwrap();
                assert_eq!(answer, *expected, "{case}");
                // Equality of objects does not look at the order of arguments.
                assert_eq!(answer["arguments"].to_string(), expected["arguments"].to_string(), "{case}");
            }
            (None, Err(error)) => assert!(error.to_string().contains(&format!("{:?}", text(case, "topic"))), "{error}"),
            (_, answer) => panic!("{case}\nanswered {answer:?}"),
        }
    }
}

#[test]
fn every_message_is_encoded_as_recorded_to_the_byte() {
    let cases = lines("mapping/encode.jsonl");
    assert_eq!(cases.len(), 499);
    let mut codecs = Codecs::default();
    for case in &cases {
        let message: InternalMsg = serde_json::from_value(case["msg"].clone()).unwrap();
        match (case["expect"].get("ok"), codecs.of(case).encode(&message)) {
            (Some(expected), Ok(encoded)) => {
                assert_eq!(encoded.topic, text(expected, "topic"), "{case}");
                assert_eq!(encoded.payload, text(expected, "payload"), "{case}");
            }
            (None, Err(_)) => {}
            (_, answer) => panic!("{case}\nanswered {answer:?}"),
        }
    }
}

#[test]
fn every_payload_schema_answers_as_recorded() {
    let cases = lines("payload_schemas.jsonl");
    assert_eq!(cases.len(), 300);
    for case in &cases {
        let answer = PayloadSchema::compile(&case["schema"]).ok().map(|schema| {
            let sent = case["payload"].to_string();
            schema.validate(&JsonPayload::parse(sent.as_bytes()).unwrap()).is_ok()
        });
        assert_eq!(answer, case["valid"].as_bool(), "{case}");
    }
}
