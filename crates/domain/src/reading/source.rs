//! What a record is read from.

use crate::payload::{JsonPayload, JsonPointer, PayloadError, RawJson};

/// A message that came in for a flow.
#[derive(Clone, Debug)]
pub struct MessageSource<'a> {
    /// The flow's code.
    pub flow_code: &'a str,
    /// Topic name.
    pub topic: &'a str,
    /// The named levels of the flow's filter.
    pub captures: Vec<(&'a str, &'a str)>,
    /// The bytes as they were sent.
    pub payload: &'a [u8],
}

/// A JSON value of any kind, ready for pointers.
#[derive(Debug)]
pub(super) enum JsonRoot<'a> {
    Object(JsonPayload<'a>),
    Other(RawJson<'a>),
}

impl<'a> JsonRoot<'a> {
    pub(super) fn parse(text: &'a str) -> Result<Self, PayloadError> {
        if text.is_empty() {
            return Err(PayloadError::Empty);
        }
        match JsonPayload::parse_text(text) {
            Ok(payload) => Ok(JsonRoot::Object(payload)),
            Err(PayloadError::NotAnObject { .. }) => Ok(JsonRoot::Other(RawJson::parse(text)?)),
            Err(error) => Err(error),
        }
    }

    pub(super) fn text(&self) -> &'a str {
        match self {
            JsonRoot::Object(payload) => payload.text(),
            JsonRoot::Other(value) => value.text(),
        }
    }

    pub(super) fn find(&self, pointer: &JsonPointer) -> Option<RawJson<'a>> {
        match self {
            JsonRoot::Object(payload) => pointer.find_in(payload),
            JsonRoot::Other(value) => pointer.find(*value),
        }
    }

    pub(super) fn to_value(&self) -> Result<serde_json::Value, String> {
        let value = match self {
            JsonRoot::Object(payload) => payload.to_value(),
            JsonRoot::Other(value) => value.to_value(),
        };
        value.map_err(|error| error.to_string())
    }
}
