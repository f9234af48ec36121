//! SUBSCRIBE and UNSUBSCRIBE.

use super::Hub;
use crate::broker::packets::incoming::Options;
use crate::broker::state::tree::{Member, SessionKey};
use crate::broker::topic;
use crate::codec::reason::Reason;
use std::sync::Arc;
use tokio::time::Instant;

impl Hub {
    /// Subscribes a session to one filter; returns whether it had that subscription before.
    pub(crate) fn subscribe(
        &mut self,
        key: SessionKey,
        filter: &str,
        options: Options,
        identifier: Option<u32>,
    ) -> Result<bool, Reason> {
        let valid = match topic::shared(filter) {
            Some(shared) => shared.is_some(),
            None => topic::is_filter(filter),
        };
        if !valid {
            return Err(Reason::TopicFilterInvalid);
        }
        let Some(session) = self.sessions.get(key) else { return Err(Reason::UnspecifiedError) };
        let known = session.subscriptions.contains_key(filter);
        if !known && session.subscriptions.len() >= self.limits.max_subscriptions {
            return Err(Reason::QuotaExceeded);
        }
        let name: Arc<str> = filter.into();
        self.add_subscription(key, &name, options, identifier);
        if self.sessions[key].is_persistent() {
            let number = self.sessions[key].number;
            self.store(|delta| delta.subscribe(number, name, Some((options, identifier))));
            self.store_now();
        }
        Ok(known)
    }

    pub(super) fn add_subscription(
        &mut self,
        key: SessionKey,
        filter: &Arc<str>,
        options: Options,
        identifier: Option<u32>,
    ) {
        let member = Member { session: key, options, identifier };
        if let Some(session) = self.sessions.get_mut(key) {
            session.subscriptions.insert(filter.clone(), member.clone());
        }
        match topic::shared(filter).flatten() {
            Some((_, inner)) => self.tree.subscribe(inner, Some(filter), member),
            None => self.tree.subscribe(filter, None, member),
        }
    }

    /// Sends the retained messages that a new subscription asks for.
    pub(crate) fn send_retained(
        &mut self,
        key: SessionKey,
        filter: &str,
        options: Options,
        identifier: Option<u32>,
        known: bool,
    ) {
        let wanted = options.retain_handling == 0 || options.retain_handling == 1 && !known;
        if !wanted || topic::shared(filter).is_some() {
            return;
        }
        let identifiers: Vec<u32> = identifier.into_iter().collect();
        for message in self.retained.matching(filter, Instant::now()) {
            self.deliver(key, &message, message.qos.min(options.qos), true, &identifiers, None);
        }
    }

    /// Ends a subscription; returns the code for UNSUBACK.
    pub(crate) fn unsubscribe(&mut self, key: SessionKey, filter: &str) -> u8 {
        let Some(session) = self.sessions.get_mut(key) else { return Reason::UnspecifiedError as u8 };
        if session.subscriptions.remove(filter).is_none() {
            return Reason::NoSubscriptionExisted as u8;
        }
        if session.is_persistent() {
            let (number, name) = (session.number, Arc::from(filter));
            self.store(|delta| delta.subscribe(number, name, None));
            self.store_now();
        }
        self.drop_subscription(key, filter);
        Reason::Success as u8
    }

    pub(super) fn drop_subscription(&mut self, key: SessionKey, filter: &str) {
        match topic::shared(filter).flatten() {
            Some((_, inner)) => self.tree.unsubscribe(inner, Some(filter), key),
            None => self.tree.unsubscribe(filter, None, key),
        }
    }
}
