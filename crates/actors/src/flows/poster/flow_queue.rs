//! One flow's messages on their way out, set going in order.

use crate::flows::dead_letters;
use crate::in_hand::MessageMark;
use crate::poison::PoisonKey;
use hearthgate_domain::delivery::UnixMicros;
use hearthgate_domain::flow::{ActionKind, Flow, FlowAction, PromisedActions};
use hearthgate_domain::routing::RoutingTable;
use hearthgate_storage::dead_letters::{NewDeadLetter, ParkedFlow, ParkedMessage};
use hearthgate_storage::journal::{
    EntryTarget, JournalError, JournalHandle, JournalReader, Seq, StoredEntry, TargetVerdict,
};
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

/// Messages that a lane holds in memory; what is beyond them stays in the journal.
pub(super) const ROOM: usize = 64;
const ROOM_BYTES: usize = 1 << 20;

/// A message to be delivered.
#[derive(Clone, Debug)]
pub(in crate::flows) struct DeliveryJob {
    pub(in crate::flows) seq: Seq,
    pub(in crate::flows) topic: Arc<str>,
    pub(in crate::flows) payload: bytes::Bytes,
    pub(in crate::flows) received_at: UnixMicros,
    /// What is due of the flow's actions.
    pub(in crate::flows) due: DueActions,
}

/// What of a flow's actions is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::flows) enum DueActions {
    /// All that it has, of which these were promised.
    All(PromisedActions),
    /// This part is replayed.
    Only(ActionKind),
}

impl DueActions {
    pub(super) fn includes(self, action: &FlowAction) -> bool {
        match self {
            DueActions::All(_) => true,
            DueActions::Only(part) => action.part() == Some(part),
        }
    }

    /// What was promised and the flow has no more.
    pub(super) fn lost(self, flow: &Flow) -> impl Iterator<Item = ActionKind> {
        PARTS.into_iter().filter(move |part| self.promise().includes(*part) && !flow.does(*part))
    }

    /// What the message was accepted for.
    pub(super) fn promise(self) -> PromisedActions {
        match self {
            DueActions::All(promise) => promise,
            DueActions::Only(part) => PromisedActions::of([part]),
        }
    }

    /// The one that is replayed.
    pub(super) fn part(self) -> Option<ActionKind> {
        match self {
            DueActions::All(_) => None,
            DueActions::Only(part) => Some(part),
        }
    }
}

/// Whether a target brings something to deliver.
pub(super) fn is_delivery(target: &EntryTarget<'_>) -> bool {
    PARTS.iter().any(|part| target.verdict.is_due(*part))
}

/// See the module.
#[derive(Debug)]
pub(super) struct FlowQueue {
    /// Its name among the journal's consumers.
    pub(super) name: String,
    flow_id: i64,
    queue: VecDeque<DeliveryJob>,
    bytes: usize,
    /// The messages that are being delivered.
    under_way: BTreeSet<Seq>,
    /// Everything of this flow through here was delivered, or given up and kept as a dead letter, when it was taken up.
    done: Seq,
    /// The last one that was set going.
    last: Seq,
    /// What it reads for itself, having fallen behind the common reader.
    behind: Option<JournalReader>,
    /// The first entry that it did not take from the common reader.
    missed: Option<Seq>,
    /// What it was not done with through here does not wait in the journal: it is set aside.
    parked: Seq,
}

impl FlowQueue {
    pub(super) fn new(name: String, flow_id: i64, done: Seq) -> Self {
        FlowQueue {
            name,
            flow_id,
            queue: VecDeque::new(),
            bytes: 0,
            under_way: BTreeSet::new(),
            done,
            last: done,
            behind: None,
            missed: None,
            parked: 0,
        }
    }

    /// One of which messages were set aside in an earlier run; `released` is what the journal knows, `newest` its last entry.
    pub(super) fn with_parked(name: String, released: Seq, newest: Seq, parked: &ParkedFlow) -> Self {
        let done = released.min(parked.first.saturating_sub(1));
        let lane = FlowQueue::new(name, parked.flow_id, done);
        FlowQueue { missed: Some(done + 1), parked: released.max(parked.last.min(newest)), ..lane }
    }

    /// After which message the next of those that are set aside is needed, if there is room for it.
    pub(super) fn wants_parked(&self) -> Option<Seq> {
        let missed = self.missed.filter(|missed| *missed <= self.parked)?;
        (self.queue.len() < ROOM / 2 && self.has_room()).then_some(missed - 1)
    }

    /// Takes messages that were set aside; the next one that is missed is `next`.
    pub(super) fn take_parked(&mut self, messages: Vec<ParkedMessage>, next: Seq) {
        for message in messages {
            self.enqueue(DeliveryJob {
                seq: message.seq,
                topic: message.topic.into(),
                payload: message.payload,
                received_at: message.received_at,
                due: message.part.map_or(DueActions::All(message.promise), DueActions::Only),
            });
        }
        (self.missed, self.behind) = (Some(next), None);
    }

    /// Everything through here is set aside, as far as it is not done.
    pub(super) fn set_parked(&mut self, through: Seq) {
        self.parked = self.parked.max(through);
        if self.missed.is_some_and(|missed| missed <= self.parked) {
            self.behind = None;
        }
    }

    /// Through which entry what is not done is set aside; 0 if nothing is.
    pub(super) fn parked(&self) -> Seq {
        self.parked
    }

