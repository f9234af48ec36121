//! Retained messages for a new subscription: taken one after the other as the client takes them, so that their number
//! and size are bounded by what is retained and not by a queue.

use super::BrokerState;
use super::session::DeliveryQueue;
use super::tree::SessionKey;
use crate::broker::packets::incoming::SubscriptionOptions;
use crate::broker::state::pull_position::PullPosition;
use crate::broker::topic;
use hearthgate_domain::delivery::QoS;
use std::sync::Arc;

impl DeliveryQueue {
    /// The retained messages whose turn it is, if it is not that of the queue.
    pub(crate) fn pull_due(&mut self) -> Option<&mut PullPosition> {
        let first = self.queue.front().map(|owed| owed.number);
        self.pulls.front_mut().filter(|pull| first.is_none_or(|first| first > pull.number))
    }
}

impl BrokerState {
    /// Sends the retained messages that a new subscription asks for.
    pub(crate) fn send_retained(
        &mut self,
        key: SessionKey,
        filter: &str,
        options: SubscriptionOptions,
        identifier: Option<u32>,
        known: bool,
    ) {
        let wanted = options.retain_handling == 0 || options.retain_handling == 1 && !known;
        if !wanted || topic::shared(filter).is_some() {
            return;
        }
        self.send_figures(key, filter, identifier);
        // One that has not ended yet begins anew.
        self.end_pull(key, filter);
        self.begin_pull(key, filter.into(), options.qos, identifier, false);
        let Some(link) = self.sessions.get(key).and_then(|session| session.link) else { return };
        self.pump(key, link);
        let Some(session) = self.sessions.get_mut(key).filter(|session| session.is_persistent()) else { return };
        let number = session.number;
        let open = session.outgoing.pulls.iter_mut().find(|pull| &*pull.filter == filter && pull.qos > QoS::AtMostOnce);
        if let Some(pull) = open {
            // The client may be gone before it has taken all of them, and we may be.
            pull.is_stored = true;
            let filter = pull.filter.clone();
            self.store(|delta| delta.pull(number, filter, true));
        }
    }

    /// Owes a session the retained messages of one of its filters.
    pub(super) fn begin_pull(
        &mut self,
        key: SessionKey,
        filter: Arc<str>,
        qos: QoS,
        identifier: Option<u32>,
        is_stored: bool,
    ) {
        let (number, until) = (self.number(), self.retained.sequence());
        let identifiers = identifier.into_iter().collect();
        let pull = PullPosition { number, filter, qos, identifiers, after: None, until, is_stored };
        if let Some(session) = self.sessions.get_mut(key) {
            session.outgoing.pulls.push_back(pull);
        }
    }

    /// Owes a session no more retained messages of a filter.
    pub(super) fn end_pull(&mut self, key: SessionKey, filter: &str) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let number = session.number;
        let open = session.outgoing.pulls.iter().position(|pull| &*pull.filter == filter);
        let ended = open.and_then(|index| session.outgoing.pulls.remove(index));
        if let Some(pull) = ended.filter(PullPosition::is_stored) {
            self.store(|delta| delta.pull(number, pull.filter, false));
        }
    }
}
