//! What holds for any input at all: no panic, and the same answer from two ways of finding it.
#![expect(clippy::unwrap_used, reason = "a test ends with its first surprise, in its helpers too")]

use hearthgate_domain::flow::{Flow, FlowRow};
use hearthgate_domain::mapping::internal_msg::InternalMsg;
use hearthgate_domain::mapping::{KeywordMaps, MessageCodec};
use hearthgate_domain::payload::{JsonKind, JsonPayload, PayloadError, RawJson, ValueFormat, field_text};
use hearthgate_domain::routing::FilterTree;
use hearthgate_domain::schema::PayloadSchema;
use hearthgate_domain::topic::{TopicFilter, TopicSubscription, validate_topic_name};
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use std::sync::Arc;

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_filter("JSON has no infinity", |float| float.is_finite()).prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((".{0,6}", inner), 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn object() -> impl Strategy<Value = Map<String, Value>> {
    prop::collection::vec((".{0,6}", value()), 0..6).prop_map(|members| members.into_iter().collect())
}

/// JSON objects with a few bytes changed, put in or taken out: mostly wrong, but nearly right.
fn nearly_json() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        any::<u8>(),
        prop::sample::select(b"{}[]\",:\\ u0123456789abdefnrt.+-E\n\x00\x1f\x7f\xc3\xed".to_vec()),
    ];
    let edits = prop::collection::vec((any::<prop::sample::Index>(), 0_u8..3, byte), 0..4);
    (object(), any::<bool>(), edits).prop_map(|(object, pretty, edits)| {
        let text = if pretty { serde_json::to_vec_pretty(&object) } else { serde_json::to_vec(&object) };
        let mut text = text.unwrap();
        for (at, edit, byte) in edits {
            let at = at.index(text.len() + 1).min(text.len().saturating_sub(1));
            match edit {
                0 => text.insert(at, byte),
                1 if !text.is_empty() => drop(text.remove(at)),
                _ if !text.is_empty() => text[at] = byte,
                _ => {}
            }
        }
        text
    })
}

fn level() -> impl Strategy<Value = String> {
    prop_oneof![4 => prop::sample::select(vec!["a", "b", "c", "", "$x"]), 1 => Just("ü")].prop_map(str::to_string)
}

fn topic() -> impl Strategy<Value = String> {
    prop::collection::vec(level(), 1..5)
        .prop_map(|levels| levels.join("/"))
        .prop_filter("empty", |topic| !topic.is_empty())
}

