//! SUBSCRIBE and UNSUBSCRIBE.

use super::BrokerState;
use super::figures::asks_for_figures;
use crate::broker::BrokerLoss;
use crate::broker::packets::incoming::SubscriptionOptions;
use crate::broker::state::session::ClientSession;
use crate::broker::state::tree::{SessionKey, SubscriptionMember};
use crate::broker::topic;
use crate::codec::reason::ReasonCode;
use std::sync::Arc;

/// Subscriptions of so many bytes are granted to each client, however many others have.
const GRANTED_BYTES: usize = 4 * 1024;

/// What a subscription takes in memory, about: its filter at the session and in the store's delta, and a node of the tree
/// for each level.
fn weight(filter: &str) -> usize {
    128 + 2 * filter.len() + super::tree::NODE_BYTES * filter.split('/').count()
}

impl BrokerState {
    fn has_room_for(&self, session: &ClientSession, filter: &str) -> bool {
        let limits = &self.limits;
        let of_client = session.subscription_bytes + weight(filter);
        session.subscriptions.len() < limits.max_subscriptions
            && of_client <= limits.max_subscription_bytes
            && (of_client <= GRANTED_BYTES
                || self.subscription_bytes + weight(filter) <= limits.max_total_subscription_bytes)
    }

    fn report_refused(&mut self, key: SessionKey) {
        let total = self.losses.count(BrokerLoss::SubscriptionRefused);
        if total.is_power_of_two() {
            let client = self.sessions.get(key).map(|session| &*session.identity.client_id);
            tracing::warn!(
                client,
                total,
                "refused a subscription: there are too many of this client or of all, or too long ones"
            );
        }
    }

    /// Subscribes a session to one filter; returns whether it had that subscription before.
    pub(crate) fn subscribe(
        &mut self,
        key: SessionKey,
        filter: &str,
        options: SubscriptionOptions,
        identifier: Option<u32>,
    ) -> Result<bool, ReasonCode> {
        let valid = match topic::shared(filter) {
            Some(shared) => shared.is_some(),
            None => topic::is_filter(filter),
        };
        if !valid {
            return Err(ReasonCode::TopicFilterInvalid);
        }
        let Some(session) = self.sessions.get(key) else { return Err(ReasonCode::UnspecifiedError) };
        let known = session.subscriptions.contains_key(filter);
        if !known && !self.has_room_for(session, filter) {
            self.report_refused(key);
            return Err(ReasonCode::QuotaExceeded);
        }
        let name: Arc<str> = filter.into();
        self.add_subscription(key, &name, options, identifier);
        if asks_for_figures(filter) {
            self.follow_figures();
        }
        if self.sessions[key].is_persistent() {
            let number = self.sessions[key].number;
            self.store(|delta| delta.subscribe(number, name, Some((options, identifier))));
        }
        Ok(known)
    }

    pub(super) fn add_subscription(
        &mut self,
        key: SessionKey,
        filter: &Arc<str>,
        options: SubscriptionOptions,
        identifier: Option<u32>,
    ) {
        let member = SubscriptionMember { session: key, options, identifier };
        if let Some(session) = self.sessions.get_mut(key)
            && session.subscriptions.insert(filter.clone(), member.clone()).is_none()
        {
            session.subscription_bytes += weight(filter);
            self.subscription_bytes += weight(filter);
        }
        match topic::shared(filter).flatten() {
            Some((_, inner)) => self.tree.subscribe(inner, Some(filter), member),
            None => self.tree.subscribe(filter, None, member),
        }
    }

    /// Ends a subscription; returns the code for UNSUBACK.
    pub(crate) fn unsubscribe(&mut self, key: SessionKey, filter: &str) -> u8 {
        let Some(session) = self.sessions.get_mut(key) else { return ReasonCode::UnspecifiedError as u8 };
        if session.subscriptions.remove(filter).is_none() {
            return ReasonCode::NoSubscriptionExisted as u8;
        }
        session.subscription_bytes = session.subscription_bytes.saturating_sub(weight(filter));
        self.subscription_bytes = self.subscription_bytes.saturating_sub(weight(filter));
        if session.is_persistent() {
            let (number, name) = (session.number, Arc::from(filter));
            self.store(|delta| delta.subscribe(number, name, None));
        }
        self.end_pull(key, filter);
        self.drop_subscription(key, filter);
        ReasonCode::Success as u8
    }

    pub(super) fn drop_subscription(&mut self, key: SessionKey, filter: &str) {
        match topic::shared(filter).flatten() {
            Some((_, inner)) => self.tree.unsubscribe(inner, Some(filter), key),
            None => self.tree.unsubscribe(filter, None, key),
        }
    }
}
