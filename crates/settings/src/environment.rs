//! The process's environment with a `.env` file below it, and the layers that are made of them.

use super::finding::{ConfigFinding, SettingsError};
use super::origin::{ValueOrigin, ValueOrigins};
use super::text_file::{TextFileError, read_text_file};
use config::{Map, Value, ValueKind};
use std::collections::BTreeMap;
use std::path::Path;

/// Variables by name. A real one wins over the `.env` file's.
#[derive(Clone, Debug, Default)]
pub struct EnvironmentVariables {
    variables: BTreeMap<String, Variable>,
}

#[derive(Clone)]
struct Variable {
    value: String,
    /// The `.env` file that it is from, if it is.
    dot_env: Option<String>,
}

// Values may be secrets.
impl std::fmt::Debug for Variable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
}

impl EnvironmentVariables {
    /// The environment of this process; variables that are not UTF-8 are left out.
    #[must_use]
    pub fn of_process() -> Self {
        let variables = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, Variable { value: value.into_string().ok()?, dot_env: None }))
        });
        Self { variables: variables.collect() }
    }

    /// An environment of just these variables.
    #[must_use]
    pub fn of<'a>(variables: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let variables = variables
            .into_iter()
            .map(|(name, value)| (name.to_owned(), Variable { value: value.to_owned(), dot_env: None }));
        Self { variables: variables.collect() }
    }

    /// Adds the variables of a `.env` file that are not set yet. A missing file is none.
    pub(crate) fn add_dot_env(&mut self, path: &Path, findings: &mut Vec<ConfigFinding>) {
        let text = match read_text_file(path) {
            Ok(text) => text,
            Err(TextFileError::Io(error)) if error.kind() == std::io::ErrorKind::NotFound => return,
            Err(error) => {
                let finding = ConfigFinding::error("", format!("can't read {}: {error}", path.display()));
                findings.push(finding.remedy("mend it, or start the gateway in another folder"));
                return;
            }
        };
        let file = path.display().to_string();
        for (name, value) in parse_dot_env(&text) {
            self.variables.entry(name).or_insert(Variable { value, dot_env: Some(file.clone()) });
        }
    }

    /// The value of a variable.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(|variable| variable.value.as_str())
    }

    pub(crate) fn origin(&self, name: &str) -> ValueOrigin {
        match self.variables.get(name).and_then(|variable| variable.dot_env.clone()) {
            Some(file) => ValueOrigin::DotEnv { file, name: name.to_owned() },
            None => ValueOrigin::Environment(name.to_owned()),
        }
    }
}

/// Lines `NAME=value`, `export NAME="value"`; comments and lines without `=` are skipped, as python-dotenv does.
fn parse_dot_env(text: &str) -> Vec<(String, String)> {
    let line = |line: &str| {
        let line = line.trim();
        let line = line.strip_prefix("export ").unwrap_or(line);
        let (name, value) = line.split_once('=')?;
        let name = name.trim();
        if name.is_empty() || name.starts_with('#') {
            return None;
        }
        Some((name.to_owned(), unquoted(value.trim())))
    };
    text.lines().filter_map(line).collect()
}

fn unquoted(value: &str) -> String {
    if let Some(inner) = value.strip_prefix('\'').and_then(|rest| rest.split_once('\'')).map(|(inner, _)| inner) {
        return inner.to_owned();
    }
    let Some(rest) = value.strip_prefix('"') else {
        // A comment starts at a blank followed by '#'; a '#' inside a password is part of it.
        let end = value.find(" #").unwrap_or(value.len());
        return value[..end].trim_end().to_owned();
    };
    let mut out = String::new();
    let mut chars = rest.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => break,
            '\\' => match chars.next() {
                Some('n') => out.push('\n'),
                Some('t') => out.push('\t'),
                Some(other @ ('"' | '\\' | '$')) => out.push(other),
                Some(other) => out.extend(['\\', other]),
                None => out.push('\\'),
            },
            other => out.push(other),
        }
    }
    out
}

const PREFIX: &str = "HEARTHGATE__";

