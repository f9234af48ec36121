//! The committer: the one place where the journal is written, and where messages become durable.
//!
//! Prepared messages come here in groups, in order of arrival. A redelivered one is recognised and skipped, the others are
//! appended, the group is synced, and only then the delivery tag through which all is safe moves on. The committer outlives
//! the router's incarnations; whatever job runs here when the router dies is finished.

mod group;
mod retained;

pub use group::{CommitGroup, CommitOutcome, RouteDecision, SettledMessage};

use crate::flows::refusal::ReplayRefusal;
use group::{Part, Prepared, count_entries, has_entry};
use hearthgate_domain::delivery::InboundMessage;
use hearthgate_domain::flow::change_filter;
use hearthgate_domain::flow::change_filter::ChangeFilter;
use hearthgate_domain::flow::{ActionKind, Flow, RetainedPolicy};
use hearthgate_domain::payload::JsonPayload;
use hearthgate_domain::redelivery::{RedeliveryVerdict as Delivery, SenderNote};
use hearthgate_mqtt::link::{DeliveryTag, SenderEvent, SenderNews};
use hearthgate_storage::journal::{
    DroppedEntries, EntryTarget, Journal, JournalEntry, JournalError, JournalUsage, Seq, TargetVerdict, UnstoredNote,
    content_hash,
};
use retained::{LastStored, digests};
use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use uuid::Uuid;

/// Groups whose confirmation is waited for one by one; beyond that, the oldest is told together with the next.
const MARKS_AT_MOST: usize = 4_096;

/// See the module.
pub struct JournalCommitter {
    /// With what senders may send again.
    journal: Journal,
    gates: Gates,
    /// Durable through here.
    safe: DeliveryTag,
    /// Which journal entry a ticket's group ended with, for a remote broker's confirmations; the newest at the end.
    marks: VecDeque<Mark>,
    /// What senders may send again, up to here, they have sent on their present connections, or had no need to. An
    /// acknowledgement that arrived says nothing of what is beyond: that may still be on its way once more.
    covered: Seq,
    /// A group was admitted, which promises numbers to its messages, and is not written yet.
    is_waiting: bool,
}

struct Mark {
    ticket: DeliveryTag,
    seq: Seq,
    session: Option<u64>,
}

impl JournalCommitter {
    /// A committer for this journal.
    #[must_use]
    pub fn new(journal: Journal) -> Self {
        let (gates, marks) = (Gates::default(), VecDeque::new());
        JournalCommitter { journal, gates, safe: DeliveryTag::default(), marks, covered: 0, is_waiting: false }
    }

    /// Whoever hands in groups begins anew behind the answered ticket: what was handed in beyond it and could not be
    /// written comes again, and is not to be taken for redelivered then.
    pub fn begin_anew(&mut self) -> DeliveryTag {
        self.journal.forget_promises();
        self.is_waiting = false;
        // What passed a gate and was not written is to pass it again.
        self.gates = Gates::default();
        self.safe
    }

    /// Makes a group durable, in pieces that the journal can take.
    ///
    /// # Errors
    /// Those of the journal; the group can be written again, or some of it [refused](Self::refuse), and goes on where it
    /// stopped. [`JournalError::TooLarge`] is of its next message alone.
    pub fn write(&mut self, group: &mut CommitGroup) -> Result<CommitOutcome, JournalError> {
        if !group.admitted {
            self.admit(group);
        }
        while group.done < group.messages.len() {
            let end = group.piece(self.journal.group_limit() / 2);
            let first = self.journal.next_seq();
            match self.write_piece(group, group.done..end) {
                Ok((appended, dropped)) => {
                    group.written.appended += appended;
                    group.written.dropped.extend(dropped);
                    group.number(group.done..end, first);
                    self.advance(group, end);
                }
                Err(JournalError::TooLarge { .. }) if end > group.done + 1 => group.one_by_one = true,
                Err(reason) => {
                    if matches!(reason, JournalError::SyncFailed { .. }) {
                        // The numbers that it was promised are void.
                        let nothing = self.record_left(group, group.done);
                        debug_assert!(nothing.is_empty());
                    }
                    return Err(reason);
                }
            }
        }
        self.close(group);
        group.written.redelivered = group.messages.iter().filter(|prepared| prepared.passed_over).count();
        Ok(std::mem::take(&mut group.written))
    }

