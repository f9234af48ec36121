//! A table with a column for each field of a flow's schema, for Grafana and the like: its definition, and its rows.
//!
//! Rows go through text: the database turns it into the column's type, and refuses what does not fit.

use super::table_error::TableDesignError;
use hearthgate_domain::delivery::UnixMicros;
use hearthgate_domain::flow::Flow;
use hearthgate_domain::payload::{JsonKind, JsonPayload, RawJson, ValueFormat, field_text};
use hearthgate_domain::schema::FieldType;
use hearthgate_domain::schema::PayloadSchema;
use std::fmt::Write as _;
use std::sync::Arc;

/// Which SQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SqlDialect {
    /// SQLite 3.
    Sqlite,
    /// MySQL and MariaDB.
    MySql,
    /// PostgreSQL.
    Postgres,
}

/// Columns that every typed table has, before those of the schema.
const OWN_COLUMNS: [&str; 5] = ["id", "flow_code", "received_at", "event_time", "last_msg_id"];
/// PostgreSQL's limit for names, the shortest.
pub(crate) const NAME_LIMIT: usize = 63;
/// Levels of the topic that are part of an index; MySQL's have room for 3,072 bytes.
const INDEXED_LEVELS: usize = 4;
/// Columns beyond which no database takes a row of this kind.
const COLUMN_LIMIT: usize = 500;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ColumnKind {
    Text,
    Real,
    Integer,
    Boolean,
    Json,
}

/// A column for a field, or for a named level of the topic.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Column {
    name: Box<str>,
    kind: ColumnKind,
    /// A number that may be null was a JSON column once; such tables stay usable.
    is_nullable: bool,
}

/// A typed table of a flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypedTable {
    name: Box<str>,
    columns: Vec<Column>,
    /// The named levels of the topic among the columns.
    levels: Vec<Box<str>>,
    /// Whether its rows have the time of their event.
    has_event_time: bool,
}

/// A row of a typed table: the message's fields, in the order of its columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypedRow {
    pub(crate) table: Arc<TypedTable>,
    pub(crate) event_time: Option<UnixMicros>,
    pub(crate) values: Vec<Option<Arc<str>>>,
}

impl TypedRow {
    /// The columns of fields and named levels, each with what is written into it; none for NULL.
    pub fn cells(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        let names = self.table.columns.iter().map(|column| &*column.name);
        names.zip(self.values.iter().map(Option::as_deref))
    }
}

