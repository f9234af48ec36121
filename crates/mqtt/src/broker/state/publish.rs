//! A message comes in: to the gateway, to the subscribers, into the retained ones.

use super::{BrokerState, ClientLink};
use crate::broker::BrokerLoss;
use crate::broker::packets::connect::ConnectWill;
use crate::broker::state::holdings::weigh_will;
use crate::broker::state::message::BrokerMessage;
use crate::broker::state::received::{AckCondition, ReceivedMessage};
use crate::broker::state::session::LinkKey;
use crate::broker::state::tree::{DeliveryRoute, SessionKey};
use crate::link::{OutgoingPublish, PublishOutcome, SenderEvent};
use bytes::Bytes;
use hearthgate_domain::delivery::{InboundMessage, MessageOrigin, QoS, UnixMicros};
use std::rc::Rc;
use std::time::Duration;
use tokio::time::Instant;

/// So many wills wait until the gateway has said what it wants; later ones go to the other subscribers at once.
const MAX_EARLY_WILLS: usize = 100;

/// What is published.
#[derive(Debug)]
pub(crate) struct PublishedMessage {
    pub(crate) payload: Bytes,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) properties: Bytes,
    /// Seconds.
    pub(crate) expiry: Option<u32>,
    pub(crate) received_at: UnixMicros,
}

/// Who publishes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MessagePublisher {
    pub(crate) link: LinkKey,
    pub(crate) session: SessionKey,
    pub(crate) origin: MessageOrigin,
}

impl BrokerState {
    /// Whether a message on this route has to wait until there is room.
    pub(crate) fn must_wait(&self, route: &DeliveryRoute) -> bool {
        self.awaits_filters
            || route.gateway.is_some() && self.gateway.as_ref().is_some_and(super::GatewayQueue::is_full)
            || self.store_is_full()
    }

    /// Registers a connection to be woken when there is room.
    pub(crate) fn stall(&mut self, link: LinkKey) {
        self.stalled.insert(link);
    }

    /// Whether a connection still waits for room.
    pub(crate) fn is_stalled(&self, link: LinkKey) -> bool {
        self.stalled.contains(&link)
    }

    /// A QoS 2 message came in; its packet id is taken until PUBREL.
    pub(crate) fn note_received(&mut self, session: SessionKey, packet_id: u16, wait: AckCondition) {
        let Some(session) = self.sessions.get_mut(session) else { return };
        session.holdings.receive(packet_id, ReceivedMessage { wait, restored: false });
        if session.is_persistent() {
            let number = session.number;
            self.store(|delta| delta.receive(number, packet_id, true));
        }
    }

    /// PUBREL came; returns whether the packet id was taken.
    pub(crate) fn forget_received(&mut self, session: SessionKey, packet_id: u16) -> bool {
        let Some(session) = self.sessions.get_mut(session) else { return false };
        let Some(ReceivedMessage { wait, restored }) = session.holdings.release(packet_id) else { return false };
        if let Some(gateway) = self.gateway.as_mut().filter(|_| wait.ticket > 0 || restored) {
            gateway.hear(session.origin, SenderEvent::Released { packet_id });
        }
        if session.is_persistent() {
            let number = session.number;
            self.store(|delta| delta.receive(number, packet_id, false));
        }
        true
    }

    /// Passes a message on; says what must happen before its publisher is acknowledged.
    pub(crate) fn publish(
        &mut self,
        publisher: Option<MessagePublisher>,
        route: &Rc<DeliveryRoute>,
        published: &PublishedMessage,
    ) -> AckCondition {
        let mut wait = AckCondition::default();
        if let Some(wanted) = route.gateway {
            wait.ticket = self.hand_to_gateway(publisher, route, published, wanted);
        }
        if route.targets.is_empty() && route.groups.is_empty() && !published.retain {
            return wait;
        }
        wait.generation = self.distribute(publisher, route, published);
        wait
    }

