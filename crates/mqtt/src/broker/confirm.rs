//! Which publishers demonstrably have our acknowledgements, so that they will not send those messages again.
//!
//! A publisher has the acknowledgement of a message when it
//! - uses the message's packet id for another one (DUP clear): the id was not free before;
//! - sends PUBREL for it (QoS 2);
//! - begins a new connection with a new message: it has to send again what is open before that (MQTT 4.4);
//! - ends its session in order: nothing of it will be sent again.
//!
//! We acknowledge in order and a connection keeps the order, so what holds for a message holds for all earlier ones
//! of the same publisher. Nothing else shows it (not even that TCP has delivered our bytes), so a publisher that counts
//! its packet ids up to 65,535 is confirmed late, and it holds back the rest: the figure is for freeing memory, not for
//! telling a redelivery.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;
use tokio::time::Instant;

/// Marks of one publisher; when there are more, every second one goes, and it is confirmed a little later.
const MARKS: usize = 32;
/// A publisher without a kept session that has not come back for so long is not waited for.
const FORGET_AFTER: Duration = Duration::from_secs(3600);
/// Publishers that are gone and waited for.
const MAX_ABSENT: usize = 16_384;

#[derive(Debug)]
struct Publisher {
    /// Ticket of its first message that is not confirmed.
    first: u64,
    /// Some of its messages since then: packet id and ticket, in order.
    marks: VecDeque<(u16, u64)>,
    /// When its connection was lost, unless its session is kept.
    lost: Option<Instant>,
    /// On the present connection it has not published yet.
    is_new: bool,
}

/// All publishers that may not have an acknowledgement, by the session of their messages' origin.
#[derive(Debug, Default)]
pub(crate) struct Confirmations {
    publishers: HashMap<u64, Publisher>,
}

impl Confirmations {
    /// A message was taken at QoS 1 or 2.
    pub(crate) fn published(&mut self, session: u64, packet_id: u16, dup: bool, ticket: u64) {
        let publisher = self.publishers.entry(session).or_insert_with(|| Publisher {
            first: ticket,
            marks: VecDeque::new(),
            lost: None,
            is_new: false,
        });
        if !dup {
            if publisher.is_new {
                publisher.marks.clear();
                publisher.first = ticket;
            } else {
                publisher.reused(packet_id, ticket);
            }
        }
        publisher.is_new = false;
        publisher.lost = None;
        if publisher.marks.len() >= MARKS {
            let mut keep = false;
            publisher.marks.retain(|_| {
                keep = !keep;
                keep
            });
        }
        publisher.marks.push_back((packet_id, ticket));
    }

    /// PUBREL came.
    pub(crate) fn released(&mut self, session: u64, packet_id: u16) {
        if let Some(publisher) = self.publishers.get_mut(&session) {
            publisher.reused(packet_id, u64::MAX);
            if publisher.marks.is_empty() {
                self.publishers.remove(&session);
            }
        }
    }

    /// A publisher has a new connection.
    pub(crate) fn connected(&mut self, session: u64) {
        if let Some(publisher) = self.publishers.get_mut(&session) {
            publisher.is_new = true;
            publisher.lost = None;
        }
    }

    /// A publisher's connection has ended. `kept`: its session is; `over`: it was ended in order, and is not.
    pub(crate) fn disconnected(&mut self, session: u64, kept: bool, over: bool) {
        if over {
            self.publishers.remove(&session);
        } else if let Some(publisher) = self.publishers.get_mut(&session) {
            publisher.lost = (!kept).then(Instant::now);
        }
    }

    /// The last ticket up to which every publisher has its acknowledgement, given that of the gateway.
    pub(crate) fn through(&mut self, acknowledged: u64) -> u64 {
        let now = Instant::now();
        let crowded = self.publishers.len() > MAX_ABSENT;
        self.publishers.retain(|_, publisher| {
            publisher.lost.is_none_or(|lost| !crowded && now.duration_since(lost) < FORGET_AFTER)
        });
        let first = self.publishers.values().map(|publisher| publisher.first).min();
        first.map_or(acknowledged, |first| acknowledged.min(first - 1))
    }
}

impl Publisher {
    /// The packet id stands for something new, so it was free: everything through its mark is confirmed.
    fn reused(&mut self, packet_id: u16, ticket: u64) {
        let Some(index) = self.marks.iter().position(|(known, _)| *known == packet_id) else { return };
        let confirmed = self.marks.drain(..=index).next_back().map_or(0, |(_, ticket)| ticket);
        self.first = if self.marks.is_empty() { ticket } else { confirmed + 1 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_id_that_is_used_again_confirms_everything_up_to_its_first_use() {
        let mut confirmations = Confirmations::default();
        for ticket in 1..=5 {
            confirmations.published(1, ticket as u16, false, ticket);
        }
        assert_eq!(confirmations.through(5), 0);
        confirmations.published(1, 3, false, 6);
        assert_eq!(confirmations.through(6), 3);
        confirmations.published(1, 3, true, 7);
        assert_eq!(confirmations.through(7), 3, "a redelivery shows nothing");
    }

    #[test]
    fn the_slowest_publisher_decides_until_it_is_done() {
        let mut confirmations = Confirmations::default();
        confirmations.published(1, 1, false, 1);
        confirmations.published(2, 1, false, 2);
        confirmations.published(2, 1, false, 3);
        assert_eq!(confirmations.through(3), 0);
        confirmations.disconnected(1, false, true);
        assert_eq!(confirmations.through(3), 2);
        confirmations.released(2, 1);
        assert_eq!(confirmations.through(3), 3);
    }

    #[test]
    fn a_lost_publisher_is_waited_for_and_a_new_message_first_confirms_the_old_ones() {
        let mut confirmations = Confirmations::default();
        confirmations.published(1, 1, false, 1);
        confirmations.disconnected(1, false, false);
        assert_eq!(confirmations.through(1), 0);
        confirmations.connected(1);
        confirmations.published(1, 1, true, 2);
        assert_eq!(confirmations.through(2), 0);
        confirmations.connected(1);
        confirmations.published(1, 9, false, 3);
        assert_eq!(confirmations.through(3), 2);
    }

    #[test]
    fn many_messages_in_flight_take_little_room_and_never_confirm_too_much() {
        let mut confirmations = Confirmations::default();
        for ticket in 1..=50_000u64 {
            confirmations.published(1, ticket as u16, false, ticket);
        }
        assert!(confirmations.publishers[&1].marks.len() <= MARKS);
        confirmations.published(1, 20_000, false, 50_001);
        assert!(confirmations.through(50_001) <= 20_000);
    }
}
