//! The owed list: entries whose sender may not have our acknowledgement and may send them again.

use super::Seq;
use super::format::Fields;
use hearthgate_domain::delivery::Origin;
use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

const RECORD: usize = 32;
const DUP: u8 = 1;
const HELD: u8 = 2;

/// An entry that its sender may send again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owed {
    /// Session and packet identifier under which it came.
    pub origin: Origin,
    /// Its [`content_hash`](super::content_hash).
    pub content_hash: u64,
    /// Its number in the journal.
    pub seq: Seq,
}

/// All of them. A sender that reuses a packet identifier has our acknowledgement for its earlier use, so there is at
/// most one for each session and packet identifier.
#[derive(Debug, Default)]
pub(super) struct OwedList {
    /// In order; the front goes as acknowledgements are confirmed.
    recent: VecDeque<Owed>,
    /// What outlived its confirmation because its session is held.
    held: Vec<Owed>,
    held_sessions: HashSet<u64>,
    /// Length of `recent` at which superseded ones are taken out.
    compact_at: usize,
}

impl OwedList {
    pub(super) fn add(&mut self, owed: Owed) {
        if self.recent.len() >= self.compact_at {
            self.compact();
            self.compact_at = (self.recent.len() * 2).max(4096);
        }
        self.recent.push_back(owed);
    }

    /// The senders have our acknowledgements through this number, held sessions excepted.
    pub(super) fn confirm(&mut self, through: Seq) {
        while let Some(owed) = self.recent.pop_front_if(|owed| owed.seq <= through) {
            if self.held_sessions.contains(&owed.origin.session) {
                self.held.push(owed);
            }
        }
    }

    /// From now on this session's entries stay until it is settled.
    pub(super) fn hold(&mut self, session: u64) {
        self.held_sessions.insert(session);
    }

    /// This session has our acknowledgements through that number. It is held no longer once nothing of it is left.
    pub(super) fn settle(&mut self, session: u64, through: Seq) {
        let stays = |owed: &Owed| owed.origin.session != session || owed.seq > through;
        self.recent.retain(stays);
        self.held.retain(stays);
        if !self.held.iter().any(|owed| owed.origin.session == session) {
            self.held_sessions.remove(&session);
        }
    }

    /// Entries from this number on did not reach the disk after all.
    pub(super) fn take_back(&mut self, from: Seq) {
        self.recent.retain(|owed| owed.seq < from);
    }

    /// What is owed, in order.
    pub(super) fn list(&mut self) -> Vec<Owed> {
        self.compact();
        let mut list: Vec<Owed> = self.held.iter().chain(&self.recent).copied().collect();
        list.sort_unstable_by_key(|owed| owed.seq);
        list
    }

    fn compact(&mut self) {
        let mut newest: HashMap<_, Seq, BuildHasherDefault<SenderHasher>> = HashMap::default();
        newest.reserve(self.recent.len());
        for owed in self.held.iter().chain(&self.recent) {
            newest.insert((owed.origin.session, owed.origin.packet_id), owed.seq);
        }
        let stays = |owed: &Owed| newest.get(&(owed.origin.session, owed.origin.packet_id)) == Some(&owed.seq);
        self.recent.retain(stays);
        self.held.retain(stays);
    }

    /// Body of a snapshot group.
    pub(super) fn encode(&mut self) -> Vec<u8> {
        self.compact();
        let mut out = Vec::with_capacity((self.held.len() + self.recent.len()) * RECORD);
        for owed in self.held.iter().chain(&self.recent) {
            let held = if self.held_sessions.contains(&owed.origin.session) { HELD } else { 0 };
            out.extend_from_slice(&owed.origin.session.to_le_bytes());
            out.extend_from_slice(&owed.content_hash.to_le_bytes());
            out.extend_from_slice(&owed.seq.to_le_bytes());
            out.extend_from_slice(&owed.origin.packet_id.to_le_bytes());
            out.push(held | if owed.origin.dup { DUP } else { 0 });
            out.extend_from_slice(&[0; 5]);
        }
        out
    }

    /// The list that a snapshot group holds; `None` when its body makes no sense.
    pub(super) fn decode(body: &[u8]) -> Option<Self> {
        let mut list = OwedList::default();
        for record in body.chunks(RECORD) {
            let mut fields = Fields(record);
            let (session, content_hash, seq) = (fields.u64()?, fields.u64()?, fields.u64()?);
            let (packet_id, flags) = (fields.u16()?, fields.u8()?);
            let origin = Origin { session, packet_id, dup: flags & DUP != 0 };
            let owed = Owed { origin, content_hash, seq };
            if flags & HELD != 0 {
                list.held.push(owed);
                list.held_sessions.insert(session);
            } else {
                list.recent.push_back(owed);
            }
        }
        Some(list)
    }
}

/// Spreads sessions, which are numbers of our own, and packet identifiers, of which a session has 65,535: nobody can make
/// a bad map, and the standard hasher was a fortieth of the gateway's time under load.
#[derive(Default)]
struct SenderHasher(u64);

impl SenderHasher {
    fn mix(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(23) ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
}

impl Hasher for SenderHasher {
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.mix(u64::from(*byte)));
    }

    fn write_u16(&mut self, packet_id: u16) {
        self.mix(u64::from(packet_id));
    }

    fn write_u64(&mut self, session: u64) {
        self.mix(session);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owed(session: u64, packet_id: u16, seq: Seq) -> Owed {
        Owed { origin: Origin { session, packet_id, dup: false }, content_hash: seq * 7, seq }
    }

    fn seqs(list: &mut OwedList) -> Vec<Seq> {
        list.list().iter().map(|owed| owed.seq).collect()
    }

    #[test]
    fn a_reused_packet_identifier_supersedes_its_earlier_use() {
        let mut list = OwedList::default();
        for entry in [owed(1, 5, 1), owed(1, 6, 2), owed(2, 5, 3), owed(1, 5, 4)] {
            list.add(entry);
        }
        assert_eq!(seqs(&mut list), [2, 3, 4]);
    }

    #[test]
    fn a_held_session_outlives_the_watermark_until_it_is_settled() {
        let mut list = OwedList::default();
        for entry in [owed(1, 1, 1), owed(2, 1, 2), owed(1, 2, 3)] {
            list.add(entry);
        }
        list.hold(1);
        list.confirm(3);
        assert_eq!(seqs(&mut list), [1, 3]);
        let mut list = OwedList::decode(&list.encode()).unwrap();
        list.settle(1, 1);
        assert_eq!(seqs(&mut list), [3], "still held, so a snapshot keeps it");
        list.settle(1, 3);
        list.add(owed(1, 3, 4));
        list.confirm(4);
        assert!(seqs(&mut list).is_empty(), "no longer held");
    }

    #[test]
    fn an_unconfirmed_sender_cannot_make_the_list_grow_without_bound() {
        let mut list = OwedList::default();
        for seq in 1..=400_000 {
            list.add(owed(1, (seq % 100) as u16, seq));
        }
        assert!(list.recent.len() <= 4096);
        assert_eq!(list.list().len(), 100);
    }
}