    fn write_piece(
        &mut self,
        group: &CommitGroup,
        piece: Range<usize>,
    ) -> Result<(usize, Option<DroppedEntries>), JournalError> {
        let (notes, is_needed) = self.notes(group, &piece);
        let messages = &group.messages[piece];
        let mut targets: Vec<EntryTarget<'_>> = Vec::with_capacity(messages.len());
        let mut taken = Vec::with_capacity(messages.len());
        for prepared in messages.iter().filter(|prepared| !prepared.passed_over) {
            let decisions = &group.decisions[prepared.decisions.clone()];
            let from = targets.len();
            targets.extend(decisions.iter().filter_map(RouteDecision::target));
            if targets.len() > from {
                taken.push((prepared, None, from..targets.len()));
            }
            for (payload, target) in decisions.iter().filter_map(RouteDecision::element) {
                targets.push(target);
                taken.push((prepared, Some(payload), targets.len() - 1..targets.len()));
            }
        }
        let entries = taken.into_iter().map(|(prepared, element, range): (&Prepared, _, Range<usize>)| {
            let message = group.inbound(prepared);
            JournalEntry {
                topic: &message.topic,
                payload: &element.unwrap_or(&message.payload)[..],
                received_at: message.received_at,
                qos: message.qos,
                retain: message.retain,
                is_restored: message.is_restored,
                // What a sender may send again is the whole message: a note tells of it.
                origin: message.origin.filter(|_| element.is_none()),
                targets: &targets[range],
            }
        });
        let entries: Vec<JournalEntry<'_>> = entries.collect();
        if entries.is_empty() && notes.is_empty() {
            return Ok((0, None));
        }
        if entries.is_empty() && !is_needed {
            // Messages for interfaces do not wait for a disk that is full.
            if let Err(reason) = self.journal.append_with_notes(&[], &notes) {
                tracing::debug!(%reason, "messages that no flow wants are not noted: a restart forgets them");
            }
            return Ok((0, None));
        }
        let dropped = self.journal.append_with_notes(&entries, &notes)?.dropped;
        let stored = entries.len();
        if is_needed {
            self.journal.sync()?;
        }
        self.follow_latest(group, messages);
        Ok((stored, dropped))
    }

    /// Notes digests of what was stored.
    fn follow_latest(&mut self, group: &CommitGroup, messages: &[Prepared]) {
        let mut has_new_flow = false;
        for prepared in messages.iter().filter(|prepared| !prepared.passed_over) {
            let message = group.inbound(prepared);
            for (flow, topic, digest) in digests(message, &group.decisions[prepared.decisions.clone()]) {
                has_new_flow |= self.journal.latest().put(flow, topic, digest);
            }
        }
        if has_new_flow && let Err(reason) = self.journal.keep_latest() {
            tracing::warn!(%reason, "digests of what flows stored are kept with the journal's next segment");
        }
    }

    /// What a piece of a group tells of senders beside the messages that it stores, and whether it has to be on disk before
    /// anything is acknowledged. That is not so for messages that no flow wants: sent again after the machine has lost
    /// its power, they are no flow's either.
    fn notes(&self, group: &CommitGroup, piece: &Range<usize>) -> (Vec<UnstoredNote>, bool) {
        let mut seq = self.journal.next_seq();
        let (mut notes, mut is_needed) = (Vec::new(), false);
        let mut heard = Hearing::default();
        let batches = &group.batches;
        for (index, prepared) in group.messages.iter().enumerate().take(piece.end) {
            let is_in = index >= piece.start;
            heard.until(batches, prepared.batch, prepared.message, |news| {
                notes.extend(is_in.then_some(UnstoredNote { before: seq, event: event(news) }));
            });
            if !is_in || prepared.passed_over {
                continue;
            }
            let message = group.inbound(prepared);
            let decisions = &group.decisions[prepared.decisions.clone()];
            is_needed |= !decisions.is_empty() || message.is_release;
            seq += count_entries(decisions);
            if !has_entry(decisions)
                && let Some(origin) = message.origin
            {
                let hash = content_hash(&message.topic, &message.payload);
                notes.push(UnstoredNote { before: seq, event: SenderNote::Received { origin, hash, seq: None } });
            }
        }
        if piece.end == group.messages.len() {
            heard.until(batches, batches.len(), 0, |news| notes.push(UnstoredNote { before: seq, event: event(news) }));
        }
        (notes, is_needed)
    }

