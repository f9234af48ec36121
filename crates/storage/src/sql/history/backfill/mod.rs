//! Backfill: old messages through a flow as it is now, into the flow's own table.
//!
//! The source is `data`: a message's rows there are the record that the flow made of it then. Of each the row of the flow's
//! table is made again; one that is missing is added, one that differs is replaced, by a row with a new id, so that rollups
//! notice it. A page of messages is one transaction with the note how far it has come: cut off anywhere, it is taken up
//! again there. The flow's row is locked meanwhile, as the writer of live messages locks it.

mod compare;
mod counts;
mod record;
mod source;

use super::flow::FlowHistory;
use super::rollup::pruned_before;
use super::statement::{HistoryStatement, WindowCell, integer_of};
use crate::sql::error::{DatabaseError, ErrorKind};
use crate::sql::records::{BackfillLink, BackfillRow, BackfillSession};
use crate::sql::{Database, SqlDialect, TypedTable};
use compare::{RowVerdict, existing_rows};
pub use counts::BackfillCounts;
use hearthgate_domain::delivery::UnixMicros;
use hearthgate_domain::event_time::EventZone;
use hearthgate_domain::flow::{Flow, FlowFingerprint};
use hearthgate_domain::payload::JsonPayload;
use serde::{Deserialize, Serialize};
use source::{OldMessage, SourceRange};
use std::sync::Arc;

/// Examples of a sort.
const EXAMPLES: usize = 5;

/// What is to be done.
#[derive(Clone, Debug)]
pub struct BackfillOrder {
    /// The flow as it is now.
    pub flow: Arc<Flow>,
    /// Of the flow's row: one that was cut off goes on only with the flow as it was.
    pub fingerprint: FlowFingerprint,
    /// Messages that came at this time or later.
    pub since: UnixMicros,
    /// Messages that came before this time.
    pub until: UnixMicros,
    /// Of event times that don't say theirs.
    pub zone: EventZone,
}

/// One message of which something is to be said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackfillExample {
    /// Its number in the flow.
    pub number: i64,
    /// When it came.
    pub received_at: UnixMicros,
    /// What would be done with it, in words.
    pub text: String,
}

/// What is found without changing anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BackfillPreview {
    /// How many.
    pub counts: BackfillCounts,
    /// Some of those that are not as they have to be: a few of each sort.
    pub examples: Vec<BackfillExample>,
}

/// How far it has come, as the database has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct BackfillState {
    flow: String,
    since: UnixMicros,
    until: UnixMicros,
    position: i64,
    end: i64,
    counts: BackfillCounts,
}

/// A backfill under way.
pub struct BackfillWork {
    database: Database,
    order: BackfillOrder,
    table: Arc<TypedTable>,
    history: FlowHistory,
    state: BackfillState,
    link: BackfillLink,
    /// Whether the database has the state.
    is_noted: bool,
    is_resumed: bool,
}

impl BackfillWork {
    /// Looks what is to be done, and where one that was cut off had come to; `anew` forgets that.
    ///
    /// # Errors
    /// The flow has no table of its own, the gateway is a guest here, or the database fails.
    pub async fn open(
        database: &Database,
        mut order: BackfillOrder,
        now: UnixMicros,
        anew: bool,
    ) -> Result<Self, DatabaseError> {
        let flow = Arc::clone(&order.flow);
        let refuse = |problem: String| DatabaseError::Unavailable(format!("backfill of {}: {problem}", flow.code));
        let history = FlowHistory::of(&flow).map_err(|error| refuse(error.to_string()))?;
        let Some((history, table)) = history.and_then(|history| history.table.clone().map(|table| (history, table)))
        else {
            return Err(refuse("the flow has no table of its own to fill (option table)".to_owned()));
        };
        if database.layout.is_guest() {
            return Err(refuse("how far it has come is kept in tables of our own, which are not here".to_owned()));
        }
        if let Some(problem) = database.table_problem(&table, database.makes_tables()).await? {
            return Err(refuse(format!("table {}: {problem}", table.name())));
        }
        database.make_missing_table(&table).await?;
        // What is older than it may be is gone on purpose.
        if let Some(retention) = history.retention {
            order.since = order.since.max(now.saturating_sub(retention));
        }
        let known = if anew { None } else { read_state(database, &flow).await? };
        let known = known.filter(|state| state.flow == order.fingerprint.to_string());
        let is_resumed = known.is_some();
        let state = match known {
            Some(state) => state,
            None => BackfillState {
                flow: order.fingerprint.to_string(),
                since: order.since,
                until: order.until,
                position: 0,
                end: highest_id(database).await?,
                counts: BackfillCounts::default(),
            },
        };
        (order.since, order.until) = (state.since, state.until);
        let link = BackfillLink::new(database);
        Ok(BackfillWork {
            database: database.clone(),
            order,
            table,
            history,
            state,
            link,
            is_noted: is_resumed,
            is_resumed,
        })
    }

