//! The broker's state, owned by one thread: sessions, connections, subscriptions, retained messages.
//!
//! Every connection's task borrows it for the moment in which it works through what it has read; no borrow is held
//! across an await. Output is written into the receivers' buffers right here, so a message takes no hop through a
//! channel; the receivers' tasks are woken and write.
//!
//! QoS 2 from a publisher is taken once by its packet id. An id that is known from before a restart only goes on to
//! the gateway once more, because the journal may not have had it when the process died; the gateway knows by the
//! message's [`Origin`](hearthgate_domain::delivery::Origin) whether it is a redelivery.

mod clients;
mod delivery;
mod figures;
pub(crate) mod gateway;
mod give_way;
pub(crate) mod holdings;
mod link;
mod losses;
pub(crate) mod message;
mod output;
mod partial;
mod partial_packets;
mod pool;
mod publish;
pub(crate) mod pull;
pub(crate) mod pull_position;
pub(crate) mod queued;
pub(crate) mod received;
pub(crate) mod retained;
pub(crate) mod session;
mod subscriptions;
pub(crate) mod timer_queue;
mod timers;
mod traffic;
pub(crate) mod tree;
mod wills;

pub(crate) use clients::{AcceptedClient, ClientDeparture};
use link::PendingReply;
pub(crate) use link::{ClientLink, PendingAck, ReplyBody, SOFT_OUTPUT};
pub(crate) use losses::LossCounters;
pub(crate) use publish::{MessagePublisher, PublishedMessage};

use super::figures::matches_figures;
use super::options::LimitOptions;
use super::packets::connect::ConnectWill;
use super::store::RestoredState;
use crate::broker::server::auth::AccessControl;
use crate::broker::state::gateway::GatewayQueue;
use crate::broker::state::holdings::{HoldingPool, SessionHoldings};
use crate::broker::state::partial_packets::PartialPackets;
use crate::broker::state::retained::RetainedMessages;
use crate::broker::state::session::{ClientIdentity, ClientSession, DeliveryQueue, LinkKey};
use crate::broker::state::timer_queue::TimerQueue;
use crate::broker::state::tree::{SessionKey, SubscriptionTree};
use crate::broker::store::delta::StoreDelta;
use crate::link::{OutcomeSender, PublishOutcome};
use hearthgate_domain::delivery::{InboundMessage, QoS, UnixMicros, unix_micros};
use output::PayloadBudget;
use pool::QueuePool;
use slab::Slab;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::Notify;
use tokio::time::Instant;
use traffic::{ToldFigures, TrafficCounters};

/// Bytes that may wait for the store before publishers do.
const MAX_UNSTORED_BYTES: usize = 8 * 1024 * 1024;

/// What has happened, for the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct BrokerCounters {
    /// Connections that were closed for what the client did.
    pub(crate) violations: u64,
}

