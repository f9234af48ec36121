//! A flow's templates with a message put in: URL, body, topic.

use hearthgate_domain::delivery::UnixMicros;
use hearthgate_domain::flow::{EndpointTarget, Flow, HeaderValue};
use hearthgate_domain::payload::{JsonPayload, PayloadError};
use hearthgate_domain::reading::ReadingProblem;
use hearthgate_endpoints::template::{BodyTemplate, TemplateError, TemplateMessage, TemplatePurpose};
use serde_json::Value;
use thiserror::Error;

/// What templates are filled with.
#[derive(Clone, Copy, Debug)]
pub struct RenderedCall<'a> {
    /// The flow.
    pub flow: &'a Flow,
    /// Topic of the message.
    pub topic: &'a str,
    /// Its payload, one that the flow has accepted.
    pub payload: &'a [u8],
    /// When it came in.
    pub received_at: UnixMicros,
    /// What the call is known by (`webhook-id`).
    pub message_id: &'a str,
}

/// A template could not be filled with a message.
#[derive(Debug, Error)]
pub enum RenderFailure {
    /// The payload cannot be read.
    #[error(transparent)]
    Payload(#[from] PayloadError),
    /// It is none that the flow reads.
    #[error(transparent)]
    Reading(#[from] ReadingProblem),
    /// It has no value that templates could see.
    #[error(transparent)]
    Value(#[from] serde_json::Error),
    /// The template is wrong, or names what the message lacks.
    #[error(transparent)]
    Template(#[from] TemplateError),
}

impl RenderedCall<'_> {
    /// Compiles a template and fills it.
    ///
    /// # Errors
    /// See [`RenderFailure`].
    pub fn render(&self, template: &str, purpose: TemplatePurpose) -> Result<String, RenderFailure> {
        self.fill(&BodyTemplate::new(template, purpose)?)
    }

    pub(super) fn fill(&self, template: &BodyTemplate) -> Result<String, RenderFailure> {
        let (value, element) = self.values()?;
        let raw = String::from_utf8_lossy(self.payload);
        let captures: Vec<(String, String)> =
            self.flow.topic.captures(self.topic).map(|(name, level)| (name.to_owned(), level.to_owned())).collect();
        let message = TemplateMessage {
            payload: &value,
            element: element.as_ref(),
            raw: raw.trim_start_matches('\u{feff}'),
            topic: self.topic,
            captures: &captures,
            flow: &self.flow.code,
            message_id: self.message_id,
            received_at: self.received_at,
        };
        Ok(template.render(&message)?)
    }

    /// `payload` and `element`.
    fn values(&self) -> Result<(Value, Option<Value>), RenderFailure> {
        if let Some(reading) = &self.flow.reading {
            return Ok(reading.template_values(self.payload)?);
        }
        let payload = JsonPayload::parse(self.payload)?;
        Ok((payload.to_value()?, None))
    }
}

/// What the template of the endpoint's body is for, by the content type that the flow names.
#[must_use]
pub fn body_purpose(endpoint: &EndpointTarget, source: &str) -> TemplatePurpose {
    let content_type = endpoint.headers.iter().find_map(|(name, value)| match value {
        HeaderValue::Text(text) if &**name == "content-type" => Some(text.as_str()),
        HeaderValue::Text(_) | HeaderValue::Secret { .. } => None,
    });
    TemplatePurpose::of_body(source, content_type)
}
