//! What `PUBLISH` makes of a message: topic and payload.

use super::flow_queue::DeliveryJob;
use super::rendering::RenderFailure;
use hearthgate_domain::delivery::OutboundMessage;
use hearthgate_domain::flow::{Flow, FlowAction};
use hearthgate_domain::reading::ReadingProblem;
use hearthgate_domain::topic::{TopicNameError, validate_topic_name};
use hearthgate_endpoints::template::TemplatePurpose;
use thiserror::Error;

/// A message that can't be published, however often it is tried.
#[derive(Debug, Error)]
pub(super) enum PublicationFailure {
    #[error(transparent)]
    Render(#[from] RenderFailure),
    #[error(transparent)]
    Reading(#[from] ReadingProblem),
    #[error("PUBLISH to {topic:?}: {reason}")]
    Topic { topic: String, reason: TopicNameError },
    #[error("PUBLISH to {0:?} would come back to the same flow, again and again")]
    Back(String),
    #[error(
        "PUBLISH to {topic:?}: the message was published by {hops} flows one after the other and goes round in a circle; \
         change the topic of one of the flows (hearthgate check names circles)"
    )]
    Circle { topic: String, hops: u32 },
    #[error("{0} publishes nothing")]
    OtherAction(&'static str),
}

/// Topic and payload of the action for a message.
///
/// # Errors
/// See [`PublicationFailure`].
pub(super) fn outbound(
    flow: &Flow,
    job: &DeliveryJob,
    action: &FlowAction,
    message_id: &str,
) -> Result<OutboundMessage, PublicationFailure> {
    let FlowAction::Publish { topic, qos, retain, payload_template } = action else {
        return Err(PublicationFailure::OtherAction(action.name()));
    };
    let message = job.rendered(flow, message_id);
    let topic = message.render(topic, TemplatePurpose::Body)?;
    if let Err(reason) = validate_topic_name(&topic) {
        return Err(PublicationFailure::Topic { topic, reason });
    }
    if flow.topic.filter().matches(&topic) {
        return Err(PublicationFailure::Back(topic));
    }
    let payload = match payload_template {
        Some(template) => message.render(template, TemplatePurpose::of_body(template, None))?.into(),
        None => job.outgoing(flow)?,
    };
    Ok(OutboundMessage { topic: topic.into(), payload, qos: *qos, retain: *retain })
}
