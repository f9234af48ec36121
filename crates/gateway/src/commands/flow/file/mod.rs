//! The file of flows: `flow export` writes it, `flow import` reads it. Schema and options are tables; where TOML can't
//! say what a flow says (`null`, a number beyond 64 bits), and in files of earlier versions, they are JSON in a string.

mod read;
mod write;

pub(crate) use read::read_flows;
pub(crate) use write::write_flows;

/// What a `[[flow]]` may hold.
const KEYS: [&str; 8] = ["code", "description", "topic", "action", "schema", "endpoint_url", "enabled", "options"];

/// Why a text is no file of flows.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FlowFileError {
    /// It is no TOML.
    #[error("{0}")]
    Syntax(#[from] toml_edit::TomlError),
    /// Something else than `[[flow]]` stands there.
    #[error("{0:?} has no place here; each flow begins with [[flow]]")]
    NoFlow(String),
    /// A key that a flow does not have.
    #[error("flow {flow}: there is no {key:?}; a flow has {}", KEYS.join(", "))]
    Key {
        /// Its code, or its place.
        flow: String,
        /// The key.
        key: String,
    },
    /// A key that a flow needs.
    #[error("flow {flow}: {key} is missing")]
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

#[cfg(test)]
mod tests;
