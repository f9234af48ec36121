use super::*;
use hearthgate_domain::flow::FlowRow;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

const READABLE: &str = r#"[[flow]]
code = "CLIMATE"
topic = "zigbee2mqtt/{room}"
action = "STORE_DB"
enabled = true

[flow.schema]
temperature = "number"
battery = "number?|null"

[flow.options]
table = "climate"
actions = [{ type = "LOG", level = "debug" }]
"#;

fn climate() -> FlowRow {
    FlowRow {
        code: "CLIMATE".into(),
        topic: "zigbee2mqtt/{room}".into(),
        action: "STORE_DB".into(),
        payload_schema: r#"{"temperature":"number","battery":"number?|null"}"#.into(),
        options: Some(r#"{"table":"climate","actions":[{"type":"LOG","level":"debug"}]}"#.into()),
        enabled: true,
        ..FlowRow::default()
    }
}

fn rows_of(text: &str) -> Vec<FlowRow> {
    read_flows(text).unwrap().into_iter().map(|written| written.row).collect()
}

#[test]
fn schema_and_options_are_tables() {
    assert_eq!(write_flows([&climate()]), READABLE);
    assert_eq!(rows_of(READABLE), [climate()]);
}

#[test]
fn the_form_with_json_in_strings_is_still_read() {
    let old = format!(
        "[[flow]]\ncode = \"CLIMATE\"\ntopic = \"zigbee2mqtt/{{room}}\"\naction = \"STORE_DB\"\nschema = '{}'\noptions = '{}'\n",
        climate().payload_schema,
        climate().options.unwrap()
    );
    assert_eq!(rows_of(&old), [climate()]);
}

#[test]
fn what_toml_can_not_say_stays_json() {
    let text = r#"{"a":{"enum":[null,18446744073709551615]}}"#;
    let row = FlowRow { payload_schema: text.into(), ..climate() };
    let written = write_flows([&row]);
    assert!(written.contains("schema = '"), "{written}");
    assert_eq!(rows_of(&written), [row]);
}

#[test]
fn what_a_flow_does_not_have_is_named_with_its_place() {
    let refused = |text: &str| read_flows(text).unwrap_err().to_string();
    assert!(refused("flows = 1").contains("\"flows\" has no place here"));
    assert_eq!(
        refused("[[flow]]\ncode = \"A\"\ntopik = \"a\""),
        "3: flow A: there is no \"topik\"; did you mean \"topic\"?"
    );
    assert!(refused("[[flow]]\ncode = \"A\"").contains("flow A: topic is missing"));
    assert!(refused("[[flow]]\ncode = 1").contains("flow #1, code: this is integer; it has to be text"));
    let with = |options: &str| refused(&READABLE.replace("table = \"climate\"", options));
    assert!(with("factor = nan").contains("flow CLIMATE, options.factor: this is float; it has to be a finite number"));
    assert!(refused(&READABLE.repeat(2)).contains("there are two flows CLIMATE"));
    assert!(refused("[[flow]\n").starts_with("1: this is not TOML"));
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_filter("finite", |number| number.is_finite()).prop_map(|number| json!(number)),
        any::<String>().prop_map(Value::from),
        "[ -~\n\t]{0,90}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((any::<String>(), inner), 0..5)
                .prop_map(|members| Value::Object(members.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

fn row() -> impl Strategy<Value = FlowRow> {
    let object = || prop::collection::vec((any::<String>(), json_value()), 0..6);
    let text = |members: Vec<(String, Value)>| Value::Object(members.into_iter().collect()).to_string();
    let options = prop::option::of(prop_oneof![object().prop_map(text), any::<String>()]);
    let schema = prop_oneof![object().prop_map(text), any::<String>()];
    let texts = (any::<String>(), any::<String>(), any::<String>(), prop::option::of(any::<String>()));
    (texts, schema, options, any::<bool>()).prop_map(|((code, description, topic, url), schema, options, enabled)| {
        FlowRow {
            code,
            description,
            topic,
            action: "STORE_DB".into(),
            payload_schema: schema,
            endpoint_url: url,
            enabled,
            options,
            ..FlowRow::default()
        }
    })
}

/// The text where it is no JSON; the order of keys does not count.
fn meaning(row: &FlowRow) -> (FlowRow, Value, Option<Value>) {
    let value = |text: &str| serde_json::from_str(text).unwrap_or_else(|_| json!({"text": text}));
    let (schema, options) = (value(&row.payload_schema), row.options.as_deref().map(value));
    (FlowRow { payload_schema: String::new(), options: None, ..row.clone() }, schema, options)
}

proptest! {
    #[test]
    fn import_after_export_is_the_identity(rows in prop::collection::vec(row(), 0..4)) {
        let mut rows = rows;
        rows.sort_by(|a, b| a.code.cmp(&b.code));
        rows.dedup_by(|a, b| a.code == b.code);
        let written = write_flows(&rows);
        let read = rows_of(&written);
        prop_assert_eq!(read.iter().map(meaning).collect::<Vec<_>>(), rows.iter().map(meaning).collect::<Vec<_>>());
        prop_assert_eq!(write_flows(&read), written);
    }
}
