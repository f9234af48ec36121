//! Letters as rows.

use super::{DeadLetter, DeadLetterFilter, NewDeadLetter};
use hearthgate_domain::flow::ActionKind;
use sqlx::{AssertSqlSafe, QueryBuilder, Row as _, Sqlite, SqliteConnection};

/// Bytes that a letter is counted with beyond its texts and its payload.
const OVERHEAD: i64 = 200;

pub(super) async fn insert(
    connection: &mut SqliteConnection,
    letter: &NewDeadLetter,
    size: i64,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query(
        "INSERT INTO dead_letters (journal, seq, flow_code, topic, payload, reason, pointer, received_at, dead_at, attempts, \
         size, part) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
    )
    .bind(letter.journal.to_string())
    .bind(letter.seq.map(signed))
    .bind(&letter.flow_code)
    .bind(&letter.topic)
    .bind(&letter.payload[..])
    .bind(&letter.reason)
    .bind(&letter.pointer)
    .bind(letter.received_at)
    .bind(letter.dead_at)
    .bind(letter.attempts)
    .bind(size)
    .bind(letter.part.map(ActionKind::name))
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Removes the letters that `which`, with `bound` for its end, selects; they count as evicted `weight` times.
pub(super) async fn remove(
    connection: &mut SqliteConnection,
    which: &str,
    bound: i64,
    weight: i64,
) -> Result<u64, sqlx::Error> {
    let delete = format!(
        "DELETE FROM dead_letters WHERE id IN (SELECT id FROM dead_letters {which} ?) RETURNING size, replayed_at IS NULL"
    );
    let gone: Vec<(i64, i64)> = sqlx::query_as(AssertSqlSafe(delete)).bind(bound).fetch_all(&mut *connection).await?;
    let bytes: i64 = gone.iter().map(|&(size, _)| size).sum();
    let unread: i64 = gone.iter().map(|&(_, unread)| unread * weight).sum();
    sqlx::query("UPDATE totals SET letters = letters - ?, bytes = bytes - ?, evicted = evicted + ?")
        .bind(signed(gone.len() as u64))
        .bind(bytes)
        .bind(unread)
        .execute(connection)
        .await?;
    Ok(gone.len() as u64)
}

pub(super) fn select(payload: &str) -> QueryBuilder<Sqlite> {
    QueryBuilder::new(format!(
        "SELECT id, journal, seq, flow_code, topic, {payload} AS payload, length(payload) AS payload_len, reason, pointer, \
         received_at, dead_at, attempts, replayed_at, part FROM dead_letters WHERE 1 = 1"
    ))
}

pub(super) fn push_filter(query: &mut QueryBuilder<Sqlite>, filter: &DeadLetterFilter) {
    if let Some(flow) = &filter.flow_code {
        query.push(" AND flow_code = ").push_bind(flow.clone());
    }
    if let Some(topic) = &filter.topic {
        query.push(" AND topic = ").push_bind(topic.clone());
    }
    match filter.replayed {
        Some(true) => drop(query.push(" AND replayed_at IS NOT NULL")),
        Some(false) => drop(query.push(" AND replayed_at IS NULL")),
        None => {}
    }
    if let Some(before) = filter.before {
        query.push(" AND id < ").push_bind(before);
    }
}

pub(super) fn letter_of(row: &sqlx::sqlite::SqliteRow) -> Result<DeadLetter, sqlx::Error> {
    let journal: String = row.try_get("journal")?;
    let payload: Vec<u8> = row.try_get("payload")?;
    let payload_len: i64 = row.try_get("payload_len")?;
    let seq: Option<i64> = row.try_get("seq")?;
    let part: Option<String> = row.try_get("part")?;
    Ok(DeadLetter {
        id: row.try_get("id")?,
        letter: NewDeadLetter {
            journal: journal.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))?,
            seq: seq.map(i64::unsigned_abs),
            flow_code: row.try_get("flow_code")?,
            topic: row.try_get("topic")?,
            payload: payload.into(),
            reason: row.try_get("reason")?,
            pointer: row.try_get("pointer")?,
            received_at: row.try_get("received_at")?,
            dead_at: row.try_get("dead_at")?,
            attempts: row.try_get("attempts")?,
            part: part.as_deref().and_then(ActionKind::named),
        },
        payload_len: payload_len.unsigned_abs(),
        replayed_at: row.try_get("replayed_at")?,
    })
}

pub(super) fn size(letter: &NewDeadLetter) -> i64 {
    let texts = letter.topic.len() + letter.payload.len() + letter.reason.len();
    i64::try_from(texts).unwrap_or(i64::MAX - OVERHEAD) + OVERHEAD
}

pub(super) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
