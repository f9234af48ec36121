//! The file of flows: `flow export` writes it, `flow import` reads it. Schema and options are tables; where TOML can't
//! say what a flow says (`null`, a number beyond 64 bits), and in files of earlier versions, they are JSON in a string.

mod read;
mod write;

pub(crate) use read::read_flows;
pub(crate) use write::write_flows;

use hearthgate_domain::flow::FlowRow;
use hearthgate_domain::suggestion::nearest_word;

/// What a `[[flow]]` may hold.
const KEYS: [&str; 8] = ["code", "description", "topic", "action", "schema", "endpoint_url", "enabled", "options"];

/// A flow of a file, and where it begins.
#[derive(Debug)]
pub(crate) struct WrittenFlow {
    /// The line of its `[[flow]]`, counted from 1.
    pub(crate) line: usize,
    /// The flow; its id and numbers are 0.
    pub(crate) row: FlowRow,
}

/// Why a text is no file of flows.
#[derive(Debug, thiserror::Error)]
#[error("{line}: {problem}")]
pub(crate) struct FlowFileError {
    /// The line, counted from 1.
    pub(crate) line: usize,
    /// What is wrong there.
    pub(crate) problem: FlowFileProblem,
}

/// What is wrong with a file of flows.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FlowFileProblem {
    /// It is no TOML.
    #[error("this is not TOML: {0}")]
    Syntax(String),
    /// Something else than `[[flow]]` stands there.
    #[error("{0:?} has no place here; each flow begins with [[flow]]")]
    NoFlow(String),
    /// A key that a flow does not have.
    #[error("flow {flow}: there is no {key:?}; {}", nearest_key(key))]
    Key {
        /// Its code, or its place.
        flow: String,
        /// The key.
        key: String,
    },
    /// A key that a flow needs.
    #[error("flow {flow}: {key} is missing; add it")]
    Missing {
        /// Its code, or its place.
        flow: String,
        /// The key.
        key: &'static str,
    },
    /// A value of another kind.
    #[error("flow {flow}, {key}: this is {found}; it has to be {expected}")]
    Kind {
        /// Its code, or its place.
        flow: String,
        /// The key, with those above it.
        key: String,
        /// What stands there.
        found: &'static str,
        /// What may stand there.
        expected: &'static str,
    },
    /// Two flows of one code.
    #[error("there are two flows {0}; remove one of them")]
    Repeated(String),
}

fn nearest_key(key: &str) -> String {
    match nearest_word(key, KEYS) {
        Some(word) => format!("did you mean {word:?}?"),
        None => format!("a flow has {}", KEYS.join(", ")),
    }
}

#[cfg(test)]
mod tests;
