//! Records in PostgreSQL: arrays, unnested by the server, so that one statement serves any number of rows.

use crate::sql::records::FlowNumbers;
use crate::sql::records::rows::IntentAnchor;
use crate::sql::records::rows::{DataRow, LockedFlow};
use crate::sql::timestamp::utc_time;
use sqlx::PgConnection;

/// Rows in one statement.
const CHUNK_ROWS: usize = 3_000;
/// Bytes of values in one statement, unless a single row is larger.
const CHUNK_BYTES: usize = 1 << 20;

const INSERT: &str = "INSERT INTO data (received_at, flow_code, attribute_name, attribute_value, last_msg_id) \
    SELECT * FROM unnest($1::timestamptz[], $2::text[], $3::text[], $4::text[], $5::bigint[])";

const INSERT_ONE: &str = "INSERT INTO data (received_at, flow_code, attribute_name, attribute_value, last_msg_id) \
    VALUES ($1::timestamptz, $2::text, $3::text, $4::text, $5::bigint) RETURNING id::bigint";

pub(crate) const FIND_ROW: &str = "SELECT flow_code::text, last_msg_id::bigint, attribute_name::text, attribute_value::text, \
    floor(extract(epoch FROM received_at))::bigint FROM data WHERE id = $1";

pub(crate) async fn lock_flows(connection: &mut PgConnection, ids: &[i64]) -> Result<Vec<LockedFlow>, sqlx::Error> {
    let rows: Vec<(i64, String, i64)> = sqlx::query_as(
        "SELECT id::bigint, code::text, last_msg_id::bigint FROM flows WHERE id = ANY($1) ORDER BY id FOR UPDATE",
    )
    .bind(ids)
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|(id, code, last_msg_id)| LockedFlow { id, code: code.into(), last_msg_id }).collect())
}

pub(crate) async fn insert(
    connection: &mut PgConnection,
    rows: &[DataRow<'_>],
    anchor: bool,
) -> Result<Option<IntentAnchor>, sqlx::Error> {
    let mut rest = rows;
    let mut found = None;
    if anchor && let Some((first, after)) = rest.split_first() {
        found = Some(IntentAnchor::new(first, insert_one(connection, first).await?));
        rest = after;
    }
    while !rest.is_empty() {
        let (chunk, after) = rest.split_at(fitting(rest));
        insert_chunk(connection, chunk).await?;
        rest = after;
    }
    Ok(found)
}

async fn insert_one(connection: &mut PgConnection, row: &DataRow<'_>) -> Result<i64, sqlx::Error> {
    let (id,): (i64,) = sqlx::query_as(INSERT_ONE)
        .bind(utc_time(row.record.received_at)?)
        .bind(&**row.code)
        .bind(&**row.name())
        .bind(&**row.value())
        .bind(row.number)
        .fetch_one(connection)
        .await?;
    Ok(id)
}

async fn insert_chunk(connection: &mut PgConnection, chunk: &[DataRow<'_>]) -> Result<(), sqlx::Error> {
    let times = chunk.iter().map(|row| utc_time(row.record.received_at)).collect::<Result<Vec<_>, _>>()?;
    let codes: Vec<&str> = chunk.iter().map(|row| &**row.code).collect();
    let names: Vec<&str> = chunk.iter().map(|row| &**row.name()).collect();
    let values: Vec<&str> = chunk.iter().map(|row| &**row.value()).collect();
    let numbers: Vec<i64> = chunk.iter().map(|row| row.number).collect();
    sqlx::query(INSERT).bind(times).bind(codes).bind(names).bind(values).bind(numbers).execute(connection).await?;
    Ok(())
}

/// How many of the rows, which are not empty, go into one statement.
fn fitting(rows: &[DataRow<'_>]) -> usize {
    let mut bytes = 0;
    let count = rows.iter().take(CHUNK_ROWS).take_while(|row| {
        bytes += row.size();
        bytes <= CHUNK_BYTES
    });
    count.count().max(1)
}

pub(crate) async fn raise(connection: &mut PgConnection, numbers: &[FlowNumbers]) -> Result<(), sqlx::Error> {
    let ids: Vec<i64> = numbers.iter().map(|flow| flow.flow_id).collect();
    let raised: Vec<i64> = numbers.iter().map(|flow| flow.base.saturating_add(flow.count)).collect();
    sqlx::query(
        "UPDATE flows SET last_msg_id = raised.number FROM unnest($1::bigint[], $2::bigint[]) AS raised(id, number) \
         WHERE flows.id = raised.id",
    )
    .bind(ids)
    .bind(raised)
    .execute(connection)
    .await?;
    Ok(())
}
