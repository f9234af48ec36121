//! A message's rows of `data` as the record that they were made from.

use hearthgate_domain::flow::Flow;
use hearthgate_domain::payload::{JsonKind, RawJson};
use hearthgate_domain::schema::FieldType;
use serde_json::Value;

/// The record as JSON, with the types of the flow's schema as it is now, and the named levels of the topic.
pub(super) fn record_of<'a>(flow: &Flow, attributes: &'a [(String, String)]) -> (String, Vec<(&'a str, &'a str)>) {
    let (mut members, mut levels) = (Vec::new(), Vec::new());
    for (name, value) in attributes {
        let field = flow.schema.fields().iter().find(|field| *field.name == **name);
        if field.is_none() && flow.topic.names().any(|level| level == name) {
            levels.push((&**name, &**value));
            continue;
        }
        let kind = field.and_then(|field| field.kind);
        members.push(format!("{}:{}", Value::from(&**name), json(kind, value)));
    }
    (format!("{{{}}}", members.join(",")), levels)
}

/// A text of `data` as JSON. What can't be of the wanted type stays a text, and is refused by the schema then.
fn json(kind: Option<FieldType>, text: &str) -> String {
    let parsed = RawJson::parse(text).ok().map(|raw| raw.kind());
    let as_it_is = match kind {
        Some(FieldType::String) => false,
        Some(FieldType::Number | FieldType::Integer) => {
            matches!(parsed, Some(JsonKind::Number | JsonKind::Integer | JsonKind::Null))
        }
        Some(FieldType::Boolean) => matches!(parsed, Some(JsonKind::Boolean | JsonKind::Null)),
        Some(FieldType::Object | FieldType::Array) => matches!(parsed, Some(JsonKind::Object | JsonKind::Array)),
        None => parsed.is_some_and(|kind| kind != JsonKind::String),
    };
    match (kind, text) {
        _ if as_it_is => text.to_owned(),
        // As Python writes them.
        (Some(FieldType::Boolean), "True") => "true".to_owned(),
        (Some(FieldType::Boolean), "False") => "false".to_owned(),
        (Some(kind), "None") if kind != FieldType::String => "null".to_owned(),
        _ => Value::from(text).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hearthgate_domain::flow::FlowRow;

    #[test]
    fn texts_become_what_the_schema_says_and_levels_are_told_from_fields() {
        let row = FlowRow {
            code: "A".into(),
            topic: "a/{room}".into(),
            action: "STORE_DB".into(),
            payload_schema: r#"{"t": "float", "on": "bool", "name": "string"}"#.into(),
            ..FlowRow::default()
        };
        let flow = Flow::compile(row).unwrap();
        let text = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let attributes =
            [text("room", "hall"), text("t", "12.50"), text("on", "True"), text("name", "7"), text("more", "[1]")];
        let (record, levels) = record_of(&flow, &attributes);
        assert_eq!(record, r#"{"t":12.50,"on":true,"name":"7","more":[1]}"#);
        assert_eq!(levels, [("room", "hall")]);
    }
}
