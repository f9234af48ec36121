//! From a row to a flow that can run.

use crate::duration::BoundedDuration;
use crate::flow::action::FlowAction;
use crate::flow::endpoint;
use crate::flow::options::FlowOptions;
use crate::flow::problem::RowProblem;
use crate::flow::row_options::{self, RowOptions};
use crate::flow::silence;
use crate::flow::topic::FlowTopic;
use crate::flow::{Flow, FlowRow, HistoryOptions, StoreTarget};
use crate::schema::PayloadSchema;
use crate::topic::validate_topic_name;
use thiserror::Error;

/// A flow that cannot run.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("flow {flow:?}, {field}: {problem}")]
pub struct FlowError {
    /// Its code, or `#` and its id when it has none.
    pub flow: Box<str>,
    /// The column, or the option as `options.NAME`.
    pub field: &'static str,
    /// What is wrong, and what to do.
    pub problem: Box<str>,
}

/// Limits of the columns, in characters.
const MAX_CODE: usize = 100;
const MAX_DESCRIPTION: usize = 255;
const MAX_TOPIC: usize = 255;
const MAX_URL: usize = 500;
/// The shortest name limit among the databases, PostgreSQL's.
const MAX_TABLE_NAME: usize = 63;
/// Tables with another purpose.
const RESERVED_TABLES: [&str; 3] = ["mqtt_servers", "flows", "data"];
impl Flow {
    /// Makes a flow of a row.
    ///
    /// # Errors
    /// Names the flow, the field, and what is wrong with it.
    pub fn compile(row: FlowRow) -> Result<Self, FlowError> {
        compile(row)
    }
}

fn compile(row: FlowRow) -> Result<Flow, FlowError> {
    let flow: Box<str> = if row.code.is_empty() { format!("#{}", row.id).into() } else { row.code.as_str().into() };
    build(row).map_err(|(field, problem)| FlowError { flow, field, problem: problem.into() })
}

fn build(row: FlowRow) -> Result<Flow, RowProblem> {
    let fingerprint = row.fingerprint();
    check_limits(&row)?;
    let topic = FlowTopic::parse(&row.topic).map_err(|error| ("topic", error.to_string()))?;
    let schema = schema(&row.payload_schema)?;
    let RowOptions { options, reading, event_time } = row_options::read(row.options.as_deref(), &schema)?;
    let actions = actions(&row.action, &options.actions)?;
    check_publishing("options.actions", &actions, &topic)?;
    check_publishing("options.silent_actions", &options.silent_actions, &topic)?;
    let silence = silence::compile(&row, &options)?;
    let stores = actions.contains(&FlowAction::StoreDb {});
    let posts = actions.contains(&FlowAction::PostEndpoint {});
    let store = if stores { Some(store(&options)?) } else { refuse_store_options(&options)? };
    let endpoint = match posts {
        true => Some(endpoint::compile(row.endpoint_url.as_deref(), &options)?),
        false if silence::posts(&options) => None,
        false => endpoint::refuse_options(&options)?,
    };
    if event_time.is_some() && options.table.is_none() {
        let problem = "is a column of the flow's own table; name that with options.table".to_string();
        return Err(("options.event_time", problem));
    }
    let history = HistoryOptions::of(&options, store.as_ref())?;
    Ok(Flow {
        id: row.id,
        code: row.code.into(),
        description: row.description.into(),
        topic,
        schema,
        actions,
        store,
        endpoint,
        event_time: event_time.map(Box::new),
        retained: options.retained.unwrap_or_default(),
        on_change: options.on_change,
        min_interval: options.min_interval.map(BoundedDuration::duration),
        silence,
        reading: reading.map(Box::new),
        value_format: options.value_format,
        history,
        enabled: row.enabled,
        fingerprint,
    })
}

fn check_limits(row: &FlowRow) -> Result<(), RowProblem> {
    if row.code.is_empty() {
        return Err(("code", "a flow needs a code, its unique name".to_string()));
    }
    let url = row.endpoint_url.as_deref().unwrap_or_default();
    for (field, text, limit) in [
        ("code", row.code.as_str(), MAX_CODE),
        ("description", &row.description, MAX_DESCRIPTION),
        ("topic", &row.topic, MAX_TOPIC),
        ("endpoint_url", url, MAX_URL),
    ] {
        let length = text.chars().count();
        if length > limit {
            return Err((field, format!("has {length} characters; the column holds {limit}")));
        }
    }
    Ok(())
}

