//! Those who publish: they send again with DUP what was not acknowledged, in their order.

use super::world::MessageName;
use std::collections::VecDeque;

/// Messages of one sender that may be on their way at once.
const INFLIGHT: usize = 12;

/// A message that the sender has no acknowledgement for.
#[derive(Clone, Debug)]
pub(super) struct SentMessage {
    pub(super) number: u64,
    pub(super) packet_id: u16,
    pub(super) size: usize,
    /// A flow stores it; else it is only noted.
    pub(super) is_stored: bool,
    /// It was sent before.
    pub(super) is_old: bool,
}

/// A client with a session.
#[derive(Debug)]
pub(super) struct Sender {
    pub(super) session: u64,
    next: u64,
    pub(super) inflight: VecDeque<SentMessage>,
    /// It has a new connection, and first sends again what it sent before.
    pub(super) is_back: bool,
}

impl Sender {
    pub(super) fn new(session: u64) -> Self {
        Sender { session, next: 1, inflight: VecDeque::new(), is_back: true }
    }

    /// Publishes one more, with the lowest packet identifier that is free. Its payload is its name and filling.
    pub(super) fn publish(&mut self, size: usize, is_stored: bool) {
        if self.inflight.len() >= INFLIGHT {
            return;
        }
        let is_free = |id: &u16| self.inflight.iter().all(|message| message.packet_id != *id);
        let Some(packet_id) = (1..).find(is_free) else { return };
        let number = self.next;
        self.next += 1;
        self.inflight.push_back(SentMessage { number, packet_id, size, is_stored, is_old: false });
    }

    pub(super) fn name(&self, message: &SentMessage) -> MessageName {
        MessageName { session: self.session, number: message.number }
    }

    /// The connection is lost: what was sent comes again.
    pub(super) fn lose_connection(&mut self) {
        self.is_back = true;
    }

    /// What it sends next: all that is on its way.
    pub(super) fn offered(&mut self) -> Vec<(SentMessage, bool)> {
        let is_back = self.is_back;
        let offered = |message: &mut SentMessage| {
            let was_sent = std::mem::replace(&mut message.is_old, true);
            (!was_sent || is_back).then(|| (message.clone(), was_sent))
        };
        self.inflight.iter_mut().filter_map(offered).collect()
    }

    /// The first `count` acknowledgements have arrived.
    pub(super) fn acknowledge(&mut self, offered: &[(SentMessage, bool)], count: usize) {
        for (message, _) in offered.iter().take(count) {
            self.inflight.retain(|inflight| inflight.number != message.number);
        }
    }
}
