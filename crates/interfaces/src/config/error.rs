//! What is wrong with the options of an interface.

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
    pub(crate) fn new(path: impl Into<String>, problem: impl Into<String>) -> Self {
        InterfaceConfigError { path: path.into(), problem: problem.into() }
    }
}

/// Refuses a length of time under `least`.
pub(super) fn at_least(key: &str, value: Duration, least: Duration) -> Result<(), InterfaceConfigError> {
    if value >= least {
        return Ok(());
    }
    Err(InterfaceConfigError::new(key, format!("must be at least {} ms", least.as_millis())))
}
