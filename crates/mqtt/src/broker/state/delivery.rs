//! A message goes out: to a connected client, or into its queue.

use super::output::{OutputBuffer, PayloadBudget};
use super::{BrokerState, ReplyBody, SOFT_OUTPUT};
use crate::broker::BrokerLoss;
use crate::broker::packets::outgoing;
use crate::broker::packets::outgoing::DeliveryHeader;
use crate::broker::state::message::BrokerMessage;
use crate::broker::state::pull_position::PullPosition;
use crate::broker::state::queued::QueuedDelivery;
use crate::broker::state::session::{ClientSession, DeliveryPhase, InflightDelivery, LinkKey};
use crate::broker::state::tree::{SessionKey, SharedGroup};
use crate::codec::reason::ReasonCode;
use hearthgate_domain::delivery::QoS;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Who has taken nothing for so long gives way to those whose payloads wait for room.
const MAX_BLOCKED: Duration = Duration::from_secs(10);

impl BrokerState {
    /// Owes a message to a session. Returns whether its publisher has to wait for the store: also when the subscriber is
    /// connected, as it may have gone by the time that we are killed.
    pub(super) fn deliver(
        &mut self,
        key: SessionKey,
        message: &Arc<BrokerMessage>,
        qos: QoS,
        retain: bool,
        identifiers: &[u32],
        share: Option<&Arc<str>>,
    ) -> bool {
        let Some(session) = self.sessions.get(key).filter(|one| one.rights.may_receive(&message.topic)) else {
            return false;
        };
        let (online, persistent) = (session.link.is_some(), session.is_persistent());
        if !online && qos == QoS::AtMostOnce {
            return false;
        }
        let outgoing = &session.outgoing;
        let weight = message.weight() + 4 * identifiers.len();
        let full = outgoing.queue.len() >= self.limits.max_queued_messages
            || outgoing.bytes() + weight > self.limits.max_queued_bytes.max(weight);
        // Those who are away must not take from those who read.
        let reads = online && outgoing.bytes() + weight <= SOFT_OUTPUT;
        if full || !reads && !self.make_room(key, weight) {
            self.count_dropped(key);
            return false;
        }
        let number = self.number();
        let (message, identifiers) = (message.clone(), identifiers.to_vec());
        let owed = QueuedDelivery { number, message, qos, retain, identifiers, share: share.cloned() };
        let stored = persistent && qos != QoS::AtMostOnce && self.delta.is_some();
        if stored {
            let session_number = self.sessions[key].number;
            let copy = owed.clone();
            self.store(|delta| delta.owe(session_number, copy));
        }
        let session = &mut self.sessions[key];
        session.outgoing.push(owed);
        if let Some(link) = session.link {
            self.pump(key, link);
        }
        stored
    }

    /// Owes a message to the next member of a group: a connected one, else one that will be back.
    pub(super) fn deliver_shared(&mut self, group: &SharedGroup, message: &Arc<BrokerMessage>) -> bool {
        let Some(index) = self.choose(group, &message.topic) else { return false };
        let member = &group.members[index];
        group.turn.set(index + 1);
        let qos = message.qos.min(member.options.qos);
        let retain = message.retain && member.options.retain_as_published;
        let identifiers: Vec<u32> = member.identifier.into_iter().collect();
        self.deliver(member.session, message, qos, retain, &identifiers, Some(&group.name))
    }

    fn choose(&self, group: &SharedGroup, topic: &str) -> Option<usize> {
        let count = group.members.len();
        let session = |index: usize| self.sessions.get(group.members[index].session);
        let may_get = |index: &usize| session(*index).is_some_and(|one| one.rights.may_receive(topic));
        let order = || (0..count).map(|step| (group.turn.get() + step) % count).filter(may_get);
        let idle = |index: &usize| session(*index).is_some_and(|one| one.link.is_some() && one.outgoing.is_idle());
        let online = |index: &usize| session(*index).is_some_and(|one| one.link.is_some());
        order().find(idle).or_else(|| order().find(online)).or_else(|| order().next())
    }