/// Everything.
#[derive(Debug)]
pub(crate) struct BrokerState {
    pub(crate) limits: LimitOptions,
    pub(crate) sessions: Slab<ClientSession>,
    by_identity: HashMap<ClientIdentity, SessionKey>,
    pub(crate) links: Slab<ClientLink>,
    pub(crate) tree: SubscriptionTree,
    pub(crate) retained: RetainedMessages,
    pub(crate) gateway: Option<GatewayQueue>,
    /// The gateway has not said yet what it wants: a message that it may want must not be taken for one that nobody does.
    pub(crate) awaits_filters: bool,
    /// Wills that wait for that.
    early_wills: Vec<ConnectWill>,
    /// The filters of the gateway.
    wanted: HashMap<Arc<str>, QoS>,
    /// What the store has still to write; `None` without a store.
    delta: Option<StoreDelta>,
    /// Number of the delta that is being filled.
    generation: u64,
    committed: u64,
    /// The last generation that someone waits for.
    awaited: u64,
    /// Bytes of the delta that is being written.
    storing_bytes: usize,
    awaiting_store: HashSet<LinkKey>,
    /// The gateway's own messages whose outcome waits for a generation of the store.
    unsettled: Vec<(u64, OutcomeSender)>,
    stalled: HashSet<LinkKey>,
    partials: PartialPackets,
    /// Large payloads that are being written.
    payloads: Rc<PayloadBudget>,
    /// Connections whose next payload waits for room among them.
    crowded: BTreeSet<LinkKey>,
    queued: Rc<QueuePool>,
    holdings: Rc<HoldingPool>,
    /// Of all sessions.
    subscription_bytes: usize,
    next_number: u64,
    pub(crate) timers: TimerQueue,
    pub(crate) counters: BrokerCounters,
    pub(crate) losses: LossCounters,
    pub(crate) traffic: TrafficCounters,
    told_figures: ToldFigures,
    /// Wakes the task that writes the store; the second one when someone waits for it.
    pub(crate) dirty: Rc<Notify>,
    pub(crate) urgent: Rc<Notify>,
    /// Wakes whoever waits for room towards the gateway or the store.
    pub(crate) room: Rc<Notify>,
    pub(crate) closing: bool,
}

impl BrokerState {
    /// A broker without connections; `stored` says that changes are to be collected for the store.
    pub(crate) fn new(limits: LimitOptions, stored: bool) -> Self {
        BrokerState {
            limits,
            sessions: Slab::new(),
            by_identity: HashMap::new(),
            links: Slab::new(),
            tree: SubscriptionTree::default(),
            retained: RetainedMessages::default(),
            gateway: None,
            awaits_filters: false,
            early_wills: Vec::new(),
            wanted: HashMap::new(),
            delta: stored.then(StoreDelta::default),
            generation: 1,
            committed: 0,
            awaited: 0,
            storing_bytes: 0,
            awaiting_store: HashSet::new(),
            unsettled: Vec::new(),
            stalled: HashSet::new(),
            partials: PartialPackets::default(),
            payloads: Rc::default(),
            crowded: BTreeSet::new(),
            queued: Rc::default(),
            holdings: Rc::default(),
            subscription_bytes: 0,
            next_number: 1,
            timers: TimerQueue::default(),
            counters: BrokerCounters::default(),
            losses: LossCounters::default(),
            traffic: TrafficCounters::default(),
            told_figures: ToldFigures::default(),
            dirty: Rc::default(),
            urgent: Rc::default(),
            room: Rc::default(),
            closing: false,
        }
    }

    /// Puts back what the store has kept, except what remains of users who are none any more.
    pub(crate) fn restore(&mut self, restored: RestoredState, gatekeeper: &AccessControl) {
        for message in restored.retained {
            self.retained.set(message, usize::MAX, usize::MAX);
        }
        self.retained.set_restored();
        self.next_number = restored.next_number;
        for stored in restored.sessions {
            let ClientIdentity { user, client_id } = &stored.identity;
            if let Some(user) = user.as_deref().filter(|user| !gatekeeper.knows(user)) {
                tracing::info!(client = %client_id, user, "removed the session of a user who is none any more");
                self.store(|delta| delta.end_session(stored.number));
                continue;
            }
            let mut outgoing = DeliveryQueue::new(self.queued.clone(), self.sessions.vacant_key());
            outgoing.restore(stored.inflight, stored.queue);
            let absent = stored.absent.unwrap_or_default();
            let session = ClientSession {
                number: stored.number,
                origin: stored.identity.origin(),
                rights: gatekeeper.rights(user.as_deref(), client_id),
                identity: stored.identity.clone(),
                stored: 0,
                version: crate::codec::ProtocolLevel::V5,
                expiry: stored.expiry,
                link: None,
                left: Some(Instant::now().checked_sub(absent).unwrap_or_else(Instant::now)),
                subscriptions: HashMap::new(),
                subscription_bytes: 0,
                outgoing,
                holdings: SessionHoldings::restored(self.holdings.clone(), stored.received),
                keep_alive: 0,
                dropped: 0,
            };
            let key = self.sessions.insert(session);
            self.by_identity.insert(stored.identity, key);
            for (filter, options, identifier) in stored.subscriptions {
                self.add_subscription(key, &filter, options, identifier);
            }
            for filter in stored.pulls {
                let granted = self.sessions[key].subscriptions.get(&filter);
                if let Some((options, identifier)) = granted.map(|member| (member.options, member.identifier)) {
                    self.begin_pull(key, filter, options.qos, identifier, true);
                }
            }
            let lifetime = Duration::from_secs(stored.expiry.into()).saturating_sub(absent);
            self.expire_session_in(key, lifetime);
        }
        self.restore_wills(restored.wills, gatekeeper);
    }

    fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    /// States the filters that the gateway wants; returns those that are refused.
    pub(crate) fn set_wanted(&mut self, wanted: &[crate::link::LinkSubscription]) -> Vec<(String, String)> {
        let mut refused = Vec::new();
        let mut next: HashMap<Arc<str>, QoS> = HashMap::new();
        for subscription in wanted {
            if !super::topic::is_filter(&subscription.filter) {
                refused.push((subscription.filter.clone(), "not a valid topic filter".to_owned()));
                continue;
            }
            let qos = next.entry(subscription.filter.as_str().into()).or_insert(subscription.qos);
            *qos = (*qos).max(subscription.qos);
        }
        let previous = std::mem::replace(&mut self.wanted, next.clone());
        for filter in previous.keys().filter(|filter| !next.contains_key(*filter)) {
            self.tree.set_gateway(filter, None);
        }
        for (filter, qos) in next {
            let known = previous.get(&filter);
            if known != Some(&qos) {
                self.tree.set_gateway(&filter, Some(qos));
            }
            if known.is_none() {
                if matches_figures(&filter) {
                    self.follow_figures();
                }
                self.send_retained_to_gateway(&filter, qos);
            }
        }
        if std::mem::take(&mut self.awaits_filters) {
            for will in std::mem::take(&mut self.early_wills) {
                self.send_will(will);
            }
            self.resume();
        }
        refused
    }

    /// The filters that the gateway gets.
    pub(crate) fn wanted_filters(&self) -> Vec<String> {
        self.wanted.keys().map(ToString::to_string).collect()
    }

    fn send_retained_to_gateway(&mut self, filter: &str, qos: QoS) {
        let received_at = now_micros();
        for message in self.retained.matching(filter, Instant::now()) {
            let (qos, is_restored) = (message.qos.min(qos), self.retained.is_restored(&message.topic));
            let Some(gateway) = &mut self.gateway else { return };
            let (topic, payload) = (message.topic.clone(), message.payload.clone());
            let inbound = InboundMessage {
                qos,
                retain: true,
                is_restored,
                ..InboundMessage::unsent(topic, payload, received_at)
            };
            gateway.push(inbound, None, false);
        }
    }

    /// The gateway has acknowledged; publishers get theirs.
    pub(crate) fn gateway_acknowledged(&mut self, through: crate::link::DeliveryTag) {
        let Some(gateway) = &mut self.gateway else { return };
        let was_full = gateway.is_full();
        let links = gateway.acknowledge(through);
        let is_full = gateway.is_full();
        for link in links {
            self.release_acknowledgements(link);
        }
        if was_full && !is_full {
            self.resume();
        }
    }

    /// Takes what the store has to write, with its number. What someone waits for may have become nothing: a message that
    /// its subscriber acknowledged at once.
    pub(crate) fn take_delta(&mut self) -> Option<(u64, StoreDelta)> {
        let is_awaited = self.awaited >= self.generation;
        let delta = self.delta.as_mut().filter(|delta| is_awaited || !delta.is_empty())?;
        let delta = std::mem::take(delta);
        self.storing_bytes = delta.bytes();
        self.generation += 1;
        Some((self.generation - 1, delta))
    }

