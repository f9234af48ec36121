//! Options that cannot be meant are refused with their place, and whatever comes through options that can be meant is a record
//! or one refusal.
#![expect(clippy::unwrap_used, reason = "a test ends with its first surprise, in its helpers too")]

use hearthgate_domain::flow::{Flow, FlowRow, RecordVerdict};
use hearthgate_domain::payload::JsonPayload;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

fn compile(options: &Value, schema: &Value) -> Result<Flow, String> {
    let row = FlowRow {
        id: 1,
        code: "METER".into(),
        topic: "meter/#".into(),
        payload_schema: schema.to_string(),
        action: "STORE_DB".into(),
        options: Some(options.to_string()),
        enabled: true,
        ..FlowRow::default()
    };
    Flow::compile(row).map_err(|error| error.to_string())
}

/// Options that are in order, each by itself and together.
fn good() -> Map<String, Value> {
    let options = json!({
        "fields": {
            "power": {"from": ["/ENERGY/Power", "/power"], "as": "number", "optional": true},
            "is_on": {"from": "/state", "map": {"ON": true, "OFF": false}},
            "half": {"expr": "payload.power / 2", "default": 0},
            "name": "^/name",
        },
        "each": "/readings",
        "when": "payload.power is defined",
        "unfit": "skip",
        "topic": true,
        "key": ["payload.id", "element.id"],
        "table": "meters",
        "on_change": ["power"],
        "min_interval": "2s",
        "retained": "skip",
        "value_format": "python",
        "retention": "90d",
        "rollups": [{"every": "1h", "keep": "2y"}],
        "actions": [{"type": "LOG", "level": "warn"}],
    });
    options.as_object().unwrap().clone()
}

fn schema() -> Value {
    json!({"power": "float"})
}

/// What no option of that name can be.
fn bad_values(name: &str) -> Vec<Value> {
    let rule = |rule: Value| json!({"power": rule});
    match name {
        "fields" => [
            json!("flat"),
            json!(7),
            json!([]),
            json!({}),
            rule(json!(4)),
            rule(json!(null)),
            rule(json!("no/slash")),
            rule(json!("/bad~escape")),
            rule(json!({})),
            rule(json!({"from": 1})),
            rule(json!({"from": []})),
            rule(json!({"from": ["/a", 2]})),
            rule(json!({"from": "/a", "expr": "1"})),
            rule(json!({"from": "/a", "as": "float"})),
            rule(json!({"from": "/a", "as": 3})),
            rule(json!({"from": "/a", "map": {}})),
            rule(json!({"from": "/a", "map": []})),
            rule(json!({"from": "/a", "optional": 1})),
            rule(json!({"from": "/a", "optional": true, "default": 1})),
            rule(json!({"form": "/a"})),
            rule(json!({"from": "/a", "unit": "W"})),
            rule(json!({"expr": "payload.power +"})),
            rule(json!({"expr": "payload.power | nosuchfilter"})),
            rule(json!({"expr": "{{ payload }}"})),
            rule(json!({"expr": 5})),
        ]
        .into(),
        "each" => vec![json!("readings"), json!(1), json!({}), json!("/a~2")],
        "when" => vec![json!("payload."), json!(true), json!("a and"), json!("x | nosuchfilter"), json!([])],
        "unfit" => vec![json!("skipped"), json!("deadletter"), json!(false), json!({})],
        "topic" => vec![json!("yes"), json!(1), json!([])],
        "key" => vec![json!([]), json!(3), json!(["payload."]), json!(vec!["payload.id"; 9]), json!([1])],
        "table" => vec![json!(""), json!("flows"), json!("data"), json!(5), json!("x".repeat(64))],
        "on_change" => vec![json!(false), json!([]), json!(["nowhere"]), json!("power"), json!(3)],
        "min_interval" => vec![json!(2), json!("2"), json!("-1s"), json!("soon"), json!("")],
        "retained" => vec![json!("keep"), json!(true), json!("Skip")],
        "value_format" => vec![json!("xml"), json!(1)],
        "retention" => vec![json!(90), json!("90"), json!("three days"), json!([])],
        "rollups" => vec![json!("1h"), json!([{}]), json!([{"every": 1}]), json!([{"every": "1h", "kept": "1d"}])],
        "actions" => vec![json!("LOG"), json!([{"type": "MAIL"}]), json!([{"type": "LOG", "volume": 3}]), json!([{}])],
        other => panic!("no bad values for {other}"),
    }
}

