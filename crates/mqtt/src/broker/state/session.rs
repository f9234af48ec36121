//! What the broker remembers of a client: its subscriptions, what it is owed, and what it has handed over.

use super::pool::QueuePool;
use super::tree::{SessionKey, SubscriptionMember};
use crate::broker::server::auth::ClientRights;
use crate::broker::state::holdings::SessionHoldings;
use crate::broker::state::pull_position::PullPosition;
use crate::broker::state::queued::QueuedDelivery;
use crate::codec::ProtocolLevel;
use crate::stable_hash::stable_hash;
use hearthgate_domain::delivery::QoS;
use std::collections::{HashMap, HashSet, VecDeque};
use std::iter;
use std::rc::Rc;
use std::sync::Arc;
use tokio::time::Instant;

/// Index of a connection in the hub.
pub(crate) type LinkKey = usize;

/// Whose session it is. Client ids are each user's own: who may log in must neither see nor end another's session, nor
/// keep another out by taking its client id first.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ClientIdentity {
    pub(crate) user: Option<Arc<str>>,
    pub(crate) client_id: Arc<str>,
}

impl ClientIdentity {
    /// Names a publisher towards the gateway.
    ///
    /// Not by its session: widely used clients (Paho, MQTT.js, Mosquitto's library) connect with a clean session and yet
    /// send what was not acknowledged again, with DUP, so DUP is the proof that they have not forgotten it. The name has
    /// to be the same after a restart, hence a fixed hash, with a final mix.
    pub(crate) fn origin(&self) -> u64 {
        // No UTF-8 holds this byte, so the two can't run into each other.
        let user = self.user.iter().flat_map(|user| iter::once(0xff).chain(user.bytes()));
        let mut hash = stable_hash(self.client_id.bytes().chain(user));
        hash ^= hash >> 32;
        hash = hash.wrapping_mul(0xd6e8_feb8_6659_fd93);
        hash ^ hash >> 32
    }
}

/// One client's session.
#[derive(Debug)]
pub(crate) struct ClientSession {
    pub(crate) identity: ClientIdentity,
    /// Names the session in the store, and tells it from an earlier one with the same key.
    pub(crate) number: u64,
    /// Names the publisher towards the gateway.
    pub(crate) origin: u64,
    /// The store's generation in which it is kept for the first time; 0 when it is there.
    pub(crate) stored: u64,
    /// What its client may do.
    pub(crate) rights: ClientRights,
    pub(crate) version: ProtocolLevel,
    /// Seconds that the session outlives its connection.
    pub(crate) expiry: u32,
    pub(crate) link: Option<LinkKey>,
    /// When the connection ended.
    pub(crate) left: Option<Instant>,
    /// By filter as given, `$share/…` included.
    pub(crate) subscriptions: HashMap<Arc<str>, SubscriptionMember>,
    pub(crate) subscription_bytes: usize,
    pub(crate) outgoing: DeliveryQueue,
    pub(crate) holdings: SessionHoldings,
    /// Seconds that the client may be silent; 0 is off.
    pub(crate) keep_alive: u16,
    /// Messages dropped for it since its client was last here.
    pub(crate) dropped: u64,
}

impl ClientSession {
    /// A session that ends with its connection, of a client that is not there yet.
    pub(crate) fn new(
        identity: ClientIdentity,
        number: u64,
        rights: ClientRights,
        outgoing: DeliveryQueue,
        holdings: SessionHoldings,
    ) -> Self {
        ClientSession {
            number,
            origin: identity.origin(),
            identity,
            stored: 0,
            rights,
            version: ProtocolLevel::V311,
            expiry: 0,
            link: None,
            left: None,
            subscriptions: HashMap::new(),
            subscription_bytes: 0,
            outgoing,
            holdings,
            keep_alive: 0,
            dropped: 0,
        }
    }

    pub(crate) fn is_persistent(&self) -> bool {
        self.expiry > 0
    }
}

/// How far a QoS 1 or 2 delivery has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DeliveryPhase {
    /// PUBLISH is or was sent.
    Sent,
    /// PUBREL was sent.
    Released,
}

/// A delivery that the client has not finished.
#[derive(Clone, Debug)]
pub(crate) struct InflightDelivery {
    pub(crate) packet_id: u16,
    pub(crate) phase: DeliveryPhase,
    pub(crate) owed: QueuedDelivery,
    /// The generation of the store in which the packet id and the phase are kept; 0 when nothing waits for that.
    ///
    /// The client of a QoS 2 delivery remembers the id until PUBREL. If we forgot after a crash which message has it, or
    /// that PUBREL was sent, the client would take another message for a repetition, or a repetition for a new one.
    pub(crate) stored: u64,
    /// PUBLISH may have been sent before, on this connection or another.
    pub(crate) was_sent: bool,
}

