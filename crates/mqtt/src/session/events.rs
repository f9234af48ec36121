//! What is to be reported to the gateway: messages gather here into batches while the gateway is busy.

use crate::link::{DeliveryTag, LinkEvent, MessageBatch, SenderEvent, SenderNews};
use crate::session::outbound::outbox::RejectedMessage;
use hearthgate_domain::delivery::InboundMessage;
use std::collections::{HashSet, VecDeque};
use tokio::sync::mpsc;

/// Complaints remembered, so that each is reported once; beyond this many, none is reported any more.
const COMPLAINTS: usize = 1_000;

/// Reports that the gateway has not taken yet.
#[derive(Debug)]
pub(super) struct PendingEvents {
    queue: VecDeque<LinkEvent>,
    max_messages: usize,
    max_bytes: usize,
    /// Bytes in the batch at the end of the queue.
    open_bytes: usize,
    complaints: HashSet<(String, String)>,
}

/// The gateway does not listen any more.
#[derive(Debug)]
pub(super) struct ReceiverGone;

impl PendingEvents {
    pub(super) fn new(max_messages: usize, max_bytes: usize) -> Self {
        PendingEvents {
            queue: VecDeque::new(),
            max_messages: max_messages.max(1),
            max_bytes,
            open_bytes: 0,
            complaints: HashSet::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// `begins`: it is the connection's first message with an origin.
    pub(super) fn message(&mut self, ticket: DeliveryTag, message: InboundMessage, begins: bool) {
        let session = message.origin.filter(|_| begins).map(|origin| origin.session);
        self.push_message(ticket, message, session.map(|session| (session, SenderEvent::Connected)));
    }

    /// The release of a QoS 2 message's identifier, which stands for one.
    pub(super) fn release(&mut self, ticket: DeliveryTag, release: InboundMessage, session: u64, packet_id: u16) {
        self.push_message(ticket, release, Some((session, SenderEvent::Released { packet_id })));
    }

    /// With what is to be known before it.
    fn push_message(&mut self, ticket: DeliveryTag, message: InboundMessage, news: Option<(u64, SenderEvent)>) {
        let bytes = message.topic.len() + message.payload.len();
        let news = |before| news.map(|(session, what)| SenderNews { before, session, what });
        match self.queue.back_mut() {
            Some(LinkEvent::Messages(batch))
                if batch.first.connection == ticket.connection
                    && batch.messages.len() < self.max_messages
                    && self.open_bytes + bytes <= self.max_bytes =>
            {
                self.open_bytes += bytes;
                batch.news.extend(news(batch.messages.len()));
                batch.messages.push(message);
            }
            _ => {
                self.open_bytes = bytes;
                let news = news(0).into_iter().collect();
                self.queue.push_back(LinkEvent::Messages(MessageBatch {
                    first: ticket,
                    messages: vec![message],
                    news,
                }));
            }
        }
    }

    /// A later confirmation includes an earlier one, and a later reason for being offline replaces it.
    pub(super) fn push(&mut self, event: LinkEvent) {
        match (self.queue.back_mut(), &event) {
            (Some(last @ LinkEvent::Confirmed(_)), LinkEvent::Confirmed(_))
            | (Some(last @ LinkEvent::Disconnected { .. }), LinkEvent::Disconnected { .. })
            | (Some(last @ LinkEvent::Subscribed(_)), LinkEvent::Subscribed(_)) => *last = event,
            _ => self.queue.push_back(event),
        }
    }

    pub(super) fn dropped(&mut self, RejectedMessage { topic, bytes, reason }: RejectedMessage) {
        let complaint = (topic, reason);
        if self.complaints.len() >= COMPLAINTS || self.complaints.contains(&complaint) {
            return;
        }
        let (topic, reason) = complaint.clone();
        self.complaints.insert(complaint);
        self.push(LinkEvent::Dropped { topic, bytes, reason });
    }

    /// Hands over as much as there is room for.
    pub(super) fn deliver(&mut self, events: &mpsc::Sender<LinkEvent>) -> Result<(), ReceiverGone> {
        while let Some(event) = self.queue.pop_front() {
            match events.try_send(event) {
                Ok(()) => {}
                Err(mpsc::error::TrySendError::Full(event)) => {
                    self.queue.push_front(event);
                    return Ok(());
                }
                Err(mpsc::error::TrySendError::Closed(_)) => return Err(ReceiverGone),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hearthgate_domain::delivery::{MessageOrigin, QoS, SubscriptionIds};

    fn message(bytes: usize) -> InboundMessage {
        let payload = vec![0; bytes].into();
        let (topic, via) = ("t".into(), SubscriptionIds::Any);
        let origin = Some(MessageOrigin { session: 7, packet_id: 1, dup: false });
        InboundMessage {
            topic,
            payload,
            qos: QoS::AtLeastOnce,
            retain: false,
            received_at: 0,
            origin,
            via,
            unusable: None,
            kept_since: None,
            is_restored: false,
            is_release: false,
        }
    }

    #[test]
    fn messages_gather_up_to_the_bounds_and_keep_their_tickets() {
        let (mut reports, (events, mut taken)) = (PendingEvents::new(2, 10), mpsc::channel(8));
        for number in 1..=3 {
            reports.message(DeliveryTag { connection: 1, number }, message(1), number == 2);
        }
        reports.message(DeliveryTag { connection: 1, number: 4 }, message(50), false);
        reports.message(DeliveryTag { connection: 2, number: 1 }, message(1), true);
        reports.deliver(&events).unwrap();
        let mut found = Vec::new();
        while let Ok(LinkEvent::Messages(batch)) = taken.try_recv() {
            assert!(batch.news.iter().all(|news| (news.session, news.what) == (7, SenderEvent::Connected)));
            let beginnings: Vec<usize> = batch.news.iter().map(|news| news.before).collect();
            found.push((batch.first.connection, batch.first.number, batch.last().number, beginnings));
        }
        assert_eq!(found, [(1, 1, 2, vec![1]), (1, 3, 3, vec![]), (1, 4, 4, vec![]), (2, 1, 1, vec![0])]);
    }

    #[test]
    fn a_complaint_about_one_topic_is_reported_once() {
        let mut reports = PendingEvents::new(2, 10);
        for _ in 0..3 {
            reports.dropped(RejectedMessage { topic: "big".into(), bytes: 9, reason: "too large".into() });
        }
        assert_eq!(reports.len(), 1);
    }
}
