//! Messages that no sender waits for: replayed dead letters, and notices of the gateway itself.

use crate::flows::commit::{JournalCommitter, RouteDecision};
use crate::flows::refusal::ReplayRefusal;
use crate::lock::lock;
use crate::messages::GatewayNotice;
use bytes::Bytes;
use hearthgate_domain::delivery::{InboundMessage, UnixMicros};
use hearthgate_domain::flow::ActionKind;
use hearthgate_domain::routing::RoutingTable;
use std::sync::{Arc, Mutex};

/// A message that nobody has sent just now.
pub(super) fn message(topic: &str, payload: Bytes, received_at: UnixMicros) -> InboundMessage {
    InboundMessage::unsent(topic.into(), payload, received_at)
}

/// Makes notices durable, for each flow of the gateway itself.
///
/// # Errors
/// They are not durable then, or only some of them.
pub(super) fn keep_notices(
    desk: &Mutex<JournalCommitter>,
    table: &RoutingTable,
    notices: &[GatewayNotice],
) -> Result<(), ReplayRefusal> {
    for notice in notices {
        let payload = Bytes::from(serde_json::json!({"text": notice.text}).to_string());
        for flow in table.own() {
            let message = message(flow.topic.filter().as_str(), payload.clone(), notice.at);
            let decisions = [RouteDecision::Accepted(Arc::clone(flow))];
            // As a part alone: nobody counts them among the messages of flows.
            lock(desk).write_again(&message, &decisions, Some(ActionKind::Notify))?;
        }
    }
    Ok(())
}
