//! RecordWriterActor: carries accepted messages from the journal into the SQL database, each exactly once.
//!
//! Its place in the journal is in the database, moved in the same transaction as the rows. While the database is away the
//! journal keeps what comes; there is no other path for bad times. Bad data never stops it: a record that the database
//! refuses becomes a dead letter before the rest is committed.

use crate::backoff::RestartDelay;
use crate::condition::Condition;
use crate::flows::dead_letters;
use crate::in_hand::{HARMLESS, InHand, MarkHolder, MessageMark};
use crate::metrics::{CountedOutcome, MetricCounter};
use crate::poison::{PoisonKey, PoisonMessages};
use crate::traffic::TrafficTap;
use actix::prelude::*;
use hearthgate_domain::duration::RoundedDuration;
use hearthgate_domain::event_time::{EventMoment, EventZone};
use hearthgate_domain::fate::FateOutcome as Told;
use hearthgate_domain::flow::{ActionKind, Flow};
use hearthgate_domain::payload::{JsonPayload, ValueFormat};
use hearthgate_domain::routing::RoutingTable;
use hearthgate_storage::dead_letters::{DeadLetters, NewDeadLetter};
use hearthgate_storage::journal::{self, JournalReader, Seq, StoredEntry, TargetVerdict};
use hearthgate_storage::sql::{
    CommitCounts, Database, ErrorKind, FlowRecord, RecordBatch, RecordWriter, RejectedRecord, TypedTable, WriteError,
};
use hearthgate_supervision::{ActorExit, ActorFailure};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tracing::{debug, error, info, warn};

/// The name under which the journal keeps what it still needs.
pub const CONSUMER: &str = "records";
/// Size of the messages of one transaction, in bytes, as a bound beside their number.
const BATCH_BYTES: usize = 1 << 20;
/// Entries after which the journal is told to delete what is written.
const RELEASE_EVERY: u64 = 50_000;
/// What can wait does so until nothing has come for this time: the place in the journal, as the journal has it on disk, and
/// the numbers of flows that store nothing. Each would be a sync of its own.
const IDLE: Duration = Duration::from_millis(50);

/// What the actor works with.
#[derive(Clone)]
pub struct WriterDeps {
    /// The journal.
    pub journal: journal::JournalHandle,
    /// The database, once there is one.
    pub database: watch::Receiver<Option<Database>>,
    /// The flows by number.
    pub table: watch::Receiver<Arc<RoutingTable>>,
    /// Where refused records go.
    pub letters: DeadLetters,
    /// Messages of one transaction.
    pub batch: usize,
    /// How long to wait for a transaction to fill up; zero: not at all.
    pub linger: Duration,
    /// How values that are no strings are written.
    pub value_format: ValueFormat,
    /// Of event times that don't say theirs.
    pub time_zone: EventZone,
    /// Why nothing is written, for readiness; empty when all is well.
    pub trouble: Condition,
    /// Where it is told what is stored.
    pub traffic: TrafficTap,
    /// What ended the process before.
    pub in_hand: Arc<InHand>,
}

impl PoisonKey for (Seq, i64) {
    fn mark(&self) -> MessageMark {
        *self
    }

    fn of_mark(mark: MessageMark) -> Option<Self> {
        Some(mark)
    }
}

/// See the module.
pub struct RecordWriterActor {
    deps: WriterDeps,
    exit: ActorExit,
    deaths: Arc<PoisonMessages<(Seq, i64)>>,
}

impl RecordWriterActor {
    /// An actor that writes as soon as it is started.
    #[must_use]
    pub fn new(deps: WriterDeps, exit: ActorExit) -> Self {
        let deaths = PoisonMessages::of_process(Arc::clone(&deps.in_hand), MarkHolder::Writer);
        // Those of another journal have nothing to do with ours.
        let newest = *deps.journal.synced().borrow();
        deaths.acquit(|(seq, _): &(Seq, i64)| *seq > newest);
        let deaths = Arc::new(deaths);
        RecordWriterActor { deps, exit, deaths }
    }
}

