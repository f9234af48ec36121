use super::shape::MAX_TOPICS;
use super::*;
use crate::schema::PayloadSchema;
use serde_json::{Value, json};

/// The proposals for some messages.
fn learned(filter: &str, messages: &[(&str, &str)]) -> Vec<LearnedFlow> {
    let mut learner = TrafficLearner::default();
    for (topic, payload) in messages {
        learner.observe(topic, payload.as_bytes());
    }
    learner.proposals(filter)
}

#[test]
fn fields_make_the_schema_with_what_may_be_absent_or_null() {
    let flows = learned(
        "a/b",
        &[
            ("a/b", r#"{"t": 21, "h": 40.5, "name": "a", "on": true, "raw": {"x": 1}, "tags": [], "b": 1}"#),
            (
                "a/b",
                r#"{"t": 21.5, "h": 41.0, "name": "b", "on": false, "raw": {}, "tags": [1], "note": "x", "b": null}"#,
            ),
        ],
    );
    let schema = json!({
        "t": "number", "h": "number", "name": "string", "on": "boolean", "tags": "array", "b": "number|null",
        "raw_x": "number?", "note": "string?"
    });
    assert_eq!((flows.len(), &flows[0].schema), (1, &schema));
    assert!(PayloadSchema::compile(&schema).is_ok());
}

#[test]
fn whole_readings_alone_make_a_number_that_may_have_a_fraction() {
    let flows = learned("a", &[("a", r#"{"humidity": 22}"#), ("a", r#"{"humidity": 23}"#)]);
    assert_eq!(flows[0].schema, json!({"humidity": "number"}));
}

#[test]
fn a_field_of_changing_type_is_left_open() {
    let mut learner = TrafficLearner::default();
    learner.observe("a", br#"{"v": 1, "n": null}"#);
    learner.observe("a", br#"{"v": "1", "n": null}"#);
    learner.observe("a", b"[1]");
    let flows = learner.proposals("#");
    assert_eq!(flows[0].schema, json!({}));
    assert_eq!(flows[0].left_open, [r#""v": integer or string"#, r#""n": null"#]);
    assert_eq!((learner.messages(), learner.unusable()), (2, 1));
}

#[test]
fn each_shape_is_a_flow_with_names_for_the_levels_that_differ() {
    let flows = learned(
        "#",
        &[
            ("tele/plug/SENSOR", r#"{"Time": "2026-11-27T07:56:06", "ENERGY": {"Power": 12}}"#),
            ("zigbee2mqtt/kitchen", r#"{"temperature": 21.5, "humidity": 40, "battery": 90}"#),
            ("zigbee2mqtt/cellar", r#"{"temperature": 12, "humidity": 80}"#),
            ("zigbee2mqtt/plug", r#"{"state": "ON", "power": 4}"#),
            ("tele/lamp/SENSOR", r#"{"Time": "2026-11-27T07:57:06", "ENERGY": {"Power": 3}}"#),
            ("tele/plug/STATE", r#"{"Uptime": "1T", "Heap": 24}"#),
            ("zigbee2mqtt/kitchen", r#"{"temperature": 21.5, "humidity": 41}"#),
        ],
    );
    let seen: Vec<(&str, &str, u64, u64)> =
        flows.iter().map(|flow| (&*flow.code, &*flow.topic, flow.messages, flow.others)).collect();
    assert_eq!(
        seen,
        [
            ("ZIGBEE2MQTT", "zigbee2mqtt/{device}", 3, 1),
            ("TELE_SENSOR", "tele/{device}/SENSOR", 2, 0),
            ("ZIGBEE2MQTT_PLUG", "zigbee2mqtt/plug", 1, 0),
            ("TELE_PLUG_STATE", "tele/plug/STATE", 1, 0),
        ]
    );
    assert_eq!(flows[0].schema, json!({"temperature": "number", "humidity": "number", "battery": "number?"}));
    assert_eq!((&flows[0].event_time, flows[1].event_time.as_deref()), (&None, Some("Time")));
}

#[test]
fn names_that_the_watched_topic_gives_are_kept() {
    let flows = learned("garden/{bed}", &[("garden/2", r#"{"moisture": 40}"#)]);
    assert_eq!((&*flows[0].topic, &*flows[0].code), ("garden/{bed}", "GARDEN"));
    let flows = learned("{home}/#", &[("a/b/c", r#"{"t": 1}"#), ("a/x/y", r#"{"t": 1}"#)]);
    assert_eq!(flows[0].topic, "{home}/{level2}/{level3}");
}

#[test]
fn the_proposals_of_one_filter_have_different_codes() {
    let flows = learned("a", &[("a", r#"{"t": 1}"#), ("a", r#"{"x": 1}"#), ("a", r#"{"y": 1}"#)]);
    let codes: Vec<&str> = flows.iter().map(|flow| &*flow.code).collect();
    assert_eq!(codes, ["A", "A_2", "A_3"]);
}

#[test]
fn however_much_comes_by_what_is_kept_is_bounded() {
    let mut learner = TrafficLearner::default();
    for number in 0..3_000 {
        learner.observe(&format!("t/{number}"), br#"{"t": 1}"#);
        learner.observe("other", format!("{{\"field{number}\": 1}}").as_bytes());
    }
    assert_eq!(learner.messages(), 6_000);
    let flows = learner.proposals("#");
    assert_eq!((flows.len(), flows[0].topics, flows[0].messages), (MAX_SHAPES, MAX_TOPICS, 3_000));
}

#[test]
fn a_code_is_made_of_the_levels_that_are_named() {
    for (filter, code) in
        [("sensors/+/aht10", "SENSORS_AHT10"), ("a/{room}/t-1", "A_T_1"), ("#", "LEARNED"), ("+/x/#", "X")]
    {
        assert_eq!(code_for(filter), code);
    }
}

#[test]
fn what_stands_in_nested_objects_is_named_by_its_path_and_read_by_its_pointer() {
    let flows = learned(
        "tele/{device}/SENSOR",
        &[
            ("tele/plug/SENSOR", r#"{"Time":"2026-11-27T07:56:06","ENERGY":{"Power":12,"Total":1.5},"a/b":{"c":1}}"#),
            ("tele/lamp/SENSOR", r#"{"Time":"2026-11-27T07:57:06","ENERGY":{"Power":3.5},"a/b":{"c":2}}"#),
        ],
    );
    let fields = json!({
        "Time": "/Time", "ENERGY_Power": "/ENERGY/Power",
        "ENERGY_Total": {"from": "/ENERGY/Total", "optional": true}, "a/b_c": "/a~1b/c"
    });
    assert_eq!(flows[0].fields, Some(fields));
    let row = flows[0].row(None);
    assert_eq!((&*row.code, &*row.topic), ("TELE_SENSOR", "tele/{device}/SENSOR"));
    let flow = crate::flow::Flow::compile(row).unwrap();
    let record = flow.record("tele/x/SENSOR", br#"{"Time":"2026-11-27T08:00:00","ENERGY":{"Power":7},"a/b":{"c":3}}"#);
    let record = String::from_utf8(record.unwrap().into_owned()).unwrap();
    assert_eq!(record, r#"{"Time":"2026-11-27T08:00:00","ENERGY_Power":7,"a/b_c":3}"#);
}

#[test]
fn bare_values_are_told_apart_by_the_end_of_their_topic_and_by_what_they_are() {
    let mut learner = TrafficLearner::default();
    for number in 0..30 {
        learner.observe("shellies/plug/relay/0/power", format!("{number}.5").as_bytes());
        learner.observe("shellies/lamp/relay/0/power", b"3");
        learner.observe("shellies/plug/relay/0", b"on");
    }
    learner.observe("shellies/plug/relay/0/power", b"nan");
    let flows = learner.proposals("#");
    let seen: Vec<(&str, &Value, u64)> = flows.iter().map(|it| (&*it.topic, &it.schema, it.messages)).collect();
    assert_eq!(
        seen,
        [
            ("shellies/{device}/relay/0/power", &json!({"value": "number"}), 61),
            ("shellies/plug/relay/0", &json!({"value": "string"}), 30),
        ]
    );
    assert_eq!(flows[0].left_open, [r#""value": number or integer or string"#]);
}

#[test]
fn devices_that_share_a_topic_are_told_apart_by_what_they_call_themselves() {
    let flows = learned(
        "rtl_433/events",
        &[("rtl_433/events", r#"{"id":7,"temperature_C":3.5}"#), ("rtl_433/events", r#"{"id":9,"temperature_C":4.5}"#)],
    );
    assert_eq!(flows[0].key.as_deref(), Some("payload.id"));
    let one = learned("a", &[("a", r#"{"id":7,"t":1}"#), ("a", r#"{"id":7,"t":2}"#)]);
    assert_eq!(one[0].key, None);
}