    /// A QoS 2 message whose packet id is known from before a restart: the gateway decides.
    pub(crate) fn publish_to_gateway_only(
        &mut self,
        publisher: MessagePublisher,
        route: &Rc<DeliveryRoute>,
        published: &PublishedMessage,
    ) -> AckCondition {
        let ticket = route.gateway.map_or(0, |wanted| self.hand_to_gateway(Some(publisher), route, published, wanted));
        AckCondition { ticket, generation: 0 }
    }

    fn hand_to_gateway(
        &mut self,
        publisher: Option<MessagePublisher>,
        route: &Rc<DeliveryRoute>,
        published: &PublishedMessage,
        wanted: QoS,
    ) -> u64 {
        let qos = published.qos.min(wanted);
        // What the broker itself hands over, wills and the gateway's own messages, is never sent again.
        let origin = publisher.filter(|_| qos != QoS::AtMostOnce).map(|publisher| publisher.origin);
        let Some(gateway) = &mut self.gateway else { return 0 };
        let link = publisher.filter(|_| origin.is_some()).and_then(|publisher| self.links.get_mut(publisher.link));
        let begins = link.is_some_and(|link| !std::mem::replace(&mut link.has_published, true));
        let waits = publisher.filter(|_| published.qos != QoS::AtMostOnce).map(|publisher| publisher.link);
        let (topic, payload) = (route.topic.clone(), published.payload.clone());
        let received_at = published.received_at;
        let inbound = InboundMessage { qos, origin, ..InboundMessage::unsent(topic, payload, received_at) };
        let ticket = gateway.push(inbound, waits, begins);
        if waits.is_some() { ticket } else { 0 }
    }

    /// To the subscribers and the retained messages; returns the generation of the store to wait for, or 0.
    fn distribute(
        &mut self,
        publisher: Option<MessagePublisher>,
        route: &Rc<DeliveryRoute>,
        published: &PublishedMessage,
    ) -> u64 {
        let message = std::sync::Arc::new(BrokerMessage {
            topic: route.topic.clone(),
            // The payload lies in a network buffer that a small message must not hold on to.
            payload: Bytes::copy_from_slice(&published.payload),
            qos: published.qos,
            retain: published.retain,
            properties: Bytes::copy_from_slice(&published.properties),
            expires: published.expiry.map(|seconds| Instant::now() + Duration::from_secs(seconds.into())),
        });
        let mut must_store = published.retain && self.retain(&message) && message.qos != QoS::AtMostOnce;
        for target in &route.targets {
            if target.no_local && publisher.is_some_and(|publisher| publisher.session == target.session) {
                continue;
            }
            let qos = message.qos.min(target.qos);
            let retain = message.retain && target.retain_as_published;
            must_store |= self.deliver(target.session, &message, qos, retain, &target.identifiers, None);
        }
        for group in &route.groups {
            must_store |= self.deliver_shared(group, &message);
        }
        if must_store { self.store_now() } else { 0 }
    }

    /// Keeps or removes a retained message; returns whether the store has to know.
    fn retain(&mut self, message: &std::sync::Arc<BrokerMessage>) -> bool {
        let topic = message.topic.clone();
        if message.payload.is_empty() {
            let removed = self.retained.remove(&topic);
            if removed {
                self.store(|delta| delta.retain(topic, None));
            }
            return removed;
        }
        if !self.retained.set(message.clone(), self.limits.max_retained_messages, self.limits.max_retained_bytes) {
            let total = self.losses.count(BrokerLoss::RetainedFull);
            if total.is_power_of_two() {
                tracing::warn!(%topic, total, "no room for a retained message; raise the broker's limits of retained messages or of their size");
            }
            // Rather none than one that is out of date.
            let removed = self.retained.remove(&topic);
            if removed {
                self.store(|delta| delta.retain(topic, None));
            }
            return removed;
        }
        if message.expires.is_some() {
            self.timers.sweep_retained();
        }
        let message = message.clone();
        self.store(|delta| delta.retain(topic, Some(message)));
        true
    }