fn filter() -> impl Strategy<Value = TopicFilter> {
    let level = prop_oneof![3 => level(), 2 => Just("+".to_string())];
    (prop::collection::vec(level, 0..5), any::<bool>()).prop_filter_map("no filter", |(mut levels, hash)| {
        if hash {
            levels.push("#".to_string());
        }
        TopicFilter::parse(&levels.join("/")).ok()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn a_payload_of_any_bytes_is_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        drop(JsonPayload::parse(&bytes));
        let mut braced = b"{\"a\":".to_vec();
        braced.extend(&bytes);
        drop(JsonPayload::parse(&braced));
    }

    #[test]
    fn the_scanner_and_serde_json_agree_on_what_is_json(bytes in nearly_json()) {
        let reference = serde_json::from_slice::<Map<String, Value>>(&bytes);
        match (JsonPayload::parse(&bytes), reference) {
            (Ok(payload), Ok(reference)) => prop_assert_eq!(payload.to_value().unwrap(), Value::Object(reference)),
            // A number that is no double is JSON all the same.
            (Ok(payload), Err(_)) => prop_assert!(payload.to_value().is_err()),
            (Err(error), Err(_)) => prop_assert!(!error.to_string().is_empty()),
            (Err(error), Ok(_)) => prop_assert!(false, "refused: {}", error),
        }
    }

    #[test]
    fn the_text_of_a_field_is_its_value(object in object(), pretty in any::<bool>()) {
        let text = if pretty { serde_json::to_string_pretty(&object) } else { serde_json::to_string(&object) };
        let text = text.unwrap();
        let payload = JsonPayload::parse_text(&text).unwrap();
        for (field, (name, value)) in payload.fields().iter().zip(&object) {
            prop_assert_eq!(&field.name, name);
            let written = field_text(&field.value, ValueFormat::Json);
            match value {
                Value::String(text) => prop_assert_eq!(&written, text),
                other => prop_assert_eq!(written.into_owned(), serde_json::to_string(other).unwrap()),
            }
            let python = field_text(&field.value, ValueFormat::Python);
            if matches!(field.value.kind(), JsonKind::Array | JsonKind::Object | JsonKind::Number) {
                prop_assert_eq!(&serde_json::from_str::<Value>(&python).unwrap(), value);
            }
        }
    }

    #[test]
    fn escapes_of_any_text_are_resolved(text in any::<String>()) {
        let units: String = text.encode_utf16().map(|unit| format!("\\u{unit:04X}")).collect();
        let quoted = format!("\"{units}\"");
        let json = RawJson::parse(&quoted).unwrap();
        prop_assert_eq!(json.as_str().unwrap(), text);
    }

    #[test]
    fn the_tree_finds_what_matches_one_by_one(filters in prop::collection::vec(filter(), 0..30), topics in prop::collection::vec(topic(), 1..10), gone in 0_usize..30) {
        let mut tree = FilterTree::new();
        for (index, filter) in filters.iter().enumerate() {
            tree.insert(filter, index);
        }
        let gone = gone.min(filters.len());
        for (index, filter) in filters.iter().enumerate().take(gone) {
            prop_assert_eq!(tree.remove(filter, |value| *value == index), Some(index));
        }
        prop_assert_eq!(tree.len(), filters.len() - gone);
        for topic in &topics {
            let mut found = Vec::new();
            tree.for_each_match(topic, |index| found.push(*index));
            found.sort_unstable();
            let expected: Vec<usize> = (gone..filters.len()).filter(|index| filters[*index].matches(topic)).collect();
            prop_assert_eq!(found, expected, "{}", topic);
        }
    }

    #[test]
    fn topics_and_filters_of_any_text_are_taken_or_refused(text in any::<String>(), topic in any::<String>()) {
        if let (Ok(subscription), Ok(())) = (TopicSubscription::parse(&text), validate_topic_name(&topic)) {
            let mut tree = FilterTree::new();
            tree.insert(&subscription.filter, ());
            let mut found = false;
            tree.for_each_match(&topic, |()| found = true);
            prop_assert_eq!(found, subscription.filter.matches(&topic));
        }
        drop(KeywordMaps::from_json(&text));
    }

    #[test]
    fn any_message_from_the_wire_is_read_or_refused(topic in "[^/]{0,3}(/[^/]{0,3}){5,7}/[CSx]?", payload in nearly_json()) {
        let codec = MessageCodec::new(Arc::new(KeywordMaps::none("home", Vec::new()).unwrap()), "me");
        if let Ok(message) = codec.decode(&topic, &payload) {
            drop(codec.encode(&message));
        }
    }

    #[test]
    fn what_is_encoded_is_decoded_to_the_same(
        iscmd in any::<bool>(),
        levels in prop::array::uniform5("[^/+#\0]{1,5}"),
        action in "[a-zA-Z_ü\"\\\\]{1,8}",
        arguments in prop::collection::vec((".{0,6}", value()), 0..20),
    ) {
        let [function, gateway, location, device, sender] = levels;
        let arguments: Map<String, Value> = arguments.into_iter().filter(|(key, _)| key != "action").collect();
        let message = InternalMsg { iscmd, function, gateway, location, device, sender, action, arguments };
        let codec = MessageCodec::new(Arc::new(KeywordMaps::none("home", Vec::new()).unwrap()), "me");
        let encoded = codec.encode(&message).unwrap();
        prop_assert!(message.arguments.is_empty() || encoded.payload.is_ascii());
        prop_assert_eq!(codec.decode(&encoded.topic, encoded.payload.as_bytes()).unwrap(), message);
    }

    #[test]
    fn a_flow_of_any_texts_is_compiled_or_refused(topic in "[a-c+#/{}]{0,8}", schema in nearly_json(), options in nearly_json()) {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let row = FlowRow { code: "F".into(), topic, action: "STORE_DB".into(), payload_schema: text(schema), options: Some(text(options)), ..FlowRow::default() };
        drop(Flow::compile(row));
    }

    #[test]
    fn a_schema_of_any_json_is_compiled_or_refused(schema in object(), payload in object()) {
        let text = serde_json::to_string(&payload).unwrap();
        let payload = JsonPayload::parse_text(&text).unwrap();
        for schema in [Value::Object(schema.clone()), json!({"properties": schema})] {
            if let Ok(schema) = PayloadSchema::compile(&schema) {
                drop(schema.validate(&payload));
            }
        }
    }
}

#[test]
fn a_map_file_nested_without_end_is_refused() {
    let deep = format!("{{\"root\": \"r\", \"topics\": {}", "[".repeat(100_000));
    assert!(KeywordMaps::from_json(&deep).is_err());
    assert!(matches!(JsonPayload::parse_text(&deep), Err(PayloadError::TooDeep { .. })));
}
