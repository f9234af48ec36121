//! What has changed since the store's last transaction.
//!
//! What comes and goes within one delta (a message that is delivered and acknowledged at once) is never written.

use crate::broker::packets::incoming::SubscriptionOptions;
use crate::broker::state::message::BrokerMessage;
use crate::broker::state::queued::QueuedDelivery;
use crate::broker::state::session::{ClientIdentity, DeliveryPhase};
use crate::broker::store::kept_will::KeptWill;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::time::Instant;

#[derive(Debug)]
pub(crate) struct KeptSession {
    pub(crate) identity: ClientIdentity,
    pub(crate) expiry: u32,
    pub(crate) left: Option<Instant>,
}

#[derive(Debug)]
pub(crate) struct KeptDelivery {
    pub(crate) session: u64,
    pub(crate) owed: QueuedDelivery,
    pub(crate) sent: Option<(u16, DeliveryPhase)>,
}

/// A subscription's options and its identifier.
pub(crate) type GrantedSubscription = (SubscriptionOptions, Option<u32>);

/// Changes since the last transaction.
#[derive(Debug, Default)]
pub(crate) struct StoreDelta {
    pub(crate) sessions: HashMap<u64, Option<KeptSession>>,
    pub(crate) subscriptions: HashMap<(u64, Arc<str>), Option<GrantedSubscription>>,
    pub(crate) received: HashMap<(u64, u16), bool>,
    /// Whether a session still has to get retained messages of a filter.
    pub(crate) pulls: HashMap<(u64, Arc<str>), bool>,
    pub(crate) debts: HashMap<u64, KeptDelivery>,
    pub(crate) settled: Vec<u64>,
    pub(crate) progress: HashMap<u64, (u16, DeliveryPhase)>,
    pub(crate) retained: HashMap<Arc<str>, Option<Arc<BrokerMessage>>>,
    /// By the numbers of their sessions.
    pub(crate) wills: HashMap<u64, Option<KeptWill>>,
    bytes: usize,
}

impl StoreDelta {
    pub(crate) fn is_empty(&self) -> bool {
        self.sessions.is_empty()
            && self.subscriptions.is_empty()
            && self.received.is_empty()
            && self.pulls.is_empty()
            && self.debts.is_empty()
            && self.settled.is_empty()
            && self.progress.is_empty()
            && self.retained.is_empty()
            && self.wills.is_empty()
    }

    /// What it takes in memory, about.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes + 64 * (self.settled.len() + self.progress.len() + self.received.len())
    }

    pub(crate) fn keep_session(&mut self, number: u64, identity: ClientIdentity, expiry: u32, left: Option<Instant>) {
        self.sessions.insert(number, Some(KeptSession { identity, expiry, left }));
    }

    pub(crate) fn end_session(&mut self, number: u64) {
        self.sessions.insert(number, None);
        self.subscriptions.retain(|(session, _), _| *session != number);
        self.received.retain(|(session, _), _| *session != number);
        self.pulls.retain(|(session, _), _| *session != number);
        let mut freed = 0;
        self.debts.retain(|_, debt| {
            let stays = debt.session != number;
            freed += if stays { 0 } else { debt.owed.weight() };
            stays
        });
        self.bytes -= freed;
    }

    /// Keeps the will of a session, or forgets it.
    pub(crate) fn keep_will(&mut self, session: u64, will: Option<KeptWill>) {
        let weight = |will: &Option<KeptWill>| will.as_ref().map_or(64, KeptWill::weight);
        self.bytes += weight(&will);
        if let Some(previous) = self.wills.insert(session, will) {
            self.bytes -= weight(&previous);
        }
    }

    pub(crate) fn subscribe(&mut self, session: u64, filter: Arc<str>, options: Option<GrantedSubscription>) {
        self.subscriptions.insert((session, filter), options);
    }

    pub(crate) fn pull(&mut self, session: u64, filter: Arc<str>, open: bool) {
        self.pulls.insert((session, filter), open);
    }

    pub(crate) fn receive(&mut self, session: u64, packet_id: u16, open: bool) {
        self.received.insert((session, packet_id), open);
    }

    pub(crate) fn owe(&mut self, session: u64, owed: QueuedDelivery) {
        self.bytes += owed.weight();
        self.debts.insert(owed.number, KeptDelivery { session, owed, sent: None });
    }

    pub(crate) fn progress(&mut self, number: u64, packet_id: u16, phase: DeliveryPhase) {
        match self.debts.get_mut(&number) {
            Some(debt) => debt.sent = Some((packet_id, phase)),
            None => {
                self.progress.insert(number, (packet_id, phase));
            }
        }
    }

    pub(crate) fn settle(&mut self, number: u64) {
        match self.debts.remove(&number) {
            Some(debt) => self.bytes -= debt.owed.weight(),
            None => {
                self.progress.remove(&number);
                self.settled.push(number);
            }
        }
    }

    pub(crate) fn retain(&mut self, topic: Arc<str>, message: Option<Arc<BrokerMessage>>) {
        let weight = |message: &Option<Arc<BrokerMessage>>| message.as_ref().map_or(64, |message| message.weight());
        self.bytes += weight(&message);
        if let Some(previous) = self.retained.insert(topic, message) {
            self.bytes -= weight(&previous);
        }
    }
}
