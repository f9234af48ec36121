//! Options of a flow, beyond the columns of an existing database: JSON in a table of our own.

use super::action::FlowAction;
use crate::duration::BoundedDuration;
use crate::payload::ValueFormat;
use crate::reading::ReadingOptions;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;
use thiserror::Error;

/// All that a flow can say beyond its row. Everything may be left out; unknown keys are errors.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FlowOptions {
    /// Actions after that of the row.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub actions: Vec<FlowAction>,
    /// Where the time of the event is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_time: Option<Value>,
    /// A table with a column for each field of the schema.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    /// With a table: whether each field becomes a row of `data` as well (default), or instead of it nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attributes: Option<bool>,
    /// Further headers of a call.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, HeaderValue>,
    /// How a call identifies itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth: Option<EndpointAuth>,
    /// The secret that signs calls (Standard Webhooks).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhook_secret: Option<SecretRef>,
    /// A file with the certificates of the authority that the endpoint's is of, instead of the system's authorities.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<SecretRef>,
    /// How long a call may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<BoundedDuration>,
    /// Delays before the first attempt and each further one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry: Option<Vec<BoundedDuration>>,
    /// Calls at the same time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u16>,
    /// Makes the URL of each message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url_template: Option<String>,
    /// Makes the body of each message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body_template: Option<String>,
    /// What happens to retained messages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retained: Option<RetainedPolicy>,
    /// Whether a message like the one before it is passed over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_change: Option<OnChange>,
    /// At most one message of a topic within this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_interval: Option<BoundedDuration>,
    /// After how long without a message a device is silent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub silence: Option<BoundedDuration>,
    /// What happens when a device falls silent or comes back.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub silent_actions: Vec<FlowAction>,
    /// How values are written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value_format: Option<ValueFormat>,
    /// How long rows are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention: Option<BoundedDuration>,
    /// Windows of time that sum the rows of the flow's own table up, and outlive them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rollups: Vec<RollupOption>,
    /// What a payload is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<Value>,
    /// The fields of a record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fields: Option<Value>,
    /// An array whose elements are records.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub each: Option<Value>,
    /// What must hold for a message to count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub when: Option<Value>,
    /// What becomes of a payload that does not fit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unfit: Option<Value>,
    /// Whether the topic is a field.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic: Option<Value>,
    /// What tells the devices of one topic apart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<Value>,
}

impl FlowOptions {
    /// Those that say how records are read.
    #[must_use]
    pub fn reading(&self) -> ReadingOptions<'_> {
        ReadingOptions {
            payload: self.payload.as_ref(),
            fields: self.fields.as_ref(),
            each: self.each.as_ref(),
            when: self.when.as_ref(),
            unfit: self.unfit.as_ref(),
            topic: self.topic.as_ref(),
            key: self.key.as_ref(),
        }
    }
}

/// A rollup: for each window of time, what the readings of each device come to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RollupOption {
    /// Length of a window. Windows begin at multiples of it since 1970, UTC.
    pub every: BoundedDuration,
    /// How long windows are kept; none for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep: Option<BoundedDuration>,
}

/// What happens to retained messages, which a broker sends when a subscription is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RetainedPolicy {
    /// The same as to others.
    #[default]
    Process,
    /// They are passed over.
    Skip,
    /// Only the first of a topic since the start is processed; those that come with each reconnection are not.
    FirstOnly,
}

/// What has to change for a message to count: `true` for any field, or a list of fields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "OnChangeText", try_from = "OnChangeText")]
pub enum OnChange {
    /// Any field.
    All,
    /// One of these.
    Fields(Vec<String>),
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum OnChangeText {
    All(bool),
    Fields(Vec<String>),
}

impl From<OnChange> for OnChangeText {
    fn from(on_change: OnChange) -> Self {
        match on_change {
            OnChange::All => OnChangeText::All(true),
            OnChange::Fields(fields) => OnChangeText::Fields(fields),
        }
    }
}

impl TryFrom<OnChangeText> for OnChange {
    type Error = &'static str;

