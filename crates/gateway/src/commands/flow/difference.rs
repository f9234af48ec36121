//! What differs between two definitions of a flow, and what that does to stored data.

use hearthgate_domain::flow::{ActionKind, Flow, FlowRow};
use hearthgate_settings::mask_text;
use serde_json::{Value, json};

/// A flow as JSON: its definition, without the count of its messages.
pub(super) fn definition(row: &FlowRow) -> Value {
    let text = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_else(|_| json!(text));
    json!({
        "code": row.code, "description": row.description, "topic": row.topic, "action": row.action,
        "schema": text(&row.payload_schema), "endpoint_url": row.endpoint_url, "enabled": row.enabled,
        "options": row.options.as_deref().filter(|options| !options.is_empty()).map(text),
    })
}

/// The new definition; where it says the same in other words, the old words stay.
pub(super) fn with_old_words(new: FlowRow, old: &FlowRow) -> FlowRow {
    let FlowRow { id, last_msg_id, .. } = *old;
    match definition(&new) == definition(old) {
        true => old.clone(),
        false => FlowRow { id, last_msg_id, ..new },
    }
}

/// A line for each thing that differs: `options.table: "a" → "b"`. What may be a password is masked.
pub(super) fn differences(old: &Value, new: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    compare("", Some(old), Some(new), &mut lines);
    lines
}

fn compare(path: &str, old: Option<&Value>, new: Option<&Value>, lines: &mut Vec<String>) {
    let (old, new) = (old.filter(|value| !value.is_null()), new.filter(|value| !value.is_null()));
    if old == new {
        return;
    }
    let is_table = |value: Option<&Value>| value.is_none_or(Value::is_object);
    if !(is_table(old) && is_table(new)) {
        lines.push(format!("{path}: {} → {}", shown(old), shown(new)));
        return;
    }
    let members = |value: Option<&'_ Value>| value.and_then(Value::as_object).cloned().unwrap_or_default();
    let (old, new) = (members(old), members(new));
    let added = new.keys().filter(|name| !old.contains_key(*name));
    for name in old.keys().chain(added) {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        compare(&path, old.get(name), new.get(name), lines);
    }
}

fn shown(value: Option<&Value>) -> String {
    match value {
        None => "nothing".to_owned(),
        Some(Value::String(text)) => format!("{:?}", mask_text(text)),
        Some(other) => other.to_string(),
    }
}

/// What a change does to data that is stored, or to what is stored from now on under another name or not at all.
pub(super) fn data_consequences(old: &FlowRow, new: &FlowRow) -> Vec<String> {
    let (Ok(before), Ok(after)) = (Flow::compile(old.clone()), Flow::compile(new.clone())) else { return Vec::new() };
    let mut consequences = Vec::new();
    if before.code != after.code {
        consequences.push(format!(
            "what is stored keeps the code {}; only what comes from now on has {}",
            before.code, after.code
        ));
    }
    if before.does(ActionKind::Store) && !after.does(ActionKind::Store) {
        consequences.push("nothing is stored any more".to_owned());
    }
    let table = |flow: &Flow| flow.store.as_ref().and_then(|store| store.table.clone());
    match (table(&before), table(&after)) {
        (Some(old), Some(new)) if old != new => {
            consequences.push(format!("readings go to the table {new} from now on; {old} stays as it is"));
        }
        (Some(old), None) => consequences.push(format!("readings do not go to the table {old} any more; it stays")),
        (Some(table), Some(_)) => consequences.extend(column_consequences(&before, &after, &table)),
        (None, _) => {}
    }
    let attributes = |flow: &Flow| flow.store.as_ref().is_some_and(|store| store.attributes);
    if attributes(&before) && !attributes(&after) && after.does(ActionKind::Store) {
        consequences.push("readings do not go to data any more".to_owned());
    }
    if let Some(retention) = after.history.retention
        && before.history.retention.is_none_or(|kept| retention < kept)
    {
        let days = retention.as_secs_f64() / 86_400.0;
        consequences.push(format!("rows that are older than {days} days are removed for good"));
    }
    consequences
}

