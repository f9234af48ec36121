//! Messages on their way to the broker, kept until it has acknowledged them.

use super::packet_ids::PacketIds;
use crate::link::{OutcomeSender, OutgoingPublish, PublishOutcome};
use crate::session::inbound::packet::{ConnackLimits, PublishAnswer};
use crate::session::options::{ProtocolVersion, SessionOptions};
use crate::session::outbound::packets;
use crate::session::outbound::packets::AckPacket;
use bytes::BytesMut;
use hearthgate_domain::delivery::{OutboundMessage, QoS};
use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

/// Writing pauses while so many bytes wait for the socket.
const OUTPUT_LIMIT: usize = 256 << 10;

/// A broker that can't stand a message may close the connection instead of saying so (3.1.1 has no other way). So many
/// connections in a row that were lost on the same unacknowledged message make it the culprit.
const LOSSES_PER_MESSAGE: u32 = 10;

/// A message that was let go, with the reason.
#[derive(Debug)]
pub(crate) struct RejectedMessage {
    pub(crate) topic: String,
    pub(crate) bytes: usize,
    pub(crate) reason: String,
}

/// The sending side of one MQTT session. Bounded: [`SessionOutbox::has_room`] is asked before more is taken in.
#[derive(Debug)]
pub(crate) struct SessionOutbox {
    protocol: ProtocolVersion,
    own_limit: usize,
    max_messages: usize,
    max_bytes: usize,
    max_inflight: usize,
    stale_after: Duration,
    grants: Option<ConnackLimits>,
    waiting: VecDeque<Waiting>,
    flights: HashMap<u16, Flight>,
    /// Flights of an earlier connection that were not sent again yet, in their first order.
    again: VecDeque<u16>,
    bytes: usize,
    sent: u64,
    /// The oldest unacknowledged message when connections were lost, and how many that were.
    suspect: (u64, u32),
}

#[derive(Debug)]
struct Waiting {
    message: OutboundMessage,
    told: OutcomeSender,
    since: Instant,
    /// Its place among all messages sent, once it was sent.
    order: Option<u64>,
}

#[derive(Debug)]
struct Flight {
    order: u64,
    message: OutboundMessage,
    told: OutcomeSender,
    /// PUBREC came, PUBREL is due or sent.
    recorded: bool,
}

impl SessionOutbox {
    pub(crate) fn new(options: &SessionOptions) -> Self {
        SessionOutbox {
            protocol: options.protocol,
            own_limit: options.max_outgoing_packet,
            max_messages: options.outbox_messages.max(1),
            max_bytes: options.outbox_bytes,
            max_inflight: usize::from(options.max_inflight.clamp(1, 65_000)),
            stale_after: options.stale_after,
            grants: None,
            waiting: VecDeque::new(),
            flights: HashMap::new(),
            again: VecDeque::new(),
            bytes: 0,
            sent: 0,
            suspect: (0, 0),
        }
    }

    /// Whether another batch may be taken in.
    pub(crate) fn has_room(&self) -> bool {
        self.len() < self.max_messages && self.bytes < self.max_bytes
    }

    /// Messages that the broker does not have yet, as far as we know.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len() + self.flights.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Nothing was sent that the broker has still to acknowledge.
    pub(crate) fn has_landed(&self) -> bool {
        self.flights.is_empty()
    }

    pub(crate) fn push(&mut self, messages: Vec<OutgoingPublish>) {
        let since = Instant::now();
        for OutgoingPublish { message, told } in messages {
            self.bytes += cost(&message);
            self.waiting.push_back(Waiting { message, told, since, order: None });
        }
    }

    /// A connection stands. With the session the broker still knows our packet identifiers: the same go out again, marked
    /// DUP. Without it they mean nothing, and the messages are sent as new ones; for QoS 2 that may repeat one that was
    /// released at the very moment the session was lost, but never loses it.
    pub(crate) fn connected(&mut self, grants: ConnackLimits, ids: &mut PacketIds) -> Option<RejectedMessage> {
        let culprit = self.culprit(ids);
        let mut order: Vec<(u64, u16)> = self.flights.iter().map(|(id, flight)| (flight.order, *id)).collect();
        order.sort_unstable();
        self.again.clear();
        if grants.session_present {
            self.again.extend(order.into_iter().map(|(_, id)| id));
        } else {
            let since = Instant::now();
            for (order, id) in order.into_iter().rev() {
                ids.free(id);
                if let Some(flight) = self.flights.remove(&id) {
                    let Flight { message, told, .. } = flight;
                    self.waiting.push_front(Waiting { message, told, since, order: Some(order) });
                }
            }
        }
        self.grants = Some(grants);
        culprit
    }

