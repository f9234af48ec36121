//! What was taken of one session and may be sent again.

use std::collections::{HashMap, VecDeque};
use std::num::NonZeroU64;

#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) hash: u64,
    /// Numbers begin at 1. There may be a hundred thousand entries: each byte counts.
    pub(super) seq: Option<NonZeroU64>,
    /// How many messages of the session were recorded before it.
    pub(super) position: u64,
    /// The connection that it came on.
    pub(super) connection: u32,
    /// The connection that it came on last, also when it was sent again; none when that is not known, after a restart.
    pub(super) heard_on: Option<u32>,
    /// Its place in the order of receipt then.
    pub(super) heard: u64,
    pub(super) packet_id: u16,
    /// It will not be sent again; it stays in the list until it is the first, or until too many are such.
    pub(super) gone: bool,
}

impl Entry {
    pub(super) fn seq(&self) -> Option<u64> {
        self.seq.map(NonZeroU64::get)
    }
}

/// Entries of a session that are gone and keep their place in the list, beside as many as are not.
pub(super) const GONE_AT_MOST: usize = 64;

/// The entries of a session in the order of receipt.
#[derive(Clone, Debug, Default)]
pub(super) struct Session {
    /// By position.
    pub(super) list: VecDeque<Entry>,
    /// Position of the next.
    pub(super) end: u64,
    /// Counts the connections.
    pub(super) connection: u32,
    /// Counts what was received, also what was sent again.
    pub(super) heard: u64,
    /// Where each packet identifier stands; none for entries that are gone.
    pub(super) positions: HashMap<u16, u64, std::hash::BuildHasherDefault<PacketIdHasher>>,
    /// Entries of this connection through this position are gone.
    pub(super) swept: (u32, u64),
    /// The last stored message that was dropped from the front, until that is told.
    pub(super) dropped: Option<NonZeroU64>,
    turn: IdentifierTurn,
}

/// Whether the sender's packet identifiers come in turn, and not one that is free before the next. It is not kept over a restart: then
/// it shows anew.
#[derive(Clone, Copy, Debug, Default)]
struct IdentifierTurn {
    last: u16,
    /// The sender has the acknowledgement of the last one, so that it could take it again.
    is_free: bool,
    /// It took the next one all the same.
    is_kept: bool,
}

impl IdentifierTurn {
    fn take(&mut self, packet_id: u16) {
        let is_next = packet_id == self.last.checked_add(1).unwrap_or(1);
        self.is_kept = is_next && (self.is_kept || self.is_free);
        (self.last, self.is_free) = (packet_id, false);
    }
}

impl Session {
    /// Nothing is to be remembered of it.
    pub(super) fn is_over(&self) -> bool {
        self.list.is_empty() && !self.turn.is_free
    }

    /// The sender has forgotten it.
    pub(super) fn forget(&mut self) {
        self.turn = IdentifierTurn::default();
        self.drop_while(|_| true);
    }

    /// The place in the list of a position that is in it.
    pub(super) fn place(&self, position: u64) -> usize {
        self.list.partition_point(|entry| entry.position < position)
    }

    /// What is recorded next has this position, or a later one, and came on this connection.
    pub(super) fn skip_to(&mut self, position: u64, connection: u32) {
        self.end = self.end.max(position);
        self.connection = connection;
    }

    /// Those go after which so many messages were recorded.
    pub(super) fn keep_youngest(&mut self, window: usize) {
        let first = self.end.saturating_sub(window as u64);
        while self.list.front().is_some_and(|entry| entry.gone || entry.position < first) {
            self.drop_first();
        }
        if self.list.len() > 2 * self.positions.len() + GONE_AT_MOST {
            self.list.retain(|entry| !entry.gone);
        }
    }

    /// The oldest go until there are no more than so many.
    pub(super) fn keep_at_most(&mut self, count: usize) {
        while self.positions.len() > count && self.drop_first() {}
    }

    /// The entry of a message that is sent again.
    pub(super) fn find(&self, packet_id: u16, hash: u64) -> Option<Entry> {
        let position = *self.positions.get(&packet_id)?;
        self.list.get(self.place(position)).copied().filter(|entry| entry.hash == hash)
    }

    /// Notes where the entry of a message that is sent again stands in the order of receipt.
    pub(super) fn sent_again(&mut self, packet_id: u16) {
        let Some(&position) = self.positions.get(&packet_id) else { return };
        let place = self.place(position);
        self.heard += 1;
        (self.list[place].heard_on, self.list[place].heard) = (Some(self.connection), self.heard);
    }