fn column_consequences(before: &Flow, after: &Flow, table: &str) -> Vec<String> {
    let mut consequences = Vec::new();
    for field in before.schema.fields() {
        let name = &field.name;
        match after.schema.fields().iter().find(|other| other.name == *name) {
            None => consequences.push(format!("the column {table}.{name} is NULL from now on")),
            Some(other) if other.kind != field.kind => {
                consequences.push(format!("the column {table}.{name} keeps its type: what does not fit it is refused"));
            }
            Some(_) => {}
        }
    }
    consequences
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> FlowRow {
        FlowRow {
            id: 3,
            last_msg_id: 17,
            code: "A".into(),
            topic: "a/b".into(),
            action: "STORE_DB".into(),
            payload_schema: r#"{"t": "float", "h": "float"}"#.into(),
            options: Some(r#"{"table": "climate", "retention": "90d"}"#.into()),
            enabled: true,
            ..FlowRow::default()
        }
    }

    fn changed(options: &str) -> FlowRow {
        FlowRow { options: Some(options.into()), ..row() }
    }

    #[test]
    fn each_thing_that_differs_is_a_line_with_its_path() {
        let new = FlowRow {
            topic: "a/c".into(),
            payload_schema: r#"{"t": "int"}"#.into(),
            endpoint_url: Some("http://u:secret@h/".into()),
            ..changed(r#"{"table": "other"}"#)
        };
        let lines = differences(&definition(&row()), &definition(&new));
        assert_eq!(lines[0], r#"topic: "a/b" → "a/c""#);
        assert_eq!(lines[1..3], [r#"schema.t: "float" → "int""#, r#"schema.h: "float" → nothing"#]);
        assert!(lines[3].starts_with("endpoint_url: nothing → ") && !lines[3].contains("secret"), "{}", lines[3]);
        assert_eq!(lines[4..], [r#"options.table: "climate" → "other""#, r#"options.retention: "90d" → nothing"#]);
        assert_eq!(differences(&definition(&row()), &definition(&row())), Vec::<String>::new());
    }

    #[test]
    fn other_words_for_the_same_are_no_change() {
        let other = FlowRow { id: 0, last_msg_id: 0, ..changed("{\"retention\": \"90d\",\n \"table\": \"climate\"}") };
        assert_eq!(with_old_words(other, &row()), row());
        let new = with_old_words(FlowRow { id: 0, last_msg_id: 0, ..changed("{}") }, &row());
        assert_eq!((new.id, new.last_msg_id, new.options.as_deref()), (3, 17, Some("{}")));
    }

    #[test]
    fn what_touches_stored_data_is_told() {
        let told = |new: &FlowRow| data_consequences(&row(), new).join("; ");
        assert_eq!(told(&FlowRow { description: "x".into(), topic: "c".into(), ..row() }), "");
        assert!(
            told(&changed(r#"{"table": "climate", "retention": "30d"}"#)).contains("older than 30 days are removed")
        );
        assert_eq!(told(&changed(r#"{"table": "climate", "retention": "1y"}"#)), "");
        assert!(told(&changed(r#"{"table": "new", "retention": "90d"}"#)).contains("table new from now on"));
        assert!(told(&changed(r#"{"table": "climate", "attributes": false}"#)).contains("not go to data"));
        assert!(told(&FlowRow { action: "LOG".into(), options: None, ..row() }).contains("nothing is stored"));
        assert!(told(&FlowRow { code: "B".into(), ..row() }).contains("keeps the code A"));
        let fields = told(&FlowRow { payload_schema: r#"{"t": "str"}"#.into(), ..row() });
        assert!(fields.contains("climate.t keeps its type") && fields.contains("climate.h is NULL"), "{fields}");
    }
}