    /// What was owed by shared subscriptions goes to other members, now that this one is gone; without what was sent to it,
    /// unless its session `ends`.
    pub(super) fn hand_on_shared(&mut self, key: SessionKey, ends: bool) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let number = session.number;
        let another_online = |hub: &BrokerState, share: &str, topic: &str| {
            let group =
                crate::broker::topic::shared(share).flatten().and_then(|(_, filter)| hub.tree.group(filter, share));
            group
                .filter(|group| {
                    let is_there = |session| {
                        let session = hub.sessions.get(session);
                        session.is_some_and(|one| one.link.is_some() && one.rights.may_receive(topic))
                    };
                    group.members.iter().any(|member| member.session != key && is_there(member.session))
                })
                .cloned()
        };
        for owed in session.outgoing.take_shared(!ends) {
            let Some(share) = owed.share.clone() else { continue };
            match another_online(self, &share, &owed.message.topic) {
                Some(group) => {
                    self.store(|delta| delta.settle(owed.number));
                    self.deliver_shared(&group, &owed.message);
                }
                // Nobody else: it stays with this session, if that one stays.
                None => {
                    // Its new place is behind what is left, and so must its number be: the order of a restart.
                    let (old, new) = (owed.number, self.number());
                    if let Some(session) = self.sessions.get_mut(key) {
                        let owed = QueuedDelivery { number: new, ..owed };
                        let copy = owed.clone();
                        session.outgoing.push(owed);
                        if session.is_persistent() {
                            self.store(|delta| {
                                delta.settle(old);
                                delta.owe(number, copy);
                            });
                        }
                    }
                }
            }
        }
    }

    /// Sends what a client may get now: first what an earlier connection left open, then what waits. What has to be in
    /// the store before it is sent gets its id now, and the others behind it theirs, so that one commit does for all.
    pub(crate) fn pump(&mut self, key: SessionKey, link_key: LinkKey) {
        let now = Instant::now();
        let (Some(session), Some(link)) = (self.sessions.get_mut(key), self.links.get_mut(link_key)) else { return };
        let before = link.out.len();
        let window = link.window.min(usize::from(self.limits.max_inflight));
        let outgoing = &mut session.outgoing;
        let max_payloads = self.limits.max_total_queued_bytes / 2;
        let mut is_crowded = false;
        if before == 0 {
            link.last_written = now;
        }
        while link.out.len() < SOFT_OUTPUT {
            let is_waiting = match outgoing.inflight.get_mut(outgoing.resent) {
                Some(_) if outgoing.resent >= window => break,
                Some(inflight) if inflight.stored > self.committed => {
                    self.awaiting_store.insert(link_key);
                    true
                }
                Some(inflight) => {
                    is_crowded = inflight.phase == DeliveryPhase::Sent
                        && !self.payloads.has_room(&inflight.owed.message.payload, max_payloads);
                    if is_crowded {
                        break;
                    }
                    if transmit(link, inflight, &self.payloads, now) {
                        outgoing.resent += 1;
                    } else if let (Some(skipped), Some(delta)) =
                        (outgoing.skip(), self.delta.as_mut().filter(|_| session.expiry > 0))
                    {
                        // Larger than the client takes: as if it had been delivered ([MQTT-3.1.2-25]).
                        delta.settle(skipped.owed.number);
                        self.dirty.notify_one();
                    }
                    continue;
                }
                None => false,
            };
            let free_id = outgoing.free_id().filter(|_| outgoing.open() < window);
            let (bytes, total) = (outgoing.bytes(), self.queued.total());
            let mut packet_id = 0;
            let mut is_pulled = false;
            // What is retained comes behind the SUBACK that grants it, which may wait for the store.
            if !link.replies.is_empty() && outgoing.pull_due().is_some() {
                break;
            }
            let owed = if let Some(pull) = outgoing.pull_due() {
                if pull.qos() != QoS::AtMostOnce && free_id.is_none() {
                    break;
                }
                let Some(message) = pull.peek(&self.retained, now) else {
                    let ended = outgoing.pulls.pop_front();
                    if let (Some(delta), Some(pull)) = (&mut self.delta, ended.filter(PullPosition::is_stored)) {
                        delta.pull(session.number, pull.filter().clone(), false);
                        self.dirty.notify_one();
                    }
                    continue;
                };
                is_crowded = !self.payloads.has_room(&message.payload, max_payloads);
                if is_crowded {
                    break;
                }
                let after = bytes + message.weight();
                let is_full = after > self.limits.max_queued_bytes
                    || total + message.weight() > self.limits.max_total_queued_bytes && bytes > SOFT_OUTPUT;
                if message.qos.min(pull.qos()) == QoS::AtMostOnce {
                    if is_waiting {
                        break;
                    }
                } else {
                    // Whoever holds something unacknowledged goes on with its acknowledgement.
                    match free_id.filter(|_| !is_full || bytes == 0) {
                        Some(free) => packet_id = free,
                        None => break,
                    }
                }
                self.next_number += 1;
                is_pulled = true;
                pull.take(message, self.next_number)
            } else {
                let Some(next) = outgoing.queue.front() else { break };
                if next.qos == QoS::AtMostOnce {
                    if is_waiting {
                        break;
                    }
                } else {
                    match free_id {
                        Some(free) => packet_id = free,
                        None => break,
                    }
                }
                is_crowded = !self.payloads.has_room(&next.message.payload, max_payloads);
                if is_crowded {
                    break;
                }
                let Some(owed) = outgoing.pop() else { break };
                owed
            };
            // What waited from before the client lost a right goes nowhere.
            let is_due = !owed.message.is_expired(now) && session.rights.may_receive(&owed.message.topic);
            if owed.qos == QoS::AtMostOnce {
                if is_due {
                    send(link, &owed, 0, false, &self.payloads, now);
                }
                continue;
            }
            if !is_due {
                if let Some(delta) = self.delta.as_mut().filter(|_| !is_pulled && session.expiry > 0) {
                    delta.settle(owed.number);
                    self.dirty.notify_one();
                }
                continue;
            }
            let mut stored = 0;
            if let Some(delta) = self.delta.as_mut().filter(|_| session.expiry > 0) {
                if is_pulled {
                    delta.owe(session.number, owed.clone());
                }
                delta.progress(owed.number, packet_id, DeliveryPhase::Sent);
                self.dirty.notify_one();
                if owed.qos == QoS::ExactlyOnce {
                    stored = self.generation;
                    self.awaited = self.generation;
                    self.urgent.notify_one();
                }
            }
            outgoing.assign(packet_id, owed, stored);
        }
        if link.out.len() > before {
            link.wake();
        }
        if is_crowded {
            self.crowded.insert(link_key);
            self.timers.look_at_outputs();
        }
    }

    /// Sends on where a large payload had to wait, now that others may have been written.
    pub(crate) fn pump_crowded(&mut self) {
        if self.crowded.is_empty() || self.payloads.is_full(self.limits.max_total_queued_bytes / 2) {
            return;
        }
        for link in std::mem::take(&mut self.crowded) {
            if let Some(session) = self.links.get(link).and_then(|link| link.session) {
                self.pump(session, link);
            }
        }
    }

    /// Ends the connections of clients that take nothing, and whose payloads keep those of others waiting.
    pub(super) fn end_blocked(&mut self, now: Instant) {
        for (_, link) in &mut self.links {
            let is_blocked =
                now.saturating_duration_since(link.last_written) >= MAX_BLOCKED && link.out.holds_payload();
            if is_blocked && !link.closing {
                let client = &link.client_id;
                tracing::warn!(%client, "closed a connection whose client reads nothing: the memory is needed for others");
                // In the middle of a packet nothing can be said.
                link.out = OutputBuffer::default();
                link.closing = true;
                link.wake();
            }
        }
        self.pump_crowded();
    }

    /// PUBACK or PUBCOMP from a subscriber: the delivery is done.
    pub(crate) fn finish(&mut self, key: SessionKey, link: LinkKey, packet_id: u16) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        if let Some(inflight) = session.outgoing.finish(packet_id) {
            if session.is_persistent() {
                self.store(|delta| delta.settle(inflight.owed.number));
            }
            if !self.sessions[key].outgoing.is_idle() {
                self.pump(key, link);
            }
        }
    }

    /// PUBREC from a subscriber: answered with PUBREL, or the end of the delivery when it is a refusal.
    pub(crate) fn receive(&mut self, key: SessionKey, link_key: LinkKey, packet_id: u16, refused: bool) {
        if refused {
            return self.finish(key, link_key, packet_id);
        }
        let (mut reason, mut generation) = (ReasonCode::PacketIdentifierNotFound, 0);
        let found = self.sessions.get_mut(key).and_then(|session| session.outgoing.find(packet_id));
        if let Some(inflight) = found {
            inflight.phase = DeliveryPhase::Released;
            reason = ReasonCode::Success;
            let number = inflight.owed.number;
            if self.sessions[key].is_persistent() {
                self.store(|delta| delta.progress(number, packet_id, DeliveryPhase::Released));
                generation = self.store_now();
            }
            if let Some(inflight) = self.sessions[key].outgoing.find(packet_id) {
                inflight.stored = generation;
            }
        }
        self.reply(link_key, packet_id, ReplyBody::Acknowledgement { kind: 6, reason }, generation);
    }

    /// Makes room for a message of one session where those who hold more than it leave none; `false`: there is none.
    fn make_room(&mut self, key: SessionKey, weight: usize) -> bool {
        let Some(holds) = self.sessions.get(key).map(|session| session.outgoing.bytes()) else { return false };
        while self.queued.total() + weight > self.limits.max_total_queued_bytes {
            let sessions = &self.sessions;
            let can_give = |other| {
                let session: Option<&ClientSession> = sessions.get(other);
                session.is_some_and(|session| session.outgoing.can_withdraw())
            };
            let Some(heaviest) = self.queued.find_heaviest(holds + weight, can_give) else { return false };
            self.withdraw_newest(heaviest);
        }
        true
    }

    /// Drops what a session was owed last.
    fn withdraw_newest(&mut self, key: SessionKey) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        if let Some(owed) = session.outgoing.withdraw() {
            if owed.qos != QoS::AtMostOnce && self.sessions[key].is_persistent() {
                self.store(|delta| delta.settle(owed.number));
            }
            self.count_dropped(key);
        }
    }

    fn count_dropped(&mut self, key: SessionKey) {
        let total = self.losses.count(BrokerLoss::QueueFull);
        let Some(session) = self.sessions.get_mut(key) else { return };
        session.dropped += 1;
        if total.is_power_of_two() {
            let (client, dropped) = (&session.identity.client_id, session.dropped);
            tracing::warn!(%client, dropped, total, "a client's queue is full, newer messages for it are dropped");
        }
    }

    /// Tells what a client has missed, once it is back.
    pub(super) fn tell_dropped(&mut self, key: SessionKey) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let dropped = std::mem::take(&mut session.dropped);
        if dropped > 0 {
            let client = &session.identity.client_id;
            tracing::warn!(%client, dropped, "a client misses messages that were dropped because its queue was full");
        }
    }
}

