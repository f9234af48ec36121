//! What came in and is still to be acknowledged: tickets, the order of acknowledgements, and QoS 2 redeliveries.

use crate::link::{ConnectionNumber, DeliveryTag};
use crate::session::inbound::packet::BrokerPublish;
use crate::session::outbound::packets;
use crate::session::outbound::packets::AckPacket;
use bytes::{Bytes, BytesMut};
use hearthgate_domain::delivery::{InboundMessage, MessageOrigin, QoS, UnixMicros};
use std::collections::{HashMap, VecDeque};

/// What a message in memory takes beside topic and payload, in bytes: its own struct, its place in the queues.
const OVERHEAD: usize = 128;

/// The receiving side of one MQTT session.
#[derive(Debug, Default)]
pub(crate) struct InboundWindow {
    connection: ConnectionNumber,
    session: u64,
    /// Number of the newest message handed over on this connection.
    newest: u64,
    /// A message with an origin was handed over on this connection.
    has_begun: bool,
    /// Everything up to this number may be acknowledged.
    through: u64,
    owed: VecDeque<Owed>,
    unacknowledged: usize,
    /// Incoming QoS 2 packet identifiers that wait for PUBREL (MQTT 3.1.1, section 4.3.3).
    unreleased: HashMap<u16, Stage>,
}

#[derive(Debug)]
struct Owed {
    /// Acknowledged as soon as the message with this number may be.
    number: u64,
    bytes: usize,
    packet_id: u16,
    reply: Option<AckPacket>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Received, PUBREC not sent: it comes again after a reconnect, and is then handed over again.
    Received,
    /// PUBREC sent: we own it. If it comes again, the broker has missed the PUBREC, nothing more.
    Recorded,
}

impl InboundWindow {
    /// Starts a connection. What an earlier one owed is void: the broker sends it again.
    pub(crate) fn connected(&mut self, connection: ConnectionNumber, session: u64, session_present: bool) {
        self.connection = connection;
        self.session = session;
        self.newest = 0;
        self.has_begun = false;
        self.through = 0;
        self.owed.clear();
        self.unacknowledged = 0;
        if session_present {
            self.unreleased.retain(|_, stage| *stage == Stage::Recorded);
        } else {
            self.unreleased.clear();
        }
    }

    /// Of which session what comes in is.
    pub(crate) fn session(&self) -> u64 {
        self.session
    }

    /// Memory taken by messages that were handed over and not acknowledged, in bytes.
    pub(crate) fn unacknowledged(&self) -> usize {
        self.unacknowledged
    }

    /// Everything that was handed over is acknowledged.
    pub(crate) fn is_settled(&self) -> bool {
        self.owed.is_empty()
    }

    /// Ticket of the message that the next call of [`InboundWindow::accept`] lets through.
    pub(crate) fn next_ticket(&self) -> DeliveryTag {
        DeliveryTag { connection: self.connection, number: self.newest + 1 }
    }

    /// Newest ticket up to which acknowledgements were written.
    pub(crate) fn written(&self) -> DeliveryTag {
        DeliveryTag { connection: self.connection, number: self.through }
    }

    /// Takes a message in, and says whether it is the first with an origin on this connection; `None` when it is a QoS 2
    /// message that we have already.
    pub(crate) fn accept(&mut self, message: BrokerPublish, received_at: UnixMicros) -> Option<(InboundMessage, bool)> {
        let BrokerPublish { topic, payload, qos, retain, dup, packet_id, via } = message;
        if qos == QoS::ExactlyOnce && self.is_repeated(packet_id) {
            return None;
        }
        self.newest += 1;
        let bytes = topic.len() + payload.len() + OVERHEAD;
        self.owe(bytes, packet_id, AckPacket::of(qos));
        let origin = (qos != QoS::AtMostOnce).then_some(MessageOrigin { session: self.session, packet_id, dup });
        let begins = origin.is_some() && !std::mem::replace(&mut self.has_begun, true);
        Some((
            InboundMessage { qos, retain, origin, via, ..InboundMessage::unsent(topic, payload, received_at) },
            begins,
        ))
    }

    fn is_repeated(&mut self, packet_id: u16) -> bool {
        match self.unreleased.get(&packet_id) {
            None => {
                self.unreleased.insert(packet_id, Stage::Received);
                false
            }
            Some(Stage::Received) => true,
            Some(Stage::Recorded) => {
                self.owe(0, packet_id, Some(AckPacket::PubRec));
                true
            }
        }
    }

    /// With the newest message, or in its wake.
    fn owe(&mut self, bytes: usize, packet_id: u16, reply: Option<AckPacket>) {
        self.unacknowledged += bytes;
        self.owed.push_back(Owed { number: self.newest, bytes, packet_id, reply });
    }

