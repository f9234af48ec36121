//! The types that a field can have.

use crate::payload::JsonKind;
use std::fmt;

/// What a field of a payload must be, as far as one word says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FieldType {
    /// `string`, `str`
    String,
    /// `number`, `float`: any number
    Number,
    /// `integer`, `int`: a number without fraction and exponent
    Integer,
    /// `boolean`, `bool`
    Boolean,
    /// `object`
    Object,
    /// `array`
    Array,
}

impl FieldType {
    pub(super) fn from_name(name: &str) -> Option<Self> {
        match name {
            "string" | "str" => Some(FieldType::String),
            "number" | "float" => Some(FieldType::Number),
            "integer" | "int" => Some(FieldType::Integer),
            "boolean" | "bool" => Some(FieldType::Boolean),
            "object" => Some(FieldType::Object),
            "array" => Some(FieldType::Array),
            _ => None,
        }
    }

    pub(super) fn admits(self, kind: JsonKind) -> bool {
        match self {
            FieldType::String => kind == JsonKind::String,
            FieldType::Number => matches!(kind, JsonKind::Number | JsonKind::Integer),
            FieldType::Integer => kind == JsonKind::Integer,
            FieldType::Boolean => kind == JsonKind::Boolean,
            FieldType::Object => kind == JsonKind::Object,
            FieldType::Array => kind == JsonKind::Array,
        }
    }
}

impl fmt::Display for FieldType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FieldType::String => "string",
            FieldType::Number => "number",
            FieldType::Integer => "integer",
            FieldType::Boolean => "boolean",
            FieldType::Object => "object",
            FieldType::Array => "array",
        })
    }
}
