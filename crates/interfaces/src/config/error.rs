//! What is wrong with the options of an interface.

use std::fmt;
use std::time::Duration;

/// What is wrong with an interface's options, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{problem}", if path.is_empty() { String::new() } else { format!("`{path}`: ") })]
pub struct InterfaceConfigError {
    /// The option, relative to the interface's table (`receive[2].match`); empty when the table as a whole is meant.
    pub path: String,
    /// What is wrong with it and what helps.
    pub problem: String,
}

impl InterfaceConfigError {
    pub(crate) fn new(path: impl Into<String>, problem: impl fmt::Display) -> Self {
        InterfaceConfigError { path: path.into(), problem: problem.to_string() }
    }
}

/// Why a text cannot be the name of an interface.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InterfaceNameError {
    /// There is none.
    #[error("an interface needs a name")]
    Empty,
    /// It cannot be a topic level.
    #[error("the name {name:?} becomes a topic level, which can not hold {character:?}")]
    TopicLevel {
        /// As given.
        name: String,
        /// The first one that does not fit.
        character: char,
    },
    /// It cannot be a file and a class.
    #[error("{name:?} names files and a class too: use at most 40 lower-case letters, digits and _, a letter first")]
    Identifier {
        /// As given.
        name: String,
    },
}

/// A text that is no sequence of bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not pairs of hex digits, such as \"02 ff\"")]
pub(crate) struct HexError(String);

impl HexError {
    pub(super) fn new(text: &str) -> Self {
        HexError(text.to_owned())
    }
}

/// Refuses a length of time under `least`.
pub(super) fn at_least(key: &str, value: Duration, least: Duration) -> Result<(), InterfaceConfigError> {
    if value >= least {
        return Ok(());
    }
    Err(InterfaceConfigError::new(key, format!("must be at least {} ms", least.as_millis())))
}
