//! How far a subscription has taken the retained messages.

use crate::broker::state::message::BrokerMessage;
use crate::broker::state::queued::QueuedDelivery;
use crate::broker::state::retained::RetainedMessages;
use hearthgate_domain::delivery::QoS;
use std::sync::Arc;
use tokio::time::Instant;

/// What a subscription still has to get of the retained messages.
#[derive(Debug)]
pub(crate) struct PullPosition {
    /// Its place among what the session is owed: what was owed before goes first.
    pub(super) number: u64,
    pub(super) filter: Arc<str>,
    pub(super) qos: QoS,
    pub(super) identifiers: Vec<u32>,
    /// The last topic that was taken.
    pub(super) after: Option<Arc<str>>,
    /// What is retained later comes by the subscription itself.
    pub(super) until: u64,
    pub(super) is_stored: bool,
}

impl PullPosition {
    pub(crate) fn qos(&self) -> QoS {
        self.qos
    }

    pub(crate) fn filter(&self) -> &Arc<str> {
        &self.filter
    }

    pub(crate) fn is_stored(&self) -> bool {
        self.is_stored
    }

    /// The next message that it brings.
    pub(crate) fn peek(&self, retained: &RetainedMessages, now: Instant) -> Option<Arc<BrokerMessage>> {
        retained.next(&self.filter, self.after.as_deref(), self.until, now)
    }

    /// Goes on behind this message; returns it as what the session is owed.
    pub(crate) fn take(&mut self, message: Arc<BrokerMessage>, number: u64) -> QueuedDelivery {
        self.after = Some(message.topic.clone());
        let (qos, identifiers) = (message.qos.min(self.qos), self.identifiers.clone());
        QueuedDelivery { number, message, qos, retain: true, identifiers, share: None }
    }
}
