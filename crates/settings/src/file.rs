//! A TOML file as a layer: every value remembers its line, and `${VAR}` is filled in.

use super::environment::EnvironmentVariables;
use super::expand::expand;
use super::finding::ConfigFinding;
use super::origin::{ValueOrigin, ValueOrigins};
use config::{Map, Value, ValueKind};
use toml_edit::{Document, Item, TableLike};

/// Which file a text is, for the origins.
#[derive(Clone, Copy)]
pub(crate) enum NamedText<'a> {
    /// The defaults inside the program.
    BuiltIn,
    /// The user's file.
    File(&'a str),
}

/// Reads the text of a configuration file. What can't be read is told in `findings` and left out.
pub(crate) fn parse(
    text: &str,
    named: NamedText<'_>,
    environment: &EnvironmentVariables,
    origins: &mut ValueOrigins,
    findings: &mut Vec<ConfigFinding>,
) -> Map<String, Value> {
    let mut reader = Reader { text, named, environment, origins, findings, path: Vec::new() };
    match Document::parse(text) {
        Ok(document) => reader.table(document.as_table()),
        Err(error) => {
            let origin = reader.origin_at(error.span().map_or(0, |span| span.start), false);
            let message = format!("this is not TOML: {}", error.message().replace('\n', ", "));
            let finding = ConfigFinding::error("", message).at(Some(&origin));
            let is_repeated = error.message().starts_with("duplicate key");
            reader.findings.push(if is_repeated { finding.remedy("remove one of the two") } else { finding });
            Map::new()
        }
    }
}

struct Reader<'a> {
    text: &'a str,
    named: NamedText<'a>,
    environment: &'a EnvironmentVariables,
    origins: &'a mut ValueOrigins,
    findings: &'a mut Vec<ConfigFinding>,
    path: Vec<String>,
}

impl Reader<'_> {
    fn table(&mut self, table: &dyn TableLike) -> Map<String, Value> {
        let mut map = Map::new();
        for (name, item) in table.iter() {
            let key_span = table.get_key_value(name).and_then(|(key, _)| key.span());
            let start = key_span.or_else(|| item.span()).map_or(0, |span| span.start);
            self.path.push(name.to_owned());
            let value = self.item(item, start);
            // A value whose reference could not be filled in has its finding already.
            if !matches!(value.kind, ValueKind::Nil) {
                map.insert(name.to_owned(), value);
            }
            self.path.pop();
        }
        map
    }

    /// `start` is where the key stands: the line that a person looks for.
    fn item(&mut self, item: &Item, start: usize) -> Value {
        match item {
            Item::None => Value::new(None, ValueKind::Nil),
            Item::Value(value) => self.value(value, start),
            Item::Table(table) => {
                let start = table.span().map_or(start, |span| span.start);
                self.header(start);
                Value::new(None, ValueKind::Table(self.table(table)))
            }
            Item::ArrayOfTables(tables) => {
                let items = tables.iter().map(|table| Value::new(None, ValueKind::Table(self.table(table)))).collect();
                self.tagged(start, false, ValueKind::Array(items))
            }
        }
    }

    fn value(&mut self, value: &toml_edit::Value, start: usize) -> Value {
        let kind = match value {
            toml_edit::Value::String(text) => return self.text_value(text.value(), start),
            toml_edit::Value::Integer(number) => ValueKind::I64(*number.value()),
            toml_edit::Value::Float(number) => ValueKind::Float(*number.value()),
            toml_edit::Value::Boolean(on) => ValueKind::Boolean(*on.value()),
            toml_edit::Value::Datetime(time) => ValueKind::String(time.value().to_string()),
            toml_edit::Value::Array(items) => {
                let items =
                    items.iter().map(|item| self.value(item, item.span().map_or(start, |span| span.start))).collect();
                ValueKind::Array(items)
            }
            toml_edit::Value::InlineTable(table) => {
                self.header(start);
                return Value::new(None, ValueKind::Table(self.table(table)));
            }
        };
        self.tagged(start, false, kind)
    }

    fn text_value(&mut self, text: &str, start: usize) -> Value {
        match expand(text, self.environment) {
            Ok(expanded) => self.tagged(start, expanded.replaced, ValueKind::String(expanded.text)),
            Err(error) => {
                let origin = self.origin_at(start, false);
                self.findings.push(error.into_finding(self.path.join(".")).at(Some(&origin)));
                Value::new(None, ValueKind::Nil)
            }
        }
    }

    fn tagged(&mut self, start: usize, expanded: bool, kind: ValueKind) -> Value {
        let origin = self.origin_at(start, expanded);
        Value::new(Some(&self.origins.add(origin)), kind)
    }

    fn header(&mut self, start: usize) {
        let origin = self.origin_at(start, false);
        self.origins.add_header(&self.path, origin);
    }

    fn origin_at(&self, offset: usize, expanded: bool) -> ValueOrigin {
        match self.named {
            NamedText::BuiltIn => ValueOrigin::Default,
            NamedText::File(file) => {
                let before = &self.text.as_bytes()[..offset.min(self.text.len())];
                let line = 1 + before.iter().filter(|&&byte| byte == b'\n').count();
                ValueOrigin::File { file: file.to_owned(), line, expanded }
            }
        }
    }
}