impl TypedTable {
    /// The flow's own table, if it has one.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn of(flow: &Flow) -> Result<Option<Arc<Self>>, TableDesignError> {
        let Some(name) = flow.store.as_ref().and_then(|store| store.table.as_deref()) else { return Ok(None) };
        let levels: Vec<&str> = flow.topic.names().collect();
        Self::new(name, &levels, &flow.schema, flow.event_time.is_some()).map(|table| Some(Arc::new(table)))
    }

    /// The table for a flow's schema, with a column for each named level of its topic that is no field.
    ///
    /// # Errors
    /// A field can't be a column: its name is too long, taken by a column of ours, or twice there but for case.
    pub fn new(
        name: &str,
        levels: &[&str],
        schema: &PayloadSchema,
        has_event_time: bool,
    ) -> Result<Self, TableDesignError> {
        let table = || name.to_owned();
        if name.to_ascii_lowercase().starts_with("hearthgate_") {
            return Err(TableDesignError::ReservedName { table: table() });
        }
        let mut columns: Vec<Column> = Vec::new();
        let fields = schema.fields();
        let levels = levels.iter().filter(|level| fields.iter().all(|field| *field.name != ***level));
        let levels: Vec<&str> = levels.copied().collect();
        let texts = levels.iter().map(|level| (*level, ColumnKind::Text, false));
        let fields = fields.iter().map(|field| (&*field.name, kind(field.kind), field.is_nullable));
        for (column, kind, is_nullable) in texts.chain(fields) {
            let known = OWN_COLUMNS.into_iter().chain(columns.iter().map(|column| &*column.name));
            if known.into_iter().any(|other| other.to_lowercase() == column.to_lowercase()) {
                return Err(TableDesignError::TakenColumn { table: table(), column: column.to_owned() });
            }
            if column.is_empty() || column.len() > NAME_LIMIT || column.contains('\0') {
                return Err(TableDesignError::ColumnName {
                    table: table(),
                    column: column.to_owned(),
                    limit: NAME_LIMIT,
                });
            }
            columns.push(Column { name: column.into(), kind, is_nullable });
        }
        if columns.is_empty() || columns.len() > COLUMN_LIMIT {
            return Err(TableDesignError::FieldCount { table: table(), fields: columns.len(), limit: COLUMN_LIMIT });
        }
        let levels = levels.into_iter().map(Into::into).collect();
        Ok(Self { name: name.into(), columns, levels, has_event_time })
    }

    /// The first column that another flow's table of the same name has with another type.
    #[must_use]
    pub fn conflict<'a>(&'a self, other: &TypedTable) -> Option<&'a str> {
        let is_same = self.name.eq_ignore_ascii_case(&other.name);
        let differs = |column: &&Column| {
            other.columns.iter().any(|known| known.name.eq_ignore_ascii_case(&column.name) && known.kind != column.kind)
        };
        self.columns.iter().filter(|_| is_same).find(differs).map(|column| &*column.name)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The statements that create it.
    pub fn ddl(&self, dialect: SqlDialect) -> String {
        self.create(dialect).iter().fold(String::new(), |all, statement| format!("{all}{statement};\n"))
    }

    /// The statements that create it, one by one: the table, and the indexes that reading and pruning need.
    pub(crate) fn create(&self, dialect: SqlDialect) -> Vec<String> {
        // AUTOINCREMENT: an id never comes back, also when the newest rows are removed.
        let (id, time, text, suffix) = match dialect {
            SqlDialect::Sqlite => ("INTEGER PRIMARY KEY AUTOINCREMENT", "DATETIME", "VARCHAR(100)", ""),
            SqlDialect::MySql => (
                "BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY",
                "DATETIME(6)",
                "VARCHAR(100)",
                " ENGINE = InnoDB DEFAULT CHARSET = utf8mb4",
            ),
            SqlDialect::Postgres => {
                ("BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY", "TIMESTAMPTZ", "VARCHAR(100)", "")
            }
        };
        let quoted = |name: &str| quote(dialect, name);
        let mut table = format!("CREATE TABLE IF NOT EXISTS {} (\n", quoted(&self.name));
        for (name, kind) in [
            ("id", id),
            ("flow_code", &format!("{text} NOT NULL")),
            ("received_at", &format!("{time} NOT NULL")),
            ("event_time", &format!("{time} NULL")),
            ("last_msg_id", "BIGINT NOT NULL"),
        ] {
            // Writing into a String can't fail.
            let _ = writeln!(table, "    {} {kind},", quoted(name));
        }
        let columns: Vec<String> =
            self.definitions(dialect).iter().map(|(_, definition)| format!("    {definition}")).collect();
        let mut definitions = columns;
        let indexes = self.indexes(dialect);
        if dialect == SqlDialect::MySql {
            // In one statement with the table: nothing is half done after a crash.
            definitions.extend(indexes.iter().map(|(name, columns)| format!("    INDEX {name} ({columns})")));
        }
        let _ = write!(table, "{}\n){suffix}", definitions.join(",\n"));
        let mut statements = vec![table];
        if dialect != SqlDialect::MySql {
            let create =
                |(name, columns)| format!("CREATE INDEX IF NOT EXISTS {name} ON {} ({columns})", quoted(&self.name));
            statements.extend(indexes.into_iter().map(create));
        }
        statements
    }

    /// The indexes: by time of receipt for pruning, by device for reading, by the event's time where there is one. Each
    /// with its name and its columns.
    fn indexes(&self, dialect: SqlDialect) -> Vec<(String, String)> {
        let table: String = self.name.chars().take(NAME_LIMIT - 9).collect();
        let name = |purpose: &str| quote(dialect, &format!("{table}_{purpose}"));
        let received = quote(dialect, "received_at");
        let mut indexes = vec![(name("received"), received.clone())];
        if let Some(levels) = self.index_levels(dialect) {
            indexes.push((name("key"), format!("{levels}{received}")));
        }
        if self.has_event_time {
            indexes.push((name("event"), quote(dialect, "event_time")));
        }
        indexes
    }

    /// The levels as the front of an index, if there are any.
    pub(crate) fn index_levels(&self, dialect: SqlDialect) -> Option<String> {
        // MySQL wants to be told how much of a text is meant.
        let prefix = if dialect == SqlDialect::MySql { "(100)" } else { "" };
        let levels = self.levels.iter().take(INDEXED_LEVELS);
        let add = |all: String, level: &str| format!("{all}{}{prefix}, ", quote(dialect, level));
        (!self.levels.is_empty()).then(|| levels.map(AsRef::as_ref).fold(String::new(), add))
    }

    /// The columns of the schema and the named levels: each name, and how it is defined.
    pub(crate) fn definitions(&self, dialect: SqlDialect) -> Vec<(String, String)> {
        let define = |column: &Column| {
            (
                column.name.to_string(),
                format!("{} {} NULL", quote(dialect, &column.name), sql_type(dialect, column.kind)),
            )
        };
        self.columns.iter().map(define).collect()
    }

    /// The named levels of the topic that are columns: what tells one device from another.
    pub(crate) fn levels(&self) -> &[Box<str>] {
        &self.levels
    }

    /// The columns that can be aggregated; `true` for those that hold yes or no.
    pub(crate) fn measures(&self) -> impl Iterator<Item = (&str, bool)> {
        self.columns.iter().filter_map(|column| match column.kind {
            ColumnKind::Real | ColumnKind::Integer => Some((&*column.name, false)),
            ColumnKind::Boolean => Some((&*column.name, true)),
            ColumnKind::Text | ColumnKind::Json => None,
        })
    }

    /// Each column that is written beside the named ones: those that every table has.
    pub(crate) fn own_columns<'a>() -> impl Iterator<Item = &'a str> {
        OWN_COLUMNS.into_iter().skip(1)
    }

    /// The columns of the schema and the named levels, with what they hold.
    pub(crate) fn kinds(&self) -> impl Iterator<Item = (&str, ColumnKind)> {
        self.columns.iter().map(|column| (&*column.name, column.kind))
    }

    /// Whether rows may have a time of their event.
    pub(crate) fn has_event_time(&self) -> bool {
        self.has_event_time
    }

    /// The row of a message, with the named levels of its topic. A field that is missing is NULL.
    pub fn row(
        self: &Arc<Self>,
        levels: &[(&str, &str)],
        payload: &JsonPayload<'_>,
        event_time: Option<UnixMicros>,
    ) -> TypedRow {
        let level = |name: &str| levels.iter().find(|(level, _)| *level == name).map(|(_, level)| Arc::from(*level));
        let value = |column: &Column| match payload.get(&column.name) {
            Some(value) => text(column.kind, &value),
            None => level(&column.name),
        };
        let values = self.columns.iter().map(value).collect();
        TypedRow { table: Arc::clone(self), event_time, values }
    }

    /// A multi-row INSERT; the values are in the order flow code, time of receipt, event time, number, fields.
    pub(crate) fn insert(&self, dialect: SqlDialect, rows: usize) -> String {
        let names = Self::own_columns().chain(self.columns.iter().map(|column| &*column.name));
        let names: Vec<String> = names.map(|name| quote(dialect, name)).collect();
        let insert = format!("INSERT INTO {} ({})", quote(dialect, &self.name), names.join(", "));
        match dialect {
            SqlDialect::Sqlite | SqlDialect::MySql => {
                let row = format!("({})", vec!["?"; names.len()].join(","));
                format!("{insert} VALUES {}", vec![row.as_str(); rows].join(","))
            }
            SqlDialect::Postgres => {
                let casts = self.columns.iter().enumerate().map(|(at, column)| self.postgres_value(at, column));
                let casts: String = casts.fold(String::new(), |all, one| format!("{all}, {one}"));
                let arrays: String =
                    (0..self.columns.len()).fold(String::new(), |all, at| format!("{all}, ${}::text[]", at + 5));
                let fields: String = (0..self.columns.len()).fold(String::new(), |all, at| format!("{all}, f{at}"));
                format!(
                    "{insert} SELECT code, received, event, number{casts} FROM unnest($1::text[], $2::timestamptz[], \
                     $3::timestamptz[], $4::bigint[]{arrays}) AS r(code, received, event, number{fields})"
                )
            }
        }
    }

    /// PostgreSQL casts to no type that the statement does not name, and a number that may be null is one or JSON: the
    /// table's row type gives its own.
    fn postgres_value(&self, at: usize, column: &Column) -> String {
        if !column.is_nullable || !matches!(column.kind, ColumnKind::Real | ColumnKind::Integer) {
            return format!("f{at}::{}", sql_type(SqlDialect::Postgres, column.kind));
        }
        let (table, name) = (quote(SqlDialect::Postgres, &self.name), quote(SqlDialect::Postgres, &column.name));
        let key = column.name.replace('\'', "''");
        format!("(json_populate_record(NULL::{table}, json_build_object('{key}', f{at}::json))).{name}")
    }

    /// How many values a row has.
    pub(crate) fn width(&self) -> usize {
        OWN_COLUMNS.len() - 1 + self.columns.len()
    }
}

