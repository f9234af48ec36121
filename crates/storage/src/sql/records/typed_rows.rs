//! Rows of typed tables, in the same transaction as the rest.

use super::session::OpenTransaction;
use crate::sql::history::MissingTable;
use crate::sql::records::dialects::sqlite;
use crate::sql::records::rows::SHAPES;
use crate::sql::records::rows::TypedRowPlan;
use crate::sql::timestamp::utc_time;
use crate::sql::typed::{SqlDialect, TypedTable};
use sqlx::mysql::MySqlArguments;
use sqlx::postgres::PgArguments;
use sqlx::sqlite::SqliteArguments;
use sqlx::{Arguments as _, AssertSqlSafe};
use std::sync::Arc;

/// Values in one statement: SQLite takes 32,766, MySQL 65,535.
const MOST_VALUES: usize = 30_000;
/// Rows in one statement of PostgreSQL.
const POSTGRES_ROWS: usize = 2_000;
/// Bytes of values in one statement, unless a single row is larger.
const CHUNK_BYTES: usize = 1 << 20;

/// Inserts the rows, table by table. A missing table or column is no fault of the rows: they wait until it is there.
pub(crate) async fn insert(session: &mut OpenTransaction, rows: &[TypedRowPlan<'_>]) -> Result<(), sqlx::Error> {
    let mut tables: Vec<(&Arc<TypedTable>, Vec<TypedRowPlan<'_>>)> = Vec::new();
    for row in rows {
        match tables.iter_mut().find(|(table, _)| Arc::ptr_eq(table, &row.row.table) || **table == row.row.table) {
            Some((_, group)) => group.push(*row),
            None => tables.push((&row.row.table, vec![*row])),
        }
    }
    for (table, group) in tables {
        let mut rest = group.as_slice();
        while !rest.is_empty() {
            let (chunk, after) = rest.split_at(fitting(table, rest, matches!(session, OpenTransaction::Postgres(_))));
            insert_chunk(session, table, chunk).await.map_err(|error| name_the_table(table, error))?;
            rest = after;
        }
    }
    Ok(())
}

/// How many of the rows, which are not empty, go into one statement.
fn fitting(table: &TypedTable, rows: &[TypedRowPlan<'_>], any: bool) -> usize {
    let most = if any { POSTGRES_ROWS } else { MOST_VALUES / table.width() };
    let mut bytes = 0;
    let fit = rows.iter().take(most).take_while(|row| {
        bytes += row.row.values.iter().flatten().map(|value| value.len() + 16).sum::<usize>();
        bytes <= CHUNK_BYTES
    });
    let fit = fit.count().max(1);
    if any { fit } else { SHAPES.into_iter().find(|&shape| shape <= fit).unwrap_or(1) }
}

async fn insert_chunk(
    session: &mut OpenTransaction,
    table: &TypedTable,
    rows: &[TypedRowPlan<'_>],
) -> Result<(), sqlx::Error> {
    match session {
        OpenTransaction::Sqlite(transaction) => {
            let mut arguments = SqliteArguments::default();
            for row in rows {
                bind_sqlite(&mut arguments, row)?;
            }
            let insert = AssertSqlSafe(table.insert(SqlDialect::Sqlite, rows.len()));
            sqlx::query_with(insert, arguments).execute(&mut **transaction).await?;
        }
        OpenTransaction::MySql(connection) => {
            let mut arguments = MySqlArguments::default();
            for row in rows {
                bind_mysql(&mut arguments, row).map_err(sqlx::Error::Encode)?;
            }
            let insert = AssertSqlSafe(table.insert(SqlDialect::MySql, rows.len()));
            sqlx::query_with(insert, arguments).execute(&mut connection.wire).await?;
        }
        OpenTransaction::Postgres(connection) => {
            let arguments = bind_postgres(table, rows).map_err(sqlx::Error::Encode)?;
            let insert = AssertSqlSafe(table.insert(SqlDialect::Postgres, rows.len()));
            sqlx::query_with(insert, arguments).execute(&mut **connection).await?;
        }
    }
    Ok(())
}

fn bind_sqlite(arguments: &mut SqliteArguments, row: &TypedRowPlan<'_>) -> Result<(), sqlx::Error> {
    let received = sqlite::datetime(row.record.received_at)?;
    let event = row.row.event_time.map(sqlite::datetime).transpose()?;
    let add = || {
        arguments.add(Arc::clone(row.code))?;
        arguments.add(received)?;
        arguments.add(event)?;
        arguments.add(row.number)?;
        row.row.values.iter().try_for_each(|value| arguments.add(value.clone()))
    };
    add().map_err(sqlx::Error::Encode)
}

fn bind_mysql(arguments: &mut MySqlArguments, row: &TypedRowPlan<'_>) -> Result<(), sqlx::error::BoxDynError> {
    arguments.add(&**row.code)?;
    arguments.add(utc_time(row.record.received_at)?.naive_utc())?;
    arguments.add(row.row.event_time.map(utc_time).transpose()?.map(|time| time.naive_utc()))?;
    arguments.add(row.number)?;
    row.row.values.iter().try_for_each(|value| arguments.add(value.as_deref()))
}

fn bind_postgres(table: &TypedTable, rows: &[TypedRowPlan<'_>]) -> Result<PgArguments, sqlx::error::BoxDynError> {
    let mut arguments = PgArguments::default();
    arguments.add(rows.iter().map(|row| &**row.code).collect::<Vec<_>>())?;
    arguments.add(rows.iter().map(|row| utc_time(row.record.received_at)).collect::<Result<Vec<_>, _>>()?)?;
    arguments
        .add(rows.iter().map(|row| row.row.event_time.map(utc_time).transpose()).collect::<Result<Vec<_>, _>>()?)?;
    arguments.add(rows.iter().map(|row| row.number).collect::<Vec<_>>())?;
    for column in 0..table.width() - 4 {
        arguments.add(rows.iter().map(|row| row.row.values[column].as_deref()).collect::<Vec<_>>())?;
    }
    Ok(arguments)
}

/// An error that lies in the table says which one, and what to do.
fn name_the_table(table: &Arc<TypedTable>, error: sqlx::Error) -> sqlx::Error {
    let sqlx::Error::Database(database) = &error else { return error };
    let lies_in_table = if let Some(error) = database.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>() {
        // no such table, unknown column, INSERT denied
        matches!(error.number(), 1146 | 1054 | 1142)
    } else if let Some(error) = database.try_downcast_ref::<sqlx::postgres::PgDatabaseError>() {
        // undefined_table, undefined_column, insufficient_privilege, datatype_mismatch
        matches!(error.code(), "42P01" | "42703" | "42501" | "42804")
    } else {
        let text = database.message();
        text.contains("no such table") || text.contains("has no column named")
    };
    if !lies_in_table {
        return error;
    }
    let problem = database.message().to_owned();
    sqlx::Error::AnyDriverError(Box::new(MissingTable { table: Arc::clone(table), problem }))
}
