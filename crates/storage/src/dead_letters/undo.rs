//! Letters that were dropped, for as long as that can be taken back.

use super::DeadLetters;
use super::rows::{remove, signed};
use crate::sql::pools::begin_immediate;
use crate::sql::{DatabaseError, ErrorContext};
use hearthgate_domain::delivery::UnixMicros;
use sqlx::{AssertSqlSafe, SqliteConnection};
use std::time::Duration;

/// So long, a drop can be taken back.
pub const UNDO_TIME: Duration = Duration::from_secs(600);

const COLUMNS: &str = "id, journal, seq, flow_code, topic, payload, reason, pointer, received_at, dead_at, attempts, \
                       replayed_at, size, part";

/// What can be taken back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DroppedLetters {
    /// How many letters.
    pub letters: u64,
    /// When the last of them were dropped.
    pub last_at: Option<UnixMicros>,
}

impl DeadLetters {
    /// Drops letters: they are in no list any more, and gone for good after [`UNDO_TIME`]. Answers how many there were.
    ///
    /// # Errors
    /// The file can't be written.
    pub async fn drop_letters(&self, ids: &[i64], now: UnixMicros) -> Result<u64, DatabaseError> {
        self.drop_all(ids, now).await.attempted(format!("drop from {}", self.label))
    }

    async fn drop_all(&self, ids: &[i64], now: UnixMicros) -> Result<u64, sqlx::Error> {
        let mut transaction = begin_immediate(&self.pool).await?;
        forget(&mut transaction, now).await?;
        let copy = format!(
            "INSERT OR REPLACE INTO dropped_letters ({COLUMNS}, dropped_at) SELECT {COLUMNS}, ? FROM dead_letters WHERE id = ?"
        );
        let mut dropped = 0;
        for &id in ids {
            sqlx::query(AssertSqlSafe(copy.clone())).bind(now).bind(id).execute(&mut *transaction).await?;
            dropped += remove(&mut transaction, "WHERE id =", id, 0).await?;
        }
        self.keep_within_bounds(&mut transaction, now).await?;
        transaction.commit().await?;
        Ok(dropped)
    }

    /// Of more than the bound on letters allows, those of earlier drops go first, then all.
    async fn keep_within_bounds(&self, connection: &mut SqliteConnection, now: UnixMicros) -> Result<(), sqlx::Error> {
        for before in [now, UnixMicros::MAX] {
            let size = "SELECT coalesce(sum(size), 0) FROM dropped_letters";
            let bytes: i64 = sqlx::query_scalar(size).fetch_one(&mut *connection).await?;
            if bytes > self.max_bytes {
                let delete = sqlx::query("DELETE FROM dropped_letters WHERE dropped_at < ?");
                delete.bind(before).execute(&mut *connection).await?;
            }
        }
        Ok(())
    }

    /// Takes every drop back that still can be; answers how many letters are there again.
    ///
    /// # Errors
    /// The file can't be written.
    pub async fn restore_dropped(&self, now: UnixMicros) -> Result<u64, DatabaseError> {
        self.restore_all(now).await.attempted(format!("restore in {}", self.label))
    }

    async fn restore_all(&self, now: UnixMicros) -> Result<u64, sqlx::Error> {
        let mut transaction = begin_immediate(&self.pool).await?;
        forget(&mut transaction, now).await?;
        let restore = format!(
            "INSERT OR IGNORE INTO dead_letters ({COLUMNS}) SELECT {COLUMNS} FROM dropped_letters RETURNING size"
        );
        let sizes: Vec<i64> = sqlx::query_scalar(AssertSqlSafe(restore)).fetch_all(&mut *transaction).await?;
        let restored = sizes.len() as u64;
        sqlx::query("DELETE FROM dropped_letters").execute(&mut *transaction).await?;
        sqlx::query("UPDATE totals SET letters = letters + ?, bytes = bytes + ?")
            .bind(signed(restored))
            .bind(sizes.iter().sum::<i64>())
            .execute(&mut *transaction)
            .await?;
        self.make_room(&mut transaction).await?;
        transaction.commit().await?;
        Ok(restored)
    }

    /// What can be taken back now. What no longer can is gone with this.
    ///
    /// # Errors
    /// The file can't be read or written.
    pub async fn dropped(&self, now: UnixMicros) -> Result<DroppedLetters, DatabaseError> {
        let looking = async {
            let mut connection = self.pool.acquire().await?;
            let count = "SELECT count(*), max(dropped_at), min(dropped_at) FROM dropped_letters";
            let (letters, last_at, first_at): (i64, Option<i64>, Option<i64>) =
                sqlx::query_as(count).fetch_one(&mut *connection).await?;
            if first_at.is_none_or(|first| first >= oldest(now)) {
                return Ok(DroppedLetters { letters: letters.unsigned_abs(), last_at });
            }
            forget(&mut connection, now).await?;
            let (letters, last_at, _): (i64, Option<i64>, Option<i64>) =
                sqlx::query_as(count).fetch_one(&mut *connection).await?;
            Ok(DroppedLetters { letters: letters.unsigned_abs(), last_at })
        };
        looking.await.attempted(format!("read {}", self.label))
    }
}

async fn forget(connection: &mut SqliteConnection, now: UnixMicros) -> Result<(), sqlx::Error> {
    let delete = sqlx::query("DELETE FROM dropped_letters WHERE dropped_at < ?");
    delete.bind(oldest(now)).execute(connection).await.map(drop)
}

/// What was dropped before this time is gone.
fn oldest(now: UnixMicros) -> UnixMicros {
    now.saturating_sub(UnixMicros::try_from(UNDO_TIME.as_micros()).unwrap_or(UnixMicros::MAX))
}