impl Actor for RecordWriterActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let work = Work {
            deps: self.deps.clone(),
            deaths: Arc::clone(&self.deaths),
            counters: HashMap::new(),
            tables: Tables::default(),
            written: 0,
            released: 0,
            recovery: None,
        };
        ctx.spawn(work.run().into_actor(self).map(|end, act, ctx| match end {
            Ok(()) => info!("the record writer is done"),
            Err(reason) => act.exit.fail(ctx, reason),
        }));
    }
}

impl Supervised for RecordWriterActor {}

struct Work {
    deps: WriterDeps,
    deaths: Arc<PoisonMessages<(Seq, i64)>>,
    counters: HashMap<i64, MetricCounter>,
    tables: Tables,
    /// Through which entry all is written.
    written: u64,
    /// The same, as the journal has it on disk.
    released: u64,
    /// For how long nothing could be written, and the messages written since; told once all is written.
    recovery: Option<(RoundedDuration, usize)>,
}

/// The flows' own tables, made once for each version of a flow.
#[derive(Default)]
struct Tables(HashMap<i64, (Arc<Flow>, Option<Arc<TypedTable>>)>);

impl Tables {
    fn of(&mut self, flow: &Arc<Flow>) -> Result<Option<Arc<TypedTable>>, String> {
        if let Some((_, table)) = self.0.get(&flow.id).filter(|(known, _)| Arc::ptr_eq(known, flow)) {
            return Ok(table.clone());
        }
        let table = TypedTable::of(flow).map_err(|error| error.to_string())?;
        self.0.insert(flow.id, (Arc::clone(flow), table.clone()));
        Ok(table)
    }
}

impl Work {
    /// Goes on until the gateway ends, through any outage of the database.
    async fn run(mut self) -> Result<(), ActorFailure> {
        let mut pace = RestartDelay::new();
        loop {
            let Some(database) = self.database().await else { return Ok(()) };
            let journal = self.deps.journal.clone();
            let writer = RecordWriter::new(&database, journal.id()).map_err(ActorFailure::dependency)?;
            let mut writer = writer.following(journal, CONSUMER);
            match self.drain(&mut writer, &mut pace).await? {
                End::Closed => return Ok(()),
                End::Trouble(reason) => {
                    self.report(&reason);
                    pace.pause().await;
                }
            }
        }
    }

    async fn database(&mut self) -> Option<Database> {
        self.deps.database.wait_for(Option::is_some).await.ok().and_then(|database| database.clone())
    }

    /// Writes what is in the journal until something goes wrong.
    async fn drain(&mut self, writer: &mut RecordWriter, pace: &mut RestartDelay) -> Result<End, ActorFailure> {
        let position = match writer.recover().await {
            Ok(position) => position,
            Err(error) => return Ok(End::Trouble(error.to_string())),
        };
        self.release(position)?;
        let mut reader = self.deps.journal.reader_after(position);
        let mut batch = RecordBatch { through: position, ..RecordBatch::default() };
        loop {
            let (refused, caught_up) = self.add_next(&mut batch, &mut reader)?;
            dead_letters::keep(&self.deps.letters, &refused).await.map_err(ActorFailure::resource)?;
            if self.is_due(&batch)
                && let Some(trouble) = self.store(writer, &mut batch, pace).await?
            {
                return Ok(End::Trouble(trouble));
            }
            self.keep_position(RELEASE_EVERY).await?;
            if !caught_up {
                continue;
            }
            if let Some((lasted, messages)) = self.recovery.take() {
                info!("the database is back after {lasted}, {messages} messages written");
            }
            let is_noted = batch.through == self.released;
            let is_open = match tokio::time::timeout(IDLE, reader.ready()).await {
                Ok(open) => open,
                Err(_) if is_noted => reader.ready().await,
                Err(_) => {
                    if let Some(trouble) = self.store(writer, &mut batch, pace).await? {
                        return Ok(End::Trouble(trouble));
                    }
                    self.keep_position(1).await?;
                    continue;
                }
            };
            if is_open.is_err() {
                if let Some(reason) = self.store(writer, &mut batch, pace).await? {
                    warn!(%reason, "the last messages' numbers are written with the next start");
                }
                return Ok(End::Closed);
            }
            if !self.deps.linger.is_zero() {
                tokio::time::sleep(self.deps.linger).await;
            }
        }
    }