impl InflightDelivery {
    /// Whether it may be dropped: not what its client has taken at QoS 2 and not completed.
    fn can_withdraw(&self) -> bool {
        self.phase == DeliveryPhase::Sent && (self.owed.qos == QoS::AtLeastOnce || !self.was_sent)
    }
}

/// How far one packet id lies behind another, going round.
fn distance(from: u16, to: u16) -> u32 {
    (u32::from(to) + 65_535 - u32::from(from)) % 65_535
}

/// What one client is owed, in order.
#[derive(Debug)]
pub(crate) struct DeliveryQueue {
    /// Packet ids rise (cyclically) from front to back.
    pub(crate) inflight: VecDeque<InflightDelivery>,
    /// So many of `inflight`, from the front, were sent on the present connection.
    pub(crate) resent: usize,
    /// So many were sent on the present connection and withdrawn since: the client will still finish them.
    withdrawn: usize,
    pub(crate) queue: VecDeque<QueuedDelivery>,
    /// Retained messages that are taken when there is room for them.
    pub(crate) pulls: VecDeque<PullPosition>,
    bytes: usize,
    pool: Rc<QueuePool>,
    holder: SessionKey,
    last_id: u16,
}

impl DeliveryQueue {
    /// `pool` is that of all sessions, `holder` the one that this belongs to.
    pub(crate) fn new(pool: Rc<QueuePool>, holder: SessionKey) -> Self {
        let (inflight, queue, pulls) = (VecDeque::new(), VecDeque::new(), VecDeque::new());
        DeliveryQueue { inflight, resent: 0, withdrawn: 0, queue, pulls, bytes: 0, pool, holder, last_id: 0 }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Nothing waits to be sent.
    pub(crate) fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.pulls.is_empty() && self.resent == self.inflight.len()
    }

    pub(crate) fn push(&mut self, owed: QueuedDelivery) {
        self.charge(owed.weight());
        self.queue.push_back(owed);
    }

    pub(crate) fn pop(&mut self) -> Option<QueuedDelivery> {
        let owed = self.queue.pop_front()?;
        self.discharge(owed.weight());
        Some(owed)
    }

    /// Takes back what came last: it was not sent, or the client has not confirmed it.
    pub(crate) fn withdraw(&mut self) -> Option<QueuedDelivery> {
        if let Some(owed) = self.queue.pop_back() {
            self.discharge(owed.weight());
            return Some(owed);
        }
        let index = self.inflight.len().checked_sub(1)?;
        if !self.inflight[index].can_withdraw() {
            return None;
        }
        self.withdrawn += usize::from(index < self.resent);
        self.remove(index).map(|inflight| inflight.owed)
    }

    /// Whether [`DeliveryQueue::withdraw`] would take anything.
    pub(crate) fn can_withdraw(&self) -> bool {
        !self.queue.is_empty() || self.inflight.back().is_some_and(InflightDelivery::can_withdraw)
    }

    /// A new connection begins: nothing was sent on it.
    pub(crate) fn begin_connection(&mut self) {
        self.resent = 0;
        self.withdrawn = 0;
    }

    /// How many deliveries the client has not finished on the present connection, as it sees it.
    pub(crate) fn open(&self) -> usize {
        self.inflight.len() + self.withdrawn
    }

    /// The next free packet id; `None` when the oldest delivery still holds it.
    pub(crate) fn free_id(&self) -> Option<u16> {
        let next = if self.last_id == u16::MAX { 1 } else { self.last_id + 1 };
        (self.inflight.front().map(|oldest| oldest.packet_id) != Some(next)).then_some(next)
    }

    /// Gives a delivery that is to be sent next an id from [`DeliveryQueue::free_id`]; it may be sent once `stored` is
    /// committed.
    pub(crate) fn assign(&mut self, packet_id: u16, owed: QueuedDelivery, stored: u64) {
        self.insert(InflightDelivery { packet_id, phase: DeliveryPhase::Sent, owed, stored, was_sent: false });
    }

    /// The next delivery to send on this connection is left out: its client does not take it.
    pub(crate) fn skip(&mut self) -> Option<InflightDelivery> {
        self.remove(self.resent)
    }