    /// Of the journal.
    #[must_use]
    pub fn journal_id(&self) -> Uuid {
        self.journal.handle().id()
    }

    /// How full the journal is, and for whom.
    #[must_use]
    pub fn usage(&self) -> JournalUsage {
        self.journal.usage()
    }

    /// Lets the next messages of a group go that [`JournalCommitter::write`] could not take, and that are safe elsewhere. Tells whether
    /// that was all of it.
    pub fn refuse(&mut self, group: &mut CommitGroup, count: usize) -> bool {
        let end = group.messages.len().min(group.done.saturating_add(count));
        let refused = self.record_left(group, end);
        self.note_refused(&refused);
        self.advance(group, end);
        let is_all = end == group.messages.len();
        if is_all {
            self.close(group);
        }
        is_all
    }

    /// Records anew what is left of a group, since others will have the numbers under which that was recorded; what comes
    /// before `refused` is not stored.
    fn record_left(&mut self, group: &CommitGroup, refused: usize) -> Vec<SenderNote> {
        let mut seq = self.journal.next_seq();
        self.journal.forget_promises();
        let owed = self.journal.owed();
        let mut heard = Hearing::default();
        let (mut events, mut of_refused) = (Vec::new(), 0);
        for (index, prepared) in group.messages.iter().enumerate() {
            let is_left = index >= group.done;
            heard.until(&group.batches, prepared.batch, prepared.message, |news| {
                events.extend(is_left.then_some(event(news)));
            });
            if !is_left || prepared.passed_over {
                continue;
            }
            let message = group.inbound(prepared);
            let decisions = &group.decisions[prepared.decisions.clone()];
            let is_kept = index >= refused;
            let is_stored = is_kept && has_entry(decisions);
            if let Some(origin) = message.origin {
                let hash = content_hash(&message.topic, &message.payload);
                events.push(SenderNote::Received { origin, hash, seq: is_stored.then_some(seq) });
            }
            if is_kept {
                seq += count_entries(decisions);
            }
            if index < refused {
                of_refused = events.len();
            }
        }
        heard.until(&group.batches, group.batches.len(), 0, |news| events.push(event(news)));
        events.iter().for_each(|event| owed.replay(*event));
        events.truncate(of_refused);
        events
    }

    /// What is refused is safe elsewhere, and is to be recognised after a restart too.
    fn note_refused(&mut self, events: &[SenderNote]) {
        let before = self.journal.next_seq();
        let notes: Vec<UnstoredNote> = events.iter().map(|event| UnstoredNote { before, event: *event }).collect();
        let noted = self.journal.append_with_notes(&[], &notes).and_then(|_| self.journal.sync());
        if let Err(reason) = noted {
            tracing::warn!(%reason, "refused messages are not noted: those that are sent again after a restart are new");
        }
    }

    /// Everything before this message of the group is settled.
    fn advance(&mut self, group: &mut CommitGroup, end: usize) {
        group.done = end;
        group.one_by_one &= end < group.messages.len();
        if let Some(last) = group.messages[..end].last() {
            self.safe = group.ticket(last);
        }
    }

    /// All of the group is settled.
    fn close(&mut self, group: &CommitGroup) {
        let last = group.batches.last().and_then(|part| part.batch.messages.last());
        let session = last.and_then(|message| message.origin).map(|origin| origin.session);
        if self.marks.len() >= MARKS_AT_MOST {
            self.marks.pop_front(); // the next one includes it
        }
        let seq = self.covered.min(self.journal.next_seq() - 1);
        self.marks.push_back(Mark { ticket: group.through, seq, session });
        self.safe = group.through;
        self.is_waiting = false;
    }

