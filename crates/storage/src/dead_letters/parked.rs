//! Messages of flows whose deliveries hang, set aside so that they do not keep the journal from being emptied. They wait
//! for their turn here, and are no dead letters.

use super::DeadLetters;
use super::rows::signed;
use crate::sql::pools::begin_immediate;
use crate::sql::{DatabaseError, ErrorContext};
use bytes::Bytes;
use hearthgate_domain::delivery::UnixMicros;
use hearthgate_domain::flow::{ActionKind, PromisedActions};
use sqlx::Row as _;
use uuid::Uuid;

/// Bytes that a message is counted with beyond its topic and payload.
const OVERHEAD: u64 = 100;

/// A message that waits for its delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParkedMessage {
    /// Its sequence number in the journal.
    pub seq: u64,
    /// Under which identity that number is unique.
    pub journal: Uuid,
    /// Topic name.
    pub topic: String,
    /// The bytes as they were sent.
    pub payload: Bytes,
    /// When it came in.
    pub received_at: UnixMicros,
    /// The part that is replayed; `None`: all of the flow's deliveries are due.
    pub part: Option<ActionKind>,
    /// What it was accepted for.
    pub promise: PromisedActions,
}

impl ParkedMessage {
    /// Bytes that it counts for.
    #[must_use]
    pub fn size(&self) -> u64 {
        (self.topic.len() + self.payload.len()) as u64 + OVERHEAD
    }
}

/// What waits of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParkedFlow {
    /// Its number.
    pub flow_id: i64,
    /// The first one's number.
    pub first: u64,
    /// The last one's number.
    pub last: u64,
    /// Bytes of all.
    pub bytes: u64,
}

impl DeadLetters {
    /// Sets messages of a flow aside, durably, in one transaction. Those that are there already stay as they are.
    ///
    /// # Errors
    /// The file can't be written: none was set aside.
    pub async fn park(&self, flow_id: i64, messages: &[ParkedMessage]) -> Result<(), DatabaseError> {
        let parking = async {
            let mut transaction = begin_immediate(&self.pool).await?;
            for message in messages {
                let insert = "INSERT INTO parked (flow_id, seq, journal, topic, payload, received_at, part, promise, size) \
                              VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING";
                sqlx::query(insert)
                    .bind(flow_id)
                    .bind(signed(message.seq))
                    .bind(message.journal.to_string())
                    .bind(&message.topic)
                    .bind(&message.payload[..])
                    .bind(message.received_at)
                    .bind(message.part.map(ActionKind::name))
                    .bind(message.promise.bits())
                    .bind(signed(message.size()))
                    .execute(&mut *transaction)
                    .await?;
            }
            transaction.commit().await
        };
        parking.await.attempted(format!("set messages aside in {}", self.label))
    }

    /// The next messages of a flow after this number, in order: at most `count`, and about `bytes` of them, but at least one
    /// if there is any.
    ///
    /// # Errors
    /// The file can't be read.
    pub async fn parked(
        &self,
        flow_id: i64,
        after: u64,
        count: u32,
        bytes: u64,
    ) -> Result<Vec<ParkedMessage>, DatabaseError> {
        // Payloads are fetched for those alone whose predecessors leave room.
        let query = "SELECT p.seq, p.journal, p.topic, p.payload, p.received_at, p.part, p.promise FROM parked p JOIN \
                     (SELECT seq, sum(size) OVER (ORDER BY seq) - size AS before FROM \
                     (SELECT seq, size FROM parked WHERE flow_id = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3)) fitting \
                     ON p.flow_id = ?1 AND p.seq = fitting.seq WHERE fitting.before < ?4 ORDER BY p.seq";
        let rows = sqlx::query(query)
            .bind(flow_id)
            .bind(signed(after))
            .bind(count)
            .bind(signed(bytes.max(1)))
            .fetch_all(&self.pool)
            .await;
        rows.and_then(|rows| rows.iter().map(message_of).collect())
            .attempted(format!("read what is set aside in {}", self.label))
    }

    /// Removes the messages of a flow through this number: they are delivered, or dead letters. Answers their bytes.
    ///
    /// # Errors
    /// The file can't be written.
    pub async fn unpark(&self, flow_id: i64, through: u64) -> Result<u64, DatabaseError> {
        let removed: Vec<(i64,)> = sqlx::query_as("DELETE FROM parked WHERE flow_id = ? AND seq <= ? RETURNING size")
            .bind(flow_id)
            .bind(signed(through))
            .fetch_all(&self.pool)
            .await
            .attempted(format!("remove what was set aside in {}", self.label))?;
        Ok(removed.iter().map(|(size,)| size.unsigned_abs()).sum())
    }

    /// Removes these messages of a flow.
    ///
    /// # Errors
    /// The file can't be written.
    pub async fn remove_parked(&self, flow_id: i64, seqs: &[u64]) -> Result<(), DatabaseError> {
        let numbers: Vec<String> = seqs.iter().map(u64::to_string).collect();
        let removed = sqlx::query("DELETE FROM parked WHERE flow_id = ? AND seq IN (SELECT value FROM json_each(?))")
            .bind(flow_id)
            .bind(format!("[{}]", numbers.join(",")))
            .execute(&self.pool)
            .await;
        removed.map(drop).attempted(format!("remove what was set aside in {}", self.label))
    }

    /// The flows of which messages are set aside.
    ///
    /// # Errors
    /// The file can't be read.
    pub async fn parked_flows(&self) -> Result<Vec<ParkedFlow>, DatabaseError> {
        let query = "SELECT flow_id, min(seq), max(seq), sum(size) FROM parked GROUP BY flow_id";
        let rows: Vec<(i64, i64, i64, i64)> = sqlx::query_as(query)
            .fetch_all(&self.pool)
            .await
            .attempted(format!("read what is set aside in {}", self.label))?;
        let flow = |(flow_id, first, last, bytes): (i64, i64, i64, i64)| ParkedFlow {
            flow_id,
            first: first.unsigned_abs(),
            last: last.unsigned_abs(),
            bytes: bytes.unsigned_abs(),
        };
        Ok(rows.into_iter().map(flow).collect())
    }
}

fn message_of(row: &sqlx::sqlite::SqliteRow) -> Result<ParkedMessage, sqlx::Error> {
    let (seq, journal): (i64, String) = (row.try_get("seq")?, row.try_get("journal")?);
    let (payload, part): (Vec<u8>, Option<String>) = (row.try_get("payload")?, row.try_get("part")?);
    Ok(ParkedMessage {
        seq: seq.unsigned_abs(),
        journal: journal.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))?,
        topic: row.try_get("topic")?,
        payload: payload.into(),
        received_at: row.try_get("received_at")?,
        part: part.as_deref().and_then(ActionKind::named),
        promise: PromisedActions::from_bits(row.try_get("promise")?),
    })
}