    /// Whether a batch should be written now: it brings rows, or it is large. A message is suspected of having killed the
    /// writer: then each is written by itself.
    fn is_due(&self, batch: &RecordBatch) -> bool {
        let brings_rows = |record: &FlowRecord| record.store || record.typed.is_some();
        batch.records.iter().any(brings_rows)
            || batch.records.len() >= self.deps.batch
            || batch.through >= self.written + RELEASE_EVERY
            || !self.deaths.is_empty()
    }

    /// Writes a batch and begins the next one. Answers what keeps the database from it, if it is not the batch's fault.
    async fn store(
        &mut self,
        writer: &mut RecordWriter,
        batch: &mut RecordBatch,
        pace: &mut RestartDelay,
    ) -> Result<Option<String>, ActorFailure> {
        let through = batch.through;
        if through > self.written {
            let deaths = Arc::clone(&self.deaths);
            let in_hand = || batch.records.iter().map(|record| (record.seq, record.flow_id));
            while let Err(error) = deaths.risk_all(in_hand, self.write(writer, batch)).await {
                match error.kind() {
                    ErrorKind::Connection | ErrorKind::ReadOnly | ErrorKind::DiskFull | ErrorKind::Permission => {
                        return Ok(Some(error.to_string()));
                    }
                    _ => {
                        self.report(&error.to_string());
                        pace.pause().await;
                    }
                }
            }
            pace.reset();
            if let Some(lasted) = self.deps.trouble.clear() {
                self.recovery = Some((lasted, 0));
            }
            if let Some((_, messages)) = &mut self.recovery {
                *messages += batch.records.len();
            }
            self.release(through)?;
            self.deaths.acquit(|(seq, _)| *seq <= through);
        }
        *batch = RecordBatch { through, ..RecordBatch::default() };
        Ok(None)
    }

    /// Adds the next records to a batch; answers those that can not be written, and whether there is nothing more. While a
    /// message is suspected of having killed the writer each is taken by itself, so that the next death tells which it was.
    fn add_next(
        &mut self,
        batch: &mut RecordBatch,
        reader: &mut JournalReader,
    ) -> Result<(Vec<NewDeadLetter>, bool), ActorFailure> {
        let table = Arc::clone(&self.deps.table.borrow());
        let deaths = Arc::clone(&self.deaths);
        let most = if deaths.is_empty() { self.deps.batch } else { 1 };
        let read = reader.next_batch(most, BATCH_BYTES).map_err(ActorFailure::resource)?;
        let RecordBatch { records, through } = batch;
        records.reserve(read.entries.len());
        let mut refused =
            dead_letters::salvaged(&self.deps.journal, &table, &read.skipped, &[ActionKind::Store], |_, _| false);
        for entry in &read.entries {
            for target in entry.targets.iter() {
                let Some(flow_id) = target.flow_id.filter(|_| target.verdict.is_due(ActionKind::Store)) else {
                    continue;
                };
                let made = match table.flow(flow_id) {
                    Some(_) if deaths.is_deadly((entry.seq, flow_id)) => {
                        Err("this message has stopped the writer twice".to_owned())
                    }
                    Some(flow) => match dead_letters::lacks(flow, ActionKind::Store) {
                        Some(reason) if target.verdict.promises(ActionKind::Store) => Err(reason),
                        Some(_) | None => {
                            let message = (entry.seq, flow_id);
                            let work = || self.record(entry, flow, records.last());
                            match entry.payload.len() <= HARMLESS {
                                true => deaths.risk(message, work),
                                false => deaths.risk(message, || deaths.hold(message, work)),
                            }
                        }
                    },
                    // What a flow does beside storing is given up by the poster.
                    None if dead_letters::resting_does(&table, flow_id, ActionKind::Store) == Some(false) => continue,
                    None => Err(dead_letters::rests(&table, flow_id)),
                };
                match made {
                    Ok(record) => records.push(record),
                    Err(reason) => {
                        let letter = dead_letters::letter(&self.deps.journal, &table, entry, Some(flow_id), &reason);
                        warn!(flow = letter.flow_code, seq = entry.seq, reason, "dead letter");
                        // What a flow did that is gone is not known: the poster gives up the same letter.
                        let is_known = table.flow(flow_id).is_some()
                            || dead_letters::resting_does(&table, flow_id, ActionKind::Store).is_some();
                        let is_whole = !is_known && matches!(target.verdict, TargetVerdict::Accepted(_));
                        refused.push(NewDeadLetter { part: (!is_whole).then_some(ActionKind::Store), ..letter });
                    }
                }
            }
        }
        *through = read.through;
        Ok((refused, read.caught_up))
    }

