//! A flow's templates with a message put in: URL, body, topic.

use hearthgate_domain::delivery::Micros;
use hearthgate_domain::flow::{Endpoint, Flow, HeaderValue};
use hearthgate_domain::payload::Payload;
use hearthgate_endpoints::template::{Message, Purpose, Template};

/// What templates are filled with.
#[derive(Clone, Copy, Debug)]
pub struct Rendered<'a> {
    /// The flow.
    pub flow: &'a Flow,
    /// Topic of the message.
    pub topic: &'a str,
    /// Its payload, one that the flow has accepted.
    pub payload: &'a [u8],
    /// When it came in.
    pub received_at: Micros,
    /// What the call is known by (`webhook-id`).
    pub message_id: &'a str,
}

impl Rendered<'_> {
    /// Compiles a template and fills it.
    ///
    /// # Errors
    /// The template is wrong, or names what the message lacks.
    pub fn render(&self, template: &str, purpose: Purpose) -> Result<String, String> {
        self.fill(&compile(template, purpose)?)
    }

    pub(super) fn fill(&self, template: &Template) -> Result<String, String> {
        let payload = Payload::parse(self.payload).map_err(|error| error.to_string())?;
        let value = payload.to_value().map_err(|error| error.to_string())?;
        let captures: Vec<(String, String)> =
            self.flow.topic.captures(self.topic).map(|(name, level)| (name.to_owned(), level.to_owned())).collect();
        let message = Message {
            payload: &value,
            raw: payload.text(),
            topic: self.topic,
            captures: &captures,
            flow: &self.flow.code,
            message_id: self.message_id,
            received_at: self.received_at,
        };
        template.render(&message).map_err(|error| error.to_string())
    }
}

/// What the template of the endpoint's body is for, by the content type that the flow names.
#[must_use]
pub fn body_purpose(endpoint: &Endpoint, source: &str) -> Purpose {
    let content_type = endpoint.headers.iter().find_map(|(name, value)| match value {
        HeaderValue::Text(text) if &**name == "content-type" => Some(text.as_str()),
        HeaderValue::Text(_) | HeaderValue::Secret { .. } => None,
    });
    Purpose::of_body(source, content_type)
}

pub(super) fn compile(template: &str, purpose: Purpose) -> Result<Template, String> {
    Template::new(template, purpose).map_err(|error| error.to_string())
}