    /// Takes out the message on which connection after connection was lost, if there is one.
    fn culprit(&mut self, ids: &mut PacketIds) -> Option<RejectedMessage> {
        let (order, id) = self.flights.iter().map(|(id, flight)| (flight.order, *id)).min()?;
        self.suspect = if self.suspect.0 == order { (order, self.suspect.1 + 1) } else { (order, 1) };
        if self.suspect.1 < LOSSES_PER_MESSAGE {
            return None;
        }
        self.settle(id, ids).map(|flight| {
            let reason = format!("given up: the connection was lost {LOSSES_PER_MESSAGE} times in a row with it");
            self.reject(&flight.message, flight.told, reason)
        })
    }

    /// Drops QoS 0 messages that are stale; returns how many.
    pub(crate) fn drop_stale(&mut self) -> usize {
        let before = self.waiting.len();
        let (stale_after, bytes) = (self.stale_after, &mut self.bytes);
        self.waiting.retain_mut(|it| {
            let keep = it.message.qos != QoS::AtMostOnce || it.since.elapsed() < stale_after;
            if !keep {
                *bytes -= cost(&it.message);
                let reason = format!("not published: at QoS 0 it waits {} s at most", stale_after.as_secs_f32());
                std::mem::take(&mut it.told).tell(PublishOutcome::Refused(reason));
            }
            keep
        });
        before - self.waiting.len()
    }

    /// Writes as much as the broker's window and the buffer allow; messages that can't pass are put into `rejected`.
    pub(crate) fn fill(&mut self, out: &mut BytesMut, ids: &mut PacketIds, rejected: &mut Vec<RejectedMessage>) {
        let Some(grants) = self.grants.clone() else { return };
        let window = self.max_inflight.min(usize::from(grants.receive_maximum));
        while out.len() < OUTPUT_LIMIT {
            let in_air = self.flights.len() - self.again.len();
            if let Some(id) = self.again.front().copied() {
                if in_air >= window {
                    return;
                }
                self.again.pop_front();
                self.send_again(id, out);
                continue;
            }
            match self.waiting.front() {
                None => return,
                Some(next) if next.message.qos != QoS::AtMostOnce && in_air >= window => return,
                Some(_) => {}
            }
            if !self.send_next(&grants, out, ids, rejected) {
                return;
            }
        }
    }

    fn send_again(&mut self, id: u16, out: &mut BytesMut) {
        match self.flights.get(&id) {
            Some(flight) if flight.recorded => packets::ack(out, AckPacket::PubRel, id),
            Some(flight) => packets::publish(out, self.protocol, &flight.message, id, true),
            None => {}
        }
    }

    fn send_next(
        &mut self,
        grants: &ConnackLimits,
        out: &mut BytesMut,
        ids: &mut PacketIds,
        rejected: &mut Vec<RejectedMessage>,
    ) -> bool {
        let Some(mut next) = self.waiting.pop_front() else { return false };
        let cost = cost(&next.message);
        if let Some(reason) = self.refusal(grants, &next.message) {
            self.bytes -= cost;
            rejected.push(self.reject(&next.message, next.told, reason));
            return true;
        }
        next.message.qos = next.message.qos.min(grants.max_qos);
        next.message.retain &= grants.retain_available;
        if next.message.qos == QoS::AtMostOnce {
            packets::publish(out, self.protocol, &next.message, 0, false);
            self.bytes -= cost;
            next.told.tell(PublishOutcome::Acknowledged);
            return true;
        }
        let Some(id) = ids.take() else {
            self.waiting.push_front(next);
            return false;
        };
        packets::publish(out, self.protocol, &next.message, id, false);
        let order = next.order.unwrap_or_else(|| {
            self.sent += 1;
            self.sent
        });
        self.flights.insert(id, Flight { order, message: next.message, told: next.told, recorded: false });
        true
    }

    /// Why a message can't be sent on this connection, if so. Sending it would only cost us the connection.
    fn refusal(&self, grants: &ConnackLimits, message: &OutboundMessage) -> Option<String> {
        let topic = &message.topic;
        if topic.is_empty() || topic.len() > usize::from(u16::MAX) || topic.contains(['+', '#', '\0']) {
            return Some("not published: its topic is not a valid topic name".into());
        }
        let size = packets::publish_size(self.protocol, message);
        if size > self.own_limit {
            return Some(format!("not published: larger than max_outgoing_packet, {} bytes", self.own_limit));
        }
        if size > grants.max_packet {
            return Some(format!("not published: larger than the broker's limit of {} bytes", grants.max_packet));
        }
        None
    }

    /// Tells whoever asked that a message is refused; the report is for the log.
    fn reject(&self, message: &OutboundMessage, told: OutcomeSender, reason: String) -> RejectedMessage {
        told.tell(PublishOutcome::Refused(reason.clone()));
        let bytes = packets::publish_size(self.protocol, message);
        RejectedMessage { topic: message.topic.to_string(), bytes, reason }
    }

