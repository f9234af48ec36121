//! What is outside of the journal and survives the power cut: senders, a database, an endpoint, and who was told what.

use super::senders::{Sender, SentMessage};
use crate::journal::*;
use hearthgate_domain::delivery::{MessageOrigin, QoS};
use hearthgate_domain::flow::PromisedActions;
use hearthgate_domain::redelivery::{RedeliveryVerdict, SenderNote};
use std::collections::{BTreeMap, BTreeSet};

pub(super) const DATABASE: &str = "database";
pub(super) const ENDPOINT: &str = "endpoint";
const TARGETS: &[EntryTarget<'static>] =
    &[EntryTarget { flow_id: Some(1), verdict: TargetVerdict::Accepted(PromisedActions::UNKNOWN) }];

/// A message, told by its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct MessageName {
    pub(super) session: u64,
    pub(super) number: u64,
}

impl MessageName {
    fn payload(self, size: usize) -> Vec<u8> {
        let mut payload = format!("{}:{}:", self.session, self.number).into_bytes();
        payload.resize(payload.len() + size, b'.');
        payload
    }

    /// Of a payload that is as it was sent.
    pub(super) fn of(payload: &[u8]) -> Option<Self> {
        let mut parts = payload.splitn(3, |byte| *byte == b':');
        let mut number = || std::str::from_utf8(parts.next()?).ok()?.parse::<u64>().ok();
        let (session, number) = (number()?, number()?);
        parts.next()?.iter().all(|byte| *byte == b'.').then_some(MessageName { session, number })
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct OutsideWorld {
    pub(super) senders: Vec<Sender>,
    /// Whose senders were told that they are safe.
    pub(super) safe: BTreeSet<MessageName>,
    /// Rows of the database, committed with the position after them.
    pub(super) rows: BTreeMap<Seq, MessageName>,
    pub(super) position: Seq,
    /// What the endpoint has got.
    pub(super) posted: BTreeSet<MessageName>,
    /// Everything that a reader ever gave out.
    pub(super) given_out: BTreeMap<Seq, MessageName>,
}

impl OutsideWorld {
    pub(super) fn new() -> Self {
        OutsideWorld {
            senders: (1..=3).map(Sender::new).collect(),
            safe: BTreeSet::new(),
            rows: BTreeMap::new(),
            position: 0,
            posted: BTreeSet::new(),
            given_out: BTreeMap::new(),
        }
    }

    /// Sends a group through the journal as the committer does. `false`: it could not be made durable.
    pub(super) fn commit(&mut self, journal: &mut Journal, random: &mut fastrand::Rng) -> bool {
        let _ = journal.tidy_notes();
        let mut group = CommitDraft { seq: journal.next_seq(), ..CommitDraft::default() };
        let mut offers = Vec::new();
        for place in 0..self.senders.len() {
            if random.bool() {
                let sender = &mut self.senders[place];
                let offered = sender.offered();
                group.admit(sender, &offered, journal);
                offers.push((place, offered));
            }
        }
        if group.write(journal).is_err() {
            journal.forget_promises();
            offers.iter().for_each(|(place, _)| self.senders[*place].lose_connection());
            return false;
        }
        for (place, offered) in offers {
            self.acknowledge(place, &offered, journal, random);
        }
        true
    }

    /// The sender of these is told that they are safe; it may hear of some of it only.
    fn acknowledge(
        &mut self,
        place: usize,
        offered: &[(SentMessage, bool)],
        journal: &mut Journal,
        random: &mut fastrand::Rng,
    ) {
        let sender = &mut self.senders[place];
        sender.is_back = false;
        let stored = offered.iter().filter(|(message, _)| message.is_stored);
        self.safe.extend(stored.map(|(message, _)| sender.name(message)));
        if random.u8(0..5) == 0 {
            sender.acknowledge(offered, random.usize(0..=offered.len()));
            sender.lose_connection();
            return;
        }
        sender.acknowledge(offered, offered.len());
        if random.u8(0..4) == 0
            && let Some(last) = journal.owed().snapshot().filter(|entry| entry.session == sender.session).last()
            && let Some(seq) = last.seq
        {
            journal.owed().confirm_through(sender.session, seq);
            journal.settle_soon();
        }
    }

    /// The database takes a batch: rows and position in one transaction.
    pub(super) fn store(&mut self, journal: &Journal, count: usize, bytes: usize) -> Result<(), JournalError> {
        let mut reader = journal.handle().reader_after(self.position);
        let batch = reader.next_batch(count, bytes)?;
        assert_eq!(batch.skipped, [], "the database's writer is told of damage");
        for entry in &batch.entries {
            let name = MessageName::of(entry.payload).expect("a payload as it was sent");
            self.rows.insert(entry.seq, name);
            self.given_out.insert(entry.seq, name);
        }
        self.position = self.position.max(batch.through);
        journal.handle().release(DATABASE, self.position)
    }

    /// The endpoint is called; the position follows.
    pub(super) fn post(&mut self, journal: &Journal, count: usize, bytes: usize) -> Result<(), JournalError> {
        let mut reader = journal.handle().reader(ENDPOINT)?;
        let batch = reader.next_batch(count, bytes)?;
        assert_eq!(batch.skipped, [], "the poster is told of damage");
        for entry in &batch.entries {
            let name = MessageName::of(entry.payload).expect("a payload as it was sent");
            self.posted.insert(name);
            self.given_out.insert(entry.seq, name);
        }
        journal.handle().release(ENDPOINT, batch.through)
    }
}

/// What is appended together.
#[derive(Default)]
struct CommitDraft {
    seq: Seq,
    entries: Vec<(MessageOrigin, Vec<u8>)>,
    notes: Vec<UnstoredNote>,
    is_needed: bool,
}

impl CommitDraft {
    fn admit(&mut self, sender: &Sender, offered: &[(SentMessage, bool)], journal: &mut Journal) {
        let session = sender.session;
        if sender.is_back {
            journal.owed().connected(session);
            self.notes.push(UnstoredNote { before: self.seq, event: SenderNote::Connected { session } });
        }
        for (message, dup) in offered {
            let origin = MessageOrigin { session, packet_id: message.packet_id, dup: *dup };
            let payload = sender.name(message).payload(message.size);
            let hash = content_hash(TOPIC, &payload);
            match journal.owed().check(&origin, hash) {
                RedeliveryVerdict::Redelivered { .. } => {}
                RedeliveryVerdict::New if message.is_stored => {
                    journal.owed().record(&origin, hash, self.seq);
                    self.entries.push((origin, payload));
                    self.seq += 1;
                    self.is_needed = true;
                }
                RedeliveryVerdict::New => {
                    journal.owed().record_unstored(&origin, hash);
                    let event = SenderNote::Received { origin, hash, seq: None };
                    self.notes.push(UnstoredNote { before: self.seq, event });
                    self.is_needed = true;
                }
            }
        }
    }

    fn write(&self, journal: &mut Journal) -> Result<(), JournalError> {
        let entries: Vec<JournalEntry<'_>> = self
            .entries
            .iter()
            .map(|(origin, payload)| JournalEntry {
                topic: TOPIC,
                payload,
                received_at: 1,
                qos: QoS::AtLeastOnce,
                retain: false,
                is_restored: false,
                origin: Some(*origin),
                targets: TARGETS,
            })
            .collect();
        if entries.is_empty() && !self.is_needed {
            let _ = journal.append_with_notes(&[], &self.notes);
            return Ok(());
        }
        let appended = journal.append_with_notes(&entries, &self.notes)?;
        assert_eq!(appended.seqs.end, self.seq, "entries have the numbers that were promised");
        journal.sync()?;
        Ok(())
    }
}

const TOPIC: &str = "a/b";