/// `HEARTHGATE__SECTION__KEY` as a layer. Names are compared without regard to case with those in `below`, so that an
/// interface's name may hold capitals.
pub(crate) fn prefixed(
    environment: &EnvironmentVariables,
    below: &Value,
    origins: &mut ValueOrigins,
) -> Map<String, Value> {
    let mut layer = Map::new();
    for name in environment.variables.keys() {
        let Some(rest) = name.strip_prefix(PREFIX) else { continue };
        let written: Vec<&str> = rest.split("__").collect();
        let path = matching_path(&written, below);
        let value = environment.get(name).unwrap_or_default();
        insert(&mut layer, &path, Value::new(Some(&origins.add(environment.origin(name))), value));
    }
    layer
}

fn matching_path(written: &[&str], below: &Value) -> Vec<String> {
    let mut at = Some(below);
    let mut path = Vec::new();
    for part in written {
        let table = match at.map(|value| &value.kind) {
            Some(ValueKind::Table(table)) => Some(table),
            _ => None,
        };
        let known = table.and_then(|table| table.iter().find(|(key, _)| key.eq_ignore_ascii_case(part)));
        path.push(known.map_or_else(|| part.to_lowercase(), |(key, _)| key.clone()));
        at = known.map(|(_, value)| value);
    }
    path
}

/// Puts `value` at `path`, making tables on the way.
pub(crate) fn insert(into: &mut Map<String, Value>, path: &[String], value: Value) {
    let Some((first, rest)) = path.split_first() else { return };
    if rest.is_empty() {
        into.insert(first.clone(), value);
        return;
    }
    let child = into.entry(first.clone()).or_insert_with(|| Value::new(None, ValueKind::Table(Map::new())));
    if !matches!(child.kind, ValueKind::Table(_)) {
        *child = Value::new(None, ValueKind::Table(Map::new()));
    }
    if let ValueKind::Table(table) = &mut child.kind {
        insert(table, rest, value);
    }
}

/// The Python MQTT Gateway's variables as a layer below `HEARTHGATE__…`.
pub(crate) fn compatible(
    environment: &EnvironmentVariables,
    origins: &mut ValueOrigins,
    findings: &mut Vec<ConfigFinding>,
) -> Map<String, Value> {
    let mut layer = Map::new();
    let mut set = |variable: &str, section: &str, key: &str, value: String| {
        let origin = origins.add(environment.origin(variable));
        insert(&mut layer, &[section.to_owned(), key.to_owned()], Value::new(Some(&origin), value));
    };
    if let Some(host) = environment.get("DB_HOST") {
        match database_url(environment, host) {
            Ok(url) => set("DB_HOST", "database", "url", url),
            Err(finding) => findings.push(finding.at(Some(&environment.origin("DB_HOST")))),
        }
        if let Some(password) = environment.get("DB_PASSWORD") {
            set("DB_PASSWORD", "database", "password", password.to_owned());
        }
    }
    if let Some(folder) = environment.get("LOG_DIR") {
        set("LOG_DIR", "log", "file", format!("{}/hearthgate.log", folder.trim_end_matches('/')));
    }
    if let Some(id) = environment.get("MQTT_CLIENT_ID") {
        set("MQTT_CLIENT_ID", "mqtt", "client_id", id.to_owned());
    }
    for (variable, section, key) in [
        ("HTTP_TIMEOUT_SECONDS", "endpoints", "http_timeout"),
        ("MQTT_KEEPALIVE", "mqtt", "keep_alive"),
        ("FLOWS_RELOAD_INTERVAL_SECONDS", "flows", "reload_interval"),
    ] {
        if let Some(seconds) = environment.get(variable) {
            set(variable, section, key, format!("{}s", seconds.trim()));
        }
    }
    layer
}