    /// Whether one that was cut off goes on.
    #[must_use]
    pub fn is_resumed(&self) -> bool {
        self.is_resumed
    }

    /// What it has done so far.
    #[must_use]
    pub fn counts(&self) -> BackfillCounts {
        self.state.counts
    }

    /// How much of the way is behind it, from 0 to 1.
    #[must_use]
    pub fn progress(&self) -> f64 {
        if self.state.end == 0 { 1.0 } else { self.state.position as f64 / self.state.end as f64 }
    }

    /// Tells what would be done with all that is left. Changes nothing.
    ///
    /// # Errors
    /// The database fails.
    pub async fn preview(&mut self) -> Result<BackfillPreview, DatabaseError> {
        let mut preview = BackfillPreview::default();
        let mut position = self.state.position;
        loop {
            let messages = self.database.old_messages(self.range(), position).await?;
            let Some(last) = messages.last() else { return Ok(preview) };
            position = last.last_id;
            let mut session = self.link.begin().await?;
            let verdicts = self.judge(&mut session, &messages).await?;
            self.link.roll_back(session).await?;
            for (message, verdict) in messages.iter().zip(verdicts) {
                let before = verdict.counts();
                preview.counts.add(before);
                let text = match verdict {
                    RowVerdict::Equal => continue,
                    RowVerdict::Missing(row) => format!("adds {}", compare::told(&row)),
                    RowVerdict::Different { changes, .. } => format!("changes {}", changes.join(", ")),
                    RowVerdict::Refused(reason) => format!("is refused now: {reason}"),
                };
                let sort = |example: &&BackfillExample| example.text.split(' ').next() == text.split(' ').next();
                if preview.examples.iter().filter(sort).count() < EXAMPLES {
                    let (number, received_at) = (message.number, message.received_at);
                    preview.examples.push(BackfillExample { number, received_at, text });
                }
            }
        }
    }

    /// Does the next page. Answers whether there was one; afterwards all is done and the note of it removed.
    ///
    /// # Errors
    /// The database fails: nothing of the page was written. Or another backfill of the flow is under way.
    pub async fn write_next(&mut self) -> Result<bool, DatabaseError> {
        let messages = self.database.old_messages(self.range(), self.state.position).await?;
        if messages.is_empty() {
            let forget = HistoryStatement::new(self.database.dialect(), "DELETE FROM hearthgate_meta WHERE name = ");
            let mut session = self.link.begin().await?;
            session.execute(forget.bind(&*state_name(&self.order.flow))).await?;
            self.link.commit(session).await?;
            return Ok(false);
        }
        match self.write(&messages).await {
            // A value that a column refuses keeps no other from being written.
            Err(error) if error.kind() == ErrorKind::Row => {
                for message in messages {
                    match self.write(std::slice::from_ref(&message)).await {
                        Err(error) if error.kind() == ErrorKind::Row => self.pass_over(&message).await?,
                        done => done?,
                    }
                }
                Ok(true)
            }
            done => done.map(|()| true),
        }
    }