    /// The store has committed everything up to this number.
    pub(crate) fn stored(&mut self, generation: u64) {
        self.committed = generation;
        for (_, told) in self.unsettled.extract_if(.., |(waits_for, _)| *waits_for <= generation) {
            told.tell(PublishOutcome::Acknowledged);
        }
        self.storing_bytes = 0;
        for link in std::mem::take(&mut self.awaiting_store) {
            self.release_acknowledgements(link);
            self.release_replies(link);
        }
        self.resume();
    }

    /// Notes a change for the store.
    fn store(&mut self, change: impl FnOnce(&mut StoreDelta)) {
        if let Some(delta) = &mut self.delta {
            change(delta);
            self.dirty.notify_one();
        }
    }

    /// The generation that the change just noted belongs to, which someone waits for.
    fn store_now(&mut self) -> u64 {
        if self.delta.is_none() {
            return 0;
        }
        self.awaited = self.generation;
        self.dirty.notify_one();
        self.urgent.notify_one();
        self.generation
    }

    /// The generation that holds everything known of a session now, which someone waits for; 0 when it is not kept.
    pub(crate) fn store_all_of(&mut self, key: SessionKey) -> u64 {
        if self.sessions.get(key).is_some_and(ClientSession::is_persistent) { self.store_now() } else { 0 }
    }

    /// Answers a packet once a generation of the store is committed, and what was asked for before is answered.
    pub(crate) fn reply(&mut self, key: LinkKey, packet_id: u16, answer: ReplyBody, generation: u64) {
        if let Some(link) = self.links.get_mut(key) {
            link.reply(PendingReply { generation, packet_id, answer });
            self.release_replies(key);
        }
    }

    /// Gives a client the answers that are due, and sends what waited for the store.
    fn release_replies(&mut self, key: LinkKey) {
        let Some(link) = self.links.get_mut(key) else { return };
        let before = link.out.len();
        if link.release_replies(self.committed) {
            self.awaiting_store.insert(key);
        }
        if link.out.len() > before {
            link.wake();
        }
        if let Some(session) = link.session
            && self.sessions.get(session).is_some_and(|session| !session.outgoing.is_idle())
        {
            self.pump(session, key);
        }
    }

    fn store_is_full(&self) -> bool {
        self.delta.as_ref().is_some_and(|delta| delta.bytes() + self.storing_bytes > MAX_UNSTORED_BYTES)
    }

    /// Wakes the connections that were not read.
    fn resume(&mut self) {
        for link in self.stalled.drain() {
            if let Some(link) = self.links.get_mut(link) {
                link.wake();
            }
        }
        self.room.notify_waiters();
    }

    /// Logs what a client did wrong; a flood of it is told at each power of two.
    pub(crate) fn report(&mut self, link: LinkKey, violation: &crate::codec::ProtocolViolation) {
        self.counters.violations += 1;
        let client = self.links.get(link).map(|link| link.client_id.clone());
        let (client, total) = (client.as_deref(), self.counters.violations);
        if total.is_power_of_two() {
            tracing::info!(client, total, %violation, "closed a connection for what its client did");
        } else {
            tracing::debug!(client, total, %violation, "closed a connection for what its client did");
        }
    }

    /// Ends every connection in order.
    pub(crate) fn close_all(&mut self) {
        self.closing = true;
        let keys: Vec<LinkKey> = self.links.iter().map(|(key, _)| key).collect();
        for key in keys {
            self.end_link(key, crate::codec::reason::ReasonCode::ServerShuttingDown);
        }
    }
}

/// Now, as the gateway counts time.
pub(crate) fn now_micros() -> UnixMicros {
    unix_micros(SystemTime::now())
}