    /// Recognises what was delivered before, and asks the flows' gates. Once for a group, however often it is written:
    /// both move on.
    fn admit(&mut self, group: &mut CommitGroup) {
        let CommitGroup { batches, messages, decisions, admitted, written, .. } = group;
        *admitted = true;
        if let Err(reason) = self.journal.tidy_notes() {
            tracing::warn!(%reason, "what was noted of senders stays as long as it is; the next group tries again");
        }
        self.is_waiting = true;
        let mut seq = self.journal.next_seq();
        let mut heard = Hearing::default();
        let has_retained = batches.iter().any(|part| part.batch.messages.iter().any(|message| message.retain));
        let mut last_stored = LastStored::new(has_retained);
        for prepared in messages.iter_mut() {
            heard.until(batches, prepared.batch, prepared.message, |news| self.hear(news));
            let message = &batches[prepared.batch].batch.messages[prepared.message];
            let decisions = &mut decisions[prepared.decisions.clone()];
            let gates = &mut self.gates;
            let known = last_stored.known(self.journal.latest(), message, decisions);
            let mut take = || {
                known.iter().for_each(|index| decisions[*index] = RouteDecision::KeptBack);
                gates.keep_back(message, decisions);
                last_stored.follow(message, decisions);
                let is_kept_back = |decision: &RouteDecision| matches!(decision, RouteDecision::KeptBack);
                let entries = count_entries(decisions);
                written.kept_back += usize::from(entries == 0 && decisions.iter().any(is_kept_back));
                (entries, has_entry(decisions))
            };
            let Some(origin) = message.origin else {
                seq += take().0;
                continue;
            };
            let hash = content_hash(&message.topic, &message.payload);
            let owed = self.journal.owed();
            match owed.check(&origin, hash) {
                Delivery::Redelivered { seq: known } => {
                    prepared.passed_over = true;
                    self.covered = self.covered.max(known.unwrap_or(0));
                }
                // It was sent after everything that we know.
                Delivery::New => {
                    let (entries, is_stored) = take();
                    match is_stored {
                        true => owed.record(&origin, hash, seq),
                        false => owed.record_unstored(&origin, hash),
                    }
                    seq += entries;
                    self.covered = seq - 1;
                }
            }
        }
        heard.until(batches, batches.len(), 0, |news| self.hear(news));
    }

    fn hear(&mut self, SenderNews { session, what, .. }: SenderNews) {
        let owed = self.journal.owed();
        match what {
            SenderEvent::Connected => {
                owed.connected(session);
                self.covered = owed.oldest(session).map_or(0, |seq| seq - 1);
            }
            SenderEvent::Released { packet_id } => owed.released(session, packet_id),
            SenderEvent::Gone => owed.forget_session(session),
        }
    }

