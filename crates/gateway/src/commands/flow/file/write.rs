//! From rows to TOML.

use hearthgate_domain::flow::FlowRow;
use serde_json::Value;
use toml_edit::{Array, ArrayOfTables, DocumentMut, InlineTable, Item, Table, value};

/// What is shorter stands on one line.
const LINE: usize = 80;

/// The rows as a file.
#[must_use]
pub(crate) fn write_flows<'a>(rows: impl IntoIterator<Item = &'a FlowRow>) -> String {
    let tables: ArrayOfTables = rows.into_iter().map(flow).collect();
    let mut document = DocumentMut::new();
    if !tables.is_empty() {
        document.insert("flow", Item::ArrayOfTables(tables));
    }
    document.to_string()
}

fn flow(row: &FlowRow) -> Table {
    let mut table = Table::new();
    table.insert("code", value(&row.code));
    if !row.description.is_empty() {
        table.insert("description", value(&row.description));
    }
    table.insert("topic", value(&row.topic));
    table.insert("action", value(&row.action));
    if let Some(url) = &row.endpoint_url {
        table.insert("endpoint_url", value(url));
    }
    table.insert("enabled", value(row.enabled));
    table.insert("schema", json_part(&row.payload_schema));
    if let Some(options) = &row.options {
        table.insert("options", json_part(options));
    }
    table
}

/// A JSON object as a table, and whatever TOML can't say as it is.
fn json_part(text: &str) -> Item {
    match serde_json::from_str(text) {
        Ok(Value::Object(members)) => table(&members).map_or_else(|| value(text), Item::Table),
        Ok(_) | Err(_) => value(text),
    }
}

fn table(members: &serde_json::Map<String, Value>) -> Option<Table> {
    let mut table = Table::new();
    for (name, member) in members {
        let item = match member {
            Value::Object(members) => {
                let inline = inline_table(members)?;
                if inline.to_string().len() <= LINE { value(inline) } else { Item::Table(self::table(members)?) }
            }
            other => value(inline_value(other)?),
        };
        table.insert(name, item);
    }
    Some(table)
}

fn inline_table(members: &serde_json::Map<String, Value>) -> Option<InlineTable> {
    members.iter().map(|(name, member)| Some((name.as_str(), inline_value(member)?))).collect()
}

/// `None` where TOML has no such value.
fn inline_value(json: &Value) -> Option<toml_edit::Value> {
    Some(match json {
        Value::Null => return None,
        Value::Bool(flag) => (*flag).into(),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => whole.into(),
            None if number.is_f64() => number.as_f64()?.into(),
            None => return None,
        },
        Value::String(text) => text.as_str().into(),
        Value::Array(values) => array(values)?.into(),
        Value::Object(members) => inline_table(members)?.into(),
    })
}

/// On one line, or, if that were too long, a line for each value.
fn array(values: &[Value]) -> Option<Array> {
    let mut array: Array = values.iter().map(inline_value).collect::<Option<_>>()?;
    if array.to_string().len() > LINE {
        for value in array.iter_mut() {
            value.decor_mut().set_prefix("\n    ");
        }
        array.set_trailing("\n");
        array.set_trailing_comma(true);
    }
    Some(array)
}
