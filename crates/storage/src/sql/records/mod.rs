//! The record writer: batches of messages into `data`, each message exactly once, numbered without gap or repeat.
//!
//! A batch is one transaction: it moves the journal's position, locks the flows that are touched (by id, so that
//! gateways sharing a database can't deadlock each other), numbers the messages in journal order, inserts their rows
//! and raises `last_msg_id`. Since the position moves in the same transaction, a crash at any moment leaves either all
//! of it or nothing, and what is written again is recognised by its position.
//!
//! As a guest there is no table for the position; see [`intent`] for what stands in for it and what that promises.

mod backfill;
mod batch;
pub(crate) mod dialects;
mod faults;
mod follow;
mod intent;
mod numbering;
mod rows;
mod session;
mod typed_rows;

pub(crate) use backfill::{BackfillLink, BackfillRow, BackfillSession};
pub use batch::{CommitCounts, FlowNumbers, FlowRecord, RecordBatch, RejectReason, RejectedRecord, WriteError};

use super::Database;
use super::error::{DatabaseError, ErrorKind};
use super::history::TableFault;
use super::typed::TypedTable;
use crate::journal::JournalHandle;
use follow::FollowedPosition;
use intent::{CommitIntent, IntentFiles};
use numbering::NumberedBatch;
use session::{OpenTransaction, WriterLink, WriterOwner};
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// How often a transaction is tried that deadlocks or can't get a lock.
const CONTENTION_RETRIES: u32 = 8;

/// Writes the records of one journal. There is one writer for a journal at a time.
pub struct RecordWriter {
    link: WriterLink,
    journal: Uuid,
    followed: Option<FollowedPosition>,
    position: Option<u64>,
    intents: IntentFiles,
    guest: bool,
    has_cursors: bool,
    timeout: Duration,
    label: Arc<str>,
    /// Where missing tables are made.
    database: Database,
}

impl std::fmt::Debug for RecordWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RecordWriter({}, {:?})", self.label, self.position)
    }
}

/// A batch in an open transaction: put [`Self::rejected`] where they can't get lost, then [`Self::commit`]. Dropped
/// without that, nothing was written.
#[must_use = "nothing is written before commit"]
pub struct PreparedBatch<'w> {
    writer: &'w mut RecordWriter,
    /// None when all of the batch had been written before.
    session: Option<OpenTransaction>,
    outcome: CommitCounts,
    intent: Option<CommitIntent>,
}

impl RecordWriter {
    /// A writer for the journal `journal`; connects when it is used.
    ///
    /// # Errors
    /// As a guest, when the state folder can't be written.
    pub fn new(database: &Database, journal: Uuid) -> Result<Self, DatabaseError> {
        let guest = database.layout.is_guest();
        Ok(Self {
            link: WriterLink::new(database),
            journal,
            followed: None,
            position: None,
            intents: IntentFiles::open(&database.inner.options.state_dir, journal, guest)?,
            guest,
            has_cursors: database.layout.has_cursors(),
            timeout: database.inner.options.write_timeout,
            label: database.label().into(),
            database: database.clone(),
        })
    }

    /// Compares the database's position with this journal, in which the writer is registered as `consumer`: it may have
    /// been put back from an older copy, and the database too.
    #[must_use]
    pub fn following(mut self, journal: JournalHandle, consumer: &str) -> Self {
        self.followed = Some(FollowedPosition::new(journal, consumer));
        self
    }

    /// The position that this database has: reading the journal goes on after this number. Where it has none yet, what the
    /// journal has noted as written counts, or else zero.
    ///
    /// # Errors
    /// The database fails, or another gateway writes to it from a copy of the journal.
    pub async fn recover(&mut self) -> Result<u64, WriteError> {
        let (journal, timeout, guest) = (self.journal, self.timeout, self.guest);
        let (link, intents, has_cursors) = (&mut self.link, &mut self.intents, self.has_cursors);
        let followed = self.followed.as_ref();
        let recovering = async {
            // Both are looked at, since this may have been a guest before, or be one now for the first time.
            let cursor = match has_cursors {
                true => link.read_cursor(journal, guest).await?,
                false => None,
            };
            let left_by = match has_cursors && !guest && followed.is_some() {
                true => link.read_run(journal).await?,
                false => None,
            };
            if let Some(followed) = followed
                && let Err(rival) = followed.check_rival(left_by, &self.label)
            {
                return Ok(Err(rival));
            }
            let known = match (cursor, followed) {
                (Some(position), Some(followed)) => followed.bound(position, left_by, &self.label),
                (None, Some(followed)) => followed.released(),
                (position, None) => position.unwrap_or(0),
            };
            let position = intents.resolve(link, known, followed).await?;
            let run = followed.and_then(FollowedPosition::run).filter(|_| !guest);
            if !guest && (cursor != Some(position) || run != left_by) {
                link.set_cursor(journal, cursor, position, run).await?;
            }
            Ok::<_, sqlx::Error>(Ok(position))
        };
        let position = in_time(timeout, &self.label, "read the journal's position from", recovering).await??;
        if let Some(followed) = &self.followed {
            followed.note();
        }
        self.position = Some(position);
        Ok(position)
    }

