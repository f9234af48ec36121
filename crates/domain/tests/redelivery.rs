//! A simulated sender, a network that is cut and a gateway that is killed at random points: what is sent arrives once.
#![expect(clippy::unwrap_used, reason = "a test ends with its first surprise, in its helpers too")]

use hearthgate_domain::delivery::MessageOrigin;
use hearthgate_domain::redelivery::{RedeliveryVerdict, RedeliveryWindow, SenderNote as Note};
use proptest::prelude::*;
use std::collections::VecDeque;

const SESSION: u64 = 1;

/// How a sender chooses packet identifiers.
#[derive(Clone, Copy, Debug)]
enum Ids {
    /// In turn through a range, as Mosquitto does through 1 to 65,535.
    Sequential { range: u16 },
    /// The lowest that is free.
    LowestFree,
}

/// What happens next; what cannot happen just then does not.
#[derive(Clone, Copy, Debug)]
enum Event {
    Send,
    Arrive,
    Sync,
    AckArrives,
    /// A PINGRESP shows that the acknowledgements of this connection arrived.
    Confirm,
    Cut,
    Kill,
}

#[derive(Clone, Copy, Debug)]
struct Packet {
    id: u16,
    dup: bool,
    message: usize,
}

/// Sender, network and gateway in one. A message's index is the truth that the gateway does not see.
struct World {
    ids: Ids,
    last_id: u16,
    window: usize,
    /// So many entries are kept.
    kept: usize,
    /// New messages go out before those that are sent again.
    publishes_early: bool,
    contents: Vec<u64>,
    next: usize,
    in_flight: VecDeque<Packet>,
    to_gateway: VecDeque<Packet>,
    to_sender: VecDeque<u16>,
    owed: RedeliveryWindow,
    /// What happened to the session, of stored messages and of others; the first `durable_notes` survive a kill.
    notes: Vec<Note>,
    durable_notes: usize,
    /// Journal: message by sequence number; the first `durable` survive a kill.
    journal: Vec<usize>,
    durable: usize,
    /// Packet identifiers and sequence numbers to acknowledge once they are durable.
    acks: VecDeque<(u16, Option<u64>)>,
    /// Through here all is settled; that is kept at once.
    confirmed: u64,
    /// Sequence number of the last acknowledgement that went out on this connection.
    acknowledged: Option<u64>,
}

impl World {
    fn new(ids: Ids, window: usize, publishes_early: bool, contents: Vec<u64>) -> Self {
        Self {
            publishes_early,
            kept: window,
            ids,
            last_id: 0,
            window,
            contents,
            next: 0,
            in_flight: VecDeque::new(),
            to_gateway: VecDeque::new(),
            to_sender: VecDeque::new(),
            owed: RedeliveryWindow::new(window),
            notes: Vec::new(),
            durable_notes: 0,
            journal: Vec::new(),
            durable: 0,
            acks: VecDeque::new(),
            confirmed: 0,
            acknowledged: None,
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Send => self.send(),
            Event::Arrive => self.arrive(),
            Event::Sync => self.sync(),
            Event::AckArrives => self.ack_arrives(),
            Event::Confirm => self.confirm(),
            Event::Cut => self.reconnect(),
            Event::Kill => self.kill(),
        }
    }

    /// Everything runs on without a disturbance until the sender has all its acknowledgements.
    fn finish(&mut self) {
        self.reconnect();
        while self.next < self.contents.len() || !self.in_flight.is_empty() {
            for event in [Event::Send, Event::Arrive, Event::Sync, Event::AckArrives] {
                self.happen(event);
            }
        }
    }

    /// How many times each message is stored that some flow wants.
    fn times_stored(&self) -> Vec<usize> {
        let wanted = (0..self.contents.len()).filter(|message| wanted(self.contents[*message]));
        wanted.map(|message| self.journal.iter().filter(|stored| **stored == message).count()).collect()
    }

