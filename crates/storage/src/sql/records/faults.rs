//! Errors that lie in a table and not in the rows: somebody dropped or changed it. The rows wait until it is mended.

/// The table `data` does not take rows.
#[derive(Debug, thiserror::Error)]
#[error("table data: {0}")]
pub(super) struct DataTableFault(String);

/// The database's words, when an error lies in the table; `is_written` tells which columns get a value.
pub(super) fn of_table(error: &sqlx::Error, is_written: impl Fn(&str) -> bool) -> Option<String> {
    let sqlx::Error::Database(database) = error else { return None };
    let words = database.message();
    let lies_in_table = if let Some(error) = database.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>() {
        // no such table, unknown column, INSERT denied, a column beside ours that wants a value
        matches!(error.number(), 1146 | 1054 | 1142 | 1364)
    } else if let Some(error) = database.try_downcast_ref::<sqlx::postgres::PgDatabaseError>() {
        match error.code() {
            // undefined_table, undefined_column, insufficient_privilege, datatype_mismatch
            "42P01" | "42703" | "42501" | "42804" => true,
            // not_null_violation of a column beside ours
            "23502" => error.column().is_some_and(|column| !is_written(column)),
            _ => false,
        }
    } else {
        let beside_ours = |text: &str| text.rsplit('.').next().is_some_and(|column| !is_written(column));
        words.contains("no such table")
            || words.contains("has no column named")
            // Of a table that is STRICT.
            || (words.starts_with("cannot store") && words.contains(" value in "))
            || words.strip_prefix("NOT NULL constraint failed: ").is_some_and(beside_ours)
    };
    lies_in_table.then(|| format!("{words}; put the table back as it was"))
}

/// An error of an insertion into `data` that lies in the table says so.
pub(super) fn name_data(error: sqlx::Error) -> sqlx::Error {
    const WRITTEN: [&str; 5] = ["received_at", "flow_code", "attribute_name", "attribute_value", "last_msg_id"];
    let is_written = |column: &str| WRITTEN.contains(&column);
    // A right that is missing is told as such.
    if crate::sql::error::classify(&error) == crate::sql::ErrorKind::Permission {
        return error;
    }
    match of_table(&error, is_written) {
        Some(problem) => {
            let remedy = "; where it is gone, `hearthgate db migrate` makes it anew";
            sqlx::Error::AnyDriverError(Box::new(DataTableFault(problem + remedy)))
        }
        None => error,
    }
}
