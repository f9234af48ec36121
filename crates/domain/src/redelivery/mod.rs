//! Telling a message that is sent again from a new one, so that what was stored is not stored twice.
//!
//! # The situation
//! We took a QoS 1 or 2 message into the journal and acknowledged it, and the acknowledgement may have been lost with
//! the connection. Then the sender must send it again, with the same packet identifier and DUP set (MQTT 3.1.1 and 5.0,
//! section 4.4), and we must acknowledge it again but not store it again. Yet DUP does not say that *we* had the
//! message: the first attempt may have been lost on its way. And a packet identifier may stand for another message by
//! then. So [`RedeliveryWindow`] keeps for each session what was taken and whose acknowledgement the sender may not have, in the
//! order of receipt: packet identifier, hash of topic and payload, and sequence number in the journal.
//!
//! # The rules
//! 1. DUP clear: new. It was never sent before (section 3.3.1.1).
//! 2. DUP set: a redelivery if an entry of the same session has the same packet identifier and hash; else new.
//! 3. A packet identifier that comes with another message (DUP clear, or another hash) was free: the sender has the
//!    acknowledgement of its entry. We acknowledge in order of receipt (section 4.6), and a connection keeps order, so it
//!    has all earlier acknowledgements of *that connection* too: what was received on it up to that one goes. It says nothing of
//!    other connections ([`RedeliveryWindow::connected`]): a sender may publish new messages before it sends the old ones again, and
//!    then has the acknowledgement of the new ones first. Nor does it say anything that an entry is passed over: what a
//!    sender sends again, it sends in its own order, and not in the order in which we received it.
//! 4. What nobody stores is recorded like everything else: it is acknowledged and may be sent again, and its
//!    identifier may show what else was acknowledged.
//! 5. An entry goes when `window` more messages were recorded after it. As acknowledgements go out in order, what a sender
//!    still misses are the last messages that it sent, and no more than the receive maximum (MQTT 5, section 3.3.4)
//!    allows.
//! 6. Whoever knows that an acknowledgement arrived says so: [`RedeliveryWindow::confirm_through`] (a client knows it of its broker: a
//!    PINGRESP answers a PINGREQ that was sent behind the acknowledgement; it speaks of what came on that connection), and [`RedeliveryWindow::released`] (a PUBREL answers our
//!    PUBREC).
//!    A broker that was itself killed may have lost that again, and sends what it had before. So what was confirmed stays a while if
//!    the sender's identifiers come in turn (it took the next one when the last was free again): the last
//!    [`CLIENT_WINDOW`], whose identifiers have not come round.
//! 7. A sender that is away owes us nothing less for it: its entries stay until it is back, or until its session is known
//!    to be over ([`RedeliveryWindow::forget_session`]). At most `most` entries are kept of all sessions together. When there are
//!    more, the sessions with the most of them lose their oldest, down to one common number: however much others
//!    publish, a sender finds its youngest entries again as long as they are not more than its share: three quarters of
//!    `most`, divided by the number of senders.
//!
//! Whoever keeps new messages and connections on disk, in their order, can play them back ([`RedeliveryWindow::replay`]). What is
//! dropped from the front of a session's entries can be told to it ([`RedeliveryWindow::take_settled`]). To keep what was dropped
//! would be no harm: it would only widen the ambiguity below.
//!
//! # What is promised
//! For a sender that keeps to MQTT, as long as the session's entries are kept (or restored), and `window` and the
//! session's share of `most` are at least twice the number of messages that the sender has in flight, those included that
//! it publishes before it sends the old ones again:
//! - **Never stored twice.** Every message that we took and that is sent again is recognised. Rules 3 to 6 drop only
//!   entries that are never sent again.
//! - **Never lost**, unless the ambiguity below is met. In particular never when the sender's identifiers come in turn
//!   through a range of at least twice `window` (Mosquitto goes through 1 to 65,535): when an identifier comes again, its
//!   old entry is gone by rule 5. Therefore [`CLIENT_WINDOW`] is half of all packet identifiers. For a sender that confirms
//!   (rule 6) it may be all of them ([`BROKER_WINDOW`]): there the old entry is gone by its confirmation.
//!
//! # The ambiguity that remains
//! A sender has our acknowledgement of message A, reuses A's packet identifier at once for a message B with *equal
//! topic and payload*, and the connection is lost before B arrives (or we are killed before B is durable). It sends B
//! again with DUP set, and what we see is exactly what we would see if it sent A again because the acknowledgement had
//! been lost. Nothing in MQTT tells the two apart, and we decide for A. It takes a sender that takes the lowest free
//! identifier or comes round to it soon, equal content twice in a row on one identifier, and a connection that is cut
//! with B on its way before rules 3, 5 or 6 remove A's entry. A broker as the sender shows within a round trip that it has
//! the acknowledgement (rule 6), and so does a client at QoS 2; of a client of the embedded broker at QoS 1 nothing shows
//! it before it publishes on that identifier again. What is lost then is the repetition of a message that was stored.

