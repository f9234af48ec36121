use super::*;
use proptest::prelude::*;
use serde_json::{Value, json};

fn reading(options: &Value) -> Result<RecordReading, Vec<String>> {
    let options = ReadingOptions {
        payload: options.get("payload"),
        fields: options.get("fields"),
        each: options.get("each"),
        when: options.get("when"),
        unfit: options.get("unfit"),
        topic: options.get("topic"),
        key: options.get("key"),
    };
    RecordReading::compile(&options).map(|reading| reading.expect("an option is given"))
}

fn source(payload: &[u8]) -> MessageSource<'_> {
    MessageSource { flow_code: "F", topic: "home/hall", captures: vec![("room", "hall")], payload }
}

fn read(options: &Value, payload: &str) -> Result<RecordOutcome, ReadingProblem> {
    reading(options).unwrap().read(&source(payload.as_bytes()))
}

fn record(options: &Value, payload: &str) -> String {
    match read(options, payload).unwrap() {
        RecordOutcome::Record(record) => record,
        RecordOutcome::Skipped(reason) => panic!("{reason}"),
    }
}

fn refusal(options: &Value, payload: &str) -> String {
    read(options, payload).unwrap_err().to_string()
}

#[test]
fn pointers_give_values_as_they_were_sent() {
    let options = json!({"fields": {"power": "/ENERGY/Power", "first": "/list/0", "all": "/ENERGY"}});
    let payload = r#"{"Time":"x","ENERGY":{ "Power":12.50,"Total":1e400},"list":["a\u00e9"]}"#;
    let expected = r#"{"all":{ "Power":12.50,"Total":1e400},"first":"a\u00e9","power":12.50}"#;
    assert_eq!(sorted(&record(&options, payload)), sorted(expected));
}

/// Fields by name: the order of an object's keys in the options is that of the JSON reader.
fn sorted(record: &str) -> Vec<(String, String)> {
    let payload = crate::payload::JsonPayload::parse_text(record).unwrap();
    let field = |field: &crate::payload::PayloadField<'_>| (field.name.to_string(), field.value.text().to_string());
    let mut fields: Vec<_> = payload.fields().iter().map(field).collect();
    fields.sort();
    fields
}

