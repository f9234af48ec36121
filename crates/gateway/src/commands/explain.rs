//! `explain`: what would become of one message. The real configuration, maps, flows and validation; nothing is sent,
//! written or counted.

use crate::commands::gates;
use crate::database;
use crate::exit::{CommandFailure, ExitStatus};
use crate::maps;
use crate::wiring::options;
use anyhow::Context;
use chrono::{DateTime, SecondsFormat, Utc};
use hearthgate_actors::flows::catalog;
use hearthgate_actors::flows::poster::{RenderedCall, body_purpose};
use hearthgate_domain::event_time::EventMoment;
use hearthgate_domain::flow::{Flow, FlowAction, RecordVerdict};
use hearthgate_domain::mapping::MessageCodec;
use hearthgate_domain::payload::JsonPayload;
use hearthgate_domain::reading::ReadingProblem;
use hearthgate_domain::topic::validate_topic_name;
use hearthgate_endpoints::template::TemplatePurpose;
use hearthgate_settings::{FlowSettings, GatewaySettings, LoadedSettings};
use hearthgate_storage::sql::{TypedRow, TypedTable};
use serde_json::{Map, Value, json};
use std::io::{Read, Write};
use std::sync::Arc;

/// Explains a message.
///
/// # Errors
/// The topic is not valid, the payload's file can't be read, the database can't be reached.
pub fn run(
    loaded: &LoadedSettings,
    topic: &str,
    payload: &str,
    as_json: bool,
    out: &mut dyn Write,
) -> anyhow::Result<ExitStatus> {
    validate_topic_name(topic).map_err(|error| CommandFailure::Usage(error.to_string()))?;
    let payload = payload_bytes(payload)?;
    let interfaces = of_interfaces(&loaded.settings, topic, &payload);
    let (flows, notes) = of_flows(&loaded.settings, topic, &payload)?;
    let nobody = interfaces.is_empty() && flows.is_empty();
    if as_json {
        writeln!(out, "{}", json!({"topic": topic, "interfaces": interfaces, "flows": flows, "notes": notes}))?;
    } else {
        in_words(&interfaces, &flows, &notes, out)?;
    }
    let fails = |action: &Value| action.get("error").is_some();
    let refused = |entry: &Value| {
        entry.get("error").is_some()
            || entry.get("errors").is_some()
            || entry["valid"] == false
            || entry["actions"].as_array().is_some_and(|actions| actions.iter().any(fails))
    };
    let findings = nobody || interfaces.iter().chain(&flows).any(refused);
    Ok(if findings { ExitStatus::Findings } else { ExitStatus::Ok })
}

/// `-` is standard input, `@FILE` a file, anything else itself.
pub(super) fn payload_bytes(argument: &str) -> anyhow::Result<Vec<u8>> {
    if argument == "-" {
        let mut bytes = Vec::new();
        std::io::stdin().lock().read_to_end(&mut bytes).context("reading standard input")?;
        return Ok(bytes);
    }
    match argument.strip_prefix('@') {
        Some(file) => std::fs::read(file)
            .map_err(|error| CommandFailure::Usage(format!("can't read the payload's file {file}: {error}")).into()),
        None => Ok(argument.as_bytes().to_vec()),
    }
}

fn of_interfaces(settings: &GatewaySettings, topic: &str, payload: &[u8]) -> Vec<Value> {
    if !settings.mapper.enabled {
        return Vec::new();
    }
    let mut found = Vec::new();
    for (name, config) in settings.interfaces.iter().filter(|(_, config)| config.enabled) {
        let maps = match maps::of(config) {
            Ok(maps) => maps,
            Err(error) => {
                found.push(json!({"interface": name, "error": error.to_string()}));
                continue;
            }
        };
        if !maps.topics().iter().any(|filter| filter.matches(topic)) {
            continue;
        }
        let codec = MessageCodec::new(Arc::new(maps), config.name.as_deref().unwrap_or(name));
        found.push(match codec.decode(topic, payload) {
            Ok(message) if codec.is_echo(topic) => json!({"interface": name, "echo": true, "message": message}),
            Ok(message) => json!({"interface": name, "message": message}),
            Err(error) => json!({"interface": name, "error": error.reason.to_string()}),
        });
    }
    found
}