#[test]
fn what_is_good_is_taken() {
    compile(&Value::Object(good()), &schema()).unwrap();
    for (name, value) in good() {
        if !["on_change", "rollups", "retention"].contains(&name.as_str()) {
            compile(&json!({ name: value }), &schema()).unwrap();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn options_that_cannot_be_meant_are_refused_with_their_names(
        places in prop::collection::btree_set(0..good().len(), 1..4),
        choices in prop::collection::vec(any::<prop::sample::Index>(), 4),
        typo in any::<Option<prop::sample::Index>>(),
    ) {
        let mut options = good();
        let names: Vec<String> = good().keys().cloned().collect();
        let mut wrong = Vec::new();
        for (place, choice) in places.iter().zip(&choices) {
            let name = &names[*place];
            options.insert(name.clone(), choice.get(&bad_values(name)).clone());
            wrong.push(name.clone());
        }
        if let Some(index) = typo {
            let written = format!("{}x", index.get(&names));
            options.insert(written.clone(), json!(1));
            wrong.push(written);
        }
        let refusal = compile(&Value::Object(options), &schema()).err();
        prop_assert!(refusal.is_some(), "taken: {wrong:?}");
        let refusal = refusal.unwrap();
        prop_assert!(refusal.contains("METER"), "{refusal}");
        prop_assert!(wrong.iter().any(|name| refusal.contains(name.as_str())), "{wrong:?} not in: {refusal}");
    }
}

fn payload() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1e6_f64..1e6).prop_map(Value::from),
        prop::sample::select(vec!["", "ON", "21.5", "nan", "ü\u{0}\"", "1e999", "true"]).prop_map(Value::from),
    ];
    let name = prop::sample::select(vec!["a", "b", "c", "0", "x/y", "~", ""]);
    scalar.prop_recursive(3, 24, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((name.clone(), inner), 0..5).prop_map(|members| {
                Value::Object(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
            }),
        ]
    })
}

fn rule() -> impl Strategy<Value = Value> {
    let pointer = prop::sample::select(vec!["/a", "/b/c", "/a/0", "/a/-", "/x~1y", "/~0", "/", "", "^/a"]);
    let expression = prop::sample::select(vec![
        "payload.a",
        "payload.a + 1",
        "payload.b.c",
        "payload.a | round(1)",
        "payload['a'] is defined",
        "topic",
        "payload | length",
        "element.a",
    ]);
    let target = prop::sample::select(vec![None, Some("number"), Some("integer"), Some("boolean"), Some("text")]);
    (pointer, expression, target, 0..5_u8).prop_map(|(pointer, expression, target, kind)| {
        let mut rule = match kind {
            0 => return json!(pointer),
            1 | 2 => json!({"from": [pointer, "/b"]}),
            _ => json!({"expr": expression}),
        };
        if let Some(target) = target {
            rule["as"] = json!(target);
        }
        match kind {
            1 => rule["optional"] = json!(true),
            2 => rule["map"] = json!({"ON": 1, "true": "yes"}),
            3 => rule["default"] = json!(0),
            _ => {}
        }
        rule
    })
}

fn reading() -> impl Strategy<Value = Value> {
    let fields = prop_oneof![
        4 => prop::collection::btree_map(prop::sample::select(vec!["power", "energy", "state", "t 1"]), rule(), 1..4)
            .prop_map(|rules| json!(rules)),
        1 => Just(json!("flatten")),
        1 => Just(Value::Null),
    ];
    let option = |choices: Vec<Value>| prop::sample::select(choices);
    (
        fields,
        option(vec![Value::Null, json!("json"), json!("value"), json!("text")]),
        option(vec![Value::Null, Value::Null, json!("/a"), json!("")]),
        option(vec![Value::Null, Value::Null, json!("payload.a is defined"), json!("payload.a > 3")]),
        option(vec![Value::Null, json!("skip")]),
        option(vec![Value::Null, json!(true)]),
        option(vec![Value::Null, Value::Null, json!(["payload.b"])]),
    )
        .prop_map(|(fields, payload, each, when, unfit, topic, key)| {
            let given = [
                ("fields", fields),
                ("each", if payload.is_null() || payload == "json" { each } else { Value::Null }),
                ("payload", payload),
                ("when", when),
                ("unfit", unfit),
                ("topic", topic),
                ("key", key),
            ];
            Value::Object(given.into_iter().filter(|(_, value)| !value.is_null()).map(|(n, v)| (n.into(), v)).collect())
        })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 1_000, ..ProptestConfig::default() })]

    /// A hundred payloads through each of a thousand sets of options.
    #[test]
    fn each_record_is_taken_passed_over_or_refused_and_what_is_taken_can_be_stored(
        options in reading(),
        payloads in prop::collection::vec(payload(), 100),
        cut in any::<prop::sample::Index>(),
    ) {
        let flow = compile(&options, &json!({})).unwrap();
        for (index, payload) in payloads.iter().enumerate() {
            let mut text = payload.to_string().into_bytes();
            if index % 10 == 0 {
                text.truncate(cut.index(text.len() + 1));
            }
            let split = flow.reading.as_ref().map(|reading| reading.split(&text));
            let elements = match split {
                Some(Ok(Some(elements))) => elements,
                Some(Ok(None) | Err(_)) | None => vec![text],
            };
            for element in &elements {
                let verdict = flow.judge("meter/1", element);
                let record = flow.record("meter/1", element);
                match verdict {
                    RecordVerdict::Accepted => {
                        let record = record.unwrap();
                        let parsed = JsonPayload::parse(&record);
                        prop_assert!(parsed.is_ok(), "{options} {}", String::from_utf8_lossy(&record));
                    }
                    RecordVerdict::Refused(problem) => prop_assert!(!problem.reason.is_empty()),
                    RecordVerdict::Skipped(reason) => prop_assert!(!reason.is_empty()),
                }
            }
        }
    }
}
