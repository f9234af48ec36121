//! Rows of typed tables, in the same transaction as the rest.

use super::faults;
use super::session::OpenTransaction;
use crate::sql::history::{TableFault, column_types};
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
        refuse_rounding(session, table).await?;
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

/// Somebody may have changed a type, and the database rounds without a word. Asked after the rows were inserted: until the
/// transaction ends nobody changes the table.
async fn refuse_rounding(session: &mut OpenTransaction, table: &Arc<TypedTable>) -> Result<(), sqlx::Error> {
    let dialect = session.dialect();
    if !table.may_round(dialect) {
        return Ok(());
    }
    let query = column_types(dialect, table.name());
    let query = AssertSqlSafe(query.text().to_owned());
    let found: Vec<(String, String)> = match session {
        OpenTransaction::Sqlite(_) => Vec::new(),
        OpenTransaction::MySql(connection) => {
            sqlx::query_as(query).bind(table.name()).fetch_all(&mut connection.wire).await?
        }
        OpenTransaction::Postgres(connection) => {
            sqlx::query_as(query).bind(table.name()).fetch_all(&mut **connection).await?
        }
    };
    let found: Vec<_> = found.into_iter().map(|(name, kind)| (name.to_lowercase(), kind.to_lowercase())).collect();
    match table.rounding_column(dialect, &found) {
        Some(problem) => Err(TableFault { table: Arc::clone(table), problem }.into()),
        None => Ok(()),
    }
}

/// An error that lies in the table says which one, and what to do.
fn name_the_table(table: &Arc<TypedTable>, error: sqlx::Error) -> sqlx::Error {
    let is_written = |column: &str| table.kinds().any(|(known, _)| known.eq_ignore_ascii_case(column));
    match faults::of_table(&error, is_written) {
        Some(problem) => TableFault { table: Arc::clone(table), problem }.into(),
        None => error,
    }
}
