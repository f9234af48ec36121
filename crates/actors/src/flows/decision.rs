//! What each flow makes of a message. One flow's refusal touches no other.

use crate::flows::commit::RouteDecision;
use hearthgate_domain::delivery::InboundMessage;
use hearthgate_domain::flow::{Flow, RecordVerdict};
use hearthgate_domain::payload::JsonPayload;
use hearthgate_domain::reading::ReadingProblem;
use std::sync::Arc;
use tracing::warn;

/// The decisions of these flows. The payload is parsed once for all that read it as it is.
pub(super) fn decide(message: &InboundMessage, flows: &[Arc<Flow>]) -> Vec<RouteDecision> {
    if flows.iter().any(|flow| flow.reading.is_some()) {
        return flows.iter().flat_map(|flow| decide_alone(message, flow)).collect();
    }
    let payload = match JsonPayload::parse(&message.payload) {
        Ok(payload) => payload,
        Err(reason) => {
            warn!(topic = %message.topic, %reason, "dead letter: refused for every flow");
            return vec![RouteDecision::Refused { flow_id: None, reason: reason.to_string(), pointer: String::new() }];
        }
    };
    let decide = |flow: &Arc<Flow>| match flow.check_record(&message.topic, &message.payload, &payload) {
        Ok(()) => RouteDecision::Accepted(Arc::clone(flow)),
        Err(problem) => refuse(message, flow, problem),
    };
    flows.iter().map(decide).collect()
}

/// The decisions of a flow that may read the payload in its own way: one, or one for each record.
fn decide_alone(message: &InboundMessage, flow: &Arc<Flow>) -> Vec<RouteDecision> {
    let elements = match &flow.reading {
        Some(reading) => reading.split(&message.payload),
        None => Ok(None),
    };
    match elements {
        Ok(None) => vec![judge(message, flow, &message.payload)],
        Ok(Some(elements)) => {
            let decide = |payload: Vec<u8>| match judge(message, flow, &payload) {
                skipped @ RouteDecision::Skipped { .. } => skipped,
                decision => RouteDecision::Element { payload: payload.into(), decision: Box::new(decision) },
            };
            elements.into_iter().map(decide).collect()
        }
        Err(problem) => vec![refuse(message, flow, problem)],
    }
}

fn judge(message: &InboundMessage, flow: &Arc<Flow>, payload: &[u8]) -> RouteDecision {
    match flow.judge(&message.topic, payload) {
        RecordVerdict::Accepted => RouteDecision::Accepted(Arc::clone(flow)),
        RecordVerdict::Skipped(reason) => RouteDecision::Skipped { flow_id: flow.id, reason },
        RecordVerdict::Refused(problem) => refuse(message, flow, problem),
    }
}

fn refuse(message: &InboundMessage, flow: &Flow, problem: ReadingProblem) -> RouteDecision {
    let ReadingProblem { pointer, reason } = problem;
    warn!(flow = %flow.code, topic = %message.topic, %reason, "dead letter");
    RouteDecision::Refused { flow_id: Some(flow.id), reason, pointer }
}