mod session;
use crate::delivery::MessageOrigin;
use crate::redelivery::session::{Entry, Session};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::num::NonZeroU64;

/// What was taken of all sessions and may be sent again.
#[derive(Clone, Debug)]
pub struct RedeliveryWindow {
    window: usize,
    most: usize,
    sessions: HashMap<u64, Session>,
    /// Entries of all sessions.
    total: usize,
    /// Of these sessions everything through that number was dropped, and nobody was told yet.
    settled: HashMap<u64, u64>,
}

/// Whether a message is new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RedeliveryVerdict {
    /// It was not taken yet: take it, and [`RedeliveryWindow::record`] it (or [`RedeliveryWindow::record_unstored`]) before the next check.
    New,
    /// It was taken: acknowledge it, as soon as the first one is durable.
    Redelivered {
        /// The sequence number that was recorded for it; none when it was not stored.
        seq: Option<u64>,
    },
}

/// Something that changes what is owed, to be kept elsewhere and [played back](Owed::replay).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SenderNote {
    /// The session has a new connection.
    Connected {
        /// The session.
        session: u64,
    },
    /// A new message was taken.
    Received {
        /// Who sent it.
        origin: MessageOrigin,
        /// Of topic and payload.
        hash: u64,
        /// In the journal; none when it was not stored.
        seq: Option<u64>,
    },
    /// The sender has let go of a message.
    Released {
        /// The session.
        session: u64,
        /// Packet identifier of the message.
        packet_id: u16,
    },
    /// The session is over.
    Gone {
        /// The session.
        session: u64,
    },
}

/// An entry, to be kept elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwedEntry {
    /// The session it came from.
    pub session: u64,
    /// Its packet identifier.
    pub packet_id: u16,
    /// Of topic and payload.
    pub hash: u64,
    /// In the journal; none when it was not stored.
    pub seq: Option<u64>,
    /// How many messages of the session were recorded before it.
    pub position: u64,
    /// The connection that it came on; they are counted.
    pub connection: u32,
}

/// So many entries of a sender that does not confirm are kept at most: half of the packet identifiers, so that an entry is
/// gone when its identifier comes in turn again. No sender has more in flight that keeps an eye on what it is owed.
pub const CLIENT_WINDOW: usize = 32_767;

/// For a broker as the sender, which confirms what it has our acknowledgement for (rule 6): as many as there are packet
/// identifiers, which it may all have in flight. What it has confirmed is gone long before its identifiers come round.
pub const BROKER_WINDOW: usize = 65_535;

/// So many entries are kept of all senders together, unless said otherwise.
pub const MAX_ENTRIES: usize = 100_000;

impl Default for RedeliveryWindow {
    /// With [`CLIENT_WINDOW`].
    fn default() -> Self {
        Self::new(CLIENT_WINDOW)
    }
}

impl RedeliveryWindow {
    /// Keeps at most `window` entries of a session: the receive maximum that was agreed on, [`CLIENT_WINDOW`], or
    /// [`BROKER_WINDOW`].
    #[must_use]
    pub fn new(window: usize) -> Self {
        let (sessions, settled) = (HashMap::new(), HashMap::new());
        Self { window: window.clamp(1, BROKER_WINDOW), most: MAX_ENTRIES, sessions, total: 0, settled }
    }

    /// Keeps at most so many entries of all sessions together.
    #[must_use]
    pub fn at_most(self, entries: usize) -> Self {
        Self { most: entries.max(1), ..self }
    }

