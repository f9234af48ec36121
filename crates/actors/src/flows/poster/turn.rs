//! Keeps one flow's messages in order where several of them are under way at once.

use hearthgate_storage::journal::Seq;
use std::cell::RefCell;
use std::collections::BTreeSet;
use tokio::sync::Notify;

/// Who is next: of all that have a place, the one with the lowest number.
#[derive(Debug, Default)]
pub(super) struct TurnQueue {
    places: RefCell<BTreeSet<Seq>>,
    changed: Notify,
}

impl TurnQueue {
    /// Takes a place, which is given back when it is let go of.
    pub(super) fn take_place(&self, seq: Seq) -> TurnTicket<'_> {
        self.places.borrow_mut().insert(seq);
        TurnTicket { turn: self, seq }
    }
}

/// A place in the order.
#[derive(Debug)]
pub(super) struct TurnTicket<'a> {
    turn: &'a TurnQueue,
    seq: Seq,
}

impl TurnTicket<'_> {
    /// Waits until nobody with a lower number is left.
    pub(super) async fn reached(&self) {
        loop {
            let changed = self.turn.changed.notified();
            if self.turn.places.borrow().first().is_none_or(|first| *first >= self.seq) {
                return;
            }
            changed.await;
        }
    }
}

impl Drop for TurnTicket<'_> {
    fn drop(&mut self) {
        self.turn.places.borrow_mut().remove(&self.seq);
        self.turn.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn the_lowest_number_goes_first_whoever_asked_first() {
        let turn = TurnQueue::default();
        let (later, earlier) = (turn.take_place(2), turn.take_place(1));
        let mut waits = Box::pin(later.reached());
        assert!(waits.as_mut().now_or_never().is_none());
        assert!(earlier.reached().now_or_never().is_some());
        drop(earlier);
        assert!(waits.as_mut().now_or_never().is_some());
    }
}