fn schema(text: &str) -> Result<PayloadSchema, RowProblem> {
    let field = "payload_schema";
    let schema = serde_json::from_str(text).map_err(|error| (field, format!("is not valid JSON: {error}")))?;
    PayloadSchema::compile(&schema).map_err(|error| (field, error.to_string()))
}

fn actions(column: &str, further: &[FlowAction]) -> Result<Vec<FlowAction>, RowProblem> {
    let mut actions = Vec::with_capacity(1 + further.len());
    match column {
        "STORE_DB" => actions.push(FlowAction::StoreDb {}),
        "POST_ENDPOINT" => actions.push(FlowAction::PostEndpoint {}),
        "LOG" if !further.iter().any(|action| action.name() == column) => {
            actions.push(FlowAction::Log { level: Default::default() });
        }
        // Topic and level stand in the options.
        "PUBLISH" | "NOTIFY" | "LOG" if further.iter().any(|action| action.name() == column) => {}
        "PUBLISH" => return Err(("action", "PUBLISH needs its topic in options.actions".to_string())),
        "NOTIFY" => return Err(("action", "NOTIFY needs to whom in options.actions".to_string())),
        other => {
            return Err(("action", format!("{other:?} is none of STORE_DB, POST_ENDPOINT, PUBLISH, NOTIFY and LOG")));
        }
    }
    for action in further {
        let repeated = actions.iter().any(|known| known.name() == action.name());
        match action {
            FlowAction::StoreDb {} | FlowAction::PostEndpoint {} if repeated => {
                return Err(("options.actions", format!("{} stands there twice", action.name())));
            }
            FlowAction::StoreDb {}
            | FlowAction::PostEndpoint {}
            | FlowAction::Publish { .. }
            | FlowAction::Notify { .. }
            | FlowAction::Log { .. } => {
                actions.push(action.clone());
            }
        }
    }
    Ok(actions)
}

/// A topic without template parts is known now: it must be a topic, and not bring the message back to the flow.
fn check_publishing(field: &'static str, actions: &[FlowAction], topic: &FlowTopic) -> Result<(), RowProblem> {
    for action in actions {
        let FlowAction::Publish { topic: target, .. } = action else { continue };
        if target.contains("{{") || target.contains("{%") {
            continue;
        }
        validate_topic_name(target).map_err(|error| (field, format!("PUBLISH: {error}")))?;
        if topic.filter().matches(target) {
            let problem = format!("PUBLISH to {target:?} would bring each message back to this flow, without end");
            return Err((field, problem));
        }
    }
    Ok(())
}

fn store(options: &FlowOptions) -> Result<StoreTarget, RowProblem> {
    let attributes = options.attributes.unwrap_or(true);
    let Some(table) = &options.table else {
        return match attributes {
            true => Ok(StoreTarget { table: None, attributes }),
            false => Err(("options.attributes", "without a table nothing would be stored; name one".to_string())),
        };
    };
    let word = table.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && table.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if !word || table.len() > MAX_TABLE_NAME {
        let problem =
            format!("{table:?} is no name for a table; take at most 63 letters, digits and _, no digit first");
        return Err(("options.table", problem));
    }
    if RESERVED_TABLES.iter().any(|reserved| table.eq_ignore_ascii_case(reserved)) {
        return Err(("options.table", format!("{table:?} has another purpose; take another name")));
    }
    Ok(StoreTarget { table: Some(table.as_str().into()), attributes })
}

