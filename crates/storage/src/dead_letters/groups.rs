//! Dead letters that failed alike, counted by the file itself.

use super::DeadLetters;
use crate::sql::{DatabaseError, ErrorContext as _};
use hearthgate_domain::delivery::UnixMicros;

/// Different reasons that are told apart; of more, the older ones are left out.
const MOST: i64 = 20_000;

/// Letters of one flow with the same reason at the same place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetterGroup {
    /// Whose they are; `None`: refused for every flow.
    pub flow_code: Option<String>,
    /// Where in the payload.
    pub pointer: Option<String>,
    /// Why.
    pub reason: String,
    /// How many there are.
    pub count: u64,
    /// How many of them were replayed.
    pub replayed: u64,
    /// When the oldest was given up.
    pub first_at: UnixMicros,
    /// When the newest was given up.
    pub last_at: UnixMicros,
}

type Columns = (Option<String>, Option<String>, String, i64, i64, i64, i64);

impl DeadLetters {
    /// All letters, by flow, place and reason, the group of the newest letter first.
    ///
    /// # Errors
    /// The file can't be read.
    pub async fn groups(&self) -> Result<Vec<DeadLetterGroup>, DatabaseError> {
        let rows: Vec<Columns> = sqlx::query_as(
            "SELECT flow_code, pointer, reason, count(*), sum(replayed_at IS NOT NULL), min(dead_at), max(dead_at) \
             FROM dead_letters GROUP BY flow_code, pointer, reason ORDER BY max(id) DESC LIMIT ?",
        )
        .bind(MOST)
        .fetch_all(self.pool())
        .await
        .attempted("group the dead letters")?;
        let group = |(flow_code, pointer, reason, count, replayed, first_at, last_at): Columns| DeadLetterGroup {
            flow_code,
            pointer,
            reason,
            count: count.unsigned_abs(),
            replayed: replayed.unsigned_abs(),
            first_at,
            last_at,
        };
        Ok(rows.into_iter().map(group).collect())
    }
}
