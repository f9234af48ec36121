//! A message on its way to one subscriber.

use crate::broker::state::message::BrokerMessage;
use hearthgate_domain::delivery::QoS;
use std::sync::Arc;

/// A message for one subscriber.
#[derive(Clone, Debug)]
pub(crate) struct QueuedDelivery {
    /// Names it in the store, and gives the order.
    pub(crate) number: u64,
    pub(crate) message: Arc<BrokerMessage>,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) identifiers: Vec<u32>,
    /// The shared subscription that it came by.
    pub(crate) share: Option<Arc<str>>,
}

impl QueuedDelivery {
    /// What it takes in a queue, in bytes.
    pub(crate) fn weight(&self) -> usize {
        self.message.weight() + 4 * self.identifiers.len()
    }
}
