//! Setting messages aside: a flow whose deliveries hang does not keep the journal from being emptied for all others.
//!
//! A lane may hold a quarter of the journal. What waits beyond that is moved to a store of its own, in bounded bytes, and
//! comes back from there in its turn; beyond that bound it becomes dead letters.

use super::Work;
use super::flow_queue::{self, DueActions, FlowQueue};
use crate::backoff::RestartDelay;
use crate::flows::dead_letters;
use crate::flows::poster::flow_queue::READ_BYTES;
use hearthgate_storage::dead_letters::{NewDeadLetter, ParkedFlow, ParkedMessage};
use hearthgate_storage::journal::{JournalError, JournalHandle, Seq, StoredEntry};
use hearthgate_storage::sql::DatabaseError;
use hearthgate_supervision::ActorFailure;
use std::time::{Duration, Instant};
use tracing::{error, info, warn};

/// One flow may hold this part of the journal.
const SHARE: u64 = 4;
/// Messages that are read back at once.
const ASKED: usize = 32;
/// Bytes that are set aside of a flow in one turn.
const CHUNK: u64 = 4 << 20;
/// Pieces of the journal that are looked through for that.
const LOOKS: usize = 64;
/// Time between attempts that fail.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
const BEYOND: &str = "its endpoint or broker did not take the messages before it, and no more may be set aside: \
                      replay it when that works again";
const FOREIGN: &str =
    "it was set aside while its delivery hung, and the journal was put back from an older copy since then";

/// What was found of a flow in the journal.
struct Chunk {
    messages: Vec<ParkedMessage>,
    through: Seq,
}

impl Work {
    /// Gives a lane what is set aside and next, as far as it has room.
    pub(super) async fn refill(&mut self, flow_id: i64) {
        let journal = self.deps.journal.clone();
        let mut pace = RestartDelay::new();
        while let Some(lane) = self.lanes.get_mut(&flow_id)
            && let Some(after) = lane.wants_parked()
        {
            match self.deps.endpoints.letters.parked(flow_id, after, ASKED as u32, READ_BYTES as u64).await {
                Ok(messages) => {
                    let next = messages.last().map_or(lane.parked(), |last| last.seq) + 1;
                    let is_ours = |message: &ParkedMessage| message.journal == journal.origin_of(message.seq);
                    let (ours, foreign): (Vec<_>, Vec<_>) = messages.into_iter().partition(is_ours);
                    lane.take_parked(ours, next);
                    let code = dead_letters::code(&self.table, flow_id);
                    self.lost.extend(foreign.into_iter().map(|message| letter(&code, message, FOREIGN)));
                }
                Err(reason) => {
                    error!(%reason, "deliveries wait: what was set aside can not be read");
                    pace.pause().await;
                }
            }
        }
    }

    /// Sets aside what lanes hold of the journal beyond their share.
    pub(super) async fn set_aside(&mut self) -> Result<(), ActorFailure> {
        if self.parking.retry_at.is_some_and(|at| Instant::now() < at) {
            self.has_news = true;
            return Ok(());
        }
        let head = self.reader.next_seq();
        let journal = self.deps.journal.clone();
        let share = journal.max_bytes() / SHARE;
        let holding = |lane: &FlowQueue| {
            let released = lane.released(head);
            released.saturating_add(1) < head && journal.held_after(released) > share
        };
        let flows: Vec<i64> =
            self.lanes.iter().filter(|(_, lane)| holding(lane)).map(|(flow_id, _)| *flow_id).collect();
        for flow_id in flows {
            let Some(lane) = self.lanes.get(&flow_id) else { continue };
            let chunk = read_chunk(&journal, flow_id, lane.released(head), head).map_err(ActorFailure::resource)?;
            match self.park(flow_id, chunk).await {
                Ok(()) => self.parking.retry_at = None,
                Err(reason) => {
                    error!(%reason, "messages of a flow that hangs can not be set aside; the journal fills up");
                    self.parking.retry_at = Some(Instant::now() + RETRY_PAUSE);
                    self.has_news = true;
                }
            }
        }
        Ok(())
    }