    fn send(&mut self) {
        if self.next == self.contents.len() || self.in_flight.len() == self.window {
            return;
        }
        let packet = Packet { id: self.free_id(), dup: false, message: self.next };
        self.next += 1;
        self.in_flight.push_back(packet);
        if self.publishes_early {
            let early = self.to_gateway.iter().take_while(|waiting| !waiting.dup).count();
            self.to_gateway.insert(early, packet);
        } else {
            self.to_gateway.push_back(packet);
        }
    }

    fn free_id(&mut self) -> u16 {
        let free = |id: &u16| self.in_flight.iter().all(|packet| packet.id != *id);
        match self.ids {
            Ids::LowestFree => (1..).find(free).unwrap(),
            Ids::Sequential { range } => {
                let in_turn = (self.last_id + 1..=range).chain(1..=self.last_id);
                self.last_id = in_turn.into_iter().find(free).unwrap();
                self.last_id
            }
        }
    }

    fn arrive(&mut self) {
        let Some(packet) = self.to_gateway.pop_front() else { return };
        let origin = MessageOrigin { session: SESSION, packet_id: packet.id, dup: packet.dup };
        let hash = self.contents[packet.message];
        let seq = match self.owed.check(&origin, hash) {
            RedeliveryVerdict::Redelivered { seq } => seq,
            RedeliveryVerdict::New => {
                // From 1, as the journal's are.
                let seq = self.journal.len() as u64 + 1;
                let seq = wanted(hash).then_some(seq);
                if let Some(seq) = seq {
                    self.owed.record(&origin, hash, seq);
                    self.journal.push(packet.message);
                } else {
                    self.owed.record_unstored(&origin, hash);
                }
                self.notes.push(Note::Received { origin, hash, seq });
                seq
            }
        };
        self.acks.push_back((packet.id, seq));
    }

    fn sync(&mut self) {
        self.durable = self.journal.len();
        self.durable_notes = self.notes.len();
        self.acknowledged = self.acks.iter().rev().find_map(|(_, seq)| *seq).or(self.acknowledged);
        self.to_sender.extend(self.acks.drain(..).map(|(id, _)| id));
    }

    fn ack_arrives(&mut self) {
        let Some(id) = self.to_sender.pop_front() else { return };
        self.in_flight.retain(|packet| packet.id != id);
    }

    fn confirm(&mut self) {
        if let Some(seq) = self.acknowledged.filter(|_| self.to_sender.is_empty()) {
            self.owed.confirm_through(SESSION, seq);
        }
    }

    fn reconnect(&mut self) {
        self.to_sender.clear();
        self.acks.clear();
        self.acknowledged = None;
        self.in_flight.iter_mut().for_each(|packet| packet.dup = true);
        self.to_gateway.clone_from(&self.in_flight);
        self.owed.connected(SESSION);
        self.notes.push(Note::Connected { session: SESSION });
    }

    fn kill(&mut self) {
        for (_, settled) in self.owed.take_settled(1) {
            self.confirmed = self.confirmed.max(settled);
        }
        self.journal.truncate(self.durable);
        self.notes.truncate(self.durable_notes);
        // Half of it from a snapshot, the rest is played back.
        let (before, since) = self.notes.split_at(self.notes.len() / 2);
        let mut played = RedeliveryWindow::new(self.kept);
        before.iter().for_each(|note| played.replay(*note));
        self.owed = RedeliveryWindow::restore(self.kept, played.snapshot());
        since.iter().for_each(|note| self.owed.replay(*note));
        self.owed.settle_through(SESSION, self.confirmed);
        self.reconnect();
    }
}

/// Other messages are acknowledged and not stored.
fn wanted(content: u64) -> bool {
    content % 4 != 3
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        6 => Just(Event::Send),
        6 => Just(Event::Arrive),
        4 => Just(Event::Sync),
        6 => Just(Event::AckArrives),
        1 => Just(Event::Confirm),
        2 => Just(Event::Cut),
        1 => Just(Event::Kill),
    ];
    prop::collection::vec(event, 0..300)
}

/// Few contents, so that many messages are equal.
fn contents() -> impl Strategy<Value = Vec<u64>> {
    prop::collection::vec(prop::sample::select(vec![0_u64, 0, 1, 3]), 1..80)
}

fn run(ids: Ids, window: usize, contents: Vec<u64>, events: &[Event]) -> Vec<usize> {
    run_world(World::new(ids, window, false, contents), events)
}

