//! Payload schemas: what a flow demands of a message.
//!
//! Three forms, told apart as the Python gateway's users know them:
//! `{"field": "type"}`, `{"properties": {"field": {"type": "t"}}}` with short type names (in both a field's type may
//! stand alone or as `{"type": "t"}`, `t?` may be absent, `t|null` may be null, `t?|null` both), and JSON Schema, drafts 4 to
//! 2020-12, which has `$schema`, or `properties` beside any other key. A JSON Schema one of whose properties has a type
//! that only the short form knows (`str`, `float`, `int`, `bool`) is read as the second form.

mod field_type;
mod keywords;
mod violation;

pub use violation::SchemaViolation;

use crate::payload::{JsonKind, JsonPayload};
pub use field_type::FieldType;
use serde_json::{Map, Value};
use thiserror::Error;

/// Why a schema is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SchemaError {
    /// `[]`, `"x"`, `null`.
    #[error("a payload schema is a JSON object such as {{\"temperature\": \"float\"}}, not {found}")]
    NotAnObject {
        /// What it is.
        found: JsonKind,
    },
    /// A type that does not exist.
    #[error(
        "field {field:?} has the unknown type {found:?}; types are string (str), number (float), integer (int), boolean \
         (bool), object and array; \"float?\" may be absent, \"float|null\" null, \"float?|null\" both"
    )]
    UnknownType {
        /// The field.
        field: Box<str>,
        /// The name.
        found: Box<str>,
    },
    /// A field without the name of a type.
    #[error(
        "field {field:?} needs the name of a type, such as \"float\", not {found}; for JSON Schema add \"$schema\": \
         \"https://json-schema.org/draft/2020-12/schema\""
    )]
    NoType {
        /// The field.
        field: Box<str>,
        /// What stands there.
        found: Box<str>,
    },
    /// Not valid against its own draft, or with a reference that leads outside.
    #[error("not a valid JSON Schema at {pointer:?}: {problem}")]
    Invalid {
        /// JSON pointer into the schema (RFC 6901); empty for its root.
        pointer: Box<str>,
        /// What the validator says.
        problem: Box<str>,
    },
}

/// A field that a schema names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaField {
    /// Its name.
    pub name: Box<str>,
    /// Its type; none when a JSON Schema allows several, or says nothing of it. Numbers that may be null are numbers.
    pub kind: Option<FieldType>,
    /// Whether it may be absent; a JSON Schema says that elsewhere.
    pub is_optional: bool,
    /// Whether it may be null besides having its type.
    pub is_nullable: bool,
}

/// A schema, ready to check payloads.
#[derive(Debug)]
pub struct PayloadSchema {
    fields: Vec<SchemaField>,
    json_schema: Option<Box<jsonschema::Validator>>,
    warnings: Vec<String>,
}

/// Type names that JSON Schema does not know.
const SHORT_ONLY: [&str; 4] = ["str", "float", "int", "bool"];

impl PayloadSchema {
    /// Reads a schema of any of the three forms. References to other documents are refused, never fetched.
    ///
    /// # Errors
    /// The schema is none of the forms, names an unknown type, or is not valid against its draft.
    pub fn compile(schema: &Value) -> Result<Self, SchemaError> {
        let Value::Object(members) = schema else { return Err(SchemaError::NotAnObject { found: kind_of(schema) }) };
        let properties = members.get("properties").and_then(Value::as_object);
        let real = members.contains_key("$schema") || properties.is_some_and(|_| members.len() > 1);
        match properties {
            Some(properties) if !real || has_short_only_type(properties) => Self::short(members, properties),
            _ if real => Self::json_schema(schema, properties),
            _ => Self::short(members, members),
        }
    }

    /// Checks a payload.
    ///
    /// # Errors
    /// All that is wrong with it, at least one violation.
    pub fn validate(&self, payload: &JsonPayload<'_>) -> Result<(), Vec<SchemaViolation>> {
        let violations = match &self.json_schema {
            Some(validator) => check_json_schema(validator, payload),
            None => check_types(&self.fields, payload),
        };
        if violations.is_empty() { Ok(()) } else { Err(violations) }
    }

    /// The fields it names, in its order: the columns of a typed table.
    #[must_use]
    pub fn fields(&self) -> &[SchemaField] {
        &self.fields
    }