    /// Takes the deliveries of a time before a restart, and what waited, both in order of their numbers.
    ///
    /// Files of earlier versions may hold ids that do not rise with the numbers, and an id twice: the first one keeps
    /// it, the others wait for a new one.
    pub(crate) fn restore(&mut self, mut inflight: Vec<InflightDelivery>, mut queue: Vec<QueuedDelivery>) {
        let mut taken = HashSet::new();
        for again in inflight.extract_if(.., |one| one.packet_id == 0 || !taken.insert(one.packet_id)) {
            queue.push(again.owed);
        }
        queue.sort_by_key(|owed| owed.number);
        let first = inflight.first().map_or(0, |first| first.packet_id);
        if !inflight.is_sorted_by_key(|one| distance(first, one.packet_id)) {
            inflight.sort_by_key(|one| one.packet_id);
            // The ids go round: the longest run of unused ones lies between the last and the first.
            let gap = |index: usize| {
                let before = inflight[(index + inflight.len() - 1) % inflight.len()].packet_id;
                distance(before, inflight[index].packet_id)
            };
            let start = (0..inflight.len()).max_by_key(|&index| gap(index)).unwrap_or_default();
            inflight.rotate_left(start);
        }
        inflight.into_iter().for_each(|one| self.insert(one));
        queue.into_iter().for_each(|owed| self.push(owed));
    }

    fn insert(&mut self, inflight: InflightDelivery) {
        self.charge(inflight.owed.weight());
        self.last_id = inflight.packet_id;
        self.inflight.push_back(inflight);
    }

    pub(crate) fn find(&mut self, packet_id: u16) -> Option<&mut InflightDelivery> {
        let index = self.position(packet_id)?;
        self.inflight.get_mut(index)
    }

    pub(crate) fn finish(&mut self, packet_id: u16) -> Option<InflightDelivery> {
        let Some(index) = self.position(packet_id) else {
            self.withdrawn = self.withdrawn.saturating_sub(1);
            return None;
        };
        self.remove(index)
    }

    /// Takes out everything that came by a shared subscription and that another member may get instead. What was sent
    /// stays with a session that is kept (`keep_sent`): the member may have taken it, and only its acknowledgement is lost.
    pub(crate) fn take_shared(&mut self, keep_sent: bool) -> Vec<QueuedDelivery> {
        let mut taken = Vec::new();
        let mut index = 0;
        while index < self.inflight.len() {
            let inflight = &self.inflight[index];
            // A QoS 2 delivery belongs to the one that it was sent to (MQTT 5.0, section 4.8.2).
            if !keep_sent && inflight.owed.share.is_some() && inflight.owed.qos == QoS::AtLeastOnce {
                taken.extend(self.remove(index).map(|inflight| inflight.owed));
            } else {
                index += 1;
            }
        }
        let queue = std::mem::take(&mut self.queue);
        for owed in queue {
            if owed.share.is_some() {
                self.discharge(owed.weight());
                taken.push(owed);
            } else {
                self.queue.push_back(owed);
            }
        }
        taken
    }

    fn remove(&mut self, index: usize) -> Option<InflightDelivery> {
        let inflight = self.inflight.remove(index)?;
        self.discharge(inflight.owed.weight());
        if index < self.resent {
            self.resent -= 1;
        }
        Some(inflight)
    }

    fn position(&self, packet_id: u16) -> Option<usize> {
        let first = self.inflight.front()?.packet_id;
        if first == packet_id {
            return Some(0);
        }
        let wanted = distance(first, packet_id);
        self.inflight.binary_search_by_key(&wanted, |inflight| distance(first, inflight.packet_id)).ok()
    }

    fn charge(&mut self, weight: usize) {
        self.account(self.bytes + weight);
    }

    fn discharge(&mut self, weight: usize) {
        self.account(self.bytes.saturating_sub(weight));
    }

    fn account(&mut self, bytes: usize) {
        self.pool.account(self.holder, self.bytes, bytes);
        self.bytes = bytes;
    }
}

