//! Who replays a letter: one at a time, and known over a crash in the midst of it.

use super::DeadLetters;
use super::rows::signed;
use crate::sql::pools::begin_immediate;
use crate::sql::{DatabaseError, ErrorContext};
use hearthgate_domain::delivery::UnixMicros;

/// A replay that was begun and whose end is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenClaim {
    /// The letter's number.
    pub id: i64,
    /// If it was taken, its message is in the journal after this entry.
    pub after: u64,
}

impl DeadLetters {
    /// Takes a letter for a replay at this time if it still is as it was seen, never replayed or last at `seen`. Of several
    /// that try at once one gets it: the others, and those for whom it is no longer there, get `false`. Its message will
    /// be in the journal after the entry `after`; [`Self::settle_claim`] tells when that is decided.
    ///
    /// # Errors
    /// The file can't be written.
    pub async fn claim_replay(
        &self,
        id: i64,
        seen: Option<UnixMicros>,
        at: UnixMicros,
        after: u64,
    ) -> Result<bool, DatabaseError> {
        let claiming = async {
            let mut transaction = begin_immediate(&self.pool).await?;
            let done = sqlx::query("UPDATE dead_letters SET replayed_at = ? WHERE id = ? AND replayed_at IS ?")
                .bind(at)
                .bind(id)
                .bind(seen)
                .execute(&mut *transaction)
                .await?;
            if done.rows_affected() != 1 {
                return Ok(false);
            }
            sqlx::query("INSERT OR REPLACE INTO claims (letter, seen, after) VALUES (?, ?, ?)")
                .bind(id)
                .bind(seen)
                .bind(signed(after))
                .execute(&mut *transaction)
                .await?;
            transaction.commit().await.map(|()| true)
        };
        claiming.await.attempted(format!("mark in {}", self.label))
    }

    /// The replay of a claimed letter is decided: it was taken, or the letter is as it was before.
    ///
    /// # Errors
    /// The file can't be written.
    pub async fn settle_claim(&self, id: i64, is_taken: bool) -> Result<(), DatabaseError> {
        let settling = async {
            let mut transaction = begin_immediate(&self.pool).await?;
            if !is_taken {
                const BACK: &str = "UPDATE dead_letters SET replayed_at = (SELECT seen FROM claims WHERE letter = ?1) \
                                    WHERE id = ?1 AND EXISTS (SELECT 1 FROM claims WHERE letter = ?1)";
                sqlx::query(BACK).bind(id).execute(&mut *transaction).await?;
            }
            sqlx::query("DELETE FROM claims WHERE letter = ?").bind(id).execute(&mut *transaction).await?;
            transaction.commit().await
        };
        settling.await.attempted(format!("mark in {}", self.label))
    }

    /// The replays that a crash has left undecided.
    ///
    /// # Errors
    /// The file can't be read.
    pub async fn open_claims(&self) -> Result<Vec<OpenClaim>, DatabaseError> {
        let rows: Vec<(i64, i64)> = sqlx::query_as("SELECT letter, after FROM claims ORDER BY letter")
            .fetch_all(&self.pool)
            .await
            .attempted(format!("read {}", self.label))?;
        Ok(rows.into_iter().map(|(id, after)| OpenClaim { id, after: after.unsigned_abs() }).collect())
    }
}
