use crate::event_time::{EventMoment, EventTimeReading, EventZone};
use crate::flow::{Flow, FlowRow};
use crate::payload::JsonPayload;
use crate::reading::ReadingProblem;
use serde_json::{Value, json};

/// 2026-11-27T07:56:06Z.
const NOON: i64 = 1_795_766_166_000_000;
const RECEIVED: i64 = NOON + 3_000_000;

fn flow(options: Value) -> Flow {
    let mut options = options;
    options["table"] = json!("t");
    let row = FlowRow {
        code: "F".into(),
        topic: "tele/{device}".into(),
        action: "STORE_DB".into(),
        payload_schema: "{}".into(),
        options: Some(options.to_string()),
        ..FlowRow::default()
    };
    Flow::compile(row).unwrap()
}

fn moment(options: Value, payload: &str) -> Result<EventMoment, ReadingProblem> {
    let flow = flow(options);
    let record = flow.record("tele/plug", payload.as_bytes())?;
    let record = JsonPayload::parse(&record).unwrap();
    let zone: EventZone = "Europe/Berlin".parse().unwrap();
    flow.event_time("tele/plug", payload.as_bytes(), &record, RECEIVED, &zone)
}

fn time(options: Value, payload: &str) -> Option<i64> {
    moment(options, payload).unwrap().time
}

#[test]
fn the_time_is_found_in_the_record_the_element_or_the_payload() {
    let sent = r#"{"Time":"2026-11-27T08:56:06","r":[{"at":1795766166}]}"#;
    assert_eq!(time(json!({"event_time": "Time"}), sent), Some(NOON));
    assert_eq!(time(json!({"event_time": {"from": "/Time"}}), sent), Some(NOON));
    assert_eq!(time(json!({"event_time": "/r/0/at"}), sent), Some(NOON));
    let each = json!({"each": "/r", "fields": {"at": "/at"}});
    for from in ["at", "/at", "^/Time"] {
        let mut options = each.clone();
        options["event_time"] = json!({"from": from});
        assert_eq!(time(options, sent), Some(NOON), "{from}");
    }
}

#[test]
fn a_time_without_an_offset_is_of_the_flows_zone_or_else_of_the_configured_one() {
    let zone = |zone: &str| json!({"event_time": {"from": "t", "zone": zone}});
    assert_eq!(time(zone("America/New_York"), r#"{"t":"2026-11-27 02:56:06"}"#), Some(NOON));
    assert_eq!(time(json!({"event_time": "t"}), r#"{"t":"2026-11-27 08:56:06"}"#), Some(NOON));
    assert_eq!(time(zone("America/New_York"), r#"{"t":"2026-11-27 07:56:06Z"}"#), Some(NOON));
}

#[test]
fn what_can_not_be_read_is_null_the_time_of_receipt_or_refused() {
    let unreadable = |word: &str| json!({"event_time": {"from": "/a/t", "unreadable": word}});
    let wrong = r#"{"a":{"t":"noon"}}"#;
    let read = moment(unreadable("null"), wrong).unwrap();
    assert_eq!((read.time, read.problem.as_deref()), (None, Some("\"noon\" is no time that can be read")));
    let read = moment(unreadable("received_at"), wrong).unwrap();
    assert_eq!((read.time, read.problem.is_some()), (Some(RECEIVED), true));
    let problem = moment(unreadable("refuse"), wrong).unwrap_err();
    assert_eq!(problem.pointer, "/a/t");
    assert!(problem.reason.contains("noon"), "{problem}");
    for absent in ["{}", r#"{"a":{"t":null}}"#] {
        assert_eq!(moment(unreadable("null"), absent).unwrap(), EventMoment::default(), "{absent}");
        let at_receipt = EventMoment { time: Some(RECEIVED), problem: None };
        assert_eq!(moment(unreadable("received_at"), absent).unwrap(), at_receipt, "{absent}");
        assert!(moment(unreadable("refuse"), absent).unwrap_err().reason.contains("/a/t"), "{absent}");
    }
    let flow = flow(unreadable("refuse"));
    let check = |payload: &str| {
        flow.check_record("tele/plug", payload.as_bytes(), &JsonPayload::parse(payload.as_bytes()).unwrap())
    };
    assert!(check(wrong).is_err());
    assert!(check(r#"{"a":{"t":0}}"#).is_ok());
}

#[test]
fn all_that_is_wrong_with_the_option_is_told_at_once() {
    let wrong = json!({"form": "/t", "format": "ato", "zone": "Europe/Berln", "unreadable": "reject"});
    let problems = EventTimeReading::compile(&wrong).unwrap_err().join("; ");
    for part in [
        "event_time: \"form\" is none of from, format, zone, unreadable; did you mean \"from\"?",
        "event_time.from: is missing",
        "event_time.format: \"ato\" is none of auto, iso8601",
        "event_time.zone: \"Europe/Berln\" is no time zone",
        "event_time.unreadable: \"reject\" is none of null, received_at, refuse",
    ] {
        assert!(problems.contains(part), "{part}: {problems}");
    }
    for wrong in [json!(7), json!(null), json!([]), json!("/a~2"), json!({"from": 7}), json!({"from": "t", "zone": 1})]
    {
        assert!(EventTimeReading::compile(&wrong).is_err(), "{wrong}");
    }
    let options = r#"{"table":"t","event_time":{"from":"x"},"fields":{"at":"/at"},"when":"("}"#;
    let row = |options: &str| FlowRow {
        code: "F".into(),
        topic: "t".into(),
        action: "STORE_DB".into(),
        payload_schema: "{}".into(),
        options: Some(options.into()),
        ..FlowRow::default()
    };
    assert!(Flow::compile(row(options)).unwrap_err().to_string().contains("when:"));
    let error = Flow::compile(row(&options.replace(r#","when":"(""#, ""))).unwrap_err().to_string();
    assert!(error.contains("event_time names a field that is not there"), "{error}");
}
