//! The command line's side: asks a gateway that runs on this machine, one short request at a time.
//!
//! HTTP/1.1 over a socket, without a runtime: `hearthgate status` answers in a millisecond.

use crate::api::{ActorList, ActorView, FlowsReloaded, LetterReplayed, OrderDone, ProblemDetails, ReadinessAnswer};
use crate::wire::{FlowList, FlowView, LogLevelView, LogWanted};
use hearthgate_supervision::OperatorCommand;
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Longer than any order takes to be answered or withdrawn under the default policies.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);
/// An answer that is larger is not one of ours.
const LARGEST_ANSWER: u64 = 16 * 1024 * 1024;

/// Talks to one gateway.
#[derive(Clone, Debug)]
pub struct ApiClient {
    address: SocketAddr,
    token: Option<SecretString>,
}

/// The gateway could not be asked, or said no.
#[derive(Debug, thiserror::Error)]
pub enum ApiClientError {
    /// Nobody listens there.
    #[error("connecting to the gateway on {0}: does it run, with [http] enabled and this address as [http] listen?")]
    Connect(SocketAddr, #[source] std::io::Error),
    /// The connection broke.
    #[error("waiting for the gateway's answer")]
    Broken(#[source] std::io::Error),
    /// It refused.
    #[error("{}", .0.detail)]
    Refused(ProblemDetails),
    /// Something else listens there.
    #[error("what answered on {address} is no gateway of this version: {what}")]
    Foreign {
        /// Where.
        address: SocketAddr,
        /// What was wrong with the answer.
        what: String,
    },
}

impl ApiClient {
    /// For the gateway on `address`. An unspecified address (`0.0.0.0`, as in a `bind`) means this machine.
    pub fn new(mut address: SocketAddr, token: Option<SecretString>) -> Self {
        if address.ip().is_unspecified() {
            address.set_ip(match address {
                SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
                SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
            });
        }
        ApiClient { address, token }
    }

    /// All actors.
    ///
    /// # Errors
    /// See [`ApiClientError`].
    pub fn actors(&self) -> Result<Vec<ActorView>, ApiClientError> {
        self.ask::<ActorList>("GET", "/api/v1/actors").map(|answer| answer.actors)
    }

    /// One actor.
    ///
    /// # Errors
    /// See [`ApiClientError`].
    pub fn actor(&self, name: &str) -> Result<ActorView, ApiClientError> {
        self.ask("GET", &format!("/api/v1/actors/{}", encoded(name)))
    }

    /// Whether messages can go from end to end, and what is in the way.
    ///
    /// # Errors
    /// See [`ApiClientError`]; not being ready is none.
    pub fn ready(&self) -> Result<ReadinessAnswer, ApiClientError> {
        let (_status, body) = self.exchange("GET", "/readyz", &[])?;
        self.parsed(&body)
    }

    /// Gives an actor an order and waits until it was carried out.
    ///
    /// # Errors
    /// See [`ApiClientError`].
    pub fn order(&self, name: &str, command: OperatorCommand) -> Result<OrderDone, ApiClientError> {
        self.ask("POST", &format!("/api/v1/actors/{}/{}", encoded(name), command.as_str()))
    }

    /// All flows, with what they did.
    ///
    /// # Errors
    /// See [`ApiClientError`].
    pub fn flows(&self) -> Result<Vec<FlowView>, ApiClientError> {
        self.ask::<FlowList>("GET", "/api/v1/flows").map(|answer| answer.flows)
    }

    /// Has the flows read again, and waits until they are in force.
    ///
    /// # Errors
    /// See [`ApiClientError`].
    pub fn reload_flows(&self) -> Result<FlowsReloaded, ApiClientError> {
        self.ask("POST", "/api/v1/flows/reload")
    }

    /// Replays a dead letter, a second time only with `again`, and waits until its message is safe.
    ///
    /// # Errors
    /// See [`ApiClientError`].
    pub fn replay(&self, id: i64, again: bool) -> Result<LetterReplayed, ApiClientError> {
        self.ask("POST", &format!("/api/v1/dead-letters/{id}/replay?again={again}"))
    }

    /// The log's level.
    ///
    /// # Errors
    /// See [`ApiClientError`].
    pub fn log_level(&self) -> Result<LogLevelView, ApiClientError> {
        self.ask("GET", "/api/v1/log")
    }

    /// Gives the log another level for some time.
    ///
    /// # Errors
    /// See [`ApiClientError`].
    pub fn set_log_level(&self, wanted: &LogWanted) -> Result<LogLevelView, ApiClientError> {
        let body = serde_json::to_vec(wanted).map_err(|error| self.foreign(&error.to_string()))?;
        self.send("PUT", "/api/v1/log", &body)
    }

    fn ask<T: DeserializeOwned>(&self, method: &str, path: &str) -> Result<T, ApiClientError> {
        self.send(method, path, &[])
    }

    fn send<T: DeserializeOwned>(&self, method: &str, path: &str, body: &[u8]) -> Result<T, ApiClientError> {
        let (status, body) = self.exchange(method, path, body)?;
        if status == 200 { self.parsed(&body) } else { Err(ApiClientError::Refused(self.parsed(&body)?)) }
    }

    fn parsed<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T, ApiClientError> {
        serde_json::from_slice(body).map_err(|error| self.foreign(&error.to_string()))
    }

    /// Status and body. `Connection: close` makes the end of the answer the end of the stream (RFC 9112 section 6.3).
    fn exchange(&self, method: &str, path: &str, body: &[u8]) -> Result<(u16, Vec<u8>), ApiClientError> {
        let refused = |error| ApiClientError::Connect(self.address, error);
        let mut stream = TcpStream::connect_timeout(&self.address, CONNECT_TIMEOUT).map_err(refused)?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT)).map_err(refused)?;
        let request = [self.head(method, path, body.len()).as_bytes(), body].concat();
        stream.write_all(&request).map_err(ApiClientError::Broken)?;
        let mut answer = Vec::new();
        stream.take(LARGEST_ANSWER).read_to_end(&mut answer).map_err(ApiClientError::Broken)?;
        split(&answer).map_err(|what| self.foreign(what))
    }

    fn head(&self, method: &str, path: &str, length: usize) -> String {
        let mut head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n",
            self.address
        );
        if let Some(token) = &self.token {
            let _ = write!(head, "Authorization: Bearer {}\r\n", token.expose_secret());
        }
        head.push_str("\r\n");
        head
    }

    fn foreign(&self, what: &str) -> ApiClientError {
        ApiClientError::Foreign { address: self.address, what: what.to_owned() }
    }
}

fn split(answer: &[u8]) -> Result<(u16, Vec<u8>), &'static str> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").ok_or("no HTTP head")?;
    let head = std::str::from_utf8(&answer[..end]).map_err(|_| "its head is not text")?;
    let (first, headers) = head.split_once("\r\n").unwrap_or((head, ""));
    let status = first.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).and_then(|code| code.parse().ok());
    let length = headers
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let length: usize = length.and_then(|(_, value)| value.trim().parse().ok()).ok_or("no content-length")?;
    let body = answer[end + 4..].get(..length).ok_or("a shortened answer")?;
    Ok((status.ok_or("no HTTP status")?, body.to_vec()))
}

/// Percent-encoded as a path segment: everything but RFC 3986's unreserved characters.
fn encoded(segment: &str) -> String {
    let mut text = String::with_capacity(segment.len());
    for byte in segment.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => text.push(char::from(byte)),
            _ => drop(write!(text, "%{byte:02X}")),
        }
    }
    text
}