    /// The sender has the acknowledgement of this packet identifier's entry, and those of all that it received before on
    /// the connection where it came last.
    pub(super) fn reused(&mut self, packet_id: u16) {
        let Some(&position) = self.positions.get(&packet_id) else { return };
        let mut place = self.place(position);
        let Entry { connection, heard_on, heard, .. } = self.list[place];
        let from = if self.swept.0 == connection { self.swept.1 } else { 0 };
        // Connections follow each other in the list.
        loop {
            let entry = &mut self.list[place];
            if entry.connection != connection || entry.position < from {
                break;
            }
            let is_before = heard_on.is_some() && entry.heard_on == heard_on && entry.heard <= heard;
            if (is_before || entry.position == position) && !std::mem::replace(&mut entry.gone, true) {
                self.positions.remove(&entry.packet_id);
            }
            let Some(before) = place.checked_sub(1) else { break };
            place = before;
        }
        self.swept = (connection, position);
        self.drop_gone();
    }

    pub(super) fn push(&mut self, packet_id: u16, hash: u64, seq: Option<NonZeroU64>, is_live: bool) {
        self.turn.take(packet_id);
        self.heard += 1;
        let Session { end: position, connection, .. } = *self;
        if let Some(before) = self.positions.insert(packet_id, position) {
            // Recorded without a check: the identifier stands for the younger message.
            let place = self.place(before);
            self.list[place].gone = true;
        }
        let (heard_on, heard) = (is_live.then_some(connection), self.heard);
        self.list.push_back(Entry { hash, seq, position, connection, heard_on, heard, packet_id, gone: false });
        self.end += 1;
    }

    /// Of a message that came on the present connection: what came on it before, too. Of what the sender has not sent
    /// again on it yet, its acknowledgement says nothing. Of one from before a restart: all before it, as only what is
    /// settled from the front is remembered. Of a sender whose identifiers come in turn the youngest stay, as many as `kept`.
    pub(super) fn drop_confirmed(&mut self, seq: u64, kept: usize) {
        self.turn.is_free |= self.list.back().is_some_and(|last| last.seq() == Some(seq));
        if self.turn.is_kept {
            let first = self.end.saturating_sub(kept as u64);
            return self.drop_through_seq(seq, |entry| entry.position < first);
        }
        let here = Some(self.connection);
        let confirmed = self.list.iter().find(|entry| entry.seq() == Some(seq) && entry.heard_on == here);
        let Some(last) = confirmed.map(|entry| entry.heard) else {
            return self.drop_through_seq(seq, |entry| entry.heard_on.is_none());
        };
        for entry in self.list.iter_mut().filter(|entry| entry.heard_on == here && entry.heard <= last) {
            if !std::mem::replace(&mut entry.gone, true) {
                self.positions.remove(&entry.packet_id);
            }
        }
        self.drop_gone();
    }

    /// The first entries go through this number, as long as they are such.
    pub(super) fn drop_through_seq(&mut self, seq: u64, is_such: impl Fn(&Entry) -> bool) {
        let is_through = |entry: &&Entry| is_such(entry) && entry.seq().is_none_or(|known| known <= seq);
        let until = self.list.iter().take_while(is_through);
        if let Some(last) = until.filter(|entry| entry.seq.is_some()).last().map(|entry| entry.position) {
            self.drop_while(|entry| entry.position <= last);
        }
    }

    pub(super) fn drop_from_seq(&mut self, seq: u64) {
        let kept = self.list.iter().take_while(|entry| entry.seq().is_none_or(|known| known < seq)).count();
        if let Some(entry) = self.list.get(kept) {
            self.end = entry.position;
        }
        for entry in self.list.drain(kept..).filter(|entry| !entry.gone) {
            self.positions.remove(&entry.packet_id);
        }
        self.swept.1 = self.swept.1.min(self.end);
    }

    /// Drops the first entries as long as they are such.
    pub(super) fn drop_while(&mut self, is_such: impl Fn(&Entry) -> bool) {
        while self.list.front().is_some_and(&is_such) {
            self.drop_first();
        }
        self.drop_gone();
    }

    pub(super) fn drop_gone(&mut self) {
        while self.list.front().is_some_and(|entry| entry.gone) && self.drop_first() {}
    }

    pub(super) fn drop_first(&mut self) -> bool {
        let Some(entry) = self.list.pop_front() else { return false };
        if !entry.gone {
            self.positions.remove(&entry.packet_id);
        }
        self.dropped = entry.seq.or(self.dropped);
        true
    }
}

/// Spreads packet identifiers: at most 65,535 in a map, so that no choice of them makes a bad one.
#[derive(Clone, Copy, Default)]
pub(super) struct PacketIdHasher(u64);

impl std::hash::Hasher for PacketIdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 << 8 | u64::from(*byte)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        }
    }

    fn write_u16(&mut self, packet_id: u16) {
        let mixed = u64::from(packet_id).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.0 = mixed ^ (mixed >> 32);
    }
}