    /// Writes what may be acknowledged by now, in order of arrival; returns how many acknowledgements that were.
    pub(crate) fn acknowledge(&mut self, ticket: DeliveryTag, out: &mut BytesMut) -> usize {
        if ticket.connection == self.connection {
            self.through = self.through.max(ticket.number.min(self.newest));
        }
        let mut written = 0;
        while let Some(owed) = self.owed.pop_front_if(|owed| owed.number <= self.through) {
            self.unacknowledged -= owed.bytes;
            let Some(reply) = owed.reply else { continue };
            if reply == AckPacket::PubRec {
                self.unreleased.insert(owed.packet_id, Stage::Recorded);
            }
            packets::ack(out, reply, owed.packet_id);
            written += 1;
        }
        written
    }

    /// PUBREL: the broker has our PUBREC. An unknown one is answered too, or the broker would repeat it for ever. It is handed
    /// over like a message: until the release is durable, a restart would take a new message with this identifier for
    /// the old one.
    pub(crate) fn release(&mut self, packet_id: u16, received_at: UnixMicros) -> InboundMessage {
        self.unreleased.remove(&packet_id);
        self.newest += 1;
        self.owe(OVERHEAD, packet_id, Some(AckPacket::PubComp));
        InboundMessage {
            qos: QoS::ExactlyOnce,
            is_release: true,
            ..InboundMessage::unsent("".into(), Bytes::new(), received_at)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hearthgate_domain::delivery::SubscriptionIds;
    fn message(qos: QoS, packet_id: u16) -> BrokerPublish {
        let (topic, payload, via) = ("t".into(), "x".into(), SubscriptionIds::Any);
        BrokerPublish { topic, payload, qos, retain: false, dup: false, packet_id, via }
    }

    fn connected() -> InboundWindow {
        let mut intake = InboundWindow::default();
        intake.connected(4, 99, false);
        intake
    }

    fn ticket(number: u64) -> DeliveryTag {
        DeliveryTag { connection: 4, number }
    }

    #[test]
    fn acknowledgements_go_out_in_order_of_arrival_and_no_further_than_allowed() {
        let (mut intake, mut out) = (connected(), BytesMut::new());
        for (qos, id) in [(QoS::AtLeastOnce, 9), (QoS::ExactlyOnce, 3), (QoS::AtMostOnce, 0), (QoS::AtLeastOnce, 5)] {
            assert!(intake.accept(message(qos, id), 0).is_some());
        }
        assert_eq!(intake.acknowledge(ticket(3), &mut out), 2);
        assert_eq!(&out[..], [0x40, 2, 0, 9, 0x50, 2, 0, 3]);
        assert_eq!(intake.unacknowledged(), 2 + OVERHEAD);
        assert_eq!(intake.acknowledge(ticket(3), &mut out), 0);
    }

    #[test]
    fn an_acknowledgement_for_an_earlier_connection_is_void() {
        let (mut intake, mut out) = (connected(), BytesMut::new());
        intake.accept(message(QoS::AtLeastOnce, 1), 0);
        assert_eq!(intake.acknowledge(DeliveryTag { connection: 3, number: 10 }, &mut out), 0);
        assert!(out.is_empty());
    }

    #[test]
    fn a_qos_2_message_comes_once_until_it_is_released() {
        let (mut intake, mut out) = (connected(), BytesMut::new());
        assert!(intake.accept(message(QoS::ExactlyOnce, 7), 0).is_some());
        assert_eq!(intake.acknowledge(ticket(1), &mut out), 1);
        intake.connected(5, 99, true);
        assert!(intake.accept(message(QoS::ExactlyOnce, 7), 0).is_none(), "PUBREC was sent: it is ours already");
        assert_eq!(intake.acknowledge(ticket(1), &mut out), 1, "PUBREC again");
        assert!(intake.release(7, 0).is_release);
        out.clear();
        assert_eq!(intake.acknowledge(DeliveryTag { connection: 5, number: 1 }, &mut out), 1);
        assert_eq!(&out[..], [0x70, 2, 0, 7], "PUBCOMP, once the release is durable");
        assert!(intake.accept(message(QoS::ExactlyOnce, 7), 0).is_some(), "the identifier is free for a new message");
    }

    #[test]
    fn a_qos_2_message_that_was_not_recorded_comes_again_after_a_reconnect() {
        let mut intake = connected();
        assert!(intake.accept(message(QoS::ExactlyOnce, 7), 0).is_some());
        intake.connected(5, 99, true);
        assert!(intake.accept(message(QoS::ExactlyOnce, 7), 0).is_some());
    }
}