fn kind(kind: Option<FieldType>) -> ColumnKind {
    match kind {
        Some(FieldType::String) => ColumnKind::Text,
        Some(FieldType::Number) => ColumnKind::Real,
        Some(FieldType::Integer) => ColumnKind::Integer,
        Some(FieldType::Boolean) => ColumnKind::Boolean,
        Some(FieldType::Object | FieldType::Array) | None => ColumnKind::Json,
    }
}

pub(crate) fn sql_type(dialect: SqlDialect, kind: ColumnKind) -> &'static str {
    match (dialect, kind) {
        (SqlDialect::MySql, ColumnKind::Text) => "MEDIUMTEXT",
        (_, ColumnKind::Text) => "TEXT",
        (SqlDialect::MySql, ColumnKind::Real) => "DOUBLE",
        (_, ColumnKind::Real) => "DOUBLE PRECISION",
        (_, ColumnKind::Integer) => "BIGINT",
        (_, ColumnKind::Boolean) => "BOOLEAN",
        // A column called JSON would turn digits into a number there.
        (SqlDialect::Sqlite, ColumnKind::Json) => "TEXT",
        (_, ColumnKind::Json) => "JSON",
    }
}

pub(crate) fn quote(dialect: SqlDialect, name: &str) -> String {
    match dialect {
        SqlDialect::MySql => format!("`{}`", name.replace('`', "``")),
        SqlDialect::Sqlite | SqlDialect::Postgres => format!("\"{}\"", name.replace('"', "\"\"")),
    }
}