    /// Writes a batch and commits it.
    ///
    /// # Errors
    /// As [`Self::prepare`], and [`WriteError::Rejected`] when a record can't be written: then nothing is, since the
    /// rejected records would be lost in a crash after the commit. Use [`Self::prepare`] to keep them first.
    pub async fn write(&mut self, batch: &RecordBatch) -> Result<CommitCounts, WriteError> {
        let prepared = self.prepare(batch).await?;
        if !prepared.rejected().is_empty() {
            return Err(WriteError::Rejected(prepared.outcome.rejected.clone()));
        }
        prepared.commit().await
    }

    /// Writes a batch in a transaction that stays open. Records that can't be written are found and left out.
    /// Deadlocks are tried again, a few times. A flow's table that is missing, or lacks a column, is made where it may be.
    ///
    /// # Errors
    /// The database fails; nothing was written.
    pub async fn prepare(&mut self, batch: &RecordBatch) -> Result<PreparedBatch<'_>, WriteError> {
        batch.check_order()?;
        let (mut careful, mut contended) = (false, 0);
        let mut made: Vec<Arc<TypedTable>> = Vec::new();
        loop {
            let error = match self.attempt(batch, careful).await {
                Ok(Some((session, outcome, intent))) => {
                    return Ok(PreparedBatch { writer: self, session, outcome, intent });
                }
                // The position is not where we thought: an earlier commit arrived without our knowing.
                Ok(None) => {
                    self.position = None;
                    contended += 1;
                    if contended > CONTENTION_RETRIES {
                        return Err(DatabaseError::Schema(format!(
                            "another writer moves the position of journal {} in {}; there may be only one",
                            self.journal, self.label
                        ))
                        .into());
                    }
                    continue;
                }
                Err(error) => error,
            };
            if let WriteError::Database(database) = &error
                && let Some(TableFault { table, problem }) = TableFault::of(database)
            {
                if made.contains(table) || !self.database.makes_tables() {
                    return Err(self.explain(table, problem.clone()).await);
                }
                made.push(Arc::clone(table));
                match self.database.make_table(table).await {
                    Err(error) if !error.is_temporary() => return Err(self.explain(table, error.to_string()).await),
                    done => done?,
                };
                continue;
            }
            match error.kind() {
                ErrorKind::Row if !careful => {
                    self.refuse_changed_tables(batch).await?;
                    careful = true;
                }
                ErrorKind::Contention if contended < CONTENTION_RETRIES => {
                    contended += 1;
                    let pause = Duration::from_millis(u64::from(contended) * (5 + fastrand::u64(..20)));
                    tracing::debug!(database = %self.label, %error, ?pause, "trying a transaction again");
                    tokio::time::sleep(pause).await;
                }
                _ => return Err(error),
            }
        }
    }

    /// What keeps rows out of a flow's table, told by its columns as they are now, or else by these words.
    async fn explain(&self, table: &Arc<TypedTable>, words: String) -> WriteError {
        let looked = async {
            if !self.database.has_table(table.name()).await? {
                self.database.note_from_the_start(table.name()).await?;
            }
            self.database.table_problem(table, false).await
        };
        let problem = looked.await.ok().flatten().unwrap_or(words);
        DatabaseError::Schema(format!("write records to {}: table {}: {problem}", self.label, table.name())).into()
    }

    /// Values were refused: unless somebody has changed the table, it is their fault.
    async fn refuse_changed_tables(&self, batch: &RecordBatch) -> Result<(), WriteError> {
        let mut seen: Vec<&Arc<TypedTable>> = Vec::new();
        for table in batch.records.iter().filter_map(|record| record.typed.as_ref()).map(|row| &row.table) {
            if seen.contains(&table) {
                continue;
            }
            seen.push(table);
            if let Some(problem) = self.database.table_problem(table, false).await? {
                return Err(self.explain(table, problem).await);
            }
        }
        Ok(())
    }

    /// One try. `None`: the position has moved.
    async fn attempt(
        &mut self,
        batch: &RecordBatch,
        careful: bool,
    ) -> Result<Option<(Option<OpenTransaction>, CommitCounts, Option<CommitIntent>)>, WriteError> {
        let position = match self.position {
            Some(position) => position,
            None => self.recover().await?,
        };
        if batch.through <= position {
            return Ok(Some((None, CommitCounts { position, ..CommitCounts::default() }, None)));
        }
        let (timeout, guest) = (self.timeout, self.guest);
        let run = self.followed.as_ref().and_then(FollowedPosition::run);
        let owner = WriterOwner { journal: self.journal, run };
        let link = &mut self.link;
        let writing = async {
            let mut session = link.begin().await?;
            match fill(&mut session, batch, position, owner, guest, careful).await {
                Ok(Some((outcome, intent))) => Ok(Some((Some(session), outcome, intent))),
                Ok(None) => {
                    link.give_back(session.rollback().await?);
                    Ok(None)
                }
                // A connection that still works is kept.
                Err(error) if matches!(super::error::classify(&error), ErrorKind::Row | ErrorKind::Contention) => {
                    link.give_back(session.rollback().await?);
                    Err(error)
                }
                Err(error) => Err(error),
            }
        };
        in_time(timeout, &self.label, "write records to", writing).await
    }
}

