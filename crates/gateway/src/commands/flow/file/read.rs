//! From TOML to rows.

use super::{FlowFileError, FlowFileProblem, KEYS, WrittenFlow};
use hearthgate_domain::flow::FlowRow;
use serde_json::{Map, Number, Value};
use std::ops::Range;
use toml_edit::{Document, Item, Table, TableLike};

const JSON_PART: &str = "a table, or JSON in a string";

/// The flows of a file, in its order. A byte order mark before the text is passed over.
///
/// # Errors
/// The text is no TOML, or says something that a flow does not have.
pub(crate) fn read_flows(text: &str) -> Result<Vec<WrittenFlow>, FlowFileError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let line = |span: Option<Range<usize>>| line_of(text, span);
    let document = Document::parse(text).map_err(|error| FlowFileError {
        line: line(error.span()),
        problem: FlowFileProblem::Syntax(error.message().replace('\n', ", ")),
    })?;
    let root = document.as_table();
    let no_flow =
        |key: &str| FlowFileError { line: line(key_span(root, key)), problem: FlowFileProblem::NoFlow(key.to_owned()) };
    if let Some((key, _)) = root.iter().find(|(key, _)| *key != "flow") {
        return Err(no_flow(key));
    }
    let mut flows: Vec<WrittenFlow> = Vec::new();
    let tables = match root.get("flow") {
        None => return Ok(flows),
        Some(Item::ArrayOfTables(tables)) => tables,
        Some(_) => return Err(no_flow("flow")),
    };
    for (index, table) in tables.iter().enumerate() {
        let row = FlowReader::new(text, index, table).read()?;
        let line = line(table.span());
        if flows.iter().any(|known| known.row.code == row.code) {
            return Err(FlowFileError { line, problem: FlowFileProblem::Repeated(row.code) });
        }
        flows.push(WrittenFlow { line, row });
    }
    Ok(flows)
}

fn key_span(table: &Table, key: &str) -> Option<Range<usize>> {
    table.get_key_value(key).and_then(|(key, _)| key.span())
}

/// Counted from 1.
fn line_of(text: &str, span: Option<Range<usize>>) -> usize {
    let before = &text.as_bytes()[..span.map_or(0, |span| span.start).min(text.len())];
    1 + before.iter().filter(|&&byte| byte == b'\n').count()
}

struct FlowReader<'a> {
    text: &'a str,
    /// For messages.
    flow: String,
    table: &'a Table,
}

impl<'a> FlowReader<'a> {
    fn new(text: &'a str, index: usize, table: &'a Table) -> Self {
        let code = table.get("code").and_then(Item::as_str);
        FlowReader { text, flow: code.map_or_else(|| format!("#{}", index + 1), str::to_owned), table }
    }

    fn error(&self, span: Option<Range<usize>>, problem: FlowFileProblem) -> FlowFileError {
        FlowFileError { line: line_of(self.text, span.or_else(|| self.table.span())), problem }
    }

    fn read(&self) -> Result<FlowRow, FlowFileError> {
        if let Some((key, _)) = self.table.iter().find(|(key, _)| !KEYS.contains(key)) {
            let problem = FlowFileProblem::Key { flow: self.flow.clone(), key: key.to_owned() };
            return Err(self.error(key_span(self.table, key), problem));
        }
        Ok(FlowRow {
            code: self.required("code", self.text("code")?)?,
            description: self.text("description")?.unwrap_or_default(),
            topic: self.required("topic", self.text("topic")?)?,
            action: self.required("action", self.text("action")?)?,
            payload_schema: self.required("schema", self.json("schema")?)?,
            endpoint_url: self.text("endpoint_url")?,
            enabled: self.flag("enabled")?.unwrap_or(true),
            options: self.json("options")?,
            ..FlowRow::default()
        })
    }

    fn required<T>(&self, key: &'static str, value: Option<T>) -> Result<T, FlowFileError> {
        let missing = || FlowFileProblem::Missing { flow: self.flow.clone(), key };
        value.ok_or_else(|| self.error(None, missing()))
    }

    fn text(&self, key: &str) -> Result<Option<String>, FlowFileError> {
        let Some(item) = self.table.get(key) else { return Ok(None) };
        item.as_str().map(|text| Some(text.to_owned())).ok_or_else(|| self.kind(key, item, "text"))
    }

    fn flag(&self, key: &str) -> Result<Option<bool>, FlowFileError> {
        let Some(item) = self.table.get(key) else { return Ok(None) };
        item.as_bool().map(Some).ok_or_else(|| self.kind(key, item, "true or false"))
    }

    /// A table as JSON; a string as it is.
    fn json(&self, key: &str) -> Result<Option<String>, FlowFileError> {
        let Some(item) = self.table.get(key) else { return Ok(None) };
        if let Some(text) = item.as_str() {
            return Ok(Some(text.to_owned()));
        }
        match item.as_table_like() {
            Some(table) => Ok(Some(self.object(key, table)?.to_string())),
            None => Err(self.kind(key, item, JSON_PART)),
        }
    }

    fn object(&self, path: &str, table: &dyn TableLike) -> Result<Value, FlowFileError> {
        let member = |(key, item): (&str, &Item)| Ok((key.to_owned(), self.item(&format!("{path}.{key}"), item)?));
        table.iter().map(member).collect::<Result<Map<_, _>, _>>().map(Value::Object)
    }

    fn item(&self, path: &str, item: &Item) -> Result<Value, FlowFileError> {
        match item {
            Item::None => Ok(Value::Null),
            Item::Value(value) => self.value(path, value),
            Item::Table(table) => self.object(path, table),
            Item::ArrayOfTables(tables) => {
                tables.iter().map(|table| self.object(path, table)).collect::<Result<_, _>>().map(Value::Array)
            }
        }
    }

    fn value(&self, path: &str, value: &toml_edit::Value) -> Result<Value, FlowFileError> {
        match value {
            toml_edit::Value::String(text) => Ok(Value::String(text.value().clone())),
            toml_edit::Value::Integer(number) => Ok((*number.value()).into()),
            toml_edit::Value::Float(number) => Number::from_f64(*number.value())
                .map(Value::Number)
                .ok_or_else(|| self.kind(path, &Item::Value(value.clone()), "a finite number")),
            toml_edit::Value::Boolean(flag) => Ok((*flag.value()).into()),
            // A time without quotation marks is meant as its text: JSON has no times.
            toml_edit::Value::Datetime(time) => Ok(Value::String(time.value().to_string())),
            toml_edit::Value::Array(values) => {
                values.iter().map(|value| self.value(path, value)).collect::<Result<_, _>>().map(Value::Array)
            }
            toml_edit::Value::InlineTable(table) => self.object(path, table),
        }
    }

    fn kind(&self, key: &str, item: &Item, expected: &'static str) -> FlowFileError {
        let (flow, key) = (self.flow.clone(), key.to_owned());
        self.error(item.span(), FlowFileProblem::Kind { flow, key, found: item.type_name(), expected })
    }
}
