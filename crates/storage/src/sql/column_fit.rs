//! Whether the columns of a table that is there can hold what a flow writes into them.

use super::history::WindowCell;
use super::typed::{ColumnKind, SqlDialect, TypedTable, quote, sql_type};

const WHOLE_NUMBERS: [&str; 7] = ["smallint", "integer", "bigint", "tinyint", "mediumint", "int", "bit"];
const NUMBERS: [&str; 6] = ["double", "double precision", "real", "float", "decimal", "numeric"];
const TIMES: [&str; 8] = [
    "date",
    "time",
    "datetime",
    "year",
    "timestamp",
    "timestamp without time zone",
    "timestamp with time zone",
    "time without time zone",
];

/// Whether a column of this type refuses values of a kind, or changes them. A type that is not known is trusted.
fn is_unfit(kind: ColumnKind, found: &str) -> bool {
    let is_whole = WHOLE_NUMBERS.contains(&found);
    let is_other = TIMES.contains(&found) || found == "boolean";
    match kind {
        ColumnKind::Real => is_whole || is_other,
        ColumnKind::Integer => is_other,
        ColumnKind::Boolean => TIMES.contains(&found),
        ColumnKind::Text | ColumnKind::Json => is_whole || is_other || NUMBERS.contains(&found),
    }
}

/// Whether a column holds what this text would be in it.
pub(crate) fn is_same_value(kind: ColumnKind, cell: &WindowCell, text: &str) -> bool {
    match (kind, cell) {
        (_, WindowCell::Null) => false,
        (ColumnKind::Real, cell) => text.parse().ok() == cell.real(),
        (ColumnKind::Integer, cell) => text.parse().ok() == cell.integer(),
        (ColumnKind::Boolean, cell) => Some(text == "1") == cell.integer().map(|number| number != 0),
        (ColumnKind::Text, cell) => cell.text() == Some(text),
        (ColumnKind::Json, cell) => {
            let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).ok();
            cell.text().is_some_and(|known| known == text || (json(known).is_some() && json(known) == json(text)))
        }
    }
}

impl TypedTable {
    /// A column that takes fractions and rounds them: the database would say nothing.
    pub(crate) fn rounding_column(&self, dialect: SqlDialect, found: &[(String, String)]) -> Option<String> {
        let is_rounding = |kind, found: &str| kind == ColumnKind::Real && WHOLE_NUMBERS.contains(&found);
        self.unfit_column(dialect, found, is_rounding)
    }

    /// Whether [`Self::rounding_column`] can find anything here. SQLite keeps fractions whatever a column's type is.
    pub(crate) fn may_round(&self, dialect: SqlDialect) -> bool {
        dialect != SqlDialect::Sqlite && self.kinds().any(|(_, kind)| kind == ColumnKind::Real)
    }

    /// What is wrong with the table, and what helps; `found` are the names and types of the columns that are there. What
    /// the gateway makes by itself (`makes_tables`) is no problem.
    pub(crate) fn problem(
        &self,
        dialect: SqlDialect,
        found: &[(String, String)],
        makes_tables: bool,
    ) -> Option<String> {
        let create = "create it with `hearthgate flow ddl CODE --apply`";
        if found.is_empty() {
            return (!makes_tables).then(|| format!("it is not there; {create}"));
        }
        let is_there = |name: &str| found.iter().any(|(known, _)| *known == name.to_lowercase());
        if let Some(column) = TypedTable::own_columns().find(|column| !is_there(column)) {
            return Some(format!(
                "the column {column} is not there, which each row needs; name it as it was, or rename the table and \
                 {create}"
            ));
        }
        if let Some((column, _)) = self.kinds().find(|(column, _)| !makes_tables && !is_there(column)) {
            return Some(format!("the column {column} is not there; name it as it was, or {create}"));
        }
        // SQLite keeps what is written, whatever the column's type is.
        if dialect == SqlDialect::Sqlite { None } else { self.unfit_column(dialect, found, is_unfit) }
    }

    fn unfit_column(
        &self,
        dialect: SqlDialect,
        found: &[(String, String)],
        is_unfit: impl Fn(ColumnKind, &str) -> bool,
    ) -> Option<String> {
        let type_of =
            |name: &str| found.iter().find(|(known, _)| *known == name.to_lowercase()).map(|(_, found)| found);
        let unfit = |(name, kind)| Some((name, kind, type_of(name).filter(|found| is_unfit(kind, found))?));
        let (name, kind, found) = self.kinds().find_map(unfit)?;
        let (table, column, wanted) = (quote(dialect, self.name()), quote(dialect, name), sql_type(dialect, kind));
        let change = if dialect == SqlDialect::MySql { "MODIFY" } else { "ALTER COLUMN" };
        let of_type = if dialect == SqlDialect::MySql { "" } else { "TYPE " };
        Some(format!(
            "the column {name} has the type {found}, which can't hold all that the flow's schema allows; \
             ALTER TABLE {table} {change} {column} {of_type}{wanted}"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hearthgate_domain::schema::PayloadSchema;

    fn problem(t: &str, name: &str) -> Option<String> {
        let schema = PayloadSchema::compile(&serde_json::json!({"t": "float", "name": "string"})).unwrap();
        let table = TypedTable::new("weather", &[], &schema, false).unwrap();
        let own = TypedTable::own_columns().map(|column| (column.to_owned(), "bigint".to_owned()));
        let found: Vec<_> = own.chain([("t".into(), t.into()), ("name".into(), name.into())]).collect();
        table.problem(SqlDialect::Postgres, &found, false)
    }

    #[test]
    fn a_column_that_rounds_or_refuses_is_named_with_the_statement_that_mends_it() {
        assert_eq!(problem("double precision", "text"), None);
        assert_eq!(problem("numeric", "character varying"), None);
        let told = problem("integer", "text").unwrap();
        assert!(told.contains("column t ") && told.contains("ALTER COLUMN \"t\" TYPE DOUBLE PRECISION"), "{told}");
        assert!(problem("text", "integer").unwrap().contains("column name "));
    }
}
