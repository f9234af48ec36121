//! Where and how `POST_ENDPOINT` posts: what the row and its options say of it.

use super::options::{EndpointAuth, FlowOptions, HeaderValue, SecretRef};
use super::problem::RowProblem;
use crate::duration::BoundedDuration;
use crate::retry::RetrySchedule;
use std::time::Duration;

const MAX_CONCURRENCY: u16 = 64;
/// Headers that the call itself sets.
const RESERVED_HEADERS: [&str; 8] = [
    "authorization",
    "connection",
    "content-length",
    "host",
    "transfer-encoding",
    "webhook-id",
    "webhook-signature",
    "webhook-timestamp",
];

/// Where and how a flow posts its messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointTarget {
    /// `http` or `https`; empty only when there is a template.
    pub url: Box<str>,
    /// Makes the URL of each message.
    pub url_template: Option<Box<str>>,
    /// Makes the body of each message; without it the body is the payload.
    pub body_template: Option<Box<str>>,
    /// Further headers, names in lower case.
    pub headers: Vec<(Box<str>, HeaderValue)>,
    /// `Authorization`.
    pub auth: Option<EndpointAuth>,
    /// Signs each call (Standard Webhooks).
    pub webhook_secret: Option<SecretRef>,
    /// Where the certificates of its authority are, a file; none for the system's authorities.
    pub authority: Option<SecretRef>,
    /// How long a call may take; none for what the configuration says.
    pub timeout: Option<Duration>,
    /// When to try again; none for what the configuration says.
    pub retry: Option<RetrySchedule>,
    /// Calls at the same time, 1 to 64. With more than 1 the order is not kept.
    pub concurrency: u16,
}

/// Makes the endpoint of a flow that posts.
pub(super) fn compile(url: Option<&str>, options: &FlowOptions) -> Result<EndpointTarget, RowProblem> {
    let url = url.unwrap_or_default().trim();
    match (url.is_empty(), options.url_template.is_some()) {
        (true, false) => return Err(("endpoint_url", "POST_ENDPOINT needs an endpoint_url".to_string())),
        (true, true) => {}
        (false, _) => check_url(url)?,
    }
    let concurrency = options.concurrency.unwrap_or(1);
    if !(1..=MAX_CONCURRENCY).contains(&concurrency) {
        return Err(("options.concurrency", format!("is 1 to {MAX_CONCURRENCY}, not {concurrency}")));
    }
    if options.timeout.is_some_and(|timeout| timeout == BoundedDuration::default()) {
        return Err(("options.timeout", "must be longer than nothing".to_string()));
    }
    if let Some(SecretRef::Env(_)) = &options.ca {
        return Err(("options.ca", "is a file with certificates, such as \"file:ca.pem\"".to_string()));
    }
    let retry = options.retry.clone().map(RetrySchedule::new).transpose();
    let headers = options.headers.iter().map(|(name, value)| header(name, value)).collect::<Result<_, _>>()?;
    Ok(EndpointTarget {
        url: url.into(),
        url_template: options.url_template.as_deref().map(Into::into),
        body_template: options.body_template.as_deref().map(Into::into),
        headers,
        auth: options.auth.clone(),
        webhook_secret: options.webhook_secret.clone(),
        authority: options.ca.clone(),
        timeout: options.timeout.map(BoundedDuration::duration),
        retry: retry.map_err(|error| ("options.retry", error.to_string()))?,
        concurrency,
    })
}

/// What can be said of a URL without taking it apart; the HTTP client does the rest.
fn check_url(url: &str) -> Result<(), RowProblem> {
    let rest = url
        .split_once("://")
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https"));
    let host = rest.map(|(_, rest)| rest.split(['/', '?', '#']).next().unwrap_or_default());
    let blank = url.contains(|character: char| character.is_whitespace() || character.is_control());
    if blank || host.is_none_or(str::is_empty) {
        return Err((
            "endpoint_url",
            format!("{url:?} is no address of the form http://HOST/PATH or https://HOST/PATH"),
        ));
    }
    Ok(())
}

/// RFC 9110, section 5: a name is a token, a value is visible text.
fn header(name: &str, value: &HeaderValue) -> Result<(Box<str>, HeaderValue), RowProblem> {
    let field = "options.headers";
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(token) {
        return Err((field, format!("{name:?} is no name of a header")));
    }
    let name = name.to_ascii_lowercase();
    if RESERVED_HEADERS.contains(&name.as_str()) {
        return Err((field, format!("{name} is set by the call itself; see auth and webhook_secret")));
    }
    let visible = |byte: u8| matches!(byte, b' '..=b'~' | b'\t');
    match value {
        HeaderValue::Text(text) if !text.bytes().all(visible) => {
            Err((field, format!("the value of {name} must be visible ASCII text")))
        }
        HeaderValue::Text(_) | HeaderValue::Secret { .. } => Ok((name.into(), value.clone())),
    }
}

/// A flow that does not post has no such options.
pub(super) fn refuse_options(options: &FlowOptions) -> Result<Option<EndpointTarget>, RowProblem> {
    let given = [
        ("options.headers", !options.headers.is_empty()),
        ("options.auth", options.auth.is_some()),
        ("options.webhook_secret", options.webhook_secret.is_some()),
        ("options.ca", options.ca.is_some()),
        ("options.timeout", options.timeout.is_some()),
        ("options.retry", options.retry.is_some()),
        ("options.concurrency", options.concurrency.is_some()),
        ("options.url_template", options.url_template.is_some()),
        ("options.body_template", options.body_template.is_some()),
    ];
    match given.into_iter().find(|(_, given)| *given) {
        Some((field, _)) => Err((field, "has no effect without the action POST_ENDPOINT".to_string())),
        None => Ok(None),
    }
}
