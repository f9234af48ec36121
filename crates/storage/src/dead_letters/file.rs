//! The file: opened, bounded, and what is asked of it.

use super::rows::{insert, letter_of, push_filter, remove, select, signed, size};
use super::tables;
use super::{DeadLetter, DeadLetterFilter, DeadLetterOptions, DeadLetterTotals, InsertOutcome, NewDeadLetter};
use crate::sql::pools::begin_immediate;
use crate::sql::{DatabaseError, ErrorContext, sqlite_file};
use hearthgate_domain::delivery::UnixMicros;
use hearthgate_files::set_database_aside;
use sqlx::SqliteConnection;
use sqlx::sqlite::{SqlitePool, SqlitePoolOptions};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Most letters that one page of a list shows.
const PAGE: u32 = 1_000;
/// How much of a payload a list shows.
const PREVIEW: i64 = 256;

/// The `user_version` that the tables set.
const VERSION: i64 = 3;

/// From the first version, which did not tell apart what of a flow had failed.
const UPGRADE_1: &str = "
ALTER TABLE dead_letters ADD COLUMN part TEXT;
DROP INDEX dead_letters_once;
";

/// The dead letters. Cloning is cheap and shares the one connection.
#[derive(Clone, Debug)]
pub struct DeadLetters {
    pub(super) pool: SqlitePool,
    max_letters: i64,
    pub(super) max_bytes: i64,
    max_age: Option<UnixMicros>,
    pub(super) label: String,
}

impl DeadLetters {
    /// Opens the file, or makes it.
    ///
    /// # Errors
    /// The file can't be opened or is no SQLite file: the message names it.
    pub async fn open(options: &DeadLetterOptions) -> Result<Self, DatabaseError> {
        create_folder(&options.path)?;
        let label = format!("the dead letters in {}", options.path.display());
        let pool = SqlitePoolOptions::new()
            .max_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .test_before_acquire(false)
            .connect_with(
                sqlite_file(&options.path).busy_timeout(Duration::from_secs(5)).thread_name(|_| "dead-letters".into()),
            )
            .await
            .attempted(format!("open {label}"))?;
        let version: i64 =
            sqlx::query_scalar("PRAGMA user_version").fetch_one(&pool).await.attempted(format!("read {label}"))?;
        if version > VERSION {
            return Err(DatabaseError::newer(&label, version, VERSION));
        }
        if version == 1 {
            sqlx::raw_sql(UPGRADE_1).execute(&pool).await.attempted(format!("upgrade {label}"))?;
        }
        if version < VERSION {
            sqlx::raw_sql(tables::UPGRADE_2).execute(&pool).await.attempted(format!("upgrade {label}"))?;
        }
        for schema in [tables::LETTERS, tables::CLAIMS, tables::DROPPED] {
            sqlx::raw_sql(schema).execute(&pool).await.attempted(format!("prepare {label}"))?;
        }
        let bound = |limit: u64| i64::try_from(limit.max(1)).unwrap_or(i64::MAX);
        let max_age = options.max_age.map(|age| UnixMicros::try_from(age.as_micros()).unwrap_or(UnixMicros::MAX));
        let (max_letters, max_bytes) = (bound(options.max_letters), bound(options.max_bytes));
        Ok(Self { pool, max_letters, max_bytes, max_age, label })
    }

    /// The same; a file that is damaged is set aside, and a new one made: where it is now is answered too.
    ///
    /// # Errors
    /// As [`DeadLetters::open`], but for damage.
    pub async fn open_anew(options: &DeadLetterOptions) -> Result<(Self, Option<PathBuf>), DatabaseError> {
        match Self::open(options).await {
            Err(error) if error.is_damage() => {
                let attempted = || format!("set {} aside", options.path.display());
                let aside = set_database_aside(&options.path)
                    .map_err(|source| DatabaseError::File { attempted: attempted(), source })?;
                Ok((Self::open(options).await?, Some(aside)))
            }
            opened => Ok((opened?, None)),
        }
    }

    /// Keeps letters, durably, in one transaction. Those that are there already are left as they are.
    ///
    /// # Errors
    /// The file can't be written (kinds `DiskFull`, `ReadOnly`, …): none was kept.
    pub async fn insert_batch(&self, letters: &[NewDeadLetter]) -> Result<InsertOutcome, DatabaseError> {
        self.insert_all(letters).await.attempted(format!("add to {}", self.label))
    }