    fn range(&self) -> SourceRange<'_> {
        let BackfillOrder { flow, since, until, .. } = &self.order;
        SourceRange { code: &flow.code, since: *since, until: *until, end: self.state.end }
    }

    async fn write(&mut self, messages: &[OldMessage]) -> Result<(), DatabaseError> {
        let mut session = self.link.begin().await?;
        let flow = Arc::clone(&self.order.flow);
        session.lock_flow(flow.id).await?;
        self.claim(&mut session).await?;
        let dialect = session.dialect();
        let pruned_before = pruned_before(&mut session.target(), dialect, &self.table, &self.history).await?;
        let verdicts = self.judge(&mut session, messages).await?;
        let mut next = self.state.clone();
        let (mut gone, mut rows) = (Vec::new(), Vec::new());
        for (message, verdict) in messages.iter().zip(verdicts) {
            next.counts.add(verdict.counts());
            next.position = message.last_id;
            let (row, id) = match verdict {
                RowVerdict::Missing(row) => (row, None),
                RowVerdict::Different { row, id, .. } => (row, Some(id)),
                RowVerdict::Equal | RowVerdict::Refused(_) => continue,
            };
            // Its window has it, and its row was pruned or is about to be.
            if row.event_time.unwrap_or(message.received_at) < pruned_before {
                continue;
            }
            gone.extend(id);
            rows.push(BackfillRow { row, number: message.number, received_at: message.received_at });
        }
        session.remove_rows(self.table.name(), &gone).await?;
        session.insert_rows(&flow, &rows).await?;
        self.note(&mut session, &next).await?;
        self.link.commit(session).await?;
        (self.state, self.is_noted) = (next, true);
        Ok(())
    }

    /// A message that a column refuses is counted and left alone.
    async fn pass_over(&mut self, message: &OldMessage) -> Result<(), DatabaseError> {
        let mut session = self.link.begin().await?;
        session.lock_flow(self.order.flow.id).await?;
        self.claim(&mut session).await?;
        let mut next = self.state.clone();
        next.counts.refused += 1;
        next.position = message.last_id;
        self.note(&mut session, &next).await?;
        self.link.commit(session).await?;
        (self.state, self.is_noted) = (next, true);
        Ok(())
    }

    /// The flow is locked: nobody else changes the note, which has to be as we left it.
    async fn claim(&self, session: &mut BackfillSession) -> Result<(), DatabaseError> {
        let query = HistoryStatement::new(self.database.dialect(), "SELECT value FROM hearthgate_meta WHERE name = ");
        let rows = session.fetch(query.bind(&*state_name(&self.order.flow))).await?;
        if !self.is_noted || read(&rows).is_some_and(|found| found == self.state) {
            return Ok(());
        }
        let code = &self.order.flow.code;
        Err(DatabaseError::Unavailable(format!("another backfill of {code} has begun; this one ends")))
    }

    async fn note(&self, session: &mut BackfillSession, state: &BackfillState) -> Result<(), DatabaseError> {
        let dialect = self.database.dialect();
        let text = serde_json::to_string(state).map_err(|error| DatabaseError::Schema(error.to_string()))?;
        let (put, end) = match dialect {
            SqlDialect::Sqlite => ("INSERT OR REPLACE INTO", ""),
            SqlDialect::MySql => ("REPLACE INTO", ""),
            SqlDialect::Postgres => ("INSERT INTO", " ON CONFLICT (name) DO UPDATE SET value = excluded.value"),
        };
        let put = HistoryStatement::new(dialect, put).push(" hearthgate_meta (name, value) VALUES (");
        session
            .execute(put.bind(&*state_name(&self.order.flow)).push(", ").bind(&*text).push(")").push(end))
            .await
            .map(drop)
    }

    /// What is to be done with each message.
    async fn judge(
        &self,
        session: &mut BackfillSession,
        messages: &[OldMessage],
    ) -> Result<Vec<RowVerdict>, DatabaseError> {
        let flow = &self.order.flow;
        let existing = existing_rows(session, &self.table, &flow.code, messages).await?;
        let judge = |message: &OldMessage| {
            let known = existing.get(&message.number);
            let (record, levels) = record::record_of(flow, &message.attributes);
            let payload = match JsonPayload::parse_text(&record) {
                Ok(payload) => payload,
                Err(error) => return RowVerdict::Refused(error.to_string()),
            };
            if let Err(violations) = flow.schema.validate(&payload) {
                let words = violations.first().map(ToString::to_string);
                return RowVerdict::Refused(words.unwrap_or_else(|| "the schema refuses it".to_owned()));
            }
            let time = match known {
                // The topic and the payload, in which the time may be, are not in `data`.
                Some(known) => known.event_time,
                None => {
                    let moment =
                        flow.event_time("", record.as_bytes(), &payload, message.received_at, &self.order.zone);
                    moment.ok().and_then(|moment| moment.time)
                }
            };
            compare::judge(&self.table, known, self.table.row(&levels, &payload, time))
        };
        Ok(messages.iter().map(judge).collect())
    }
}

fn state_name(flow: &Flow) -> String {
    format!("backfill of flow {}", flow.id)
}

async fn read_state(database: &Database, flow: &Flow) -> Result<Option<BackfillState>, DatabaseError> {
    let query = HistoryStatement::new(database.dialect(), "SELECT value FROM hearthgate_meta WHERE name = ");
    let rows = database.ask(query.bind(&*state_name(flow))).await?;
    Ok(read(&rows))
}

fn read(rows: &[Vec<WindowCell>]) -> Option<BackfillState> {
    serde_json::from_str(rows.first()?.first()?.text()?).ok()
}

async fn highest_id(database: &Database) -> Result<i64, DatabaseError> {
    let dialect = database.dialect();
    let query = HistoryStatement::new(dialect, format!("SELECT {} FROM data", integer_of(dialect, "max(id)")));
    Ok(database.ask(query).await?.first().and_then(|row| row[0].integer()).unwrap_or(0))
}

impl Database {
    async fn make_missing_table(&self, table: &TypedTable) -> Result<(), DatabaseError> {
        if self.makes_tables() {
            self.make_table(table).await?;
        }
        Ok(())
    }
}
