//! Messages that could not be served, kept with their bytes and the reason until somebody looks at them.
//!
//! They are in an SQLite file of their own beside the journal, so that they can be kept while the database is down. A
//! letter is known by journal, sequence number and flow: storing it again after a crash changes nothing. The file is
//! bounded; the oldest letters make room, and are counted.

use crate::sql::pools::begin_immediate;
use crate::sql::{Attempted, DatabaseError, sqlite_file};
use bytes::Bytes;
use hearthgate_domain::delivery::Micros;
use hearthgate_domain::flow::Part;
use sqlx::sqlite::{SqlitePool, SqlitePoolOptions};
use sqlx::{AssertSqlSafe, QueryBuilder, Row as _, Sqlite, SqliteConnection};
use std::path::{Path, PathBuf};
use std::time::Duration;
use uuid::Uuid;

/// Bytes that a letter is counted with beyond its texts and its payload.
const OVERHEAD: i64 = 200;
/// Most letters that one page of a list shows.
const PAGE: u32 = 1_000;
/// How much of a payload a list shows.
const PREVIEW: i64 = 256;

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS dead_letters (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    journal     TEXT NOT NULL,
    seq         INTEGER,
    flow_code   TEXT,
    topic       TEXT NOT NULL,
    payload     BLOB NOT NULL,
    reason      TEXT NOT NULL,
    pointer     TEXT,
    received_at INTEGER NOT NULL,
    dead_at     INTEGER NOT NULL,
    attempts    INTEGER NOT NULL,
    replayed_at INTEGER,
    size        INTEGER NOT NULL,
    part        TEXT
);
CREATE UNIQUE INDEX IF NOT EXISTS dead_letters_each ON dead_letters
    (journal, seq, ifnull(flow_code, ''), ifnull(part, ''));
CREATE INDEX IF NOT EXISTS dead_letters_by_age ON dead_letters (dead_at);
CREATE INDEX IF NOT EXISTS dead_letters_first_to_go ON dead_letters (replayed_at IS NULL, id);
CREATE TABLE IF NOT EXISTS totals (
    only    INTEGER PRIMARY KEY CHECK (only = 1),
    letters INTEGER NOT NULL,
    bytes   INTEGER NOT NULL,
    evicted INTEGER NOT NULL
);
INSERT OR IGNORE INTO totals VALUES (1, 0, 0, 0);
PRAGMA user_version = 2;
";

/// From the first version, which did not tell apart what of a flow had failed.
const UPGRADE_1: &str = "
ALTER TABLE dead_letters ADD COLUMN part TEXT;
DROP INDEX dead_letters_once;
";

/// Where dead letters are kept, and how many.
#[derive(Clone, Debug)]
pub struct DeadLetterOptions {
    /// The SQLite file; made when it is missing.
    pub path: PathBuf,
    /// At most this many letters; at least 1.
    pub max_letters: u64,
    /// At most this many bytes of payloads and texts (the newest letter is kept even when it alone is larger).
    pub max_bytes: u64,
    /// Letters older than this make room, whenever letters are added; none: they are kept whatever their age.
    pub max_age: Option<Duration>,
}

impl DeadLetterOptions {
    /// 100,000 letters, 256 MiB, whatever their age.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), max_letters: 100_000, max_bytes: 256 << 20, max_age: None }
    }
}

/// A letter to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewDeadLetter {
    /// The journal that the message is in.
    pub journal: Uuid,
    /// Its sequence number there; a letter without one is never taken for a repetition.
    pub seq: Option<u64>,
    /// The flow that refused it, by code; `None`: refused for every flow.
    pub flow_code: Option<String>,
    /// Topic name.
    pub topic: String,
    /// The bytes as they were sent.
    pub payload: Bytes,
    /// Why, for people.
    pub reason: String,
    /// Where in the payload, a JSON pointer (RFC 6901).
    pub pointer: Option<String>,
    /// When the message came in.
    pub received_at: Micros,
    /// When it was given up.
    pub dead_at: Micros,
    /// How often its delivery was tried.
    pub attempts: u32,
    /// What of the flow's actions failed; `None`: none of them had begun.
    pub part: Option<Part>,
}

/// A letter as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Its number, rising, never used again.
    pub id: i64,
    /// What was kept. In a list the payload is cut off after 256 bytes.
    pub letter: NewDeadLetter,
    /// How long the payload is, in bytes.
    pub payload_len: u64,
    /// When it was replayed last.
    pub replayed_at: Option<Micros>,
}

/// Which letters to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeadLetterFilter {
    /// Of this flow only.
    pub flow_code: Option<String>,
    /// With this topic name only.
    pub topic: Option<String>,
    /// Replayed ones only, or those only that were not.
    pub replayed: Option<bool>,
    /// Older than this letter: the last id of the page before.
    pub before: Option<i64>,
}

