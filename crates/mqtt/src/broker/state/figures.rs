//! The broker's figures, published below `$SYS` as long as somebody subscribes to them.

use super::{BrokerState, PublishedMessage};
use crate::broker::figures::{BrokerFigures, matches_figures};
use crate::broker::state::message::BrokerMessage;
use crate::broker::state::tree::{DeliveryRoute, SessionKey};
use crate::broker::{BrokerLoss, topic};
use bytes::Bytes;
use hearthgate_domain::delivery::QoS;
use std::sync::Arc;

/// Whether a subscription's filter, shared or not, matches one of the figures.
pub(super) fn asks_for_figures(filter: &str) -> bool {
    matches_figures(topic::shared(filter).flatten().map_or(filter, |(_, inner)| inner))
}

impl BrokerState {
    /// The figures now.
    pub(crate) fn figures(&self) -> BrokerFigures {
        let of_sessions = |count: fn(&super::ClientSession) -> usize| {
            self.sessions.iter().map(|(_, session)| count(session) as u64).sum::<u64>()
        };
        let traffic = &self.traffic;
        BrokerFigures {
            uptime: traffic.since.elapsed(),
            clients_connected: of_sessions(|session| usize::from(session.link.is_some())),
            clients_total: self.sessions.len() as u64,
            clients_maximum: traffic.most_links as u64,
            packets_received: traffic.packets_received,
            packets_sent: traffic.sent.packets,
            bytes_received: traffic.bytes_received,
            bytes_sent: traffic.bytes_sent,
            messages_received: traffic.messages_received,
            messages_sent: traffic.sent.messages,
            messages_dropped: self.losses.total(BrokerLoss::QueueFull),
            messages_queued: of_sessions(|session| session.outgoing.queue.len()),
            subscriptions: of_sessions(|session| session.subscriptions.len()),
            retained: self.retained.len() as u64,
        }
    }

    /// Tells a new subscriber what the figures are.
    pub(super) fn send_figures(&mut self, key: SessionKey, filter: &str, identifier: Option<u32>) {
        if !matches_figures(filter) {
            return;
        }
        let identifiers: Vec<u32> = identifier.into_iter().collect();
        for (name, text) in self.figures().topics() {
            if topic::matches(filter, name) {
                let message = Arc::new(BrokerMessage {
                    topic: name.into(),
                    payload: text.into(),
                    qos: QoS::AtMostOnce,
                    retain: true,
                    properties: Bytes::new(),
                    expires: None,
                });
                self.deliver(key, &message, QoS::AtMostOnce, true, &identifiers, None);
            }
        }
    }

    /// Publishes the figures from now on if one of a session's filters asks for them.
    pub(super) fn follow_figures_for(&mut self, key: SessionKey) {
        let asks = |session: &super::ClientSession| session.subscriptions.keys().any(|filter| asks_for_figures(filter));
        if self.sessions.get(key).is_some_and(asks) {
            self.follow_figures();
        }
    }

    /// Publishes the figures from now on.
    pub(super) fn follow_figures(&mut self) {
        // Whoever comes late gets all of them, not only what changes.
        self.told_figures.clear();
        self.timers.look_at_figures();
    }

    /// Publishes what has changed; `false`: nobody listens any more.
    ///
    /// At QoS 0, so that nothing of it waits for a client that is away.
    pub(super) fn publish_figures(&mut self) -> bool {
        let mut is_heard = false;
        for (name, text) in self.figures().topics() {
            let route = self.tree.route(name);
            if !self.is_heard(&route) {
                continue;
            }
            is_heard = true;
            if self.told_figures.get(name) == Some(&text) {
                continue;
            }
            let published = PublishedMessage {
                payload: Bytes::copy_from_slice(text.as_bytes()),
                qos: QoS::AtMostOnce,
                retain: false,
                properties: Bytes::new(),
                expiry: None,
                received_at: super::now_micros(),
            };
            self.publish(None, &route, &published);
            self.told_figures.insert(name, text);
        }
        if !is_heard {
            self.told_figures.clear();
        }
        is_heard
    }

    fn is_heard(&self, route: &DeliveryRoute) -> bool {
        let is_there = |session: SessionKey| self.sessions.get(session).is_some_and(|one| one.link.is_some());
        let mut members = route.groups.iter().flat_map(|group| &group.members);
        route.gateway.is_some()
            || route.targets.iter().any(|target| is_there(target.session))
            || members.any(|member| is_there(member.session))
    }
}
