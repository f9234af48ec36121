//! How a consumer of the incoming messages takes each of them once, also across its own crashes.
//!
//! The MQTT actor keeps every batch until it is settled and sends the unsettled ones again when a consumer comes back
//! (go-back-N). The consumer's mailbox may still hold some of them. [`ConsumerProgress`] outlives the consumer's incarnations and
//! says what to do with a batch: take it (from which message on), pass over it, or wait for the one before it.

use crate::lock::lock;
use crate::poison::PoisonMessages;
use hearthgate_mqtt::link::{DeliveryTag, MessageBatch};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// What to do with a batch that came in.
#[derive(Debug, PartialEq, Eq)]
pub enum BatchAdmission {
    /// Process it, from the message at this index on.
    From(usize),
    /// All of it was processed before.
    Duplicate,
    /// Something before it is missing; it will be sent again in order.
    Gap,
}

/// A consumer's place in the order of arrival. Shared by its incarnations.
#[derive(Debug, Default)]
pub struct ConsumerProgress {
    done: Mutex<DeliveryTag>,
    /// Number of the message in hand; 0 when none is.
    in_hand: AtomicU64,
    deaths: PoisonMessages<DeliveryTag>,
}

impl ConsumerProgress {
    /// Decides about a batch.
    #[must_use]
    pub fn admit(&self, batch: &MessageBatch) -> BatchAdmission {
        let mut done = lock(&self.done);
        if batch.first.connection < done.connection {
            return BatchAdmission::Duplicate; // of a connection that is gone: the broker sends it again on the new one
        }
        if batch.first.connection > done.connection {
            *done = DeliveryTag { connection: batch.first.connection, number: 0 };
        }
        let next = done.number + 1;
        if batch.last().number < next {
            BatchAdmission::Duplicate
        } else if batch.first.number > next {
            BatchAdmission::Gap
        } else {
            BatchAdmission::From((next - batch.first.number) as usize)
        }
    }

    /// Notes which message is being worked on, so that a crash can be laid to it.
    pub fn taking(&self, number: u64) {
        self.in_hand.store(number, Ordering::Relaxed);
    }

    /// Everything through `ticket` is processed, nothing is in hand.
    pub fn advance(&self, ticket: DeliveryTag) {
        let mut done = lock(&self.done);
        if ticket.connection == done.connection && ticket.number > done.number {
            *done = ticket;
        }
        self.in_hand.store(0, Ordering::Relaxed);
    }

    /// Goes back to `ticket`: what came after it was only in the memory of an incarnation that is gone.
    pub fn rewind(&self, ticket: DeliveryTag) {
        *lock(&self.done) = ticket;
        let is_past = |dead: &DeliveryTag| (dead.connection, dead.number) <= (ticket.connection, ticket.number);
        self.deaths.forget(is_past);
    }

    /// How far the consumer is.
    #[must_use]
    pub fn done(&self) -> DeliveryTag {
        *lock(&self.done)
    }

    /// To be called when an incarnation starts: lays the death of the one before to the message it had in hand.
    pub fn restarted(&self) {
        let number = self.in_hand.swap(0, Ordering::Relaxed);
        if number == 0 {
            return;
        }
        self.deaths.note([DeliveryTag { connection: lock(&self.done).connection, number }]);
    }

    /// Whether this message has killed its consumer so often that it must be given up.
    #[must_use]
    pub fn is_deadly(&self, ticket: DeliveryTag) -> bool {
        self.deaths.is_deadly(ticket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use hearthgate_domain::delivery::InboundMessage;

    fn batch(connection: u64, first: u64, count: usize) -> MessageBatch {
        let message = InboundMessage::unsent("t".into(), Bytes::new(), 0);
        MessageBatch { first: DeliveryTag { connection, number: first }, messages: vec![message; count], news: vec![] }
    }

    #[test]
    fn batches_in_order_are_taken_whole() {
        let progress = ConsumerProgress::default();
        assert_eq!(progress.admit(&batch(1, 1, 3)), BatchAdmission::From(0));
        progress.advance(DeliveryTag { connection: 1, number: 3 });
        assert_eq!(progress.admit(&batch(1, 4, 1)), BatchAdmission::From(0));
    }

    #[test]
    fn what_was_done_before_a_crash_is_not_done_again() {
        let progress = ConsumerProgress::default();
        assert_eq!(progress.admit(&batch(1, 1, 3)), BatchAdmission::From(0));
        progress.advance(DeliveryTag { connection: 1, number: 2 });
        assert_eq!(progress.admit(&batch(1, 1, 3)), BatchAdmission::From(2));
        progress.advance(DeliveryTag { connection: 1, number: 3 });
        assert_eq!(progress.admit(&batch(1, 1, 3)), BatchAdmission::Duplicate);
    }

    #[test]
    fn a_queued_batch_waits_for_the_lost_one_before_it() {
        let progress = ConsumerProgress::default();
        assert_eq!(progress.admit(&batch(1, 4, 2)), BatchAdmission::Gap);
        assert_eq!(progress.admit(&batch(1, 1, 3)), BatchAdmission::From(0));
    }

    #[test]
    fn a_new_connection_starts_afresh_and_voids_the_old_one() {
        let progress = ConsumerProgress::default();
        assert_eq!(progress.admit(&batch(1, 1, 3)), BatchAdmission::From(0));
        assert_eq!(progress.admit(&batch(2, 1, 1)), BatchAdmission::From(0));
        assert_eq!(progress.admit(&batch(1, 4, 1)), BatchAdmission::Duplicate);
    }

    #[test]
    fn a_message_that_kills_twice_is_given_up_and_no_other() {
        let progress = ConsumerProgress::default();
        let _ = progress.admit(&batch(1, 1, 3));
        let deadly = DeliveryTag { connection: 1, number: 2 };
        for _ in 0..2 {
            assert!(!progress.is_deadly(deadly));
            progress.taking(2);
            progress.restarted();
        }
        assert!(progress.is_deadly(deadly));
        assert!(!progress.is_deadly(DeliveryTag { connection: 1, number: 3 }));
    }

    #[test]
    fn a_crash_with_nothing_in_hand_blames_no_message() {
        let progress = ConsumerProgress::default();
        let _ = progress.admit(&batch(1, 1, 3));
        progress.taking(2);
        progress.advance(DeliveryTag { connection: 1, number: 3 });
        progress.restarted();
        progress.restarted();
        assert!(!progress.is_deadly(DeliveryTag { connection: 1, number: 2 }));
    }
}