    async fn park(&mut self, flow_id: i64, Chunk { messages, through }: Chunk) -> Result<(), DatabaseError> {
        let Some(lane) = self.lanes.get_mut(&flow_id) else { return Ok(()) };
        let code = dead_letters::code(&self.table, flow_id);
        let mut room = self.deps.set_aside.saturating_sub(self.parking.bytes);
        let (mut parked, mut beyond, mut bytes) = (Vec::new(), Vec::new(), 0);
        for message in messages {
            let size = message.size();
            // What is in memory is few, and may be under way.
            if message.seq <= lane.newest() || (beyond.is_empty() && size <= room) {
                (room, bytes) = (room.saturating_sub(size), bytes + size);
                parked.push(message);
            } else {
                beyond.push(letter(&code, message, BEYOND));
            }
        }
        let store = &self.deps.endpoints.letters;
        if !parked.is_empty() {
            store.park(flow_id, &parked).await?;
        }
        dead_letters::keep(store, &beyond).await?;
        if lane.parked() <= lane.done(through) && !parked.is_empty() {
            warn!(flow = %code, "its deliveries hang; its messages are set aside, so that the journal has room for others");
        }
        if !beyond.is_empty() {
            warn!(flow = %code, count = beyond.len(), reason = BEYOND, "dead letters");
        }
        lane.set_parked(through);
        self.parking.bytes += bytes;
        self.has_news = true;
        Ok(())
    }

    /// Removes from what is set aside what is done.
    pub(super) async fn remove_done(&mut self) {
        let head = self.reader.next_seq();
        for (flow_id, lane) in &self.lanes {
            let done = lane.done(head).min(lane.parked());
            if done == 0 || self.parking.removed.get(flow_id).is_some_and(|removed| *removed >= done) {
                continue;
            }
            match self.deps.endpoints.letters.unpark(*flow_id, done).await {
                Ok(bytes) => {
                    self.parking.bytes = self.parking.bytes.saturating_sub(bytes);
                    self.parking.removed.insert(*flow_id, done);
                    if bytes > 0 && done == lane.parked() {
                        let flow = dead_letters::code(&self.table, *flow_id);
                        info!(flow, "all that was set aside is delivered, or a dead letter");
                    }
                }
                // The next time; at worst it is delivered once more after a restart.
                Err(reason) => warn!(%reason, "what is done could not be removed from what is set aside"),
            }
        }
    }

    /// What was set aside of numbers that the journal has not reached: it is older. The numbers will be given out again.
    pub(super) async fn keep_foreign(&self, flows: &[ParkedFlow], newest: Seq) -> Result<(), ActorFailure> {
        let store = &self.deps.endpoints.letters;
        for flow in flows.iter().filter(|flow| flow.last > newest) {
            loop {
                let messages = store
                    .parked(flow.flow_id, newest, ASKED as u32, READ_BYTES as u64)
                    .await
                    .map_err(ActorFailure::resource)?;
                if messages.is_empty() {
                    break;
                }
                let code = dead_letters::code(&self.table, flow.flow_id);
                let seqs: Vec<Seq> = messages.iter().map(|message| message.seq).collect();
                let lost: Vec<_> = messages.into_iter().map(|message| letter(&code, message, FOREIGN)).collect();
                dead_letters::keep(store, &lost).await.map_err(ActorFailure::resource)?;
                store.remove_parked(flow.flow_id, &seqs).await.map_err(ActorFailure::resource)?;
            }
        }
        Ok(())
    }
}

fn read_chunk(journal: &JournalHandle, flow_id: i64, from: Seq, head: Seq) -> Result<Chunk, JournalError> {
    let mut reader = journal.reader_after(from);
    let mut chunk = Chunk { messages: Vec::new(), through: from };
    let mut bytes = 0;
    for _ in 0..LOOKS {
        let is_ours = |entry: &StoredEntry<'_>| entry.seq < head && flow_queue::due_of(entry, flow_id).is_some();
        let read = reader.next_batch_where(ASKED, READ_BYTES, is_ours)?;
        for entry in &read.entries {
            let Some(due) = flow_queue::due_of(entry, flow_id) else { continue };
            let message = parked(journal, entry, due);
            bytes += message.size();
            chunk.messages.push(message);
        }
        chunk.through = read.through.min(head - 1);
        if read.caught_up || read.through + 1 >= head || bytes >= CHUNK {
            break;
        }
    }
    Ok(chunk)
}

fn parked(journal: &JournalHandle, entry: &StoredEntry<'_>, due: DueActions) -> ParkedMessage {
    ParkedMessage {
        seq: entry.seq,
        journal: journal.origin_of(entry.seq),
        topic: entry.topic.to_owned(),
        payload: bytes::Bytes::copy_from_slice(entry.payload),
        received_at: entry.received_at,
        part: due.part(),
        promise: due.promise(),
    }
}

fn letter(code: &str, message: ParkedMessage, reason: &str) -> NewDeadLetter {
    NewDeadLetter {
        journal: message.journal,
        seq: Some(message.seq),
        flow_code: Some(code.to_owned()),
        topic: message.topic,
        payload: message.payload,
        reason: reason.to_owned(),
        pointer: None,
        received_at: message.received_at,
        dead_at: dead_letters::now(),
        attempts: 0,
        part: message.part,
    }
}