#[test]
fn a_bare_payload_is_one_value() {
    let value = json!({"payload": "value"});
    for (payload, expected) in [
        ("21.70\n\0", r#"{"value":21.70}"#),
        (" ON ", r#"{"value":"ON"}"#),
        ("true", r#"{"value":true}"#),
        ("\"x\"", r#"{"value":"x"}"#),
        ("{\"a\":1}", r#"{"value":"{\"a\":1}"}"#),
        ("007", r#"{"value":"007"}"#),
    ] {
        assert_eq!(record(&value, payload), expected, "{payload}");
    }
    assert_eq!(record(&json!({"payload": "text"}), "21.7"), r#"{"value":"21.7"}"#);
    let named = json!({"payload": "value", "fields": {"on": {"from": "/value", "as": "boolean"}}, "topic": true});
    assert_eq!(record(&named, "ON"), r#"{"on":true,"topic":"home/hall"}"#);
    assert!(reading(&value).unwrap().read(&source(b"\xff")).is_err());
}

#[test]
fn a_source_converts_maps_and_falls_back() {
    let one = |rule: Value, payload: &str| record(&json!({"fields": {"f": rule}}), payload);
    assert_eq!(one(json!({"from": "/t", "as": "number"}), r#"{"t":" 22.50"}"#), r#"{"f":22.50}"#);
    assert_eq!(one(json!({"from": "/t", "as": "integer"}), r#"{"t":22.0}"#), r#"{"f":22}"#);
    assert_eq!(one(json!({"from": "/t", "as": "text"}), r#"{"t":22.50}"#), r#"{"f":"22.50"}"#);
    assert_eq!(one(json!({"from": "/t", "as": "number"}), r#"{"t":null}"#), r#"{"f":null}"#);
    assert_eq!(one(json!({"from": ["/a", "/t"]}), r#"{"t":1}"#), r#"{"f":1}"#);
    let switch = json!({"from": "/s", "map": {"ON": true, "OFF": false}});
    assert_eq!(one(switch.clone(), r#"{"s":"OFF"}"#), r#"{"f":false}"#);
    let with_default = json!({"from": "/s", "map": {"1": "low"}, "default": "other"});
    assert_eq!(one(with_default.clone(), r#"{"s":1}"#), r#"{"f":"low"}"#);
    assert_eq!(one(with_default.clone(), r#"{"s":7}"#), r#"{"f":"other"}"#);
    assert_eq!(one(with_default, "{}"), r#"{"f":"other"}"#);
    assert_eq!(one(json!({"from": "/x", "optional": true}), "{}"), "{}");
    let refused = |rule: Value, payload: &str| refusal(&json!({"fields": {"f": rule}}), payload);
    assert_eq!(refused(json!({"from": "/t", "as": "number"}), r#"{"t":"warm"}"#), "field \"f\": \"warm\" is no number");
    assert_eq!(refused(json!({"from": "/t", "as": "integer"}), r#"{"t":22.5}"#), "field \"f\": \"22.5\" is no integer");
    assert!(refused(switch, r#"{"s":"DIM"}"#).contains("is none of"));
    assert_eq!(refused(json!("/a/b"), "{}"), "field \"f\": /a/b is not there");
}

#[test]
fn an_expression_sees_what_templates_see() {
    let one = |source: &str, payload: &str| record(&json!({"fields": {"f": {"expr": source}}}), payload);
    assert_eq!(one("payload.t * 9 / 5 + 32", r#"{"t":20}"#), r#"{"f":68.0}"#);
    assert_eq!(one("captures.room ~ '/' ~ levels[0]", "{}"), r#"{"f":"hall/home"}"#);
    assert_eq!(one("payload.a.b is defined", "{}"), r#"{"f":false}"#);
    assert!(refusal(&json!({"fields": {"f": {"expr": "payload.t"}}}), "{}").contains("payload.t is not there"));
    assert!(refusal(&json!({"fields": {"f": {"expr": "payload.t + 2"}}}), r#"{"t":"x"}"#).contains("payload.t + 2"));
}

#[test]
fn flatten_names_leaves_by_their_path() {
    let flatten = json!({"fields": "flatten"});
    let payload = r#"{"ENERGY":{"Power":1.0},"readings":[{"t":2},{"t":3}],"none":{}}"#;
    let expected = r#"{"ENERGY_Power":1.0,"readings_0_t":2,"readings_1_t":3,"none":{}}"#;
    assert_eq!(record(&flatten, payload), expected);
    assert!(refusal(&flatten, r#"{"a":{"b":1},"a_b":2}"#).contains("two fields of the name \"a_b\""));
    assert!(refusal(&flatten, "1").contains("needs an object"));
}

#[test]
fn each_element_is_a_payload_of_its_own() {
    let options = json!({"each": "/r", "fields": {"t": "/t", "site": "^/site", "n": {"expr": "element.t + 1"}}});
    let reading = reading(&options).unwrap();
    let payload = r#"{"site":"x", "r": [ {"t":1.50}, {"t":2} ], "z":0}"#;
    let parts = reading.split(payload.as_bytes()).unwrap().unwrap();
    let texts: Vec<_> = parts.iter().map(|part| String::from_utf8_lossy(part).into_owned()).collect();
    assert_eq!(texts, [r#"{"site":"x", "r": [{"t":1.50}], "z":0}"#, r#"{"site":"x", "r": [{"t":2}], "z":0}"#]);
    assert_eq!(sorted(&record(&options, &texts[0])), sorted(r#"{"t":1.50,"site":"x","n":2.5}"#));
    assert_eq!(reading.split(texts[0].as_bytes()).unwrap(), None, "one element is a message as it is");
    assert_eq!(record(&json!({"each": ""}), r#"[{"t":1}]"#), r#"{"t":1}"#);
    assert!(matches!(read(&options, r#"{"r":[]}"#), Ok(RecordOutcome::Skipped(_))));
    assert!(refusal(&options, r#"{"site":"x"}"#).contains("is no array"));
    assert!(refusal(&options, payload).contains("2 elements"));
}

#[test]
fn what_does_not_hold_is_skipped() {
    let options = json!({"when": "payload.climate is defined and captures.room != 'bridge'"});
    assert!(matches!(read(&options, "{}"), Ok(RecordOutcome::Skipped(_))));
    assert_eq!(record(&options, r#"{"climate": 1}"#), r#"{"climate":1}"#);
    assert!(matches!(
        read(&json!({"when": "payload.r is defined", "each": "/r"}), "{}"),
        Ok(RecordOutcome::Skipped(_))
    ));
}

#[test]
fn a_condition_on_the_topic_alone_skips_what_is_no_json_too() {
    let options = json!({"when": "captures.room != 'hall'"});
    assert!(matches!(read(&options, "online"), Ok(RecordOutcome::Skipped(_))));
    assert!(refusal(&json!({"when": "captures.room == 'hall'"}), "online").contains("not valid JSON"));
    assert!(refusal(&json!({"when": "payload.t and captures.room != 'hall'"}), "online").contains("not valid JSON"));
}

#[test]
fn a_key_is_made_of_its_parts() {
    let reading = reading(&json!({"key": ["captures.room", "payload.id"]})).unwrap();
    assert_eq!(reading.key(&source(br#"{"id":7}"#)).unwrap().unwrap(), "hall\u{1f}7");
    assert!(reading.key(&source(b"{}")).unwrap_err().to_string().contains("payload.id is not there"));
    assert!(!reading.makes_record());
}

#[test]
fn all_that_is_wrong_is_told_at_once_with_its_place() {
    let problems = reading(&json!({
        "payload": "jason", "each": "readings", "when": "payload.", "unfit": "drop", "topic": 1,
        "fields": {"a": "x", "b": {"form": "/b"}, "c": {"from": "/c", "as": "nubmer"}, "d": 1,
            "e": {"from": "/e", "expr": "1"}},
    }))
    .unwrap_err();
    for part in [
        "payload: \"jason\" is none of json, value, text; did you mean \"json\"?",
        "each: \"readings\" is no JSON Pointer",
        "when: \"payload.\" is no expression",
        "unfit: \"drop\" is none of dead_letter, skip",
        "topic: is true or false",
        "fields.a: \"x\" is no JSON Pointer",
        "fields.b: \"form\" is none of from, as, map, default, optional, expr; did you mean \"from\"?",
        "fields.c.as: \"nubmer\" is none of number, integer, boolean, text; did you mean \"number\"?",
        "fields.d: is a JSON Pointer",
        "fields.e: has from and expr",
    ] {
        assert!(problems.iter().any(|problem| problem.starts_with(part)), "{part}: {problems:#?}");
    }
    assert_eq!(problems.len(), 11, "{problems:#?}");
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        any::<f32>().prop_filter("finite", |number| number.is_finite()).prop_map(Value::from),
        "[a-zA-Z0-9 /~_\u{0}é\"]{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map("[a-c/~]{0,2}", inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn any_rule() -> impl Strategy<Value = Value> {
    let pointer = "\\^?(/[a-c0-1]{0,2}){0,3}";
    prop_oneof![
        pointer.prop_map(Value::from),
        (pointer, prop::sample::select(vec!["number", "integer", "boolean", "text"]), any::<bool>())
            .prop_map(|(from, target, optional)| json!({"from": from, "as": target, "optional": optional})),
        (pointer, any_json()).prop_map(|(from, default)| json!({"from": [from, "/a"], "default": default})),
        (pointer, any_json()).prop_map(|(from, to)| json!({"from": from, "map": {"a": to, "1": 2}})),
        prop::sample::select(vec!["payload.a", "element.b", "payload.a + 1", "raw", "levels[3]", "payload.a.b.c"])
            .prop_map(|source| json!({"expr": source})),
    ]
}

proptest! {
    #[test]
    fn every_payload_is_read_skipped_or_refused_and_a_record_is_a_json_object(
        fields in prop_oneof![
            Just(json!("flatten")),
            prop::collection::hash_map("[a-e\"é]{1,3}", any_rule(), 1..5)
                .prop_map(|rules| Value::Object(rules.into_iter().collect())),
        ],
        form in prop::sample::select(vec!["json", "value", "text"]),
        has_each in any::<bool>(),
        payload in prop_oneof![
            any_json().prop_map(|json| json.to_string().into_bytes()),
            prop::collection::vec(any::<u8>(), 0..40),
        ],
    ) {
        let mut options = json!({"fields": fields, "payload": form, "topic": true});
        if has_each && form == "json" {
            options["each"] = json!("/a");
        }
        let reading = reading(&options).unwrap();
        let parts = reading.split(&payload).unwrap().unwrap_or_else(|| vec![payload.clone()]);
        for part in parts {
            if let Ok(RecordOutcome::Record(record)) = reading.read(&source(&part)) {
                prop_assert!(crate::payload::JsonPayload::parse_text(&record).is_ok(), "{record}");
            }
            prop_assert_eq!(reading.split(&part).unwrap(), None);
        }
    }
}