    /// A message of the gateway. Its outcome is told once the store has what it changes.
    pub(crate) fn publish_from_gateway(&mut self, OutgoingPublish { message: outbound, told }: OutgoingPublish) {
        let topic = &*outbound.topic;
        if !crate::broker::topic::is_name(topic) || topic.contains('\0') || topic.len() > usize::from(u16::MAX) {
            tracing::error!(topic, "the gateway published to what is not a topic name; dropped");
            return told.tell(PublishOutcome::Refused("not published: its topic is not a valid topic name".into()));
        }
        let route = self.tree.route(topic);
        let published = PublishedMessage {
            payload: outbound.payload,
            qos: outbound.qos,
            retain: outbound.retain,
            properties: Bytes::new(),
            expiry: None,
            received_at: super::now_micros(),
        };
        let AckCondition { generation, .. } = self.publish(None, &route, &published);
        if generation > self.committed {
            self.unsettled.push((generation, told));
        } else {
            told.tell(PublishOutcome::Acknowledged);
        }
    }

    /// Removes a topic's retained message, as a client would; returns whether there was one.
    pub(crate) fn clear_retained(&mut self, topic: &str) -> bool {
        if !crate::broker::topic::is_name(topic) || self.retained.matching(topic, Instant::now()).is_empty() {
            return false;
        }
        let route = self.tree.route(topic);
        let published = PublishedMessage {
            payload: Bytes::new(),
            qos: QoS::AtLeastOnce,
            retain: true,
            properties: Bytes::new(),
            expiry: None,
            received_at: super::now_micros(),
        };
        self.publish(None, &route, &published);
        true
    }

    /// Publishes a session's will, if it still has one.
    pub(super) fn publish_will(&mut self, session: SessionKey) {
        let Some(will) = self.sessions.get_mut(session).and_then(|session| session.holdings.set_will(None)) else {
            return;
        };
        self.store_will(session, None);
        let early_bytes: usize = self.early_wills.iter().map(weigh_will).sum();
        let has_room = self.early_wills.len() < MAX_EARLY_WILLS && early_bytes <= self.holding_limit();
        if self.awaits_filters && has_room {
            return self.early_wills.push(will);
        }
        self.send_will(will);
    }

    pub(super) fn send_will(&mut self, will: ConnectWill) {
        let ConnectWill { topic, payload, qos, retain, expiry, properties, delay: _ } = will;
        let route = self.tree.route(&topic);
        let (payload, properties, received_at) = (payload.into(), properties.into(), super::now_micros());
        self.publish(None, &route, &PublishedMessage { payload, qos, retain, properties, expiry, received_at });
    }

    /// Gives a publisher the acknowledgements that are due, in order.
    pub(crate) fn release_acknowledgements(&mut self, key: LinkKey) {
        let Some(link) = self.links.get_mut(key) else { return };
        let before = link.out.len();
        while let Some(ack) = link.acks.front().copied() {
            let in_journal = ack.wait.ticket == 0
                || self.gateway.as_ref().is_none_or(|gateway| gateway.has_acknowledged(ack.wait.ticket));
            if !in_journal {
                break;
            }
            if ack.wait.generation > self.committed {
                self.awaiting_store.insert(key);
                break;
            }
            link.acks.pop_front();
            link.pubacks -= usize::from(ack.kind == 4);
            link.acknowledge(ack.kind, ack.packet_id, ack.reason);
        }
        if link.out.len() > before {
            link.wake();
        }
    }
}

impl ClientLink {
    /// Queues an acknowledgement behind those of earlier messages.
    pub(crate) fn owe(&mut self, ack: super::PendingAck) {
        self.pubacks += usize::from(ack.kind == 4);
        self.acks.push_back(ack);
    }
}