fn of_flows(settings: &GatewaySettings, topic: &str, payload: &[u8]) -> anyhow::Result<(Vec<Value>, Vec<String>)> {
    if !settings.flows.enabled {
        return Ok((Vec::new(), vec!["flows are switched off (flows.enabled)".into()]));
    }
    let rows = match database::stored_flows(settings)? {
        Some(flows) if !flows.is_fresh => flows.rows,
        _ => return Ok((Vec::new(), vec!["there is no database yet, so there are no flows".into()])),
    };
    let mut notes = Vec::new();
    let mut found = Vec::new();
    for row in rows.into_iter().filter(|row| row.enabled) {
        let next = row.last_msg_id + 1;
        match catalog::compile(row) {
            Ok(flow) if flow.topic.filter().matches(topic) => {
                found.push(of_flow_with_gate(&flow, topic, payload, next, settings));
            }
            Ok(_) => {}
            Err(error) => notes.push(format!("not loaded: {error}")),
        }
    }
    Ok((found, notes))
}

/// As [`of_flow`], and whether the flow would keep the message back.
pub(crate) fn of_flow_with_gate(
    flow: &Flow,
    topic: &str,
    payload: &[u8],
    number: i64,
    settings: &GatewaySettings,
) -> Value {
    let mut answer = of_flow(flow, topic, payload, number, &settings.flows);
    gates::add_gates(&mut answer, flow, topic, payload, &settings.gateway.state_dir);
    answer
}

/// What one flow makes of a payload: its verdict, and the rows and the request that would follow.
pub(crate) fn of_flow(flow: &Flow, topic: &str, payload: &[u8], number: i64, settings: &FlowSettings) -> Value {
    let mut answer = Map::new();
    answer.insert("flow".into(), json!(&*flow.code));
    let captures: Map<String, Value> =
        flow.topic.captures(topic).map(|(name, level)| (name.to_owned(), json!(level))).collect();
    if !captures.is_empty() {
        answer.insert("captures".into(), captures.into());
    }
    if let Some(reading) = &flow.reading {
        if let Ok(Some(elements)) = reading.split(payload) {
            let of_element = |(element, number): (&Vec<u8>, i64)| of_flow(flow, topic, element, number, settings);
            let records: Vec<Value> = elements.iter().zip(number..).map(of_element).collect();
            answer.insert("valid".into(), records.iter().all(|record| record["valid"] != false).into());
            answer.insert("records".into(), records.into());
            return answer.into();
        }
        let origins: Map<String, Value> =
            reading.origins().map(|(name, origin)| (name.to_owned(), origin.into())).collect();
        if !origins.is_empty() {
            answer.insert("fields".into(), origins.into());
        }
        match flow.judge(topic, payload) {
            RecordVerdict::Accepted => {}
            RecordVerdict::Skipped(reason) => {
                answer.insert("skipped".into(), reason.into());
                return answer.into();
            }
            RecordVerdict::Refused(problem) => return refused(answer, vec![in_json(&problem)]),
        }
        if let Ok(Some(key)) = reading.key(&flow.source(topic, payload)) {
            answer.insert("key".into(), key.split('\u{1f}').collect::<Vec<_>>().into());
        }
    }
    let record = match flow.record(topic, payload) {
        Ok(record) => record,
        Err(problem) => return refused(answer, vec![in_json(&problem)]),
    };
    if flow.reading.is_some() {
        answer.insert("record".into(), String::from_utf8_lossy(&record).into());
    }
    let parsed = match JsonPayload::parse(&record) {
        Ok(parsed) => parsed,
        Err(error) => return refused(answer, vec![in_json(&error.into())]),
    };
    if let Err(violations) = flow.schema.validate(&parsed) {
        let errors: Vec<Value> = violations
            .iter()
            .map(|violation| json!({"pointer": violation.pointer, "message": violation.to_string()}))
            .collect();
        return refused(answer, errors);
    }
    if let Err(problem) = flow.check_record(topic, payload, &parsed) {
        return refused(answer, vec![in_json(&problem)]);
    }
    if let Some(silence) = &flow.silence {
        answer.insert("silence".into(), silence.after.to_string().into());
    }
    answer.insert("valid".into(), true.into());
    answer.insert("last_msg_id".into(), number.into());
    let message =
        RenderedCall { flow, topic, payload, received_at: Utc::now().timestamp_micros(), message_id: "(message id)" };
    let actions: Vec<Value> =
        flow.actions.iter().map(|action| of_action(&message, action, &parsed, settings)).collect();
    answer.insert("actions".into(), actions.into());
    answer.into()
}