fn refuse_store_options(options: &FlowOptions) -> Result<Option<StoreTarget>, RowProblem> {
    let without_effect = "has no effect without the action STORE_DB";
    match (&options.table, options.attributes) {
        (Some(_), _) => Err(("options.table", without_effect.to_string())),
        (None, Some(_)) => Err(("options.attributes", without_effect.to_string())),
        (None, None) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::{HeaderValue, LogLevel, OnChange, RetainedPolicy};
    use std::time::Duration;

    fn row() -> FlowRow {
        FlowRow {
            id: 7,
            code: "AHT10".into(),
            topic: "sensors/{room}".into(),
            action: "STORE_DB".into(),
            payload_schema: r#"{"t": "float"}"#.into(),
            enabled: true,
            ..FlowRow::default()
        }
    }

    fn with_options(action: &str, options: &str) -> Result<Flow, FlowError> {
        let endpoint_url = Some("http://localhost:8080/in".to_string());
        Flow::compile(FlowRow { action: action.into(), options: Some(options.into()), endpoint_url, ..row() })
    }

    #[test]
    fn a_row_of_an_existing_database_is_a_flow() {
        let flow = Flow::compile(row()).unwrap();
        assert_eq!(flow.topic.filter().as_str(), "sensors/+");
        assert_eq!(flow.actions, [FlowAction::StoreDb {}]);
        assert_eq!(flow.store, Some(StoreTarget { table: None, attributes: true }));
        assert_eq!((flow.endpoint, flow.retained), (None, RetainedPolicy::Process));
    }

    #[test]
    fn errors_name_flow_and_field() {
        let error = |row: FlowRow| Flow::compile(row).unwrap_err().to_string();
        assert_eq!(
            error(FlowRow { action: "POST_ENDPOINT".into(), ..row() }),
            "flow \"AHT10\", endpoint_url: POST_ENDPOINT needs an endpoint_url"
        );
        assert!(
            error(FlowRow { payload_schema: r#"{"t": "flaot"}"#.into(), ..row() })
                .starts_with("flow \"AHT10\", payload_schema: field \"t\" has the unknown type \"flaot\"")
        );
        assert!(error(FlowRow { code: String::new(), ..row() }).starts_with("flow \"#7\", code"));
        assert!(error(FlowRow { code: "ü".repeat(101), ..row() }).contains("has 101 characters; the column holds 100"));
        assert!(error(FlowRow { topic: "a/#/b".into(), ..row() }).contains(", topic: "));
        assert!(error(FlowRow { topic: "$share/g/a".into(), ..row() }).contains("shared subscription"));
        assert!(error(FlowRow { action: "store_db".into(), ..row() }).contains(", action: "));
        assert!(error(FlowRow { payload_schema: "{".into(), ..row() }).contains("not valid JSON"));
        assert!(
            error(FlowRow { options: Some("{\"x\": 1}".into()), ..row() }).contains(", options: unknown field `x`")
        );
    }

    #[test]
    fn options_become_parts_of_the_flow() {
        let flow = with_options(
            "POST_ENDPOINT",
            r#"{"actions": [{"type": "STORE_DB"}, {"type": "LOG", "level": "warn"}, {"type": "PUBLISH", "topic": "out/{{ captures.room }}"}],
                "table": "climate", "attributes": false, "retry": ["0s", "10s"], "timeout": "3s", "concurrency": 4,
                "headers": {"X-Site": "home"}, "on_change": true, "min_interval": "1m", "retained": "skip"}"#,
        )
        .unwrap();
        assert_eq!(flow.actions.len(), 4);
        assert_eq!(flow.store, Some(StoreTarget { table: Some("climate".into()), attributes: false }));
        let endpoint = flow.endpoint.unwrap();
        assert_eq!((endpoint.concurrency, endpoint.timeout), (4, Some(Duration::from_secs(3))));
        assert_eq!(endpoint.retry.unwrap().delays().len(), 2);
        assert_eq!(endpoint.headers, [("x-site".into(), HeaderValue::Text("home".into()))]);
        assert_eq!((flow.on_change, flow.min_interval), (Some(OnChange::All), Some(Duration::from_secs(60))));
        assert_eq!(with_options("LOG", "{}").unwrap().actions, [FlowAction::Log { level: LogLevel::Info }]);
        assert_eq!(
            with_options("LOG", r#"{"actions": [{"type": "LOG", "level": "debug"}]}"#).unwrap().actions.len(),
            1
        );
    }

    #[test]
    fn notices_of_silence_are_taken_by_a_flow_of_their_own() {
        let options = r#"{"silence": "1h", "headers": {"X-Site": "home"}, "body_template": "{{ payload.t }}",
            "silent_actions": [{"type": "LOG"}, {"type": "POST_ENDPOINT"}]}"#;
        let silence = with_options("POST_ENDPOINT", options).unwrap().silence.unwrap();
        assert_eq!(silence.after.duration(), Duration::from_secs(3_600));
        let notices = silence.notices.unwrap();
        assert_eq!(notices.actions, [FlowAction::PostEndpoint {}, FlowAction::Log { level: LogLevel::Info }]);
        let endpoint = notices.endpoint.as_ref().unwrap();
        assert_eq!((endpoint.headers.len(), endpoint.body_template.as_ref()), (1, None));
        let quiet = with_options("STORE_DB", &options.replace(r#", "body_template": "{{ payload.t }}""#, "")).unwrap();
        assert!(quiet.endpoint.is_none() && quiet.silence.unwrap().notices.unwrap().endpoint.is_some());
        assert_eq!(with_options("LOG", r#"{"silence": "1h"}"#).unwrap().silence.unwrap().notices, None);
    }

    #[test]
    fn options_that_cannot_work_are_refused() {
        for (action, options, field) in [
            ("STORE_DB", r#"{"attributes": false}"#, "options.attributes"),
            ("STORE_DB", r#"{"table": "drop table"}"#, "options.table"),
            ("STORE_DB", r#"{"table": "Flows"}"#, "options.table"),
            ("STORE_DB", r#"{"timeout": "5s"}"#, "options.timeout"),
            ("STORE_DB", r#"{"actions": [{"type": "STORE_DB"}]}"#, "options.actions"),
            ("POST_ENDPOINT", r#"{"table": "x"}"#, "options.table"),
            ("POST_ENDPOINT", r#"{"retry": []}"#, "options.retry"),
            ("POST_ENDPOINT", r#"{"concurrency": 0}"#, "options.concurrency"),
            ("POST_ENDPOINT", r#"{"headers": {"a b": "x"}}"#, "options.headers"),
            ("POST_ENDPOINT", r#"{"headers": {"X": "a\nb"}}"#, "options.headers"),
            ("POST_ENDPOINT", r#"{"headers": {"Host": "x"}}"#, "options.headers"),
            ("LOG", r#"{"silence": "1ms"}"#, "options.silence"),
            ("LOG", r#"{"silent_actions": [{"type": "LOG"}]}"#, "options.silent_actions"),
            ("LOG", r#"{"silence": "1h", "silent_actions": [{"type": "STORE_DB"}]}"#, "options.silent_actions"),
            (
                "LOG",
                r#"{"silence": "1h", "silent_actions": [{"type": "PUBLISH", "topic": "sensors/hall"}]}"#,
                "options.silent_actions",
            ),
            ("PUBLISH", "{}", "action"),
            ("PUBLISH", r#"{"actions": [{"type": "PUBLISH", "topic": "sensors/hall"}]}"#, "options.actions"),
            ("PUBLISH", r#"{"actions": [{"type": "PUBLISH", "topic": "a/+"}]}"#, "options.actions"),
        ] {
            assert_eq!(with_options(action, options).unwrap_err().field, field, "{options}");
        }
        for url in ["", " ", "ftp://host/", "http://", "http:///x", "localhost:80", "http://a b/"] {
            let row = FlowRow { action: "POST_ENDPOINT".into(), endpoint_url: Some(url.into()), ..row() };
            assert_eq!(Flow::compile(row).unwrap_err().field, "endpoint_url", "{url}");
        }
    }

    #[test]
    fn a_counted_message_does_not_make_it_another_flow() {
        let counted = Flow::compile(FlowRow { last_msg_id: 5, ..row() }).unwrap();
        assert_eq!(Flow::compile(row()).unwrap(), counted);
        assert_ne!(Flow::compile(FlowRow { description: "x".into(), ..row() }).unwrap(), counted);
        assert_ne!(Flow::compile(FlowRow { options: Some("{}".into()), ..row() }).unwrap(), counted);
    }
}
