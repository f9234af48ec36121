//! `config show`: every value in force, with its origin and without its secrets.

use super::LoadedSettings;
use super::finding::ConfigFinding;
use super::masking;
use super::origin::ValueOrigin;
use config::{Value, ValueKind};

/// One value in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownValue {
    /// Section and key.
    pub key: String,
    /// The value as TOML; `"***"` for a secret.
    pub value: String,
    /// Where it is from.
    pub origin: ValueOrigin,
}

impl LoadedSettings {
    /// Every value in force, sorted by key.
    #[must_use]
    pub fn entries(&self) -> Vec<ShownValue> {
        let mut entries = Vec::new();
        self.walk(&self.tree, "", &mut entries);
        entries.sort_by(|a, b| a.key.cmp(&b.key));
        entries
    }

    /// Where the value of a key such as `mqtt.server` is from; `None` when it is not set anywhere.
    #[must_use]
    pub fn origin(&self, key: &str) -> Option<&ValueOrigin> {
        super::check::lookup(&self.tree, key).and_then(|value| self.origins.of(value))
    }

    /// Where a person finds a key, or the section that holds it: a line, a variable, a flag. `None` when all of it is default.
    #[must_use]
    pub fn place(&self, key: &str) -> Option<&ValueOrigin> {
        let path: Vec<String> = key.split('.').map(str::to_owned).collect();
        let set = self.origin(key).filter(|origin| **origin != ValueOrigin::Default);
        set.or_else(|| (1..=path.len()).rev().find_map(|length| self.origins.header(&path[..length])))
    }

    /// What is wrong with a key beyond what loading can see, with its place.
    #[must_use]
    pub fn finding(&self, key: &str, message: impl Into<String>, remedy: impl Into<String>) -> ConfigFinding {
        ConfigFinding::error(key, message).remedy(remedy).at(self.place(key))
    }

    fn walk(&self, value: &Value, path: &str, entries: &mut Vec<ShownValue>) {
        if let ValueKind::Table(table) = &value.kind {
            for (key, inner) in table {
                let path = if path.is_empty() { quoted_key(key) } else { format!("{path}.{}", quoted_key(key)) };
                self.walk(inner, &path, entries);
            }
            return;
        }
        let origin = self.origins.of(value).cloned().unwrap_or(ValueOrigin::Default);
        entries.push(ShownValue { key: path.to_owned(), value: shown(path, value), origin });
    }
}

/// Whether the value of a key must never be printed.
pub(crate) fn is_secret(key: &str) -> bool {
    let last = key.rsplit('.').next().unwrap_or(key).trim_matches('"').to_lowercase();
    if last.ends_with("_file") {
        return false;
    }
    masking::names_secret(&last)
}

fn shown(key: &str, value: &Value) -> String {
    if is_secret(key) {
        return "\"***\"".into();
    }
    match &value.kind {
        ValueKind::String(text) => toml_edit::Value::from(masking::mask_text(text)).to_string(),
        ValueKind::Array(items) => {
            let mut is_next_secret = false;
            let mut items_shown = Vec::with_capacity(items.len());
            for item in items {
                // The value of an argument such as `--password` is the one behind it.
                let text = if is_next_secret { "\"***\"".to_owned() } else { shown(key, item) };
                is_next_secret = matches!(&item.kind, ValueKind::String(text) if masking::announces_secret(text));
                items_shown.push(text);
            }
            let items = items_shown;
            format!("[{}]", items.join(", "))
        }
        ValueKind::Table(table) => {
            let mut items: Vec<String> =
                table.iter().map(|(name, item)| format!("{} = {}", quoted_key(name), shown(name, item))).collect();
            items.sort();
            format!("{{ {} }}", items.join(", "))
        }
        ValueKind::Float(number) => toml_edit::Value::from(*number).to_string(),
        other => other.to_string(),
    }
}

fn quoted_key(key: &str) -> String {
    toml_edit::Key::new(key).to_string()
}