    fn record(
        &mut self,
        entry: &StoredEntry<'_>,
        flow: &Arc<Flow>,
        before: Option<&FlowRecord>,
    ) -> Result<FlowRecord, String> {
        #[cfg(feature = "fault-injection")]
        assert!(!entry.topic.ends_with("/fault/writer"), "injected by the topic");
        let store = flow.store.as_ref().is_some_and(|store| store.attributes);
        let table = self.tables.of(flow)?;
        let (mut fields, mut typed) = (Vec::new(), None);
        if store || table.is_some() {
            let record = flow.record(entry.topic, entry.payload).map_err(|problem| problem.to_string())?;
            let payload = JsonPayload::parse(&record).map_err(|error| error.to_string())?;
            if store {
                let format = flow.value_format.unwrap_or(self.deps.value_format);
                let attributes = flow.attributes(entry.topic, &payload, format);
                let names = attributes.enumerate();
                fields =
                    names.map(|(at, (name, value))| (name_as_before(before, at, name), (&*value).into())).collect();
            }
            if let Some(table) = table {
                let zone = &self.deps.time_zone;
                let moment = flow.event_time(entry.topic, entry.payload, &payload, entry.received_at, zone);
                let EventMoment { time, problem } = moment.map_err(|problem| problem.to_string())?;
                if let Some(problem) = problem {
                    note_unreadable_time(flow, &problem);
                }
                let levels: Vec<(&str, &str)> = flow.topic.captures(entry.topic).collect();
                typed = Some(table.row(&levels, &payload, time));
            }
        }
        Ok(FlowRecord {
            seq: entry.seq,
            flow_id: flow.id,
            flow_code: Arc::clone(&flow.code),
            received_at: entry.received_at,
            store,
            fields,
            typed,
        })
    }

    /// Writes a batch; what the database refuses is kept as dead letters before the commit.
    async fn write(&mut self, writer: &mut RecordWriter, batch: &RecordBatch) -> Result<(), WriteError> {
        let prepared = writer.prepare(batch).await?;
        #[cfg(feature = "fault-injection")]
        assert!(!batch.records.iter().any(is_faulty), "injected by the payload");
        for rejected in prepared.rejected() {
            let record = &batch.records[rejected.index];
            warn!(flow = %record.flow_code, seq = rejected.seq, reason = %rejected.reason, "dead letter");
        }
        let rejected = prepared.rejected().to_vec();
        if !rejected.is_empty() {
            let letters = self.letters_of(&rejected);
            if let Err(reason) = dead_letters::keep(&self.deps.letters, &letters).await {
                error!(%reason, "dead letters could not be kept; the batch is tried again");
                return Err(WriteError::Rejected(rejected));
            }
        }
        let committed = prepared.commit().await?;
        self.count(batch, &committed, &rejected);
        Ok(())
    }