fn of_action(
    message: &RenderedCall<'_>,
    action: &FlowAction,
    payload: &JsonPayload<'_>,
    settings: &FlowSettings,
) -> Value {
    let (flow, name) = (message.flow, action.name());
    match action {
        FlowAction::StoreDb {} => {
            let format = flow.value_format.unwrap_or_else(|| options::value_format(settings.value_format));
            let mut answer = json!({"action": name});
            let store = flow.store.as_ref();
            if store.is_none_or(|store| store.attributes) {
                let row =
                    |(name, value)| json!({"flow_code": &*flow.code, "attribute_name": name, "attribute_value": value});
                let rows: Vec<Value> = flow.attributes(message.topic, payload, format).map(row).collect();
                answer["rows"] = rows.into();
            }
            // A table that can't be was refused before.
            if let Ok(Some(table)) = TypedTable::of(flow) {
                let levels: Vec<(&str, &str)> = flow.topic.captures(message.topic).collect();
                let RenderedCall { topic, payload: sent, received_at, .. } = *message;
                let moment = flow.event_time(topic, sent, payload, received_at, &settings.time_zone.0);
                // What is refused for its time was refused before.
                let moment = moment.unwrap_or_default();
                of_row(flow, &table.row(&levels, payload, moment.time), &moment, &mut answer);
                answer["table"] = table.name().into();
            }
            answer
        }
        FlowAction::PostEndpoint {} => {
            let Some(endpoint) = &flow.endpoint else { return json!({"action": name}) };
            let filled = |template: Option<&str>, purpose, otherwise: &str| match template {
                Some(template) => message.render(template, purpose),
                None => Ok(otherwise.to_owned()),
            };
            let url = filled(endpoint.url_template.as_deref(), TemplatePurpose::Url, &endpoint.url);
            let body = endpoint.body_template.as_deref();
            let purpose = body.map_or(TemplatePurpose::Body, |source| body_purpose(endpoint, source));
            let body = filled(body, purpose, payload.text());
            let (url, body) = match (url, body) {
                (Ok(url), Ok(body)) => (url, body),
                (Err(error), _) | (_, Err(error)) => return json!({"action": name, "error": error.to_string()}),
            };
            let headers: Vec<&str> = endpoint.headers.iter().map(|(header, _)| &**header).collect();
            json!({"action": name, "request": {"method": "POST", "url": url, "headers": headers,
                "signed": endpoint.webhook_secret.is_some(), "body": body}})
        }
        FlowAction::Publish { topic, qos, retain, payload_template } => {
            let topic = message.render(topic, TemplatePurpose::Body);
            let payload = match payload_template {
                Some(template) => message.render(template, TemplatePurpose::of_body(template, None)),
                None => Ok(payload.text().to_owned()),
            };
            match (topic, payload) {
                (Ok(topic), Ok(payload)) => {
                    let qos = u8::from(*qos);
                    json!({"action": name, "topic": topic, "qos": qos, "retain": retain, "payload": payload})
                }
                (Err(error), _) | (_, Err(error)) => json!({"action": name, "error": error.to_string()}),
            }
        }
        FlowAction::Notify { to, title_template, text_template } => {
            let filled = |template: &Option<String>, otherwise: &dyn Fn() -> String| match template {
                Some(template) => message.render(template, TemplatePurpose::Body),
                None => Ok(otherwise()),
            };
            let title = filled(title_template, &|| flow.code.to_string());
            let text = filled(text_template, &|| format!("{}: {}", message.topic, payload.text()));
            match (title, text) {
                (Ok(title), Ok(text)) => json!({"action": name, "to": to, "title": title, "text": text}),
                (Err(error), _) | (_, Err(error)) => json!({"action": name, "error": error.to_string()}),
            }
        }
        FlowAction::Log { level } => json!({"action": name, "level": level}),
    }
}

fn refused(mut answer: Map<String, Value>, errors: Vec<Value>) -> Value {
    answer.insert("valid".into(), false.into());
    answer.insert("errors".into(), errors.into());
    answer.into()
}

fn in_json(ReadingProblem { pointer, reason }: &ReadingProblem) -> Value {
    json!({"pointer": pointer, "message": reason})
}