    /// PUBACK. An unknown one (a repetition crossing its answer) is no reason to part.
    pub(crate) fn acknowledged(
        &mut self,
        id: u16,
        answer: PublishAnswer,
        ids: &mut PacketIds,
    ) -> Option<RejectedMessage> {
        match self.flights.get(&id) {
            Some(flight) if flight.message.qos == QoS::AtLeastOnce => {}
            _ => return None,
        }
        self.finish(id, answer, ids)
    }

    /// PUBREC: answered with PUBREL, unless the broker refuses the message.
    pub(crate) fn recorded(
        &mut self,
        id: u16,
        answer: PublishAnswer,
        ids: &mut PacketIds,
        out: &mut BytesMut,
    ) -> Option<RejectedMessage> {
        if answer.is_refusal() {
            return self.finish(id, answer, ids);
        }
        if let Some(flight) = self.flights.get_mut(&id) {
            flight.recorded = true;
        }
        packets::ack(out, AckPacket::PubRel, id);
        None
    }

    /// PUBCOMP.
    pub(crate) fn completed(&mut self, id: u16, ids: &mut PacketIds) {
        if self.flights.get(&id).is_some_and(|flight| flight.recorded)
            && let Some(flight) = self.settle(id, ids)
        {
            flight.told.tell(PublishOutcome::Acknowledged);
        }
    }

    /// The broker's last word on a message; a report if it is a refusal.
    fn finish(&mut self, id: u16, answer: PublishAnswer, ids: &mut PacketIds) -> Option<RejectedMessage> {
        let Flight { message, told, .. } = self.settle(id, ids)?;
        if !answer.is_refusal() {
            told.tell(PublishOutcome::Acknowledged);
            return None;
        }
        let reason = format!("refused by the broker: {}", answer.in_words());
        Some(self.reject(&message, told, reason))
    }

    fn settle(&mut self, id: u16, ids: &mut PacketIds) -> Option<Flight> {
        let flight = self.flights.remove(&id)?;
        if let Some(at) = self.again.iter().position(|other| *other == id) {
            self.again.remove(at);
        }
        ids.free(id);
        self.bytes -= cost(&flight.message);
        Some(flight)
    }
}

