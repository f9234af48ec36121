//! An application message on its way through the broker.

use bytes::Bytes;
use hearthgate_domain::delivery::QoS;
use std::sync::Arc;
use tokio::time::Instant;

/// One published message, shared by everyone who gets it.
#[derive(Debug, PartialEq)]
pub(crate) struct BrokerMessage {
    pub(crate) topic: Arc<str>,
    pub(crate) payload: Bytes,
    /// QoS as published.
    pub(crate) qos: QoS,
    /// Retain flag as published.
    pub(crate) retain: bool,
    /// Encoded MQTT 5 properties that are passed on unchanged.
    pub(crate) properties: Bytes,
    /// When it is of no more use.
    pub(crate) expires: Option<Instant>,
}

impl BrokerMessage {
    /// What it takes in a queue, in bytes, with its bookkeeping.
    pub(crate) fn weight(&self) -> usize {
        self.topic.len() + self.payload.len() + self.properties.len() + 128
    }

    /// Whole seconds that are left; `None` without an expiry, `Some(None)` once it has expired.
    #[expect(clippy::option_option, reason = "no expiry, expired and time left are three answers")]
    pub(crate) fn remaining(&self, now: Instant) -> Option<Option<u32>> {
        let expires = self.expires?;
        if expires <= now {
            return Some(None);
        }
        // Rounded up, so that a message that still lives is never announced with 0.
        let left = (expires - now).as_millis().div_ceil(1000);
        Some(Some(u32::try_from(left).unwrap_or(u32::MAX)))
    }

    pub(crate) fn is_expired(&self, now: Instant) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }
}
