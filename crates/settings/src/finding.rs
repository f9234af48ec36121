//! What is wrong with a configuration, in a form that tells how to put it right.

use super::origin::ValueOrigin;
use std::fmt;

/// Whether the gateway can start in spite of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FindingSeverity {
    /// It can't.
    Error,
    /// It can, but probably does not do what was meant.
    Warning,
}

/// One thing wrong, or doubtful, in a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigFinding {
    /// How bad it is.
    pub severity: FindingSeverity,
    /// Where it was written; `None` when it is about something missing.
    pub origin: Option<ValueOrigin>,
    /// The key with its section, such as `mqtt.keep_alive`; empty when no single key is meant.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub remedy: Option<String>,
}

impl ConfigFinding {
    pub(crate) fn error(key: impl Into<String>, message: impl Into<String>) -> Self {
        Self { severity: FindingSeverity::Error, origin: None, key: key.into(), message: message.into(), remedy: None }
    }

    pub(crate) fn warning(key: impl Into<String>, message: impl Into<String>) -> Self {
        Self { severity: FindingSeverity::Warning, ..Self::error(key, message) }
    }

    pub(crate) fn at(mut self, origin: Option<&ValueOrigin>) -> Self {
        self.origin = origin.cloned();
        self
    }

    pub(crate) fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }
}

impl fmt::Display for ConfigFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Some(ValueOrigin::Default) | None => {}
            Some(origin) => write!(f, "{origin}: ")?,
        }
        if self.severity == FindingSeverity::Warning {
            f.write_str("warning: ")?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)?;
        match &self.remedy {
            Some(remedy) => write!(f, "; {remedy}"),
            None => Ok(()),
        }
    }
}

/// A configuration that can't be used. `Display` shows every finding on a line of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingsError {
    /// All that was found, in the order of the file where it is known; at least one is an error.
    pub findings: Vec<ConfigFinding>,
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let errors = self.findings.iter().filter(|finding| finding.severity == FindingSeverity::Error).count();
        match errors {
            1 => f.write_str("the configuration has an error:")?,
            n => write!(f, "the configuration has {n} errors:")?,
        }
        for finding in &self.findings {
            write!(f, "\n  {finding}")?;
        }
        Ok(())
    }
}

impl std::error::Error for SettingsError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_names_file_line_key_and_remedy() {
        let origin = ValueOrigin::File { file: "home.toml".into(), line: 12, expanded: false };
        let finding =
            ConfigFinding::error("mqtt.sevrer", "unknown key").at(Some(&origin)).remedy("did you mean \"server\"?");
        assert_eq!(finding.to_string(), "home.toml:12: mqtt.sevrer: unknown key; did you mean \"server\"?");
    }
}
