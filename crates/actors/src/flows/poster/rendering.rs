//! A flow's templates with a message put in: URL, body, topic.

use hearthgate_domain::delivery::UnixMicros;
use hearthgate_domain::flow::{EndpointTarget, Flow, HeaderValue};
use hearthgate_domain::payload::JsonPayload;
use hearthgate_endpoints::template::{BodyTemplate, TemplateMessage, TemplatePurpose};
use serde_json::Value;

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

impl RenderedCall<'_> {
    /// Compiles a template and fills it.
    ///
    /// # Errors
    /// The template is wrong, or names what the message lacks.
    pub fn render(&self, template: &str, purpose: TemplatePurpose) -> Result<String, String> {
        self.fill(&compile(template, purpose)?)
    }

    pub(super) fn fill(&self, template: &BodyTemplate) -> Result<String, String> {
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
        template.render(&message).map_err(|error| error.to_string())
    }

    /// `payload` and `element`.
    fn values(&self) -> Result<(Value, Option<Value>), String> {
        if let Some(reading) = &self.flow.reading {
            return reading.template_values(self.payload).map_err(|problem| problem.to_string());
        }
        let payload = JsonPayload::parse(self.payload).map_err(|error| error.to_string())?;
        Ok((payload.to_value().map_err(|error| error.to_string())?, None))
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

pub(super) fn compile(template: &str, purpose: TemplatePurpose) -> Result<BodyTemplate, String> {
    BodyTemplate::new(template, purpose).map_err(|error| error.to_string())
}
