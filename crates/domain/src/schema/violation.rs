//! What is wrong with a payload, and where.

use crate::payload::JsonKind;
use crate::schema::field_type::FieldType;
use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::{JsonType, ValidationError};
use serde::Serialize;
use serde_json::Value;
use std::fmt;

/// One thing that a payload lacks or has wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SchemaViolation {
    /// JSON pointer into the payload (RFC 6901); empty for the payload itself.
    pub pointer: String,
    /// What the schema demands there.
    pub expected: String,
    /// What is there: a type, or the beginning of the value.
    pub found: String,
}

/// The sentence: `field t: expected number, found string`.
impl fmt::Display for SchemaViolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pointer.strip_prefix('/') {
            Some(field) => write!(f, "field {field}: ")?,
            None => f.write_str("the payload: ")?,
        }
        write!(f, "expected {}, found {}", self.expected, self.found)
    }
}

/// Values are shown up to this many characters.
const SHOWN: usize = 80;

impl SchemaViolation {
    pub(super) fn wrong_type(field: &str, expected: FieldType, found: Option<JsonKind>) -> Self {
        Self {
            pointer: pointer_to("", field),
            expected: expected.to_string(),
            found: found.map_or_else(|| "nothing".to_string(), |kind| kind.to_string()),
        }
    }

    pub(super) fn number_out_of_range(field: &str) -> Self {
        Self {
            pointer: pointer_to("", field),
            expected: "a number within the range of a double".to_string(),
            found: "a larger one".to_string(),
        }
    }

    pub(super) fn of_json_schema(error: &ValidationError<'_>) -> Self {
        let at = error.instance_path().as_str();
        match error.kind() {
            ValidationErrorKind::Required { property } => Self {
                pointer: pointer_to(at, property.as_str().unwrap_or_default()),
                expected: "a value".to_string(),
                found: "nothing".to_string(),
            },
            ValidationErrorKind::Type { kind } => Self {
                pointer: at.to_string(),
                expected: type_names(kind),
                found: JsonType::from(error.instance().as_ref()).to_string(),
            },
            ValidationErrorKind::AdditionalProperties { unexpected }
            | ValidationErrorKind::UnevaluatedProperties { unexpected } => Self {
                pointer: unexpected.first().map_or_else(|| at.to_string(), |name| pointer_to(at, name)),
                expected: "no field beyond those of the schema".to_string(),
                found: unexpected.join(", "),
            },
            kind => Self { pointer: at.to_string(), expected: demand(kind), found: shown(error.instance()) },
        }
    }
}

/// A JSON pointer to a member.
pub(super) fn pointer_to(parent: &str, member: &str) -> String {
    format!("{parent}/{}", member.replace('~', "~0").replace('/', "~1"))
}

fn type_names(kind: &TypeKind) -> String {
    match kind {
        TypeKind::Single(kind) => kind.to_string(),
        TypeKind::Multiple(kinds) => kinds.iter().map(|kind| kind.to_string()).collect::<Vec<_>>().join(" or "),
    }
}

fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn demand(kind: &ValidationErrorKind) -> String {
    match kind {
        ValidationErrorKind::Minimum { limit } => format!("at least {limit}"),
        ValidationErrorKind::Maximum { limit } => format!("at most {limit}"),
        ValidationErrorKind::ExclusiveMinimum { limit } => format!("more than {limit}"),
        ValidationErrorKind::ExclusiveMaximum { limit } => format!("less than {limit}"),
        ValidationErrorKind::MultipleOf { multiple_of } => format!("a multiple of {multiple_of}"),
        ValidationErrorKind::MinLength { limit } => format!("at least {limit} characters"),
        ValidationErrorKind::MaxLength { limit } => format!("at most {limit} characters"),
        ValidationErrorKind::MinItems { limit } => format!("at least {limit} items"),
        ValidationErrorKind::MaxItems { limit } => format!("at most {limit} items"),
        ValidationErrorKind::MinProperties { limit } => format!("at least {limit} members"),
        ValidationErrorKind::MaxProperties { limit } => format!("at most {limit} members"),
        ValidationErrorKind::UniqueItems => "items that differ from each other".to_string(),
        ValidationErrorKind::Pattern { pattern } => format!("a text that matches the pattern {pattern}"),
        ValidationErrorKind::Format { format } => format!("a text in the format {format}"),
        ValidationErrorKind::Enum { options } => format!("one of {options}"),
        ValidationErrorKind::Constant { expected_value } => expected_value.to_string(),
        ValidationErrorKind::FalseSchema => "nothing to be here".to_string(),
        other => format!("what the schema's {} demands", other.keyword()),
    }
}