/// Puts the batch into the transaction. `None`: the position has moved.
async fn fill(
    session: &mut OpenTransaction,
    batch: &RecordBatch,
    position: u64,
    owner: WriterOwner,
    guest: bool,
    careful: bool,
) -> Result<Option<(CommitCounts, Option<CommitIntent>)>, sqlx::Error> {
    if !guest && !session.advance_cursor(owner, position, batch.through).await? {
        return Ok(None);
    }
    let skip = batch.records.partition_point(|record| record.seq <= position);
    let flows = session.lock_flows(&numbering::flow_ids(&batch.records[skip..])).await?;
    let mut rejected = Vec::new();
    if careful {
        session.savepoint().await?;
        rejected = numbering::isolate(session, &batch.records, skip, &flows).await?;
    }
    let numbered = NumberedBatch::new(&batch.records, skip, &flows, rejected);
    let first_row = session.insert(&numbered.rows, guest).await?;
    typed_rows::insert(session, &numbered.typed).await?;
    session.raise(&numbered.numbers).await?;
    let intent = guest.then(|| CommitIntent::new(position, batch.through, &numbered, first_row, owner.run));
    let outcome = CommitCounts {
        position: batch.through,
        messages: numbered.messages,
        rows: numbered.rows.len(),
        typed_rows: numbered.typed.len(),
        numbers: numbered.numbers,
        rejected: numbered.rejected,
    };
    Ok(Some((outcome, intent)))
}

impl PreparedBatch<'_> {
    /// The records that are not part of the transaction. Once committed, the journal's position is past them.
    pub fn rejected(&self) -> &[RejectedRecord] {
        &self.outcome.rejected
    }

    /// Commits.
    ///
    /// # Errors
    /// The database fails, or doesn't answer: the batch may be written or not. Writing it again finds out.
    pub async fn commit(self) -> Result<CommitCounts, WriteError> {
        let Some(session) = self.session else { return Ok(self.outcome) };
        // Unknown from here until the answer, also if this future is dropped.
        self.writer.position = None;
        if let Some(intent) = self.intent {
            self.writer.intents.write(intent).await?;
        }
        let link = &mut self.writer.link;
        let committing = async {
            link.give_back(session.commit().await?);
            Ok::<(), sqlx::Error>(())
        };
        in_time(self.writer.timeout, &self.writer.label, "commit records to", committing).await?;
        self.writer.position = Some(self.outcome.position);
        Ok(self.outcome)
    }
}

trait IntoWriteError {
    fn into_write_error(self, attempted: String) -> WriteError;
}

impl IntoWriteError for sqlx::Error {
    fn into_write_error(self, attempted: String) -> WriteError {
        if let sqlx::Error::AnyDriverError(cause) = &self
            && let Some(fault) = cause.downcast_ref::<faults::DataTableFault>()
        {
            return DatabaseError::Schema(format!("{attempted}: {fault}")).into();
        }
        DatabaseError::Sql { attempted: attempted.into(), source: self }.into()
    }
}

impl IntoWriteError for DatabaseError {
    fn into_write_error(self, _attempted: String) -> WriteError {
        self.into()
    }
}

async fn in_time<T, E: IntoWriteError>(
    timeout: Duration,
    label: &str,
    attempted: &str,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, WriteError> {
    let attempted = || format!("{attempted} {label}");
    match tokio::time::timeout(timeout, work).await {
        Ok(done) => done.map_err(|error| error.into_write_error(attempted())),
        Err(_) => Err(DatabaseError::TimedOut { attempted: attempted().into(), seconds: timeout.as_secs() }.into()),
    }
}