/// Memory that a message takes, in bytes.
fn cost(message: &OutboundMessage) -> usize {
    message.topic.len() + message.payload.len() + 128
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::PublishReceipt;
    use crate::session::options::BrokerServer;
    use futures_util::FutureExt;

    fn outbox(window: u16) -> SessionOutbox {
        let server = BrokerServer::Tcp { host: "localhost".into(), port: 1883 };
        let mut options = SessionOptions::new(server, "test");
        options.protocol = ProtocolVersion::V3;
        options.max_inflight = window;
        options.max_outgoing_packet = 1000;
        SessionOutbox::new(&options)
    }

    fn message(payload: &str, qos: QoS) -> OutgoingPublish {
        OutboundMessage { topic: "t".into(), payload: payload.to_owned().into(), qos, retain: false }.into()
    }

    fn sent(outbox: &mut SessionOutbox, ids: &mut PacketIds) -> Vec<(String, bool, u16)> {
        let (mut out, mut rejected) = (BytesMut::new(), Vec::new());
        outbox.fill(&mut out, ids, &mut rejected);
        let mut found = Vec::new();
        while !out.is_empty() {
            match rumqttc::mqttbytes::v4::Packet::read(&mut out, usize::MAX).unwrap() {
                rumqttc::mqttbytes::v4::Packet::Publish(it) => {
                    found.push((String::from_utf8(it.payload.to_vec()).unwrap(), it.dup, it.pkid));
                }
                rumqttc::mqttbytes::v4::Packet::PubRel(it) => found.push(("PUBREL".into(), false, it.pkid)),
                other => panic!("unexpected {other:?}"),
            }
        }
        found
    }

    #[test]
    fn the_window_is_kept_and_moves_with_each_acknowledgement() {
        let (mut outbox, mut ids) = (outbox(2), PacketIds::default());
        outbox.connected(ConnackLimits::by_v3(false), &mut ids);
        outbox.push(["a", "b", "c"].map(|it| message(it, QoS::AtLeastOnce)).into());
        assert_eq!(sent(&mut outbox, &mut ids), [("a".into(), false, 1), ("b".into(), false, 2)]);
        assert!(outbox.acknowledged(2, PublishAnswer::default(), &mut ids).is_none());
        assert_eq!(sent(&mut outbox, &mut ids), [("c".into(), false, 3)]);
    }

    #[test]
    fn what_was_not_acknowledged_goes_out_again_in_order_before_anything_new() {
        let (mut outbox, mut ids) = (outbox(10), PacketIds::default());
        outbox.connected(ConnackLimits::by_v3(false), &mut ids);
        outbox.push(["a", "b"].map(|it| message(it, QoS::AtLeastOnce)).into());
        outbox.push(vec![message("q", QoS::ExactlyOnce)]);
        sent(&mut outbox, &mut ids);
        outbox.recorded(3, PublishAnswer::default(), &mut ids, &mut BytesMut::new());
        outbox.push(vec![message("new", QoS::AtLeastOnce)]);
        outbox.connected(ConnackLimits::by_v3(true), &mut ids);
        let expected =
            [("a".into(), true, 1), ("b".into(), true, 2), ("PUBREL".into(), false, 3), ("new".into(), false, 4)];
        assert_eq!(sent(&mut outbox, &mut ids), expected);
    }

    #[test]
    fn without_the_session_they_go_out_as_new_messages() {
        let (mut outbox, mut ids) = (outbox(10), PacketIds::default());
        outbox.connected(ConnackLimits::by_v3(false), &mut ids);
        outbox.push(["a", "b"].map(|it| message(it, QoS::AtLeastOnce)).into());
        sent(&mut outbox, &mut ids);
        outbox.connected(ConnackLimits::by_v3(false), &mut ids);
        assert_eq!(sent(&mut outbox, &mut ids), [("a".into(), false, 3), ("b".into(), false, 4)]);
    }

    #[test]
    fn a_message_on_which_every_connection_is_lost_is_given_up() {
        for session_present in [false, true] {
            let (mut outbox, mut ids) = (outbox(10), PacketIds::default());
            outbox.push(["poison", "good"].map(|it| message(it, QoS::AtLeastOnce)).into());
            for _ in 0..LOSSES_PER_MESSAGE {
                assert!(outbox.connected(ConnackLimits::by_v3(session_present), &mut ids).is_none());
                sent(&mut outbox, &mut ids);
            }
            assert!(outbox.connected(ConnackLimits::by_v3(session_present), &mut ids).is_some());
            assert_eq!(sent(&mut outbox, &mut ids)[0].0, "good");
            assert_eq!(outbox.len(), 1);
        }
    }

    #[test]
    fn a_message_over_a_limit_is_rejected_and_the_next_one_goes_out() {
        let (mut outbox, mut ids, mut rejected) = (outbox(10), PacketIds::default(), Vec::new());
        outbox.connected(ConnackLimits::by_v3(false), &mut ids);
        outbox.push(vec![message(&"x".repeat(1001), QoS::AtLeastOnce), message("a", QoS::AtLeastOnce)]);
        let mut out = BytesMut::new();
        outbox.fill(&mut out, &mut ids, &mut rejected);
        assert!(rejected[0].reason.contains("max_outgoing_packet"), "{rejected:?}");
        assert_eq!((rejected.len(), outbox.len()), (1, 1));
    }

    fn tracked(qos: QoS) -> (OutgoingPublish, PublishReceipt) {
        OutgoingPublish::with_receipt(message("x", qos).message)
    }

    #[tokio::test]
    async fn a_message_has_its_outcome_when_the_broker_has_answered_and_not_before() {
        let (mut outbox, mut ids) = (outbox(10), PacketIds::default());
        outbox.connected(ConnackLimits::by_v3(false), &mut ids);
        let mut receipts = Vec::new();
        for qos in [QoS::AtLeastOnce, QoS::AtLeastOnce, QoS::ExactlyOnce, QoS::ExactlyOnce, QoS::AtLeastOnce] {
            let (outgoing, receipt) = tracked(qos);
            outbox.push(vec![outgoing]);
            receipts.push(Box::pin(receipt.outcome()));
        }
        sent(&mut outbox, &mut ids);
        assert!(receipts.iter_mut().all(|receipt| receipt.now_or_never().is_none()));
        let refused = || PublishAnswer { code: 0x87, reason: Some("not here".into()) };
        outbox.acknowledged(1, PublishAnswer::default(), &mut ids);
        outbox.acknowledged(2, refused(), &mut ids);
        outbox.recorded(3, PublishAnswer::default(), &mut ids, &mut BytesMut::new());
        outbox.completed(3, &mut ids);
        outbox.recorded(4, refused(), &mut ids, &mut BytesMut::new());
        drop(outbox);
        let mut outcomes = Vec::new();
        for receipt in receipts {
            outcomes.push(receipt.await);
        }
        let refused = PublishOutcome::Refused("refused by the broker: not authorized (0x87): not here".into());
        let acknowledged = PublishOutcome::Acknowledged;
        assert_eq!(outcomes, [acknowledged.clone(), refused.clone(), acknowledged, refused, PublishOutcome::GivenUp]);
    }
}