impl Drop for DeliveryQueue {
    fn drop(&mut self) {
        self.account(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::state::message::BrokerMessage;
    use bytes::Bytes;

    fn owed(number: u64, share: bool, qos: QoS) -> QueuedDelivery {
        let message = BrokerMessage {
            topic: "a".into(),
            payload: Bytes::new(),
            qos,
            retain: false,
            properties: Bytes::new(),
            expires: None,
        };
        let share = share.then(|| Arc::from("$share/g/a"));
        QueuedDelivery { number, message: Arc::new(message), qos, retain: false, identifiers: Vec::new(), share }
    }

    fn send(outgoing: &mut DeliveryQueue, packet_id: u16, owed: QueuedDelivery) {
        outgoing.assign(packet_id, owed, 0);
        outgoing.resent += 1;
    }

    #[test]
    fn what_was_kept_with_ids_out_of_order_or_twice_is_put_in_order() {
        let mut outgoing = DeliveryQueue::new(Rc::default(), 0);
        let kept = |number, packet_id| {
            let owed = owed(number, false, QoS::AtLeastOnce);
            InflightDelivery { packet_id, phase: DeliveryPhase::Sent, owed, stored: 0, was_sent: true }
        };
        let inflight = vec![kept(1, 65_535), kept(2, 2), kept(3, 1), kept(4, 2)];
        outgoing.restore(inflight, vec![owed(3, false, QoS::AtLeastOnce), owed(5, false, QoS::AtLeastOnce)]);
        let ids: Vec<u16> = outgoing.inflight.iter().map(|inflight| inflight.packet_id).collect();
        assert_eq!(ids, [65_535, 1, 2]);
        assert_eq!(outgoing.queue.iter().map(|owed| owed.number).collect::<Vec<_>>(), [3, 4, 5]);
        assert_eq!(outgoing.free_id(), Some(3));
        for id in [2, 65_535, 1] {
            assert_eq!(outgoing.finish(id).map(|inflight| inflight.packet_id), Some(id));
        }
    }

    #[test]
    fn packet_ids_wrap_and_are_found_in_any_order() {
        let mut outgoing = DeliveryQueue::new(Rc::default(), 0);
        outgoing.last_id = 65_533;
        for number in 0..5 {
            let id = outgoing.free_id().unwrap();
            send(&mut outgoing, id, owed(number, false, QoS::AtLeastOnce));
        }
        let ids: Vec<u16> = outgoing.inflight.iter().map(|inflight| inflight.packet_id).collect();
        assert_eq!(ids, [65_534, 65_535, 1, 2, 3]);
        for id in [1, 3, 65_534, 2, 65_535] {
            assert_eq!(outgoing.finish(id).map(|inflight| inflight.packet_id), Some(id));
            assert!(outgoing.finish(id).is_none());
        }
        assert_eq!((outgoing.bytes(), outgoing.pool.total()), (0, 0));
    }

    #[test]
    fn an_id_is_not_reused_while_its_delivery_is_open() {
        let mut outgoing = DeliveryQueue::new(Rc::default(), 0);
        send(&mut outgoing, 5, owed(1, false, QoS::AtLeastOnce));
        outgoing.last_id = 4;
        assert_eq!(outgoing.free_id(), None);
        outgoing.finish(5);
        assert_eq!(outgoing.free_id(), Some(5));
    }

    #[test]
    fn what_was_withdrawn_counts_until_the_client_has_finished_it() {
        let mut outgoing = DeliveryQueue::new(Rc::default(), 0);
        send(&mut outgoing, 1, owed(1, false, QoS::AtLeastOnce));
        send(&mut outgoing, 2, owed(2, false, QoS::AtLeastOnce));
        outgoing.push(owed(3, false, QoS::AtLeastOnce));
        let mut withdraw = || outgoing.withdraw().map(|owed| owed.number);
        assert_eq!((withdraw(), withdraw(), withdraw(), withdraw()), (Some(3), Some(2), Some(1), None));
        assert_eq!((outgoing.open(), outgoing.bytes()), (2, 0));
        assert!(outgoing.finish(1).is_none());
        assert_eq!(outgoing.open(), 1);
        outgoing.begin_connection();
        assert_eq!(outgoing.open(), 0);
    }

    #[test]
    fn what_came_by_a_shared_subscription_can_be_taken_back_except_qos_2_that_was_sent() {
        let mut outgoing = DeliveryQueue::new(Rc::default(), 0);
        send(&mut outgoing, 1, owed(1, true, QoS::ExactlyOnce));
        send(&mut outgoing, 2, owed(2, true, QoS::AtLeastOnce));
        send(&mut outgoing, 3, owed(3, false, QoS::AtLeastOnce));
        outgoing.push(owed(4, true, QoS::ExactlyOnce));
        outgoing.push(owed(5, false, QoS::AtMostOnce));
        let numbers = |taken: Vec<QueuedDelivery>| taken.iter().map(|owed| owed.number).collect::<Vec<_>>();
        assert_eq!(numbers(outgoing.take_shared(true)), [4]);
        assert_eq!(numbers(outgoing.take_shared(false)), [2]);
        assert_eq!((outgoing.inflight.len(), outgoing.resent, outgoing.queue.len()), (2, 2, 1));
    }
}