fn run_world(mut world: World, events: &[Event]) -> Vec<usize> {
    events.iter().for_each(|event| world.happen(*event));
    world.finish();
    world.times_stored()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn with_identifiers_in_turn_every_message_is_stored_once_even_when_all_are_equal(
        window in 1_usize..8,
        contents in contents(),
        events in events(),
    ) {
        let ids = Ids::Sequential { range: 2 * window as u16 };
        let stored = run(ids, window, contents, &events);
        prop_assert!(stored.iter().all(|times| *times == 1), "{stored:?}");
    }

    #[test]
    fn with_the_lowest_free_identifier_every_message_that_differs_is_stored_once(
        window in 1_usize..8,
        count in 1_u64..80,
        events in events(),
    ) {
        let stored = run(Ids::LowestFree, window, (0..count).collect(), &events);
        prop_assert!(stored.iter().all(|times| *times == 1), "{stored:?}");
    }

    #[test]
    fn a_sender_that_publishes_new_messages_first_gets_none_stored_twice_and_none_lost(
        in_flight in 1_usize..8,
        count in 1_u64..80,
        lowest in any::<bool>(),
        events in events(),
    ) {
        // As many new ones are within the window as come before those that are sent again.
        let ids = if lowest { Ids::LowestFree } else { Ids::Sequential { range: 1_000 } };
        let mut world = World::new(ids, in_flight, true, (0..count).collect());
        (world.kept, world.owed) = (200, RedeliveryWindow::new(200));
        // Who confirms is a broker, and sends again first.
        let events: Vec<Event> = events.into_iter().filter(|event| !matches!(event, Event::Confirm)).collect();
        let stored = run_world(world, &events);
        prop_assert!(stored.iter().all(|times| *times == 1), "{stored:?}");
    }

    #[test]
    fn no_sender_gets_a_message_stored_twice(
        window in 1_usize..8,
        range in 8_u16..20,
        lowest in any::<bool>(),
        contents in contents(),
        events in events(),
    ) {
        let ids = if lowest { Ids::LowestFree } else { Ids::Sequential { range } };
        let mut world = World::new(ids, window, false, contents);
        (world.kept, world.owed) = (2 * window, RedeliveryWindow::new(2 * window));
        let stored = run_world(world, &events);
        prop_assert!(stored.iter().all(|times| *times <= 1), "{stored:?}");
    }
}

#[test]
fn what_a_broker_sends_again_that_was_killed_after_it_had_confirmed_it_is_recognised_if_its_identifiers_come_in_turn() {
    let mut owed = RedeliveryWindow::new(1_000);
    let origin = |packet_id, dup| MessageOrigin { session: SESSION, packet_id, dup };
    owed.connected(SESSION);
    for seq in 1..=900 {
        assert_eq!(owed.check(&origin(seq as u16, false), 8), RedeliveryVerdict::New);
        owed.record(&origin(seq as u16, false), 8, seq);
        owed.confirm_through(SESSION, seq);
    }
    owed.connected(SESSION);
    for seq in 850..=900 {
        let again = owed.check(&origin(seq as u16, true), 8);
        assert_eq!(again, RedeliveryVerdict::Redelivered { seq: Some(seq) });
    }
    assert_eq!(owed.check(&origin(300, true), 8), RedeliveryVerdict::New, "no more are kept than half of the window");
}

/// The ambiguity that the module's documentation names, shown as what it is. Should this test fail one day, the
/// documentation promises too little.
#[test]
fn equal_content_on_one_identifier_across_a_cut_is_taken_for_a_redelivery() {
    let events = [Event::Send, Event::Arrive, Event::Sync, Event::AckArrives, Event::Send, Event::Cut];
    assert_eq!(run(Ids::LowestFree, 1, vec![8, 8], &events), [1, 0]);
    let confirmed =
        [Event::Send, Event::Arrive, Event::Sync, Event::AckArrives, Event::Confirm, Event::Send, Event::Cut];
    assert_eq!(run(Ids::LowestFree, 1, vec![8, 8], &confirmed), [1, 1]);
}