    /// Makes a message durable that no sender waits for: a dead letter that is replayed.
    ///
    /// # Errors
    /// It is not durable then: the journal failed, or messages wait for it that have been promised the next numbers.
    pub fn write_again(
        &mut self,
        message: &InboundMessage,
        decisions: &[RouteDecision],
        part: Option<ActionKind>,
    ) -> Result<(), ReplayRefusal> {
        if self.is_waiting {
            return Err(ReplayRefusal::JournalBusy);
        }
        let again = |target| only_part(target, part);
        let whole: Vec<EntryTarget<'_>> = decisions.iter().filter_map(RouteDecision::target).map(again).collect();
        let elements = decisions.iter().filter_map(RouteDecision::element);
        let elements: Vec<(&[u8], [EntryTarget<'_>; 1])> =
            elements.map(|(payload, target)| (&payload[..], [only_part(target, part)])).collect();
        let own = (!whole.is_empty()).then_some((&message.payload[..], &whole[..]));
        let parts = own.into_iter().chain(elements.iter().map(|(payload, targets)| (*payload, &targets[..])));
        let entry = |(payload, targets): (_, _)| JournalEntry {
            topic: &message.topic,
            payload,
            received_at: message.received_at,
            qos: message.qos,
            retain: message.retain,
            is_restored: message.is_restored,
            origin: None,
            targets,
        };
        let entries: Vec<JournalEntry<'_>> = parts.map(entry).collect();
        self.journal.append(&entries)?;
        self.journal.sync()?;
        Ok(())
    }

    /// The senders have our acknowledgements through this ticket. The next group carries it to disk.
    pub fn confirm(&mut self, ticket: DeliveryTag) {
        let mut newest = None;
        while let Some(mark) = self.marks.front() {
            let is_covered = mark.ticket.connection < ticket.connection
                || (mark.ticket.connection == ticket.connection && mark.ticket.number <= ticket.number);
            if !is_covered {
                break;
            }
            // What an earlier connection acknowledged may have been lost with it, and comes again on this one.
            if mark.ticket.connection == ticket.connection
                && let Some(session) = mark.session
            {
                newest = Some((session, mark.seq));
            }
            self.marks.pop_front();
        }
        // A connection has one session, and its newest mark includes the others: each would look through all entries.
        if let Some((session, seq)) = newest {
            self.journal.owed().confirm_through(session, seq);
            self.journal.settle_soon();
        }
    }

    /// Writes what will not be sent again when there is no group to carry it.
    ///
    /// # Errors
    /// Those of the journal.
    pub fn keep_settled(&mut self) -> Result<(), JournalError> {
        self.journal.keep_settled()
    }

    /// Everything through here is durable.
    #[must_use]
    pub fn safe(&self) -> DeliveryTag {
        self.safe
    }
}

/// A target of which only a part is due again, if it says which.
fn only_part(target: EntryTarget<'_>, part: Option<ActionKind>) -> EntryTarget<'_> {
    match (target.verdict, part) {
        (TargetVerdict::Accepted(_), Some(part)) => EntryTarget { verdict: TargetVerdict::Replayed(part), ..target },
        _ => target,
    }
}

/// What news of a sender changes.
fn event(SenderNews { session, what, .. }: SenderNews) -> SenderNote {
    match what {
        SenderEvent::Connected => SenderNote::Connected { session },
        SenderEvent::Released { packet_id } => SenderNote::Released { session, packet_id },
        SenderEvent::Gone => SenderNote::Gone { session },
    }
}

/// A place among the news of a group's batches.
#[derive(Default)]
struct Hearing {
    batch: usize,
    /// Of the batch's news so many were heard.
    news: usize,
}

impl Hearing {
    /// Tells the news up to before a message, those of the batches before included.
    fn until(&mut self, batches: &[Part], batch: usize, message: usize, mut tell: impl FnMut(SenderNews)) {
        while let Some(Part { batch: current, from }) = batches.get(self.batch) {
            let news = current.news.get(self.news).filter(|news| self.batch < batch || news.before <= message);
            match news {
                Some(news) => {
                    self.news += 1;
                    if news.before >= *from {
                        tell(*news);
                    }
                }
                None if self.batch < batch => *self = Hearing { batch: self.batch + 1, news: 0 },
                None => return,
            }
        }
    }
}

/// What each flow's `on_change`, `min_interval` and rule for retained messages have seen. In memory: after a restart the
/// first message of a topic passes.
#[derive(Default)]
struct Gates(HashMap<i64, (Arc<Flow>, ChangeFilter)>);

impl Gates {
    /// Turns the decision of each flow that keeps this message, or this record of it, back.
    fn keep_back(&mut self, message: &InboundMessage, decisions: &mut [RouteDecision]) {
        for decision in decisions {
            let payload = decision.payload_of(message);
            let passes = match &*decision {
                RouteDecision::Accepted(flow) => self.passes(flow, message, payload),
                RouteDecision::Element { decision: inner, .. } => match &**inner {
                    RouteDecision::Accepted(flow) => self.passes(flow, message, payload),
                    _ => true,
                },
                RouteDecision::KeptBack | RouteDecision::Refused { .. } | RouteDecision::Skipped { .. } => true,
            };
            if !passes {
                *decision = RouteDecision::KeptBack;
            }
        }
    }

    fn passes(&mut self, flow: &Arc<Flow>, message: &InboundMessage, payload: &[u8]) -> bool {
        if flow.retained == RetainedPolicy::Process && flow.on_change.is_none() && flow.min_interval.is_none() {
            return true;
        }
        let is_known = self.0.get(&flow.id).is_some_and(|(known, _)| known == flow);
        if !is_known {
            self.0.remove(&flow.id);
            let Some(gate) = ChangeFilter::for_flow(flow) else { return true };
            self.0.insert(flow.id, (Arc::clone(flow), gate));
        }
        let Some((_, gate)) = self.0.get_mut(&flow.id) else { return true };
        // It was parsed before and found good.
        let Ok(record) = flow.record(&message.topic, payload) else { return true };
        let Ok(record) = JsonPayload::parse(&record) else { return true };
        let key = flow.reading.as_ref().and_then(|reading| reading.key(&flow.source(&message.topic, payload)).ok()?);
        let key = key.as_deref().unwrap_or(&message.topic);
        let verdict = gate.check(key, &record, message.retain, message.received_at);
        let passes = verdict == change_filter::ChangeVerdict::Pass;
        if passes {
            gate.passed(key, &record, message.received_at);
        }
        passes
    }
}

#[cfg(test)]
mod tests;