    /// The fields without which no payload fits, as far as a short form says so.
    pub fn required(&self) -> impl Iterator<Item = &str> {
        let is_required = |field: &&SchemaField| self.json_schema.is_none() && !field.is_optional;
        self.fields.iter().filter(is_required).map(|field| &*field.name)
    }

    /// Parts of the schema that have no effect, such as misspelt keywords.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Either short form; `fields` is the schema itself, or its `properties`.
    fn short(schema: &Map<String, Value>, fields: &Map<String, Value>) -> Result<Self, SchemaError> {
        let warnings = keywords::not_checked_in_short_form(schema, fields);
        let fields = fields.iter().map(|(name, kind)| short_field(name, kind)).collect::<Result<_, _>>()?;
        Ok(Self { fields, json_schema: None, warnings })
    }

    fn json_schema(schema: &Value, properties: Option<&Map<String, Value>>) -> Result<Self, SchemaError> {
        let options = jsonschema::options().should_validate_formats(true).offline();
        let validator = options.build(schema).map_err(|error| SchemaError::Invalid {
            pointer: error.instance_path().as_str().into(),
            problem: error.to_string().into(),
        })?;
        let field = |(name, property): (&String, &Value)| {
            let nullable = nullable_number(property);
            let kind = nullable.or_else(|| property.get("type")?.as_str().and_then(FieldType::from_name));
            SchemaField { name: name.as_str().into(), kind, is_optional: false, is_nullable: nullable.is_some() }
        };
        let fields = properties.into_iter().flatten().map(field).collect();
        let warnings = keywords::without_effect(schema, validator.draft());
        Ok(Self { fields, json_schema: Some(Box::new(validator)), warnings })
    }
}

/// The type of a property whose types are numbers and `null`, such as `["number", "null"]`.
fn nullable_number(property: &Value) -> Option<FieldType> {
    let names = property.get("type")?.as_array()?.iter().map(Value::as_str).collect::<Option<Vec<_>>>()?;
    if !names.contains(&"null") || names.iter().any(|name| !matches!(*name, "null" | "number" | "integer")) {
        return None;
    }
    ["number", "integer"].into_iter().find(|name| names.contains(name)).and_then(FieldType::from_name)
}

fn has_short_only_type(properties: &Map<String, Value>) -> bool {
    let name = |property: &Value| property.get("type").and_then(Value::as_str).map(|name| SHORT_ONLY.contains(&name));
    properties.values().filter_map(name).any(|short_only| short_only)
}

/// A field of either short form: both know `"type"` and `{"type": "type"}`.
fn short_field(name: &str, kind: &Value) -> Result<SchemaField, SchemaError> {
    let kind = kind.as_object().map_or(Some(kind), |property| property.get("type"));
    let Some(Value::String(found)) = kind else {
        let found = kind.map_or("nothing".to_string(), |kind| kind_of(kind).to_string());
        return Err(SchemaError::NoType { field: name.into(), found: found.into() });
    };
    let (kind, is_nullable) = found.strip_suffix("|null").map_or((found.as_str(), false), |kind| (kind, true));
    let (kind, is_optional) = kind.strip_suffix('?').map_or((kind, false), |kind| (kind, true));
    match FieldType::from_name(kind) {
        Some(kind) => Ok(SchemaField { name: name.into(), kind: Some(kind), is_optional, is_nullable }),
        None => Err(SchemaError::UnknownType { field: name.into(), found: found.as_str().into() }),
    }
}

/// The short forms: every named field must be there, unless it is optional, and have its type. Nothing is built.
fn check_types(fields: &[SchemaField], payload: &JsonPayload<'_>) -> Vec<SchemaViolation> {
    let mut violations = Vec::new();
    for (index, field) in fields.iter().enumerate() {
        let Some(kind) = field.kind else { continue };
        // Senders mostly keep the order of the schema.
        let at_its_place = payload.fields().get(index).filter(|sent| *sent.name == *field.name);
        match at_its_place.map(|sent| sent.value).or_else(|| payload.get(&field.name)) {
            Some(value) if kind.admits(value.kind()) => {}
            Some(value) if field.is_nullable && value.kind() == JsonKind::Null => {}
            None if field.is_optional => {}
            found => violations.push(SchemaViolation::wrong_type(&field.name, kind, found.map(|value| value.kind()))),
        }
    }
    violations
}

