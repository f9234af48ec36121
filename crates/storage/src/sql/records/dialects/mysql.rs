//! Records in MySQL and MariaDB. Statements of numbers alone go as text: one round trip, nothing to keep prepared.

use crate::sql::records::FlowNumbers;
use crate::sql::records::rows::IntentAnchor;
use crate::sql::records::rows::SHAPES;
use crate::sql::records::rows::{DataRow, INSERTS, LockedFlow, next_shape};
use crate::sql::timestamp::{UnstorableTime, utc_time};
use chrono::{NaiveDateTime, SubsecRound as _};
use hearthgate_domain::delivery::UnixMicros;
use sqlx::mysql::MySqlArguments;
use sqlx::{Arguments as _, AssertSqlSafe, MySqlConnection, Row as _};
use std::fmt::Write as _;
use std::sync::Arc;

pub(crate) const FIND_ROW: &str = "SELECT CAST(flow_code AS CHAR), CAST(last_msg_id AS SIGNED), CAST(attribute_name AS CHAR), \
    CAST(attribute_value AS CHAR), CAST(TIMESTAMPDIFF(SECOND, '1970-01-01', received_at) AS SIGNED) FROM data WHERE id = ?";

/// Room in a packet for what is not values.
const PACKET_OVERHEAD: usize = 64 << 10;

pub(crate) struct MysqlWriter {
    pub(crate) wire: MySqlConnection,
    /// `data.received_at` keeps microseconds; else whole seconds, cut off, never rounded up.
    micros: bool,
    /// `max_allowed_packet`: a larger one makes the server hang up.
    packet: usize,
}

impl MysqlWriter {
    pub(crate) async fn new(mut wire: MySqlConnection, micros: bool) -> Result<Self, sqlx::Error> {
        let (packet,): (i64,) =
            sqlx::query_as("SELECT CAST(@@max_allowed_packet AS SIGNED)").fetch_one(&mut wire).await?;
        Ok(Self { wire, micros, packet: usize::try_from(packet).unwrap_or(usize::MAX) })
    }

    pub(crate) async fn insert(&mut self, rows: &[DataRow<'_>]) -> Result<Option<IntentAnchor>, sqlx::Error> {
        let mut anchor = None;
        let mut rest = rows;
        while !rest.is_empty() {
            let shape = next_shape(rest);
            let (chunk, after) = rest.split_at(SHAPES[shape]);
            let size: usize = chunk.iter().map(DataRow::size).sum();
            if size.saturating_add(PACKET_OVERHEAD) > self.packet {
                let reason =
                    format!("{size} bytes are more than the server's max_allowed_packet of {} takes", self.packet);
                return Err(sqlx::Error::Encode(reason.into()));
            }
            let mut arguments = MySqlArguments::default();
            arguments.reserve(chunk.len() * 5, size);
            for row in chunk {
                self.bind(&mut arguments, row).map_err(sqlx::Error::Encode)?;
            }
            let insert = AssertSqlSafe(Arc::clone(&INSERTS[shape]));
            let done = sqlx::query_with(insert, arguments).execute(&mut self.wire).await?;
            if anchor.is_none() {
                // The id that the first row of the statement got.
                anchor = Some(IntentAnchor::new(&chunk[0], i64::try_from(done.last_insert_id()).unwrap_or(0)));
            }
            rest = after;
        }
        Ok(anchor)
    }

    fn bind(&self, arguments: &mut MySqlArguments, row: &DataRow<'_>) -> Result<(), sqlx::error::BoxDynError> {
        arguments.add(self.datetime(row.record.received_at)?)?;
        arguments.add(&**row.code)?;
        arguments.add(&**row.name())?;
        arguments.add(&**row.value())?;
        arguments.add(row.number)
    }

    fn datetime(&self, at: UnixMicros) -> Result<NaiveDateTime, UnstorableTime> {
        let time = utc_time(at)?.naive_utc();
        Ok(if self.micros { time } else { time.trunc_subsecs(0) })
    }
}

pub(crate) async fn lock_flows(connection: &mut MySqlConnection, ids: &[i64]) -> Result<Vec<LockedFlow>, sqlx::Error> {
    let mut query = String::from(
        "SELECT CAST(id AS SIGNED), CAST(code AS CHAR), CAST(last_msg_id AS SIGNED) FROM flows WHERE id IN (",
    );
    push_list(&mut query, ids.iter());
    query.push_str(") ORDER BY id FOR UPDATE");
    let rows = sqlx::raw_sql(AssertSqlSafe(query)).fetch_all(connection).await?;
    rows.iter()
        .map(|row| {
            let code: String = row.try_get(1)?;
            Ok(LockedFlow { id: row.try_get(0)?, code: code.into(), last_msg_id: row.try_get(2)? })
        })
        .collect()
}

pub(crate) async fn raise(connection: &mut MySqlConnection, numbers: &[FlowNumbers]) -> Result<(), sqlx::Error> {
    let mut query = String::from("UPDATE flows SET last_msg_id = CASE id");
    for flow in numbers {
        // Writing into a String can't fail.
        let _ = write!(query, " WHEN {} THEN {}", flow.flow_id, flow.base.saturating_add(flow.count));
    }
    query.push_str(" END WHERE id IN (");
    push_list(&mut query, numbers.iter().map(|flow| &flow.flow_id));
    query.push(')');
    sqlx::raw_sql(AssertSqlSafe(query)).execute(connection).await?;
    Ok(())
}

fn push_list<'a>(query: &mut String, ids: impl Iterator<Item = &'a i64>) {
    for (at, id) in ids.enumerate() {
        let comma = if at == 0 { "" } else { "," };
        let _ = write!(query, "{comma}{id}");
    }
}
