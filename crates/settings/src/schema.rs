//! `config schema`: a JSON Schema of the configuration file, for editors.

use super::{DEFAULTS, GatewaySettings};
use serde_json::{Map, Value, json};
use toml_edit::Document;

/// The schema, with the defaults of the built-in configuration.
#[must_use]
pub fn schema() -> Value {
    let mut schema = schemars::generate::SchemaSettings::draft2020_12()
        .with(|settings| settings.inline_subschemas = true)
        .into_generator()
        .into_root_schema_for::<GatewaySettings>()
        .to_value();
    let defaults = Document::parse(DEFAULTS).map(|document| to_json(document.as_item())).unwrap_or_default();
    relax(&mut schema, Some(&defaults));
    if let Some(root) = schema.as_object_mut() {
        root.insert("title".into(), json!("Configuration of Hearthgate"));
    }
    schema
}

/// Since every key has a default, nothing is required that stands in the defaults; the default is noted beside it.
fn relax(schema: &mut Value, defaults: Option<&Value>) {
    let Some(schema) = schema.as_object_mut() else { return };
    if let (Some(required), Some(Value::Object(known))) = (schema.get_mut("required"), defaults)
        && let Some(names) = required.as_array_mut()
    {
        names.retain(|name| name.as_str().is_none_or(|name| !known.contains_key(name)));
    }
    if schema.get("required").and_then(Value::as_array).is_some_and(Vec::is_empty) {
        schema.remove("required");
    }
    let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) else { return };
    for (name, property) in properties {
        let default = defaults.and_then(|defaults| defaults.get(name));
        relax(property, default);
        if let (Some(default), Some(property)) = (default, property.as_object_mut())
            && !default.is_object()
        {
            property.insert("default".into(), default.clone());
        }
    }
}

fn to_json(item: &toml_edit::Item) -> Value {
    if let Some(table) = item.as_table_like() {
        return Value::Object(table.iter().map(|(key, item)| (key.to_owned(), to_json(item))).collect::<Map<_, _>>());
    }
    match item.as_value() {
        Some(value) => value_to_json(value),
        None => Value::Null,
    }
}

fn value_to_json(value: &toml_edit::Value) -> Value {
    match value {
        toml_edit::Value::String(text) => json!(text.value()),
        toml_edit::Value::Integer(number) => json!(number.value()),
        toml_edit::Value::Float(number) => json!(number.value()),
        toml_edit::Value::Boolean(on) => json!(on.value()),
        toml_edit::Value::Datetime(time) => json!(time.value().to_string()),
        toml_edit::Value::Array(items) => items.iter().map(value_to_json).collect(),
        toml_edit::Value::InlineTable(table) => {
            Value::Object(table.iter().map(|(key, value)| (key.to_owned(), value_to_json(value))).collect())
        }
    }
}
