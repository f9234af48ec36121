//! How the broker is configured: the keys of `[broker]`, with their defaults.

use crate::broker::error::BrokerOptionError;
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// The embedded broker's options, as they stand in `[broker]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BrokerOptions {
    /// Address and port of the plain listener. Anything but loopback needs users, see [`BrokerOptions::users`].
    pub listen: String,
    /// Certificate and key, and a second listener with TLS.
    pub tls: Option<BrokerTlsOptions>,
    /// Listeners for MQTT over WebSocket.
    pub websocket: Option<WebSocketOptions>,
    /// Who may connect. With users everybody has to be one of them.
    pub users: BTreeMap<String, UserOptions>,
    /// Whether everyone on this machine may connect as long as there are no users. If not, only who shows a certificate
    /// of [`BrokerTlsOptions::client_ca`] may.
    pub allow_anonymous: bool,
    /// What those may do who have no name, because there are no users.
    pub anonymous: AclOptions,
    /// Limits.
    pub limits: LimitOptions,
    /// Folder for retained messages and persistent sessions; without it nothing survives a restart. Set by the caller.
    #[serde(skip)]
    pub state_dir: Option<PathBuf>,
}

impl Default for BrokerOptions {
    fn default() -> Self {
        BrokerOptions {
            listen: "127.0.0.1:1883".into(),
            tls: None,
            websocket: None,
            users: BTreeMap::new(),
            allow_anonymous: true,
            anonymous: AclOptions::default(),
            limits: LimitOptions::default(),
            state_dir: None,
        }
    }
}

/// TLS of all listeners that have it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BrokerTlsOptions {
    /// Address and port of the listener for MQTT over TLS, such as `0.0.0.0:8883`, if there is one.
    pub listen: Option<String>,
    /// PEM file with the certificate chain.
    pub certificate: PathBuf,
    /// PEM file with the private key.
    pub key: PathBuf,
    /// PEM file with the authorities whose client certificates are required; without it none is asked for.
    pub client_ca: Option<PathBuf>,
}

/// MQTT over WebSocket, for dashboards in browsers.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WebSocketOptions {
    /// Address and port of the listener without TLS, if there is one.
    pub listen: Option<String>,
    /// Address and port of the listener with TLS, if there is one. It needs [`BrokerOptions::tls`].
    pub tls_listen: Option<String>,
    /// The path of the URL, such as `/mqtt`.
    pub path: String,
    /// The origins whose pages may connect, such as `https://dashboard.lan`; `*` is all of them. Clients that are no
    /// browsers state none, and always may.
    pub origins: Vec<String>,
}

impl Default for WebSocketOptions {
    fn default() -> Self {
        WebSocketOptions { listen: None, tls_listen: None, path: "/mqtt".into(), origins: Vec::new() }
    }
}

/// A user.
#[derive(Clone, Deserialize)]
pub struct UserOptions {
    /// Password hash as an argon2 PHC string (`$argon2id$v=19$…`), as `hearthgate broker passwd` prints it.
    pub password: String,
    /// What the user may do.
    #[serde(flatten)]
    pub acl: AclOptions,
}

// A hash is no secret like a password, but it does not belong into a log either.
impl fmt::Debug for UserOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserOptions").field("acl", &self.acl).finish_non_exhaustive()
    }
}

/// What a client may do. In all filters `%u` stands for the user's name, `%c` for the client id.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct AclOptions {
    /// Filters of the topics that may be published to; absent: all.
    pub publish: Option<Vec<String>>,
    /// Filters within which may be subscribed; absent: all.
    pub subscribe: Option<Vec<String>>,
    /// Filters of topics that may neither be published to nor be received, whatever the other lists say.
    pub forbidden: Vec<String>,
}

/// Bounds on what clients can take. Sizes are bytes (`"1 MiB"`), times seconds (`5`, `"5s"`, `"2m"`, `"30d"`).
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitOptions {
    /// Connections at one time; one more is closed at once.
    pub max_connections: usize,
    /// New connections a second; more wait, after a burst of twice as many.
    pub connections_per_second: u32,
    /// The largest packet taken (at least 1 KiB).
    #[serde(deserialize_with = "size")]
    pub max_packet_size: usize,
    /// QoS 1 and 2 messages sent to a client and not yet acknowledged (1 to 65535).
    pub max_inflight: u16,
    /// QoS 1 and 2 messages of an MQTT 5 client that may wait for our acknowledgement (1 to 65535).
    pub receive_maximum: u16,
    /// Topic aliases that an MQTT 5 client may use, and that we use towards it.
    pub topic_alias_maximum: u16,
    /// Messages that wait for one client. When it is full, newer messages for this client are dropped and counted.
    pub max_queued_messages: usize,
    /// Bytes that wait for one client.
    #[serde(deserialize_with = "size")]
    pub max_queued_bytes: usize,
    /// Bytes that wait for all clients together. A connected client that reads gets its messages all the same: up to
    /// 64 KiB for each are beyond this.
    #[serde(deserialize_with = "size")]
    pub max_total_queued_bytes: usize,
    /// Retained messages; one more is delivered and not retained.
    pub max_retained_messages: usize,
    /// Bytes of all retained messages; one for which there is no room takes that of its topic with it.
    #[serde(deserialize_with = "size")]
    pub max_retained_bytes: usize,
    /// Subscriptions of one client.
    pub max_subscriptions: usize,
    /// Bytes that the subscriptions of one client take in memory: about 256 for each level of a filter.
    #[serde(deserialize_with = "size")]
    pub max_subscription_bytes: usize,
    /// Bytes that the subscriptions of all clients take. Up to 4 KiB for each client are beyond this.
    #[serde(deserialize_with = "size")]
    pub max_total_subscription_bytes: usize,
    /// Sessions kept, connected or not. Beyond it, those of clients that are away give way.
    pub max_sessions: usize,
    /// Bytes handed to the gateway that it has not acknowledged; beyond it publishers are not read.
    #[serde(deserialize_with = "size")]
    pub max_unacknowledged_bytes: usize,
    /// Bytes of large packets of which only a part has come, of all connections; at least two packets.
    #[serde(deserialize_with = "size")]
    pub max_partial_bytes: usize,
    /// Time for CONNECT to come in.
    #[serde(deserialize_with = "duration")]
    pub connect_timeout: Duration,
    /// The longest keep-alive. MQTT 5 clients that ask for more, or for none, are told this one. Zero: no bound.
    #[serde(deserialize_with = "duration")]
    pub max_keep_alive: Duration,
    /// How long the session of an absent client is kept at most; MQTT 3 clients get this one.
    #[serde(deserialize_with = "duration")]
    pub max_session_expiry: Duration,
}