/// Sends what is due of a delivery; `false` when the message is larger than the client takes.
fn transmit(
    link: &mut super::ClientLink,
    inflight: &mut InflightDelivery,
    payloads: &Rc<PayloadBudget>,
    now: Instant,
) -> bool {
    match inflight.phase {
        DeliveryPhase::Sent => {
            let dup = std::mem::replace(&mut inflight.was_sent, true);
            send(link, &inflight.owed, inflight.packet_id, dup, payloads, now)
        }
        DeliveryPhase::Released => {
            link.acknowledge(6, inflight.packet_id, ReasonCode::Success);
            true
        }
    }
}

/// Returns `false` when the message is larger than the client takes.
fn send(
    link: &mut super::ClientLink,
    owed: &QueuedDelivery,
    packet_id: u16,
    dup: bool,
    payloads: &Rc<PayloadBudget>,
    now: Instant,
) -> bool {
    let expiry = owed.message.remaining(now).flatten();
    // Aliases only where they are sure to arrive in this order, and only if the packet is sent at all.
    let alias = if owed.message.weight() < link.limit as usize { link.alias(&owed.message.topic) } else { None };
    let how = DeliveryHeader {
        qos: owed.qos,
        retain: owed.retain,
        dup,
        packet_id,
        identifiers: &owed.identifiers,
        expiry,
        alias,
    };
    let is_sent = outgoing::publish_header(link.out.begin_packet(), link.version, &owed.message, &how, link.limit);
    if is_sent {
        link.out.tally.messages += 1;
        link.out.put_payload(&owed.message.payload, payloads);
    }
    if !is_sent {
        link.out.tally.packets -= 1;
    }
    if !is_sent && matches!(alias, Some((_, false))) {
        // The client has not been told of it: identifiers can make the packet larger than the message.
        link.aliases.remove(&owed.message.topic);
    }
    is_sent
}
