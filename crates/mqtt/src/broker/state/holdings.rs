//! What the broker holds for a session until its client acts or the session ends: its will, and the identifiers of QoS 2
//! messages that it has not released.
//!
//! Unlike what waits in queues it can't be dropped to make room, so it is counted for itself.

use super::received::ReceivedMessage;
use crate::broker::packets::connect::ConnectWill;
use std::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;

/// What an identifier takes in memory, about.
pub(crate) const IDENTIFIER_BYTES: usize = 64;
/// A table gives memory back when it is this many times larger than what it holds.
const SPARSE: usize = 4;

/// Bytes of the holdings of all sessions.
#[derive(Debug, Default)]
pub(crate) struct HoldingPool(Cell<usize>);

impl HoldingPool {
    pub(crate) fn total(&self) -> usize {
        self.0.get()
    }
}

/// What a will takes in memory, about.
pub(crate) fn weigh_will(will: &ConnectWill) -> usize {
    size_of::<ConnectWill>() + will.topic.len() + will.payload.len() + will.properties.len()
}

/// The holdings of one session.
#[derive(Debug)]
pub(crate) struct SessionHoldings {
    will: Option<ConnectWill>,
    received: HashMap<u16, ReceivedMessage>,
    bytes: usize,
    pool: Rc<HoldingPool>,
}

impl SessionHoldings {
    pub(crate) fn new(pool: Rc<HoldingPool>) -> Self {
        SessionHoldings { will: None, received: HashMap::new(), bytes: 0, pool }
    }

    /// Holdings of before a restart.
    pub(crate) fn restored(pool: Rc<HoldingPool>, received: HashMap<u16, ReceivedMessage>) -> Self {
        let mut holdings = SessionHoldings::new(pool);
        holdings.received = received;
        holdings.account();
        holdings
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn will(&self) -> Option<&ConnectWill> {
        self.will.as_ref()
    }

    /// Replaces the will; returns the one before.
    pub(crate) fn set_will(&mut self, will: Option<ConnectWill>) -> Option<ConnectWill> {
        let before = std::mem::replace(&mut self.will, will);
        self.account();
        before
    }

    /// The message of an identifier that is not released.
    pub(crate) fn received(&self, packet_id: u16) -> Option<ReceivedMessage> {
        self.received.get(&packet_id).copied()
    }

    /// How many identifiers are not released.
    pub(crate) fn unreleased(&self) -> usize {
        self.received.len()
    }

    pub(crate) fn receive(&mut self, packet_id: u16, message: ReceivedMessage) {
        self.received.insert(packet_id, message);
        self.account();
    }

    /// Frees an identifier.
    pub(crate) fn release(&mut self, packet_id: u16) -> Option<ReceivedMessage> {
        let released = self.received.remove(&packet_id);
        if self.received.capacity() > SPARSE * SPARSE + SPARSE * self.received.len() {
            self.received.shrink_to(2 * self.received.len());
        }
        self.account();
        released
    }

    fn account(&mut self) {
        let bytes = self.will.as_ref().map_or(0, weigh_will) + IDENTIFIER_BYTES * self.received.len();
        self.pool.0.set((self.pool.0.get() + bytes).saturating_sub(self.bytes));
        self.bytes = bytes;
    }
}

impl Drop for SessionHoldings {
    fn drop(&mut self) {
        self.pool.0.set(self.pool.0.get().saturating_sub(self.bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_counted_until_it_is_given_back() {
        let pool = Rc::new(HoldingPool::default());
        let mut holdings = SessionHoldings::new(pool.clone());
        let message =
            ReceivedMessage { wait: crate::broker::state::received::AckCondition::default(), restored: false };
        for packet_id in 1..=1000 {
            holdings.receive(packet_id, message);
        }
        holdings.receive(1, message);
        assert_eq!((holdings.bytes(), pool.total()), (1000 * IDENTIFIER_BYTES, 1000 * IDENTIFIER_BYTES));
        for packet_id in 1..=990 {
            assert!(holdings.release(packet_id).is_some());
        }
        assert!(holdings.release(1).is_none());
        assert_eq!((holdings.unreleased(), pool.total()), (10, 10 * IDENTIFIER_BYTES));
        assert!(holdings.received.capacity() < 100, "the table has given its memory back");
        drop(holdings);
        assert_eq!(pool.total(), 0);
    }
}
