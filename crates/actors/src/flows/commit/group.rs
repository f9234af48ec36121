//! What is committed together: messages with their decisions, and what became of them.

use bytes::Bytes;
use hearthgate_domain::delivery::InboundMessage;
use hearthgate_domain::flow::Flow;
use hearthgate_mqtt::link::{DeliveryTag, MessageBatch};
use hearthgate_storage::journal::{DroppedEntries, EntryTarget, FlowKey, Seq, TargetVerdict, topic_hash};
use std::ops::Range;
use std::sync::Arc;

/// Whom a message is for, and what was decided.
#[derive(Clone, Debug)]
pub enum RouteDecision {
    /// The flow takes it.
    Accepted(Arc<Flow>),
    /// The flow would take it, but for its `on_change`, `min_interval` or rule for retained messages.
    KeptBack,
    /// It becomes a dead letter; without a flow it concerns every flow.
    Refused {
        /// The flow's number.
        flow_id: Option<i64>,
        /// Why.
        reason: String,
        /// JSON pointer to the field at fault, or empty.
        pointer: String,
    },
    /// The flow passes it over, by its options, and nothing is wrong.
    Skipped {
        /// The flow's number.
        flow_id: i64,
        /// Why.
        reason: String,
    },
    /// One of several records of the message: it is a message of its own from here on.
    Element {
        /// The message's payload with this record alone.
        payload: Bytes,
        /// Accepted or refused.
        decision: Box<RouteDecision>,
    },
}

impl RouteDecision {
    /// Bytes that it takes in the journal, about.
    pub(super) fn weight(&self) -> usize {
        match self {
            RouteDecision::Accepted(_) | RouteDecision::KeptBack | RouteDecision::Skipped { .. } => TARGET_OVERHEAD,
            RouteDecision::Refused { reason, pointer, .. } => TARGET_OVERHEAD + reason.len() + pointer.len(),
            // Its topic stands in its entry once more; that is within what the message itself is counted for.
            RouteDecision::Element { payload, decision } => ELEMENT_OVERHEAD + payload.len() + decision.weight(),
        }
    }

    /// Who stores it, or has it as a dead letter.
    pub(super) fn flow_key(&self) -> Option<FlowKey> {
        match self {
            RouteDecision::Accepted(flow) => Some(FlowKey { id: Some(flow.id), code: Some(topic_hash(&flow.code)) }),
            RouteDecision::Refused { flow_id, .. } => Some(FlowKey { id: *flow_id, code: None }),
            RouteDecision::Element { decision, .. } => decision.flow_key(),
            RouteDecision::KeptBack | RouteDecision::Skipped { .. } => None,
        }
    }

    /// The payload that it is of.
    pub(super) fn payload_of<'a>(&'a self, message: &'a InboundMessage) -> &'a [u8] {
        match self {
            RouteDecision::Element { payload, .. } => payload,
            RouteDecision::Accepted(_)
            | RouteDecision::KeptBack
            | RouteDecision::Refused { .. }
            | RouteDecision::Skipped { .. } => &message.payload,
        }
    }

    /// Whether the flow takes it, or this record of it.
    pub(crate) fn is_accepted(&self) -> bool {
        match self {
            RouteDecision::Accepted(_) => true,
            RouteDecision::Element { decision, .. } => decision.is_accepted(),
            RouteDecision::KeptBack | RouteDecision::Refused { .. } | RouteDecision::Skipped { .. } => false,
        }
    }

    /// Whether it becomes a dead letter.
    pub(crate) fn is_refused(&self) -> bool {
        match self {
            RouteDecision::Refused { .. } => true,
            RouteDecision::Element { decision, .. } => decision.is_refused(),
            RouteDecision::Accepted(_) | RouteDecision::KeptBack | RouteDecision::Skipped { .. } => false,
        }
    }

    /// Of a record that is a message of its own, its payload and its entry's target.
    pub(super) fn element(&self) -> Option<(&Bytes, EntryTarget<'_>)> {
        let RouteDecision::Element { payload, decision } = self else { return None };
        Some((payload, decision.target()?))
    }

    /// What the entry of the whole message says of it.
    pub(crate) fn target(&self) -> Option<EntryTarget<'_>> {
        match self {
            RouteDecision::Accepted(flow) => {
                Some(EntryTarget { flow_id: Some(flow.id), verdict: TargetVerdict::Accepted(flow.promise()) })
            }
            RouteDecision::KeptBack | RouteDecision::Skipped { .. } | RouteDecision::Element { .. } => None,
            RouteDecision::Refused { flow_id, reason, pointer } => {
                Some(EntryTarget { flow_id: *flow_id, verdict: TargetVerdict::Refused { reason, pointer } })
            }
        }
    }
}

/// Whether the message as a whole has an entry in the journal.
pub(super) fn has_entry(decisions: &[RouteDecision]) -> bool {
    decisions.iter().any(|decision| decision.target().is_some())
}

/// How many entries a message has: one for itself, if a flow takes it as it is, and one for each record that is a message
/// of its own.
pub(super) fn count_entries(decisions: &[RouteDecision]) -> u64 {
    let elements = decisions.iter().filter(|decision| decision.element().is_some()).count();
    u64::from(has_entry(decisions)) + elements as u64
}

/// A batch, from this message on: what is before was settled when the batch came the first time.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) batch: Arc<MessageBatch>,
    pub(super) from: usize,
}

#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) batch: usize,
    pub(super) message: usize,
    pub(super) decisions: Range<usize>,
    /// Recognised as redelivered, or kept back by all its flows.
    pub(super) passed_over: bool,
    /// Its number in the journal, once it is there.
    pub(super) seq: Option<Seq>,
}

