//! States of ours that the broker keeps for whoever subscribes later.

use crate::messages::PublishMessages;
use actix::Recipient;
use hearthgate_domain::delivery::{OutboundMessage, QoS};
use tracing::warn;

/// A state, to be kept by the broker; an empty one is forgotten by it.
pub(crate) fn retained(topic: &str, payload: &str) -> OutboundMessage {
    OutboundMessage { topic: topic.into(), payload: payload.to_owned().into(), qos: QoS::AtLeastOnce, retain: true }
}

/// Hands states over to be published; tells whether they were taken.
pub(crate) async fn is_taken(publish: &Recipient<PublishMessages>, messages: Vec<OutboundMessage>) -> bool {
    let reason = match publish.send(PublishMessages(messages)).await {
        Ok(Ok(())) => return true,
        Ok(Err(reason)) => reason.to_string(),
        Err(reason) => reason.to_string(),
    };
    warn!(reason, "the gateway's state could not be published");
    false
}
