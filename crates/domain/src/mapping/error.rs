//! What is wrong with a map.

use crate::mapping::field::MapField;
use crate::payload::{JsonKind, PayloadError};
use crate::topic::FilterError;
use thiserror::Error;

/// Why a map file is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{}{problem}", line.map(|line| format!("line {line}: ")).unwrap_or_default())]
pub struct MapError {
    /// The line, counted from 1; none when the map did not come from a file.
    pub line: Option<usize>,
    /// What is wrong there.
    pub problem: MapProblem,
}

/// What can be wrong with a map.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum MapProblem {
    /// Not JSON, or not an object.
    #[error("the map file cannot be read: {0}")]
    Json(PayloadError),
    /// A key that no map has.
    #[error(
        "unknown key {key:?}; a map has root, topics, function, gateway, location, device, sender, action, argkey, \
         argvalue, and in these maptype and map"
    )]
    UnknownKey {
        /// The key.
        key: Box<str>,
    },
    /// A key that every map must have.
    #[error("{key} is missing")]
    Missing {
        /// Its name.
        key: Box<str>,
    },
    /// A value of the wrong type.
    #[error("{key} must be {expected}, not {found}")]
    WrongType {
        /// Where it stands.
        key: Box<str>,
        /// What is needed.
        expected: &'static str,
        /// What is there.
        found: JsonKind,
    },
    /// The root cannot be part of a topic.
    #[error("root {root:?} holds {character:?}, which no topic may hold")]
    Root {
        /// The root.
        root: Box<str>,
        /// `+`, `#` or NUL.
        character: char,
    },
    /// A topic is no filter.
    #[error("topics: {0}")]
    Topic(FilterError),
    /// Not `none`, `loose` or `strict`.
    #[error("{field}: maptype is none, loose or strict, not {found:?}")]
    MapType {
        /// The field.
        field: MapField,
        /// What stands there.
        found: Box<str>,
    },
    /// `loose` or `strict` without `map`.
    #[error("{field}: maptype {maptype} needs a map; add `\"map\": {{…}}` or make it none")]
    NoMap {
        /// The field.
        field: MapField,
        /// `loose` or `strict`.
        maptype: &'static str,
    },
    /// The form of older files, `{"gate": "Gate"}`, MQTT keyword first.
    #[error(
        "{field}: {keyword:?} has the plain text {value:?}; write the internal keyword with the list of its MQTT \
         keywords, such as {value:?}: [{keyword:?}]"
    )]
    PlainText {
        /// The field.
        field: MapField,
        /// The key.
        keyword: Box<str>,
        /// The text.
        value: Box<str>,
    },
    /// `"Gate": []`.
    #[error("{field}: the list of {keyword:?} is empty; name at least one MQTT keyword")]
    EmptyList {
        /// The field.
        field: MapField,
        /// The internal keyword.
        keyword: Box<str>,
    },
    /// One MQTT keyword for two internal ones.
    #[error("{field}: the MQTT keyword {mqtt:?} stands under both {first:?} and {second:?}")]
    Ambiguous {
        /// The field.
        field: MapField,
        /// The MQTT keyword.
        mqtt: Box<str>,
        /// The internal keyword that has it first.
        first: Box<str>,
        /// The one that repeats it.
        second: Box<str>,
    },
}

pub(super) fn check_root(root: &str) -> Result<(), MapError> {
    match root.chars().find(|character| matches!(character, '+' | '#' | '\0')) {
        None => Ok(()),
        Some(character) => Err(MapError { line: None, problem: MapProblem::Root { root: root.into(), character } }),
    }
}