fn check_json_schema(validator: &jsonschema::Validator, payload: &JsonPayload<'_>) -> Vec<SchemaViolation> {
    let mut members = Map::with_capacity(payload.fields().len());
    for field in payload.fields() {
        match field.value.to_value() {
            Ok(value) => members.insert(field.name.to_string(), value),
            Err(_) => return vec![SchemaViolation::number_out_of_range(&field.name)],
        };
    }
    let instance = Value::Object(members);
    if validator.is_valid(&instance) {
        return Vec::new();
    }
    validator.iter_errors(&instance).map(|error| SchemaViolation::of_json_schema(&error)).collect()
}

fn kind_of(value: &Value) -> JsonKind {
    match value {
        Value::Null => JsonKind::Null,
        Value::Bool(_) => JsonKind::Boolean,
        Value::Number(number) if number.is_f64() => JsonKind::Number,
        Value::Number(_) => JsonKind::Integer,
        Value::String(_) => JsonKind::String,
        Value::Array(_) => JsonKind::Array,
        Value::Object(_) => JsonKind::Object,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn violations(schema: &Value, payload: &str) -> Vec<String> {
        let schema = PayloadSchema::compile(schema).unwrap();
        match schema.validate(&JsonPayload::parse_text(payload).unwrap()) {
            Ok(()) => Vec::new(),
            Err(violations) => violations.into_iter().map(|violation| violation.to_string()).collect(),
        }
    }

    fn draft7(properties: &Value) -> Value {
        json!({"$schema": "http://json-schema.org/draft-07/schema#", "type": "object", "properties": properties})
    }

    #[test]
    fn the_short_form_names_field_expected_and_found() {
        let schema = json!({"t": "float", "n": "int", "on": "bool"});
        assert_eq!(violations(&schema, r#"{"t": 1, "on": false, "n": -3, "more": []}"#), Vec::<String>::new());
        assert_eq!(
            violations(&schema, r#"{"t": "23", "n": 1.0}"#),
            [
                "field t: expected number, found string",
                "field n: expected integer, found number",
                "field on: expected boolean, found nothing"
            ]
        );
        assert_eq!(violations(&json!({"t": "number"}), r#"{"t": true}"#), ["field t: expected number, found boolean"]);
    }

    #[test]
    fn a_violation_points_into_the_payload() {
        let schema = PayloadSchema::compile(&json!({"a/b~c": "int"})).unwrap();
        let found = schema.validate(&JsonPayload::parse_text("{}").unwrap()).unwrap_err();
        assert_eq!((found[0].pointer.as_str(), found[0].found.as_str()), ("/a~1b~0c", "nothing"));
    }

    #[test]
    fn a_field_of_the_short_form_may_be_optional_and_nullable() {
        let schema = json!({"a": "int?", "b": "float|null", "c": {"type": "str?|null"}});
        for payload in [r#"{"b": null}"#, r#"{"a": 1, "b": 2.5, "c": "x"}"#, r#"{"b": 1, "c": null}"#] {
            assert_eq!(violations(&schema, payload), Vec::<String>::new(), "{payload}");
        }
        assert_eq!(
            violations(&schema, r#"{"a": null, "c": 1}"#),
            [
                "field a: expected integer, found null",
                "field b: expected number, found nothing",
                "field c: expected string, found integer"
            ]
        );
        let fields = PayloadSchema::compile(&schema).unwrap().fields;
        let kinds: Vec<_> = fields.iter().map(|field| field.kind.unwrap()).collect();
        assert_eq!(kinds, [FieldType::Integer, FieldType::Number, FieldType::String]);
        for wrong in ["float|null?", "float??", "?", "|null", "float |null", "float|text"] {
            assert!(PayloadSchema::compile(&json!({"a": wrong})).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_number_that_may_be_null_is_a_number() {
        let schema = draft7(&json!({
            "a": {"type": ["number", "null"]}, "b": {"type": ["null", "integer"]}, "c": {"type": ["string", "null"]},
            "d": {"type": "number"}, "e": {"type": ["number", "string", "null"]}, "f": {"type": ["null"]},
        }));
        let schema = PayloadSchema::compile(&schema).unwrap();
        let found: Vec<_> = schema.fields().iter().map(|field| (&*field.name, field.kind, field.is_nullable)).collect();
        assert_eq!(
            found,
            [
                ("a", Some(FieldType::Number), true),
                ("b", Some(FieldType::Integer), true),
                ("c", None, false),
                ("d", Some(FieldType::Number), false),
                ("e", None, false),
                ("f", None, false),
            ]
        );
    }

    #[test]
    fn json_schema_violations_say_where_and_what() {
        let schema = draft7(&json!({
            "t": {"type": "number", "minimum": 0}, "pos": {"required": ["lat"]}, "at": {"format": "date-time"},
            "mode": {"enum": ["a", "b"]}
        }));
        assert_eq!(
            violations(&schema, r#"{"t": -1, "pos": {}, "at": "yesterday", "mode": "c"}"#),
            [
                "field t: expected at least 0, found -1",
                "field pos/lat: expected a value, found nothing",
                "field at: expected a text in the format date-time, found \"yesterday\"",
                "field mode: expected one of [\"a\",\"b\"], found \"c\""
            ]
        );
        assert_eq!(violations(&schema, r#"{"t": "x"}"#), ["field t: expected number, found string"]);
        assert_eq!(
            violations(&schema, r#"{"t": 1e999}"#),
            ["field t: expected a number within the range of a double, found a larger one"]
        );
    }

    #[test]
    fn a_schema_with_short_only_types_is_read_as_the_short_form() {
        let schema = json!({"type": "object", "properties": {"t": {"type": "float", "minimum": 5}}, "required": []});
        assert_eq!(violations(&schema, r#"{"t": 1}"#), Vec::<String>::new());
        assert_eq!(violations(&schema, "{}").len(), 1);
        let warnings = PayloadSchema::compile(&schema).unwrap().warnings().join("\n");
        assert!(warnings.contains("/properties/t/minimum"), "{warnings}");
    }

    #[test]
    fn schemas_that_cannot_be_meant_are_refused() {
        let refused = |schema: &Value| PayloadSchema::compile(schema).unwrap_err().to_string();
        assert!(refused(&json!([])).contains("not array"));
        assert!(refused(&json!({"a": "flaot"})).contains("field \"a\" has the unknown type \"flaot\""));
        assert!(refused(&json!({"a": {"type": ["number", "null"]}})).contains("field \"a\" needs the name of a type"));
        assert!(refused(&json!({"properties": {"a": {}}})).contains("not nothing"));
        assert!(refused(&draft7(&json!({"a": {"type": "flaot"}}))).contains("not a valid JSON Schema"));
        assert!(refused(&json!({"$schema": "https://example.com/mine", "properties": {}})).contains("not a valid"));
    }

    #[test]
    fn references_never_leave_the_schema() {
        for reference in
            ["http://127.0.0.1:9/s.json", "https://example.com/s.json", "file:///etc/hostname", "other.json"]
        {
            let schema = draft7(&json!({"a": {"$ref": reference}}));
            assert!(PayloadSchema::compile(&schema).is_err(), "{reference}");
        }
        let mut inner = draft7(&json!({"a": {"$ref": "#/definitions/t"}}));
        inner["definitions"] = json!({"t": {"type": "integer"}});
        assert_eq!(violations(&inner, r#"{"a": "x"}"#), ["field a: expected integer, found string"]);
    }

    #[test]
    fn keywords_without_effect_are_warned_about() {
        let schema = draft7(&json!({
            "t": {"type": "number", "minimun": 0}, "l": {"prefixItems": []}, "f": {"format": "sensor-id"}
        }));
        let warnings = PayloadSchema::compile(&schema).unwrap().warnings().to_vec();
        assert_eq!(warnings.len(), 3, "{warnings:?}");
        assert!(warnings[0].contains("/properties/t/minimun"));
        assert!(warnings[1].contains("/properties/l/prefixItems"));
        assert!(warnings[2].contains("sensor-id"));
    }

    #[test]
    fn every_draft_from_4_on_is_understood() {
        for draft in [
            "http://json-schema.org/draft-04/schema#",
            "http://json-schema.org/draft-06/schema#",
            "http://json-schema.org/draft-07/schema#",
            "https://json-schema.org/draft/2019-09/schema",
            "https://json-schema.org/draft/2020-12/schema",
        ] {
            let schema = json!({"$schema": draft, "properties": {"a": {"type": "integer"}}, "required": ["a"]});
            assert_eq!(violations(&schema, r#"{"a": 1}"#), Vec::<String>::new(), "{draft}");
            assert_eq!(violations(&schema, "{}"), ["field a: expected a value, found nothing"], "{draft}");
        }
    }
}