    async fn insert_all(&self, letters: &[NewDeadLetter]) -> Result<InsertOutcome, sqlx::Error> {
        let mut transaction = begin_immediate(&self.pool).await?;
        let (mut new, mut bytes) = (0_u64, 0_i64);
        for letter in letters {
            let size = size(letter);
            if insert(&mut transaction, letter, size).await? {
                new += 1;
                bytes += size;
            }
        }
        sqlx::query("UPDATE totals SET letters = letters + ?, bytes = bytes + ?")
            .bind(signed(new))
            .bind(bytes)
            .execute(&mut *transaction)
            .await?;
        let mut evicted = 0;
        if let (Some(age), Some(newest)) = (self.max_age, letters.iter().map(|letter| letter.dead_at).max()) {
            evicted += remove(&mut transaction, "WHERE dead_at <", newest.saturating_sub(age), 1).await?;
        }
        evicted += self.make_room(&mut transaction).await?;
        transaction.commit().await?;
        Ok(InsertOutcome { new, repeated: letters.len() as u64 - new, evicted })
    }

    /// Removes the oldest letters, replayed ones first, until the rest is within its bounds.
    pub(super) async fn make_room(&self, connection: &mut SqliteConnection) -> Result<u64, sqlx::Error> {
        let mut evicted = 0;
        loop {
            let (letters, bytes): (i64, i64) =
                sqlx::query_as("SELECT letters, bytes FROM totals").fetch_one(&mut *connection).await?;
            let too_many = letters - self.max_letters;
            if letters <= 1 || (too_many <= 0 && bytes <= self.max_bytes) {
                return Ok(evicted);
            }
            // For bytes one at a time: the next may be large enough to do.
            let count = too_many.max(1);
            evicted += remove(connection, "ORDER BY replayed_at IS NULL, id LIMIT", count, 1).await?;
        }
    }

    /// A page of letters, newest first, at most `limit` and never more than 1,000.
    ///
    /// # Errors
    /// The file can't be read.
    pub async fn list(&self, filter: &DeadLetterFilter, limit: u32) -> Result<Vec<DeadLetter>, DatabaseError> {
        let mut query = select(&format!("substr(payload, 1, {PREVIEW})"));
        push_filter(&mut query, filter);
        query.push(" ORDER BY id DESC LIMIT ").push_bind(limit.min(PAGE));
        let rows = query.build().fetch_all(&self.pool).await;
        rows.and_then(|rows| rows.iter().map(letter_of).collect()).attempted(format!("list {}", self.label))
    }

    /// One letter, whole.
    ///
    /// # Errors
    /// The file can't be read.
    pub async fn get(&self, id: i64) -> Result<Option<DeadLetter>, DatabaseError> {
        let mut query = select("payload");
        query.push(" AND id = ").push_bind(id);
        let row = query.build().fetch_optional(&self.pool).await;
        row.and_then(|row| row.as_ref().map(letter_of).transpose()).attempted(format!("read {}", self.label))
    }

    /// Notes that letters were replayed, or with `None` that they were not after all. Answers how many of them there are.
    ///
    /// # Errors
    /// The file can't be written.
    pub async fn mark_replayed(&self, ids: &[i64], at: Option<UnixMicros>) -> Result<u64, DatabaseError> {
        let done = sqlx::query("UPDATE dead_letters SET replayed_at = ? WHERE id IN (SELECT value FROM json_each(?))")
            .bind(at)
            .bind(json(ids))
            .execute(&self.pool)
            .await
            .attempted(format!("mark in {}", self.label))?;
        Ok(done.rows_affected())
    }

    /// How many letters there are, and how many had to go.
    ///
    /// # Errors
    /// The file can't be read.
    pub async fn totals(&self) -> Result<DeadLetterTotals, DatabaseError> {
        let (letters, bytes, evicted): (i64, i64, i64) = sqlx::query_as("SELECT letters, bytes, evicted FROM totals")
            .fetch_one(&self.pool)
            .await
            .attempted(format!("count {}", self.label))?;
        Ok(DeadLetterTotals {
            letters: letters.unsigned_abs(),
            bytes: bytes.unsigned_abs(),
            evicted: evicted.unsigned_abs(),
        })
    }

    pub(super) fn pool(&self) -> &SqlitePool {
        &self.pool
    }

    /// Closes the file.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

fn json(ids: &[i64]) -> String {
    let ids: Vec<String> = ids.iter().map(i64::to_string).collect();
    format!("[{}]", ids.join(","))
}

fn create_folder(file: &Path) -> Result<(), DatabaseError> {
    let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) else { return Ok(()) };
    std::fs::create_dir_all(folder)
        .map_err(|source| DatabaseError::File { attempted: format!("create the folder {}", folder.display()), source })
}