    fn try_from(text: OnChangeText) -> Result<Self, Self::Error> {
        match text {
            OnChangeText::All(true) => Ok(OnChange::All),
            OnChangeText::All(false) => {
                Err("on_change is true or a list of fields; leave it out to pass every message")
            }
            OnChangeText::Fields(fields) if fields.is_empty() => Err("on_change needs at least one field"),
            OnChangeText::Fields(fields) => Ok(OnChange::Fields(fields)),
        }
    }
}

/// How a call identifies itself: `{"bearer": "env:TOKEN"}`, `{"basic": {"username": "u", "password": "file:/run/p"}}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum EndpointAuth {
    /// RFC 6750.
    Bearer(SecretRef),
    /// RFC 7617.
    Basic {
        /// The user.
        username: String,
        /// The user's password.
        password: SecretRef,
    },
}

/// The value of a header: a text, or `{"secret": "env:NAME"}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum HeaderValue {
    /// As it is.
    Text(String),
    /// Found elsewhere.
    Secret {
        /// Where.
        secret: SecretRef,
    },
}

/// Where a secret is found: `env:NAME` or `file:PATH`. Never the secret itself, and never resolved in this crate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum SecretRef {
    /// An environment variable.
    Env(Box<str>),
    /// A file.
    File(Box<str>),
}

/// A text that does not say where a secret is found. It is not shown: it may be the secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a secret is given by where it is found, env:NAME or file:PATH, never by itself")]
pub struct SecretRefError;

impl TryFrom<String> for SecretRef {
    type Error = SecretRefError;

    fn try_from(text: String) -> Result<Self, SecretRefError> {
        match text.split_once(':') {
            Some(("env", name)) if !name.is_empty() && !name.contains(['=', '\0']) => Ok(SecretRef::Env(name.into())),
            Some(("file", path)) if !path.is_empty() && !path.contains('\0') => Ok(SecretRef::File(path.into())),
            _ => Err(SecretRefError),
        }
    }
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SecretRef::Env(name) => write!(f, "env:{name}"),
            SecretRef::File(path) => write!(f, "file:{path}"),
        }
    }
}

impl From<SecretRef> for String {
    fn from(secret: SecretRef) -> String {
        secret.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_and_written_alike() {
        let text = r#"{"actions":[{"type":"PUBLISH","topic":"out/{{ captures.room }}","qos":1,"retain":true,"payload_template":"{{ payload.t }}"},{"type":"LOG","level":"warn"}],"event_time":"ts","table":"climate","attributes":false,"headers":{"X-Key":{"secret":"env:KEY"},"X-Site":"home"},"auth":{"basic":{"username":"u","password":"file:/run/p"}},"webhook_secret":"env:HOOK","ca":"file:ca.pem","timeout":"5s","retry":["0s","5s"],"concurrency":2,"url_template":"u","body_template":"b","retained":"first_only","on_change":["t"],"min_interval":"2m","silence":"1h","silent_actions":[{"type":"LOG","level":"warn"}],"value_format":"python"}"#;
        let options: FlowOptions = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&options).unwrap(), text);
        assert_eq!(serde_json::from_str::<FlowOptions>("{}").unwrap(), FlowOptions::default());
        assert_eq!(serde_json::to_string(&FlowOptions::default()).unwrap(), "{}");
    }

    #[test]
    fn what_is_unknown_or_wrong_is_an_error() {
        for text in [
            r#"{"retires": []}"#,
            r#"{"actions": [{"type": "STORE_DB", "table": "x"}]}"#,
            r#"{"actions": [{"type": "MAIL"}]}"#,
            r#"{"actions": [{"type": "PUBLISH", "topic": "x", "payload": "{}"}]}"#,
            r#"{"on_change": false}"#,
            r#"{"on_change": []}"#,
            r#"{"timeout": 5}"#,
            r#"{"auth": {"bearer": "env:A", "basic": {"username": "u", "password": "env:B"}}}"#,
        ] {
            assert!(serde_json::from_str::<FlowOptions>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_secret_in_place_of_its_reference_is_refused_and_not_shown() {
        let error = serde_json::from_str::<FlowOptions>(r#"{"webhook_secret": "hunter2"}"#).unwrap_err().to_string();
        assert!(error.contains("env:NAME") && !error.contains("hunter2"), "{error}");
    }
}