    /// The newest message that it has in memory.
    pub(super) fn newest(&self) -> Seq {
        self.queue.back().map_or(self.last, |job| job.seq)
    }

    /// Through which entry the journal may forget what is this flow's.
    pub(super) fn released(&self, head: Seq) -> Seq {
        self.done(head).max(self.parked)
    }

    /// Takes an entry from the common reader, if it is not done yet and there is room.
    pub(super) fn offer(&mut self, entry: &StoredEntry<'_>) {
        if entry.seq <= self.done.max(self.parked) || self.missed.is_some() {
            return;
        }
        if self.has_room() {
            self.push(entry);
        } else {
            self.missed = Some(entry.seq);
        }
    }

    /// Whether it has nothing to do with this entry any more.
    pub(super) fn is_done(&self, seq: Seq) -> bool {
        seq <= self.done
    }

    /// Reads what it missed, as far as there is room; `head` is where the common reader goes on. Answers what damage in the
    /// journal has left of its messages.
    pub(super) fn catch_up(
        &mut self,
        head: Seq,
        journal: &JournalHandle,
        table: &RoutingTable,
    ) -> Result<Vec<NewDeadLetter>, JournalError> {
        let mut lost = Vec::new();
        let has_room = |lane: &FlowQueue| lane.queue.len() < ROOM / 2 && lane.has_room();
        while let Some(missed) = self.missed.filter(|missed| has_room(self) && *missed > self.parked) {
            let mut reader = self.behind.take().unwrap_or_else(|| journal.reader_after(missed - 1));
            let flow_id = self.flow_id;
            let is_ours = |entry: &StoredEntry<'_>| {
                entry.seq < head
                    && entry.targets.iter().any(|target| target.flow_id == Some(flow_id) && is_delivery(&target))
            };
            let read = reader.next_batch_where(ROOM / 2, READ_BYTES, is_ours)?;
            let is_not_ours = |flow: i64, seq| flow != flow_id || seq >= head;
            lost.extend(dead_letters::salvaged(journal, table, &read.skipped, &PARTS, is_not_ours));
            for entry in &read.entries {
                self.push(entry);
            }
            let next = read.through.max(missed - 1) + 1;
            if next >= head || read.caught_up {
                self.missed = None;
            } else {
                self.missed = Some(next);
                self.behind = Some(reader);
            }
        }
        Ok(lost)
    }

    /// The next message, unless `at_once` are under way.
    pub(super) fn next(&mut self, at_once: usize) -> Option<DeliveryJob> {
        if self.under_way.len() >= at_once {
            return None;
        }
        let job = self.queue.pop_front()?;
        self.bytes -= job.payload.len();
        self.under_way.insert(job.seq);
        self.last = job.seq;
        Some(job)
    }

    /// A message under way is delivered or given up.
    pub(super) fn finish(&mut self, seq: Seq) {
        self.under_way.remove(&seq);
        self.done = match self.under_way.first() {
            Some(oldest) => oldest - 1,
            None => self.last,
        };
    }

    /// Through which entry it is done; with nothing left to do, everything before `head` is.
    pub(super) fn done(&self, head: Seq) -> Seq {
        let is_idle = self.under_way.is_empty() && self.queue.is_empty() && self.missed.is_none();
        if is_idle { head.saturating_sub(1).max(self.done) } else { self.done }
    }

    fn has_room(&self) -> bool {
        self.queue.len() < ROOM && self.bytes < ROOM_BYTES
    }

    fn push(&mut self, entry: &StoredEntry<'_>) {
        let Some(due) = due_of(entry, self.flow_id) else { return };
        self.enqueue(DeliveryJob {
            seq: entry.seq,
            topic: entry.topic.into(),
            payload: bytes::Bytes::copy_from_slice(entry.payload),
            received_at: entry.received_at,
            due,
        });
    }

    fn enqueue(&mut self, job: DeliveryJob) {
        self.bytes += job.payload.len();
        self.queue.push_back(job);
    }
}

/// What of a flow's actions is due with this entry.
pub(super) fn due_of(entry: &StoredEntry<'_>, flow_id: i64) -> Option<DueActions> {
    let target = entry.targets.iter().find(|target| target.flow_id == Some(flow_id) && is_delivery(target))?;
    match target.verdict {
        TargetVerdict::Accepted(promise) => Some(DueActions::All(promise)),
        TargetVerdict::Replayed(part) => Some(DueActions::Only(part)),
        TargetVerdict::Refused { .. } => None,
    }
}

/// What it carries out.
pub(super) const PARTS: [ActionKind; 3] = [ActionKind::Post, ActionKind::Publish, ActionKind::Notify];

/// Read at once by a lane for itself.
pub(super) const READ_BYTES: usize = 256 << 10;

/// A part of a flow's deliveries of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::flows) struct ActionDelivery {
    pub(super) flow_id: i64,
    pub(super) seq: Seq,
    pub(super) part: ActionKind,
}

impl PoisonKey for ActionDelivery {
    fn mark(&self) -> MessageMark {
        let part = ActionKind::ALL.iter().position(|part| *part == self.part).unwrap_or_default();
        (self.seq, self.flow_id << 2 | part as i64)
    }

    fn of_mark((seq, rest): MessageMark) -> Option<Self> {
        let part = usize::try_from(rest & 3).ok().and_then(|part| ActionKind::ALL.get(part))?;
        Some(ActionDelivery { flow_id: rest >> 2, seq, part: *part })
    }
}