/// What an insertion did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Inserted {
    /// New letters.
    pub new: u64,
    /// Letters that were there already.
    pub repeated: u64,
    /// Old letters that made room.
    pub evicted: u64,
}

/// How full the file is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeadLetterTotals {
    /// Letters kept.
    pub letters: u64,
    /// Their bytes, payloads and texts.
    pub bytes: u64,
    /// Letters that ever made room for newer ones, unread.
    pub evicted: u64,
}

/// The dead letters. Cloning is cheap and shares the one connection.
#[derive(Clone, Debug)]
pub struct DeadLetters {
    pool: SqlitePool,
    max_letters: i64,
    max_bytes: i64,
    max_age: Option<Micros>,
    label: String,
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
        if version == 1 {
            sqlx::raw_sql(UPGRADE_1).execute(&pool).await.attempted(format!("upgrade {label}"))?;
        }
        sqlx::raw_sql(SCHEMA).execute(&pool).await.attempted(format!("prepare {label}"))?;
        let bound = |limit: u64| i64::try_from(limit.max(1)).unwrap_or(i64::MAX);
        let max_age = options.max_age.map(|age| Micros::try_from(age.as_micros()).unwrap_or(Micros::MAX));
        let (max_letters, max_bytes) = (bound(options.max_letters), bound(options.max_bytes));
        Ok(Self { pool, max_letters, max_bytes, max_age, label })
    }

    /// Keeps letters, durably, in one transaction. Those that are there already are left as they are.
    ///
    /// # Errors
    /// The file can't be written (kinds `DiskFull`, `ReadOnly`, …): none was kept.
    pub async fn insert_batch(&self, letters: &[NewDeadLetter]) -> Result<Inserted, DatabaseError> {
        self.insert_all(letters).await.attempted(format!("add to {}", self.label))
    }

    async fn insert_all(&self, letters: &[NewDeadLetter]) -> Result<Inserted, sqlx::Error> {
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
        Ok(Inserted { new, repeated: letters.len() as u64 - new, evicted })
    }

    /// Removes the oldest letters, replayed ones first, until the rest is within its bounds.
    async fn make_room(&self, connection: &mut SqliteConnection) -> Result<u64, sqlx::Error> {
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
    pub async fn mark_replayed(&self, ids: &[i64], at: Option<Micros>) -> Result<u64, DatabaseError> {
        let done = sqlx::query("UPDATE dead_letters SET replayed_at = ? WHERE id IN (SELECT value FROM json_each(?))")
            .bind(at)
            .bind(json(ids))
            .execute(&self.pool)
            .await
            .attempted(format!("mark in {}", self.label))?;
        Ok(done.rows_affected())
    }

    /// Removes letters. Answers how many there were.
    ///
    /// # Errors
    /// The file can't be written.
    pub async fn drop_letters(&self, ids: &[i64]) -> Result<u64, DatabaseError> {
        let attempted = format!("drop from {}", self.label);
        let mut transaction = begin_immediate(&self.pool).await.attempted(attempted.clone())?;
        let mut dropped = 0;
        for &id in ids {
            dropped += remove(&mut transaction, "WHERE id =", id, 0).await.attempted(attempted.clone())?;
        }
        transaction.commit().await.attempted(attempted)?;
        Ok(dropped)
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

    /// Closes the file.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

async fn insert(connection: &mut SqliteConnection, letter: &NewDeadLetter, size: i64) -> Result<bool, sqlx::Error> {
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
    .bind(letter.part.map(Part::name))
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Removes the letters that `which`, with `bound` for its end, selects; they count as evicted `weight` times.
async fn remove(connection: &mut SqliteConnection, which: &str, bound: i64, weight: i64) -> Result<u64, sqlx::Error> {
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

fn select(payload: &str) -> QueryBuilder<Sqlite> {
    QueryBuilder::new(format!(
        "SELECT id, journal, seq, flow_code, topic, {payload} AS payload, length(payload) AS payload_len, reason, pointer, \
         received_at, dead_at, attempts, replayed_at, part FROM dead_letters WHERE 1 = 1"
    ))
}

fn push_filter(query: &mut QueryBuilder<Sqlite>, filter: &DeadLetterFilter) {
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

fn letter_of(row: &sqlx::sqlite::SqliteRow) -> Result<DeadLetter, sqlx::Error> {
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
            part: part.as_deref().and_then(Part::named),
        },
        payload_len: payload_len.unsigned_abs(),
        replayed_at: row.try_get("replayed_at")?,
    })
}

fn size(letter: &NewDeadLetter) -> i64 {
    let texts = letter.topic.len() + letter.payload.len() + letter.reason.len();
    i64::try_from(texts).unwrap_or(i64::MAX - OVERHEAD) + OVERHEAD
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
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
