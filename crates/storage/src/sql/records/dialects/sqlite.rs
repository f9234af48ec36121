//! Records in SQLite: multi-row statements, prepared once for each of a few sizes.

use crate::sql::records::FlowNumbers;
use crate::sql::records::rows::IntentAnchor;
use crate::sql::records::rows::SHAPES;
use crate::sql::records::rows::{DataRow, INSERTS, LockedFlow, next_shape};
use crate::sql::timestamp::utc_time;
use hearthgate_domain::delivery::UnixMicros;
use sqlx::sqlite::SqliteArguments;
use sqlx::{Arguments as _, AssertSqlSafe, SqliteConnection};
use std::fmt::Write as _;
use std::sync::Arc;

pub(crate) const FIND_ROW: &str = "SELECT CAST(flow_code AS TEXT), CAST(last_msg_id AS INTEGER), CAST(attribute_name AS TEXT), \
    CAST(attribute_value AS TEXT), CAST(strftime('%s', received_at) AS INTEGER) FROM data WHERE id = ?";

pub(crate) async fn lock_flows(connection: &mut SqliteConnection, ids: &[i64]) -> Result<Vec<LockedFlow>, sqlx::Error> {
    // The transaction holds the lock on the whole file already. All in one row: each would come through a channel.
    let flows: String = sqlx::query_scalar(
        "SELECT json_group_array(json_array(id, CAST(code AS TEXT), CAST(last_msg_id AS INTEGER)) ORDER BY id) \
         FROM flows WHERE id IN (SELECT value FROM json_each(?))",
    )
    .bind(json_list(ids))
    .fetch_one(connection)
    .await?;
    let flows: Vec<(i64, String, i64)> =
        serde_json::from_str(&flows).map_err(|reason| sqlx::Error::Decode(reason.into()))?;
    Ok(flows.into_iter().map(|(id, code, last_msg_id)| LockedFlow { id, code: code.into(), last_msg_id }).collect())
}

pub(crate) async fn insert(
    connection: &mut SqliteConnection,
    rows: &[DataRow<'_>],
) -> Result<Option<IntentAnchor>, sqlx::Error> {
    let mut anchor = None;
    let mut rest = rows;
    let mut time = (UnixMicros::MIN, Arc::from(""));
    while !rest.is_empty() {
        let shape = next_shape(rest);
        let (chunk, after) = rest.split_at(SHAPES[shape]);
        let mut arguments = SqliteArguments::default();
        arguments.reserve(chunk.len() * 5, 0);
        for row in chunk {
            if row.record.received_at != time.0 {
                time = (row.record.received_at, datetime(row.record.received_at)?);
            }
            bind(&mut arguments, row, &time.1).map_err(sqlx::Error::Encode)?;
        }
        let done =
            sqlx::query_with(AssertSqlSafe(Arc::clone(&INSERTS[shape])), arguments).execute(&mut *connection).await?;
        if anchor.is_none() {
            anchor = Some(IntentAnchor::new(&chunk[chunk.len() - 1], done.last_insert_rowid()));
        }
        rest = after;
    }
    Ok(anchor)
}

fn bind(arguments: &mut SqliteArguments, row: &DataRow<'_>, time: &Arc<str>) -> Result<(), sqlx::error::BoxDynError> {
    arguments.add(Arc::clone(time))?;
    arguments.add(Arc::clone(row.code))?;
    arguments.add(Arc::clone(row.name()))?;
    arguments.add(Arc::clone(row.value()))?;
    arguments.add(row.number)
}

/// `YYYY-MM-DD HH:MM:SS.ffffff`, as SQLAlchemy writes it and SQLite's date functions read it.
pub(crate) fn datetime(at: UnixMicros) -> Result<Arc<str>, sqlx::Error> {
    let time = utc_time(at)?;
    let mut text = String::with_capacity(26);
    // Writing into a String can't fail.
    let _ = write!(text, "{}", time.naive_utc().format("%Y-%m-%d %H:%M:%S%.6f"));
    Ok(text.into())
}

pub(crate) async fn raise(connection: &mut SqliteConnection, numbers: &[FlowNumbers]) -> Result<(), sqlx::Error> {
    let mut json = String::from("{");
    for (at, flow) in numbers.iter().enumerate() {
        let comma = if at == 0 { "" } else { "," };
        let _ = write!(json, "{comma}\"{}\":{}", flow.flow_id, flow.base.saturating_add(flow.count));
    }
    json.push('}');
    sqlx::query(
        "UPDATE flows SET last_msg_id = raised.value FROM json_each(?) AS raised WHERE flows.id = CAST(raised.key AS INTEGER)",
    )
    .bind(json)
    .execute(connection)
    .await?;
    Ok(())
}

fn json_list(ids: &[i64]) -> String {
    let ids: Vec<String> = ids.iter().map(i64::to_string).collect();
    format!("[{}]", ids.join(","))
}