/// Messages with their decisions, in order of arrival.
#[derive(Debug, Default)]
pub struct CommitGroup {
    pub(super) batches: Vec<Part>,
    pub(super) messages: Vec<Prepared>,
    pub(super) decisions: Vec<RouteDecision>,
    pub(super) through: DeliveryTag,
    /// Redelivered messages are marked.
    pub(super) admitted: bool,
    /// So many of the messages are written, or refused.
    pub(super) done: usize,
    /// A sender's release of an identifier is among them.
    has_release: bool,
    /// One of them is too large for the journal; which one, shows by writing each alone.
    pub(super) one_by_one: bool,
    pub(super) written: CommitOutcome,
}

impl CommitGroup {
    /// Adds a message of the batch that [`CommitGroup::close_batch`] will add. No decision means that no flow wants it: then
    /// it is not stored, but redeliveries are recognised by the order of all messages.
    pub fn push(&mut self, message: usize, decisions: impl IntoIterator<Item = RouteDecision>) {
        let from = self.decisions.len();
        self.decisions.extend(decisions);
        let decisions = from..self.decisions.len();
        self.messages.push(Prepared { batch: self.batches.len(), message, decisions, passed_over: false, seq: None });
    }

    /// Adds a sender's release of a packet identifier, of which the batch's news tell: it is to be durable before it is answered.
    pub fn push_release(&mut self, message: usize) {
        self.has_release = true;
        self.push(message, []);
    }

    /// All messages of this batch are in, from this index on.
    pub fn close_batch(&mut self, batch: Arc<MessageBatch>, from: usize) {
        self.through = batch.last();
        self.batches.push(Part { batch, from });
    }

    /// Nothing came in at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// Whether a flow wants any of it, or it has to be durable for another reason.
    #[must_use]
    pub fn needs_journal(&self) -> bool {
        !self.decisions.is_empty() || self.has_release
    }

    /// What [`JournalCommitter::write`] has left, or the first `count` of it, with the decisions.
    pub fn left(&self, count: usize) -> impl Iterator<Item = (&InboundMessage, &[RouteDecision])> {
        let taken = self.messages[self.done..].iter().take(count).filter(|prepared| !prepared.passed_over);
        taken.map(|prepared| (self.inbound(prepared), &self.decisions[prepared.decisions.clone()]))
    }

    /// All messages, with what became of them.
    pub fn settled(&self) -> impl Iterator<Item = SettledMessage<'_>> {
        let messages = self.messages.iter().filter(|prepared| !self.inbound(prepared).is_release);
        messages.map(|prepared| SettledMessage {
            message: self.inbound(prepared),
            decisions: &self.decisions[prepared.decisions.clone()],
            is_repeated: prepared.passed_over,
            seq: prepared.seq,
        })
    }

    /// The messages of a piece have these numbers in the journal, from the first on.
    pub(super) fn number(&mut self, piece: Range<usize>, first: Seq) {
        let mut seq = first;
        for prepared in self.messages[piece].iter_mut().filter(|prepared| !prepared.passed_over) {
            let entries = count_entries(&self.decisions[prepared.decisions.clone()]);
            prepared.seq = (entries > 0).then_some(seq);
            seq += entries;
        }
    }

    /// Where the next piece ends that takes about so many bytes, at least one message.
    pub(super) fn piece(&self, bytes: u64) -> usize {
        if self.one_by_one {
            return self.done + 1;
        }
        let mut sum = 0;
        let fits = |prepared: &&Prepared| {
            let decisions = &self.decisions[prepared.decisions.clone()];
            let message = self.inbound(prepared);
            let texts: usize = decisions.iter().map(RouteDecision::weight).sum();
            sum += (message.topic.len() + message.payload.len() + ENTRY_OVERHEAD + texts) as u64;
            sum <= bytes
        };
        let count = self.messages[self.done..].iter().take_while(fits).count();
        self.done + count.max(1)
    }

    pub(super) fn ticket(&self, prepared: &Prepared) -> DeliveryTag {
        let first = self.batches[prepared.batch].batch.first;
        DeliveryTag { number: first.number + prepared.message as u64, ..first }
    }

    pub(super) fn inbound(&self, prepared: &Prepared) -> &InboundMessage {
        &self.batches[prepared.batch].batch.messages[prepared.message]
    }

    /// Everything through here is in this group or before it.
    #[must_use]
    pub fn through(&self) -> DeliveryTag {
        self.through
    }
}

/// A message of a group that was written, and what became of it.
#[derive(Clone, Copy, Debug)]
pub struct SettledMessage<'a> {
    /// As it came in.
    pub message: &'a InboundMessage,
    /// What its flows decided; empty when none wants it.
    pub decisions: &'a [RouteDecision],
    /// It was delivered before.
    pub is_repeated: bool,
    /// Its number in the journal, if it is there.
    pub seq: Option<Seq>,
}

/// What became of a group.
#[derive(Debug, Default)]
pub struct CommitOutcome {
    /// Appended and synced.
    pub appended: usize,
    /// Recognised as redelivered and passed over.
    pub redelivered: usize,
    /// Kept back by every flow that would take them.
    pub kept_back: usize,
    /// What had to go under the policy `drop_oldest`.
    pub dropped: Vec<DroppedEntries>,
}

/// Bytes of an entry and of one of its targets in the journal beside their texts, generously.
pub(super) const ENTRY_OVERHEAD: usize = 64;

pub(super) const TARGET_OVERHEAD: usize = 32;

/// Bytes of a record's own entry beside its payload and its target, with a topic of usual length.
pub(super) const ELEMENT_OVERHEAD: usize = 256;
