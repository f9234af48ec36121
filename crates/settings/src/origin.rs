//! Where each value of the configuration was written.

use std::collections::BTreeMap;
use std::fmt;

/// The place that set a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValueOrigin {
    /// The built-in default configuration.
    Default,
    /// A line of a configuration file, counted from 1.
    File {
        /// The file as it was named or found.
        file: String,
        /// Line of the key.
        line: usize,
        /// Whether the value came out of `${…}`, so that its type is still open.
        expanded: bool,
    },
    /// A variable of the environment.
    Environment(String),
    /// A variable in a `.env` file.
    DotEnv {
        /// The file.
        file: String,
        /// The variable.
        name: String,
    },
    /// A flag on the command line.
    Flag(String),
}

impl ValueOrigin {
    /// Whether the value is text whose type its reader decides: `"5"` may be a number then.
    #[must_use]
    pub fn is_untyped(&self) -> bool {
        match self {
            Self::Default => false,
            Self::File { expanded, .. } => *expanded,
            Self::Environment(_) | Self::DotEnv { .. } | Self::Flag(_) => true,
        }
    }
}

impl fmt::Display for ValueOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { file, line, .. } => write!(f, "{file}:{line}"),
            Self::Environment(name) => write!(f, "environment variable {name}"),
            Self::DotEnv { file, name } => write!(f, "{file}: {name}"),
            Self::Flag(flag) => write!(f, "flag {flag}"),
        }
    }
}

/// All origins of one configuration. The `config` crate carries one text with each value; here it is an index.
#[derive(Clone, Debug, Default)]
pub(crate) struct ValueOrigins {
    all: Vec<ValueOrigin>,
    /// Merging drops what a table itself came from, so the headers are kept here, by dotted path.
    headers: BTreeMap<String, ValueOrigin>,
}

impl ValueOrigins {
    pub(crate) fn add(&mut self, origin: ValueOrigin) -> String {
        self.all.push(origin);
        (self.all.len() - 1).to_string()
    }

    /// Headers of the defaults are no place that a person can go to.
    pub(crate) fn add_header(&mut self, path: &[String], origin: ValueOrigin) {
        if origin == ValueOrigin::Default {
            return;
        }
        self.headers.insert(path.join("."), origin);
    }

    pub(crate) fn of(&self, value: &config::Value) -> Option<&ValueOrigin> {
        self.all.get(value.origin()?.parse::<usize>().ok()?)
    }

    pub(crate) fn header(&self, path: &[String]) -> Option<&ValueOrigin> {
        self.headers.get(&path.join("."))
    }
}