    /// The entries of an earlier [`snapshot`](Self::snapshot), or of the journal, in their order.
    #[must_use]
    pub fn restore(window: usize, entries: impl IntoIterator<Item = OwedEntry>) -> Self {
        let mut owed = Self::new(window);
        for OwedEntry { session, packet_id, hash, seq, position, connection } in entries {
            owed.sessions.entry(session).or_default().skip_to(position, connection);
            owed.put(session, packet_id, hash, seq, false);
        }
        owed
    }

    /// All entries, those of a session in their order, one session after the other.
    pub fn snapshot(&self) -> impl Iterator<Item = OwedEntry> {
        self.sessions.iter().flat_map(|(session, entries)| {
            let entry = |entry: &Entry| OwedEntry {
                session: *session,
                packet_id: entry.packet_id,
                hash: entry.hash,
                seq: entry.seq(),
                position: entry.position,
                connection: entry.connection,
            };
            entries.list.iter().filter(|entry| !entry.gone).map(entry)
        })
    }

    /// The number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.total
    }

    /// Whether nothing may be sent again.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// The sequence number of the oldest stored message that this session's sender may send again.
    #[must_use]
    pub fn oldest(&self, session: u64) -> Option<u64> {
        let entries = &self.sessions.get(&session)?.list;
        entries.iter().filter(|entry| !entry.gone).find_map(Entry::seq)
    }

    /// The session has a new connection: acknowledgements on it say nothing of those on earlier ones.
    pub fn connected(&mut self, session: u64) {
        self.change(session, |session| session.connection = session.connection.wrapping_add(1));
    }

    /// Makes a change that was made before, in its order.
    pub fn replay(&mut self, event: SenderNote) {
        match event {
            SenderNote::Connected { session } => self.connected(session),
            SenderNote::Released { session, packet_id } => self.released(session, packet_id),
            SenderNote::Gone { session } => self.forget_session(session),
            // It was found to be new then.
            SenderNote::Received { origin, hash, seq } => self.put(origin.session, origin.packet_id, hash, seq, false),
        }
    }

    /// Whether a message is new.
    pub fn check(&mut self, origin: &MessageOrigin, hash: u64) -> RedeliveryVerdict {
        let check = |session: &mut Session| {
            if let Some(entry) = session.find(origin.packet_id, hash).filter(|_| origin.dup) {
                session.sent_again(origin.packet_id);
                return RedeliveryVerdict::Redelivered { seq: entry.seq() };
            }
            session.reused(origin.packet_id);
            RedeliveryVerdict::New
        };
        self.change(origin.session, check).unwrap_or(RedeliveryVerdict::New)
    }

    /// A new message was handed to the journal as `seq`, which is greater than any before. To be called at once, not
    /// only when it is durable: the connection may be lost and the message sent again in between.
    pub fn record(&mut self, origin: &MessageOrigin, hash: u64, seq: u64) {
        self.put(origin.session, origin.packet_id, hash, Some(seq), true);
    }

    /// A new message is acknowledged and not stored. It is recorded too: the rules live on the order of all.
    pub fn record_unstored(&mut self, origin: &MessageOrigin, hash: u64) {
        self.put(origin.session, origin.packet_id, hash, None, true);
    }

    /// The journal failed for `seq` and all behind it: they were not taken.
    pub fn retract_from(&mut self, seq: u64) {
        for session in self.sessions.values_mut() {
            session.drop_from_seq(seq);
        }
        self.sessions.retain(|_, session| !session.is_over());
        self.total = self.sessions.values().map(|session| session.positions.len()).sum();
        // The numbers are given to others.
        self.settled.values_mut().for_each(|through| *through = (*through).min(seq.saturating_sub(1)));
    }

    /// On the session's present connection the sender has the acknowledgement of the message `seq`. It then has those of
    /// all that came on this connection before it. Not to be called for an acknowledgement of an earlier connection.
    pub fn confirm_through(&mut self, session: u64, seq: u64) {
        let kept = CLIENT_WINDOW.min(self.window / 2);
        self.change(session, |session| session.drop_confirmed(seq, kept));
    }

    /// Everything of this session through `seq` was [told to be settled](Self::take_settled), as somebody has kept it.
    pub fn settle_through(&mut self, session: u64, seq: u64) {
        self.change(session, |session| session.drop_through_seq(seq, |_| true));
    }

    /// The sender has let go of this message: it will not be sent again, nor will those before it.
    pub fn released(&mut self, session: u64, packet_id: u16) {
        self.change(session, |session| session.reused(packet_id));
    }

    /// The sender has forgotten the session.
    pub fn forget_session(&mut self, session: u64) {
        self.change(session, Session::forget);
    }

    /// Of which sessions everything through which sequence number was dropped, as far as that was not told before; at
    /// most so many of them.
    pub fn take_settled(&mut self, count: usize) -> Vec<(u64, u64)> {
        self.settled.extract_if(|_, _| true).take(count).collect()
    }

    /// `is_live` says that it is received now.
    fn put(&mut self, session: u64, packet_id: u16, hash: u64, seq: Option<u64>, is_live: bool) {
        self.sessions.entry(session).or_default();
        let window = self.window;
        self.change(session, |session| {
            session.push(packet_id, hash, seq.and_then(NonZeroU64::new), is_live);
            session.keep_youngest(window);
        });
        if self.total > self.most {
            self.shed();
        }
    }

    /// Changes a session, if there is one, and keeps account.
    fn change<T>(&mut self, session: u64, change: impl FnOnce(&mut Session) -> T) -> Option<T> {
        let entries = self.sessions.get_mut(&session)?;
        let before = entries.positions.len();
        let result = change(entries);
        self.total = self.total - before + entries.positions.len();
        if let Some(through) = entries.dropped.take() {
            self.settled.insert(session, through.get());
            if self.settled.len() > self.most {
                self.settled.clear(); // it was only for the ambiguity
            }
        }
        if entries.is_over() {
            self.sessions.remove(&session);
        }
        Some(result)
    }

    /// Makes room for a quarter more, at the cost of those who have the most.
    fn shed(&mut self) {
        let room = self.most - self.most / 4;
        let mut counts: Vec<usize> = self.sessions.values().map(|session| session.positions.len()).collect();
        counts.sort_unstable();
        let level = fair_share(&counts, room);
        let sessions: Vec<u64> = self.sessions.keys().copied().collect();
        for session in sessions {
            self.change(session, |entries| entries.keep_at_most(level));
        }
        if self.total > self.most {
            self.shed_sessions(room);
        }
    }

    /// There are more senders than entries may be: those that were heard of last are remembered.
    fn shed_sessions(&mut self, room: usize) {
        let newest = |session: &Session| session.list.iter().rev().find_map(Entry::seq);
        let mut sessions: Vec<_> = self.sessions.iter().map(|(session, entries)| (newest(entries), *session)).collect();
        sessions.sort_unstable();
        let excess = sessions.len().saturating_sub(room);
        sessions.truncate(excess);
        sessions.into_iter().for_each(|(_, session)| self.forget_session(session));
    }
}

