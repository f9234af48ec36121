//! From TOML to rows.

use super::{FlowFileError, KEYS};
use hearthgate_domain::flow::FlowRow;
use serde_json::{Map, Number, Value};
use toml_edit::{DocumentMut, Item, Table, TableLike};

const JSON_PART: &str = "a table, or JSON in a string";

/// The flows of a file, in its order; ids and numbers are 0.
///
/// # Errors
/// The text is no TOML, or says something that a flow does not have.
pub(crate) fn read_flows(text: &str) -> Result<Vec<FlowRow>, FlowFileError> {
    let document: DocumentMut = text.parse()?;
    if let Some((key, _)) = document.iter().find(|(key, _)| *key != "flow") {
        return Err(FlowFileError::NoFlow(key.to_owned()));
    }
    let mut rows: Vec<FlowRow> = Vec::new();
    let tables = match document.get("flow") {
        None => return Ok(rows),
        Some(Item::ArrayOfTables(tables)) => tables,
        Some(_) => return Err(FlowFileError::NoFlow("flow".to_owned())),
    };
    for (index, table) in tables.iter().enumerate() {
        let row = FlowReader::new(index, table).read()?;
        if rows.iter().any(|known| known.code == row.code) {
            return Err(FlowFileError::Repeated(row.code));
        }
        rows.push(row);
    }
    Ok(rows)
}

struct FlowReader<'a> {
    /// For messages.
    flow: String,
    table: &'a Table,
}

impl<'a> FlowReader<'a> {
    fn new(index: usize, table: &'a Table) -> Self {
        let code = table.get("code").and_then(Item::as_str);
        FlowReader { flow: code.map_or_else(|| format!("#{}", index + 1), str::to_owned), table }
    }

    fn read(&self) -> Result<FlowRow, FlowFileError> {
        if let Some((key, _)) = self.table.iter().find(|(key, _)| !KEYS.contains(key)) {
            return Err(FlowFileError::Key { flow: self.flow.clone(), key: key.to_owned() });
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
        value.ok_or_else(|| FlowFileError::Missing { flow: self.flow.clone(), key })
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
        FlowFileError::Kind { flow: self.flow.clone(), key: key.to_owned(), found: item.type_name(), expected }
    }
}