const MIB: usize = 1024 * 1024;

impl Default for LimitOptions {
    fn default() -> Self {
        LimitOptions {
            max_connections: 2_000,
            connections_per_second: 500,
            max_packet_size: 16 * MIB,
            max_inflight: 1_000,
            receive_maximum: 4_096,
            topic_alias_maximum: 64,
            max_queued_messages: 10_000,
            max_queued_bytes: 8 * MIB,
            max_total_queued_bytes: 32 * MIB,
            max_retained_messages: 50_000,
            max_retained_bytes: 16 * MIB,
            max_subscriptions: 1_000,
            max_subscription_bytes: 4 * MIB,
            max_total_subscription_bytes: 64 * MIB,
            max_sessions: 10_000,
            max_unacknowledged_bytes: 16 * MIB,
            max_partial_bytes: 16 * MIB,
            connect_timeout: Duration::from_secs(5),
            max_keep_alive: Duration::from_secs(60),
            max_session_expiry: Duration::from_secs(30 * 24 * 3600),
        }
    }
}

impl LimitOptions {
    /// Says what is out of range, naming the key.
    pub(crate) fn check(&self) -> Result<(), BrokerOptionError> {
        let at_least = |key, value, least| {
            if value < least { Err(BrokerOptionError::TooSmall { key, value, least }) } else { Ok(()) }
        };
        at_least("max_connections", self.max_connections, 1)?;
        at_least("connections_per_second", self.connections_per_second as usize, 1)?;
        at_least("max_packet_size", self.max_packet_size, 1024)?;
        at_least("max_inflight", self.max_inflight.into(), 1)?;
        at_least("receive_maximum", self.receive_maximum.into(), 1)?;
        at_least("max_queued_messages", self.max_queued_messages, 1)?;
        at_least("max_sessions", self.max_sessions, 1)?;
        at_least("max_subscriptions", self.max_subscriptions, 1)?;
        at_least("max_unacknowledged_bytes", self.max_unacknowledged_bytes, 64 * 1024)?;
        if self.max_packet_size > 256 * MIB - 1 {
            return Err(BrokerOptionError::PacketTooLarge);
        }
        Ok(())
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum NumberOrText {
    Number(u64),
    Text(String),
}

fn size<'de, D: Deserializer<'de>>(from: D) -> Result<usize, D::Error> {
    let units = [("", 1), ("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];
    let bytes = quantity(from, &units, "a size such as 1048576 or \"1 MiB\"")?;
    usize::try_from(bytes).map_err(|_| serde::de::Error::custom("the size is too large"))
}

fn duration<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let units = [("", 1000), ("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
    quantity(from, &units, "a time such as 5, \"5s\" or \"2m\"").map(Duration::from_millis)
}

fn quantity<'de, D: Deserializer<'de>>(from: D, units: &[(&str, u64)], expected: &str) -> Result<u64, D::Error> {
    let text = match NumberOrText::deserialize(from)? {
        NumberOrText::Number(number) => number.to_string(),
        NumberOrText::Text(text) => text,
    };
    let text = text.trim();
    let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let unit = text[digits..].trim();
    let factor = units.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor);
    text[..digits]
        .parse::<u64>()
        .ok()
        .zip(factor)
        .and_then(|(number, factor)| number.checked_mul(factor))
        .ok_or_else(|| serde::de::Error::custom(format!("{text:?} is not {expected}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_with_units_and_unknown_keys_are_refused() {
        let text = r#"{"listen":"127.0.0.1:0","limits":{"max_packet_size":"2 MiB","connect_timeout":"500ms"}}"#;
        let options: BrokerOptions = serde_json::from_str(text).unwrap();
        assert_eq!(options.limits.max_packet_size, 2 * MIB);
        assert_eq!(options.limits.connect_timeout, Duration::from_millis(500));
        assert!(serde_json::from_str::<BrokerOptions>(r#"{"liste":"x"}"#).is_err());
        assert!(serde_json::from_str::<BrokerOptions>(r#"{"limits":{"connect_timeout":"5 parsecs"}}"#).is_err());
    }
}