    /// Reads the original messages again: records hold only what goes into the rows.
    fn letters_of(&self, rejected: &[RejectedRecord]) -> Vec<NewDeadLetter> {
        let table = Arc::clone(&self.deps.table.borrow());
        let mut letters = Vec::new();
        for refused in rejected {
            let mut reader = self.deps.journal.reader_after(refused.seq - 1);
            if let Ok(read) = reader.next_batch(1, BATCH_BYTES)
                && let Some(entry) = read.entries.first()
            {
                let reason = refused.reason.to_string();
                let letter = dead_letters::letter(&self.deps.journal, &table, entry, Some(refused.flow_id), &reason);
                letters.push(NewDeadLetter { part: Some(ActionKind::Store), ..letter });
            }
        }
        letters
    }

    fn count(&mut self, batch: &RecordBatch, committed: &CommitCounts, rejected: &[RejectedRecord]) {
        self.tell(batch, rejected);
        for numbers in &committed.numbers {
            let written = self.counters.entry(numbers.flow_id).or_insert_with(|| {
                let record = batch.records.iter().find(|record| record.flow_id == numbers.flow_id);
                MetricCounter::stored(record.map_or("", |record| &record.flow_code), CountedOutcome::Ok)
            });
            written.add(numbers.count.unsigned_abs());
        }
    }

    /// For those who look on.
    fn tell(&self, batch: &RecordBatch, rejected: &[RejectedRecord]) {
        let traffic = &self.deps.traffic;
        let is_same = |one: &FlowRecord, next: &FlowRecord| Arc::ptr_eq(&one.flow_code, &next.flow_code);
        for run in batch.records.chunk_by(is_same) {
            if let Some(last) = run.last() {
                traffic.note_done(&last.flow_code, last.received_at);
            }
        }
        if !traffic.is_watched() {
            return;
        }
        for (index, record) in batch.records.iter().enumerate() {
            let told = |outcome, reason: &str| {
                traffic.tell_later(record.seq, record.received_at, &record.flow_code, outcome, reason);
            };
            match rejected.iter().find(|rejected| rejected.index == index) {
                Some(rejected) => told(Told::Dead, &rejected.reason.to_string()),
                None if record.store || record.typed.is_some() => told(Told::Stored, ""),
                None => {}
            }
        }
    }

    /// The journal need not keep what is written.
    fn release(&mut self, through: u64) -> Result<(), ActorFailure> {
        self.written = through;
        self.deps.journal.release(CONSUMER, through).map_err(ActorFailure::resource)
    }

    /// Makes that last when so many entries were written since the last time, so that the journal gets its room back. When
    /// nothing more comes it must be done, or a full journal would wait for us for ever.
    async fn keep_position(&mut self, entries: u64) -> Result<(), ActorFailure> {
        if self.written < self.released + entries {
            return Ok(());
        }
        self.released = self.written;
        let journal = self.deps.journal.clone();
        let flushed = tokio::task::spawn_blocking(move || journal.flush()).await;
        flushed.map_err(ActorFailure::bug)?.map_err(ActorFailure::resource)
    }

    fn report(&self, reason: &str) {
        if self.deps.trouble.is_news(reason) {
            error!(%reason, "records wait in the journal");
        }
    }
}

/// The value is not in the warning, so that a clock that is wrong in each message is told once.
fn note_unreadable_time(flow: &Flow, problem: &str) {
    MetricCounter::unreadable_times(&flow.code).add(1);
    warn!(flow = %flow.code, "messages tell no time that can be read as event_time; `hearthgate flow test` shows why");
    debug!(flow = %flow.code, problem, "a time that can not be read");
}

/// For the tests: a record that kills the writer while a whole batch is in hand.
#[cfg(feature = "fault-injection")]
fn is_faulty(record: &FlowRecord) -> bool {
    record.fields.iter().any(|(name, value)| **name == *"fault" && **value == *"writing")
}

/// Messages of a batch mostly have the same fields: one text serves them all, where each of its own would be half of the
/// allocations.
fn name_as_before(before: Option<&FlowRecord>, at: usize, name: &str) -> Arc<str> {
    match before.and_then(|record| record.fields.get(at)) {
        Some((known, _)) if **known == *name => Arc::clone(known),
        Some(_) | None => name.into(),
    }
}

enum End {
    /// The journal was closed.
    Closed,
    /// To be tried again after a pause.
    Trouble(String),
}
