//! What is sent.

use crate::SigningSecret;
use bytes::Bytes;
use reqwest::Method;
use secrecy::SecretString;
use std::fmt;
use std::time::SystemTime;

/// One attempt to deliver a message to an endpoint.
#[derive(Clone)]
pub struct Call<'a> {
    /// Where to: `http` or `https`.
    pub url: &'a str,
    /// POST, as a rule.
    pub method: Method,
    /// Further headers. `Content-Type` is `application/json` unless one of them says otherwise.
    pub headers: &'a [(String, String)],
    /// Who calls.
    pub auth: Auth,
    /// The body, as it is.
    pub body: Bytes,
    /// Sent as `webhook-id` when there is a secret: the same in every attempt for one message, so that the endpoint can
    /// recognise a repetition.
    pub message_id: &'a str,
    /// Sent as `webhook-timestamp`: when this attempt is made. Also what a date in `Retry-After` is compared with.
    pub timestamp: SystemTime,
    /// Signs the call as Standard Webhooks describes it.
    pub secret: Option<&'a SigningSecret>,
}

/// How the caller identifies itself.
#[derive(Clone, Debug, Default)]
pub enum Auth {
    /// Not at all.
    #[default]
    None,
    /// `Authorization: Bearer …` (RFC 6750).
    Bearer(SecretString),
    /// `Authorization: Basic …` (RFC 7617).
    Basic {
        /// User name.
        user: String,
        /// Password.
        password: SecretString,
    },
}

// URLs, headers and bodies can hold secrets.
impl fmt::Debug for Call<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Call({} {} {} B)", self.method, self.message_id, self.body.len())
    }
}