/// The value as the database reads it; `None` for null.
fn text(kind: ColumnKind, value: &RawJson<'_>) -> Option<Arc<str>> {
    match (kind, value.kind()) {
        (_, JsonKind::Null) => None,
        (ColumnKind::Boolean, JsonKind::Boolean) => Some(if value.text() == "true" { "1" } else { "0" }.into()),
        // JSON Schema takes 1.0 for an integer, the databases do not.
        (ColumnKind::Integer, JsonKind::Number) => Some(whole(value.text()).into()),
        // A string in a JSON column is JSON, with its quotes.
        (ColumnKind::Json, _) => Some(value.text().into()),
        _ => Some(field_text(value, ValueFormat::Json).into()),
    }
}

/// `1.0` as `1`, as far as a double is exact; any other text as it is.
fn whole(number: &str) -> String {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match number.parse::<f64>() {
        Ok(value) if value.fract() == 0.0 && value.abs() < EXACT => (value as i64).to_string(),
        _ => number.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_that_can_not_be_a_column_is_named() {
        for (schema, word) in [
            (r#"{"ID": "int"}"#, "ID"),
            (r#"{"a": "int", "A": "int"}"#, "taken"),
            (r#"{"": "int"}"#, "1 to 63"),
            ("{}", "1 to 500"),
        ] {
            let schema = PayloadSchema::compile(&serde_json::from_str(schema).unwrap()).unwrap();
            let error = TypedTable::new("t", &[], &schema, false).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }
}