/// The row of the flow's own table.
fn of_row(flow: &Flow, row: &TypedRow, moment: &EventMoment, answer: &mut Value) {
    let cells = row.cells().map(|(name, value)| (name.to_owned(), json!(value)));
    answer["columns"] = Value::Object(cells.collect());
    if flow.event_time.is_some() {
        let time = moment.time.and_then(DateTime::from_timestamp_micros);
        answer["event_time"] = json!(time.map(|time| time.to_rfc3339_opts(SecondsFormat::AutoSi, true)));
        answer["event_time_problem"] = json!(moment.problem);
    }
}

/// The answers in words.
///
/// # Errors
/// Writing fails.
pub(super) fn in_words(
    interfaces: &[Value],
    flows: &[Value],
    notes: &[String],
    out: &mut dyn Write,
) -> std::io::Result<()> {
    for entry in interfaces {
        write!(out, "interface {}: ", text(&entry["interface"]))?;
        match (entry.get("error"), entry.get("echo")) {
            (Some(error), _) => writeln!(out, "refused: {}", text(error))?,
            (None, Some(_)) => writeln!(out, "its own message, not handed back to it")?,
            (None, None) => writeln!(out, "gets {}", entry["message"])?,
        }
    }
    for entry in flows {
        writeln!(out, "flow {}:", text(&entry["flow"]))?;
        let records = entry["records"].as_array().map_or(std::slice::from_ref(entry), Vec::as_slice);
        for record in records {
            flow_in_words(record, out)?;
        }
    }
    if interfaces.is_empty() && flows.is_empty() {
        writeln!(out, "nobody wants it: no interface and no enabled flow listens to this topic")?;
    }
    for note in notes {
        writeln!(out, "note: {note}")?;
    }
    Ok(())
}

/// What a flow makes of a payload, or of one record of it.
fn flow_in_words(entry: &Value, out: &mut dyn Write) -> std::io::Result<()> {
    if let Some(captures) = entry.get("captures") {
        writeln!(out, "  captured {captures}")?;
    }
    for (name, origin) in entry["fields"].as_object().into_iter().flatten() {
        writeln!(out, "  field {name} from {}", text(origin))?;
    }
    if let Some(record) = entry.get("record") {
        writeln!(out, "  record {}", text(record))?;
    }
    if let Some(key) = entry.get("key") {
        writeln!(out, "  key {key}")?;
    }
    if let Some(reason) = entry.get("skipped") {
        writeln!(out, "  skipped, {}", text(reason))?;
    }
    for error in entry["errors"].as_array().into_iter().flatten() {
        writeln!(out, "  refused at \"{}\": {}", text(&error["pointer"]), text(&error["message"]))?;
    }
    if entry["valid"] == true {
        writeln!(out, "  valid, would be number {}", entry["last_msg_id"])?;
        if let Some(gate) = entry.get("gate") {
            writeln!(out, "  {}", text(gate))?;
        }
        if let Some(after) = entry.get("silence") {
            writeln!(out, "  silent when nothing comes for {}", text(after))?;
        }
    }
    for action in entry["actions"].as_array().into_iter().flatten() {
        writeln!(out, "  {}", text(&action["action"]))?;
        for row in action["rows"].as_array().into_iter().flatten() {
            writeln!(out, "    row {} = {}", text(&row["attribute_name"]), row["attribute_value"])?;
        }
        for (name, value) in action["columns"].as_object().into_iter().flatten() {
            let shown = if value.is_null() { "NULL".to_owned() } else { value.to_string() };
            writeln!(out, "    column {name} = {shown}")?;
        }
        if let Some(time) = action.get("event_time") {
            writeln!(out, "    event_time {}", time.as_str().unwrap_or("NULL: there is none that can be read"))?;
            if let Some(problem) = action["event_time_problem"].as_str() {
                writeln!(out, "    event_time: {problem}")?;
            }
        }
        if let Some(request) = action.get("request") {
            writeln!(out, "    POST {} {}", text(&request["url"]), text(&request["body"]))?;
        }
        for key in ["table", "topic", "payload", "level", "error"] {
            if let Some(value) = action.get(key) {
                writeln!(out, "    {key} {}", text(value))?;
            }
        }
    }
    Ok(())
}

/// A text as it is, any other value as JSON.
fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