/// The greatest number, at least 1, so that the counts (rising) come to no more than `room` when each is cut down to it.
fn fair_share(counts: &[usize], room: usize) -> usize {
    let mut left = room;
    for (index, count) in counts.iter().enumerate() {
        let share = left / (counts.len() - index);
        if *count > share {
            return share.max(1);
        }
        left -= count;
    }
    counts.last().copied().unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: u64 = 9;

    fn origin(packet_id: u16, dup: bool) -> MessageOrigin {
        MessageOrigin { session: SESSION, packet_id, dup }
    }

    /// Messages of packet identifiers 1, 2, …, each its own hash and sequence number.
    fn owed(count: u16) -> RedeliveryWindow {
        let mut owed = RedeliveryWindow::new(100);
        for id in 1..=count {
            assert_eq!(owed.check(&origin(id, false), u64::from(id)), RedeliveryVerdict::New);
            owed.record(&origin(id, false), u64::from(id), u64::from(id));
        }
        owed
    }

    fn resend(owed: &mut RedeliveryWindow, id: u16) -> bool {
        owed.check(&origin(id, true), u64::from(id)) == (RedeliveryVerdict::Redelivered { seq: Some(u64::from(id)) })
    }

    #[test]
    fn what_was_taken_and_is_sent_again_is_recognised_on_every_connection() {
        let mut owed = owed(3);
        for _ in 0..3 {
            owed.connected(SESSION);
            assert!(resend(&mut owed, 1) && resend(&mut owed, 2) && resend(&mut owed, 3));
        }
        assert_eq!(owed.len(), 3);
    }

    #[test]
    fn dup_alone_makes_no_redelivery() {
        let mut owed = owed(3);
        assert_eq!(owed.check(&origin(4, true), 4), RedeliveryVerdict::New);
        assert!(resend(&mut owed, 3));
        assert_eq!(owed.check(&origin(3, true), 99), RedeliveryVerdict::New);
        let other_session = MessageOrigin { session: 1, ..origin(3, true) };
        assert_eq!(owed.check(&other_session, 3), RedeliveryVerdict::New);
    }

    #[test]
    fn a_reused_identifier_shows_that_all_before_it_were_acknowledged() {
        let mut owed = owed(5);
        assert_eq!(owed.check(&origin(3, false), 3), RedeliveryVerdict::New);
        assert_eq!(owed.snapshot().map(|entry| entry.packet_id).collect::<Vec<_>>(), [4, 5]);
        assert!(resend(&mut owed, 4));
    }

    #[test]
    fn what_is_sent_again_in_an_order_of_the_senders_own_is_recognised() {
        let mut owed = owed(6);
        owed.connected(SESSION);
        assert!(resend(&mut owed, 3) && resend(&mut owed, 5) && resend(&mut owed, 1));
        assert_eq!(owed.len(), 6);
    }

    #[test]
    fn new_messages_before_and_among_those_that_are_sent_again_end_nothing() {
        let mut owed = owed(4);
        owed.connected(SESSION);
        // The last one reuses an identifier: its entry and those before it on this connection are acknowledged.
        for (id, dup, hash) in [(8, false, 8), (9, true, 9), (9, false, 10)] {
            assert_eq!(owed.check(&origin(id, dup), hash), RedeliveryVerdict::New);
            owed.record(&origin(id, dup), hash, hash);
        }
        assert!(resend(&mut owed, 1) && resend(&mut owed, 2));
        assert_eq!(owed.check(&origin(20, true), 20), RedeliveryVerdict::New);
        owed.record_unstored(&origin(20, true), 20);
        assert!(resend(&mut owed, 3) && resend(&mut owed, 4));
        assert_eq!(owed.check(&origin(8, true), 8), RedeliveryVerdict::New);
    }

    #[test]
    fn what_is_played_back_leads_to_the_same_entries() {
        let received = |id, dup, hash, seq| SenderNote::Received { origin: origin(id, dup), hash, seq };
        let events = [
            received(1, false, 1, Some(1)),
            received(2, false, 2, None),
            SenderNote::Connected { session: SESSION },
            received(3, true, 3, Some(2)),
            received(2, false, 4, None),
            SenderNote::Released { session: SESSION, packet_id: 3 },
            SenderNote::Gone { session: 1 },
        ];
        let mut owed = RedeliveryWindow::new(100);
        events.into_iter().for_each(|event| owed.replay(event));
        assert_eq!(
            owed.snapshot().map(|entry| (entry.packet_id, entry.position)).collect::<Vec<_>>(),
            [(1, 0), (2, 3)]
        );
        let mut restored = RedeliveryWindow::restore(100, owed.snapshot());
        assert!(restored.snapshot().eq(owed.snapshot()));
        restored.connected(SESSION);
        assert_eq!(restored.check(&origin(2, true), 4), RedeliveryVerdict::Redelivered { seq: None });
        assert_eq!(restored.check(&origin(3, true), 3), RedeliveryVerdict::New);
    }

    #[test]
    fn a_sender_that_repeats_itself_on_one_connection_is_recognised_too() {
        let mut owed = owed(4);
        assert!(resend(&mut owed, 3) && resend(&mut owed, 1) && resend(&mut owed, 3) && resend(&mut owed, 4));
    }

    #[test]
    fn confirmed_retracted_and_forgotten_entries_are_gone() {
        let mut owed = owed(5);
        owed.confirm_through(SESSION, 2);
        owed.retract_from(5);
        assert!(resend(&mut owed, 3) && resend(&mut owed, 4));
        assert_eq!(owed.len(), 2);
        owed.forget_session(SESSION);
        assert!(owed.is_empty() && !resend(&mut owed, 4));
    }

    #[test]
    fn a_confirmation_does_not_reach_beyond_its_message() {
        let mut owed = owed(2);
        owed.record_unstored(&origin(3, false), 3);
        owed.confirm_through(SESSION, 2);
        assert_eq!(owed.check(&origin(3, true), 3), RedeliveryVerdict::Redelivered { seq: None });
        assert_eq!(owed.len(), 1);
    }

    #[test]
    fn only_the_window_is_kept() {
        let mut owed = RedeliveryWindow::new(10);
        for id in 1..=1_000_u16 {
            owed.record(&origin(id, false), u64::from(id), u64::from(id));
        }
        assert_eq!(owed.len(), 10);
        assert!(resend(&mut owed, 991) && !resend(&mut owed, 990));
    }

    #[test]
    fn a_snapshot_restores_what_is_owed() {
        let mut owed = owed(5);
        owed.connected(SESSION);
        assert!(resend(&mut owed, 3));
        let mut restored = RedeliveryWindow::restore(100, owed.snapshot());
        restored.connected(SESSION);
        assert_eq!(restored.len(), 5);
        assert!(resend(&mut restored, 3) && resend(&mut restored, 5) && resend(&mut restored, 2));
    }

    fn others(session: u64, owed: &mut RedeliveryWindow, count: u64) {
        for seq in 1..=count {
            let origin = MessageOrigin { session, packet_id: (seq % 60_000 + 1) as u16, dup: false };
            assert_eq!(owed.check(&origin, seq), RedeliveryVerdict::New);
            owed.record(&origin, seq, 1_000 + seq);
        }
    }

    #[test]
    fn a_sender_that_is_away_is_not_forgotten_however_much_others_publish() {
        let mut owed = owed(15);
        owed = RedeliveryWindow { window: CLIENT_WINDOW, ..owed }.at_most(100);
        for session in [1, 2, 3] {
            others(session, &mut owed, 10_000);
            assert!(owed.len() <= 100, "{}", owed.len());
        }
        owed.connected(SESSION);
        assert!((1..=15).all(|id| resend(&mut owed, id)));
    }

    #[test]
    fn of_more_senders_than_entries_may_be_the_last_ones_are_remembered() {
        let mut owed = RedeliveryWindow::new(10).at_most(100);
        for session in 1..=1_000 {
            let origin = MessageOrigin { session, packet_id: 1, dup: false };
            owed.record(&origin, 7, session);
            assert!(owed.len() <= 100);
        }
        let remembered: Vec<u64> = owed.snapshot().map(|entry| entry.session).collect();
        assert!(remembered.len() > 50 && remembered.iter().all(|session| *session > 900), "{remembered:?}");
    }

    #[test]
    fn an_equal_message_whose_identifier_comes_in_turn_again_is_new_although_nothing_was_ever_confirmed() {
        let mut owed = RedeliveryWindow::default();
        let origin = |number: u64, dup| MessageOrigin { session: 1, packet_id: (number % 65_535 + 1) as u16, dup };
        for number in 0..70_000 {
            assert_eq!(owed.check(&origin(number, false), 7), RedeliveryVerdict::New);
            owed.record(&origin(number, false), 7, number + 1);
        }
        // The next one is lost with the connection, and comes again on the next.
        owed.connected(1);
        assert_eq!(owed.check(&origin(69_999, true), 7), RedeliveryVerdict::Redelivered { seq: Some(70_000) });
        assert_eq!(owed.check(&origin(70_000, true), 7), RedeliveryVerdict::New);
    }

    #[test]
    fn what_a_sender_has_let_go_of_is_not_taken_for_sent_again() {
        let mut owed = owed(3);
        owed.released(SESSION, 2);
        assert_eq!(owed.snapshot().map(|entry| entry.packet_id).collect::<Vec<_>>(), [3]);
        assert_eq!(owed.check(&origin(2, true), 2), RedeliveryVerdict::New);
    }

    #[test]
    fn what_was_dropped_is_told_once_for_each_session() {
        let mut owed = owed(5);
        assert_eq!((owed.oldest(SESSION), owed.take_settled(9)), (Some(1), vec![]));
        owed.confirm_through(SESSION, 3);
        assert_eq!((owed.oldest(SESSION), owed.take_settled(9)), (Some(4), vec![(SESSION, 3)]));
        owed.forget_session(SESSION);
        owed.retract_from(5);
        assert_eq!((owed.oldest(SESSION), owed.take_settled(9)), (None, vec![(SESSION, 4)]));
        assert_eq!(owed.take_settled(9), []);
    }
}