/// What `DB_HOST` says beyond the database, as a layer below the file: an installation of the Python gateway connects to
/// the broker that its table `mqtt_servers` names.
pub(crate) fn implied(environment: &EnvironmentVariables, origins: &mut ValueOrigins) -> Map<String, Value> {
    let mut layer = Map::new();
    if environment.get("DB_HOST").is_some() {
        let origin = origins.add(environment.origin("DB_HOST"));
        insert(&mut layer, &["mqtt".to_owned(), "server".to_owned()], Value::new(Some(&origin), "database"));
    }
    layer
}

/// What a variable of the Python MQTT Gateway says in our words: `section.key` and its value.
pub struct ImportedValue {
    /// Section of our configuration.
    pub section: String,
    /// Key in that section.
    pub key: String,
    /// Its value, as text; it may be a secret.
    pub value: String,
    /// The variable's name, with the file that it is from.
    pub variable: String,
}

/// Reads a `.env` file of the Python MQTT Gateway.
///
/// # Errors
/// It is not there or can't be read, or names a database only in part.
pub fn import_dot_env(path: &Path) -> Result<Vec<ImportedValue>, SettingsError> {
    let mut findings = Vec::new();
    if !path.is_file() {
        findings.push(
            ConfigFinding::error("", format!("there is no file {}", path.display()))
                .remedy("name the .env file of the MQTT Gateway"),
        );
        return Err(SettingsError { findings });
    }
    let (mut environment, mut origins) = (EnvironmentVariables::default(), ValueOrigins::default());
    environment.add_dot_env(path, &mut findings);
    let layers = [implied(&environment, &mut origins), compatible(&environment, &mut origins, &mut findings)];
    if !findings.is_empty() {
        return Err(SettingsError { findings });
    }
    let mut values = Vec::new();
    for (section, table) in layers.into_iter().flatten() {
        let ValueKind::Table(table) = table.kind else { continue };
        for (key, value) in table {
            let variable = origins.of(&value).map_or_else(String::new, ToString::to_string);
            values.push(ImportedValue { section: section.clone(), key, value: value.to_string(), variable });
        }
    }
    values.sort_by(|one, other| (&one.section, &one.key).cmp(&(&other.section, &other.key)));
    Ok(values)
}

fn database_url(environment: &EnvironmentVariables, host: &str) -> Result<String, Box<ConfigFinding>> {
    let need = |name: &str| {
        environment.get(name).filter(|value| !value.is_empty()).ok_or_else(|| {
            let finding = ConfigFinding::error("database.url", format!("DB_HOST is set, but {name} is not"));
            Box::new(finding.remedy("set DB_NAME and DB_USER too, or use HEARTHGATE__DATABASE__URL instead"))
        })
    };
    let (name, user) = (need("DB_NAME")?, need("DB_USER")?);
    let port = environment.get("DB_PORT").filter(|port| !port.is_empty()).unwrap_or("3306");
    Ok(format!("mysql://{}@{host}:{port}/{}", percent_encode(user), percent_encode(name)))
}

fn percent_encode(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_dot_env_file_is_read_as_python_dotenv_does() {
        let text =
            "# comment\nDB_HOST=db\nexport DB_USER = 'a b'\nDB_PASSWORD=\"p#\\\"w\"\nX=a#b # c\nnonsense\nEMPTY=\n";
        let pairs = parse_dot_env(text);
        let expected = [("DB_HOST", "db"), ("DB_USER", "a b"), ("DB_PASSWORD", "p#\"w"), ("X", "a#b"), ("EMPTY", "")];
        assert_eq!(pairs, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn the_real_environment_wins_over_the_dot_env_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(".env");
        std::fs::write(&file, "A=file\nB=file\n").unwrap();
        let mut environment = EnvironmentVariables::of([("A", "real")]);
        environment.add_dot_env(&file, &mut Vec::new());
        assert_eq!((environment.get("A"), environment.get("B")), (Some("real"), Some("file")));
        assert_eq!(environment.origin("B").to_string(), format!("{}: B", file.display()));
    }

    proptest! {
        #[test]
        fn no_dot_env_file_makes_it_panic(text in "([A-Z]+|=|\"|'|\\\\|#| |\n|ä)*") {
            prop_assert!(parse_dot_env(&text).len() <= text.len());
        }
    }
}
