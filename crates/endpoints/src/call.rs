//! What is sent.

use crate::{HeaderError, SigningSecret};
use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use std::fmt;
use std::time::{Duration, SystemTime};
use url::{Position, Url};

/// One attempt to deliver a message to an endpoint.
#[derive(Clone)]
pub struct EndpointCall<'a> {
    /// Where to.
    pub address: &'a EndpointAddress,
    /// What all calls of the endpoint have in common.
    pub headers: &'a CallHeaders,
    /// The body, as it is.
    pub body: Bytes,
    /// Sent as `webhook-id`: the same in every attempt for one message, so that the endpoint can recognise a repetition.
    pub message_id: &'a str,
    /// Sent as `webhook-timestamp` when there is a secret: when this attempt is made. Also what a date in `Retry-After` is
    /// compared with.
    pub timestamp: SystemTime,
    /// From connecting to the head of the answer.
    pub timeout: Duration,
    /// Signs the call as Standard Webhooks describes it.
    pub secret: Option<&'a SigningSecret>,
}

/// A URL that may be called; see [`EndpointClient::address`](crate::EndpointClient::address).
#[derive(Clone)]
pub struct EndpointAddress {
    /// Without user name and password.
    pub(crate) url: Url,
    /// `Authorization` of a `user:password@` in the URL; a header of the endpoint's own comes before it.
    pub(crate) authorization: Option<HeaderValue>,
    /// Whether only the public internet may be reached.
    pub(crate) is_public_only: bool,
}

impl EndpointAddress {
    /// Scheme, host and port: what is up or down as a whole.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.url[..Position::BeforePath]
    }
}

/// Headers, checked once for all calls of an endpoint.
#[derive(Clone)]
pub struct CallHeaders(pub(crate) HeaderMap);

/// How the caller identifies itself.
#[derive(Clone, Debug, Default)]
pub enum CallAuth {
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

impl CallHeaders {
    /// `Content-Type` is `application/json` unless one of the headers says otherwise.
    ///
    /// # Errors
    /// The first header that is not valid.
    pub fn new(headers: &[(String, String)], auth: &CallAuth) -> Result<Self, HeaderError> {
        let mut all = HeaderMap::with_capacity(headers.len() + 6);
        all.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        for (name, value) in headers {
            let header = HeaderName::try_from(name.as_str()).map_err(|_| HeaderError::Name { name: name.clone() })?;
            let mut value = valid(name, value)?;
            value.set_sensitive(header == AUTHORIZATION);
            all.insert(header, value);
        }
        if let Some(value) = auth.header() {
            let mut value = valid(AUTHORIZATION.as_str(), &value)?;
            value.set_sensitive(true);
            all.insert(AUTHORIZATION, value);
        }
        Ok(CallHeaders(all))
    }
}

impl CallAuth {
    pub(crate) fn header(&self) -> Option<String> {
        match self {
            CallAuth::None => None,
            CallAuth::Bearer(token) => Some(format!("Bearer {}", token.expose_secret())),
            CallAuth::Basic { user, password } => {
                use base64::Engine as _;
                let pair = format!("{user}:{}", password.expose_secret());
                Some(format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair)))
            }
        }
    }
}

pub(crate) fn valid(name: &str, value: &str) -> Result<HeaderValue, HeaderError> {
    HeaderValue::try_from(value).map_err(|_| HeaderError::Value { name: name.to_owned() })
}

// URLs, headers and bodies can hold secrets.
impl fmt::Debug for EndpointCall<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Call({} {} B)", self.message_id, self.body.len())
    }
}

impl fmt::Debug for EndpointAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({})", self.url.host_str().unwrap_or_default())
    }
}

impl fmt::Debug for CallHeaders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
