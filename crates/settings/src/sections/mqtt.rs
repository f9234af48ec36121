//! `[broker]` and `[mqtt]`.

use crate::types::{AutoSwitch, ByteSize, DurationText, ListenAddress};
use crate::urls::BrokerUrl;
use schemars::JsonSchema;
use secrecy::SecretString;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// `[broker]`: the embedded broker.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BrokerSettings {
    /// Whether it runs; after loading never `Auto`.
    pub enabled: AutoSwitch,
    /// Plain TCP listener.
    pub listen: ListenAddress,
    /// Whether clients may connect without a user name.
    pub allow_anonymous: bool,
    /// Time for a new connection to send CONNECT.
    pub connect_timeout: DurationText,
    /// What clients without a user name may do.
    #[serde(default)]
    pub anonymous: BrokerAnonymous,
    /// Users by name.
    #[serde(default)]
    pub users: BTreeMap<String, BrokerUser>,
    /// Second listener, with TLS.
    pub tls: BrokerTls,
    /// Listeners for browsers.
    pub websocket: BrokerWebSocket,
    /// Bounds.
    pub limits: BrokerLimits,
}

impl BrokerSettings {
    /// Whether the embedded broker runs.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.enabled == AutoSwitch::On
    }
}

/// `[broker.users.NAME]`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BrokerUser {
    /// Argon2 hash of the password in PHC form, as `hearthgate broker passwd` prints it.
    #[schemars(with = "String")]
    pub password: SecretString,
    /// Filters of the topics that may be published on; absent: all.
    pub publish: Option<Vec<String>>,
    /// Filters that may be subscribed to; absent: all.
    pub subscribe: Option<Vec<String>>,
    /// Filters of topics that may neither be published on nor received, whatever the other lists say.
    #[serde(default)]
    pub forbidden: Vec<String>,
}

/// `[broker.anonymous]`: the lists of `[broker.users.NAME]`, for clients without a name.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BrokerAnonymous {
    /// Filters of the topics that may be published on; absent: all.
    pub publish: Option<Vec<String>>,
    /// Filters that may be subscribed to; absent: all.
    pub subscribe: Option<Vec<String>>,
    /// Filters of topics that may neither be published on nor received, whatever the other lists say.
    #[serde(default)]
    pub forbidden: Vec<String>,
}

/// `[broker.tls]`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BrokerTls {
    /// Where to listen; absent: no TLS.
    pub listen: Option<ListenAddress>,
    /// Certificate chain, PEM.
    pub certificate: Option<PathBuf>,
    /// Private key, PEM.
    pub key: Option<PathBuf>,
    /// Authority of the clients' certificates; absent: none are asked for.
    pub client_ca: Option<PathBuf>,
}

/// `[broker.websocket]`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BrokerWebSocket {
    /// Where to listen without TLS; absent: nowhere.
    pub listen: Option<ListenAddress>,
    /// Where to listen with the certificate of `[broker.tls]`; absent: nowhere.
    pub tls_listen: Option<ListenAddress>,
    /// Path of the URL.
    pub path: String,
    /// Origins of the pages that may connect; `*` is all of them.
    pub origins: Vec<String>,
}

/// `[broker.limits]`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BrokerLimits {
    /// Clients connected at once.
    pub max_connections: usize,
    /// Largest packet accepted.
    pub max_packet_size: ByteSize,
    /// QoS 1 and 2 messages under way to one client, 1 to 65535.
    pub max_inflight: u16,
    /// Messages waiting for one client.
    pub max_queued_messages: usize,
    /// Bytes waiting for all clients.
    pub max_queued_size: ByteSize,
    /// Retained messages.
    pub max_retained_messages: usize,
    /// Bytes of all retained messages.
    pub max_retained_size: ByteSize,
    /// Sessions kept.
    pub max_sessions: usize,
    /// How long a session may outlive its connection.
    pub max_session_expiry: DurationText,
}

/// `[mqtt]`: the session with a broker.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MqttSettings {
    /// Whether there is a session at all.
    pub enabled: bool,
    /// Which broker.
    pub server: BrokerUrl,
    /// Protocol version.
    pub protocol: ProtocolSetting,
    /// Client id; after loading never empty.
    pub client_id: String,
    /// User name.
    pub username: Option<String>,
    /// Password; after loading also what `password_file` holds.
    #[schemars(with = "Option<String>")]
    pub password: Option<SecretString>,
    /// File with the password.
    pub password_file: Option<PathBuf>,
    /// Longest silence on the connection.
    pub keep_alive: DurationText,
    /// Whether the broker forgets the session at each disconnect.
    pub clean_session: bool,
    /// MQTT 5: how long the broker keeps the session.
    pub session_expiry: DurationText,
    /// Wait for CONNACK.
    pub connect_timeout: DurationText,
    /// Group of a shared subscription.
    pub group: Option<String>,
    /// Whether this member leaves its group.
    pub leave_group: bool,
    /// First level of our own topics; empty: none are published.
    pub status_prefix: String,
    /// How often health is published.
    pub health_interval: DurationText,
    /// Bounds.
    pub limits: MqttLimits,
    /// Certificates.
    pub tls: MqttTls,
    /// Pauses between attempts.
    pub reconnect: ReconnectSettings,
}

/// Version of MQTT to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum ProtocolSetting {
    /// MQTT 3.1.1.
    #[serde(rename = "3.1.1")]
    V311,
    /// MQTT 5.
    #[serde(rename = "5")]
    V5,
}

/// `[mqtt.limits]`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MqttLimits {
    /// Largest packet, each way.
    pub max_packet_size: ByteSize,
    /// Messages taken in and not yet acknowledged, 1 to 65535.
    pub max_inflight: u16,
    /// Messages waiting to be published.
    pub max_outgoing: usize,
    /// Bytes waiting to be published.
    pub max_outgoing_size: ByteSize,
}

/// `[mqtt.tls]`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MqttTls {
    /// Authorities to trust, PEM; absent: the system's.
    pub ca: Option<PathBuf>,
    /// Our certificate chain, PEM.
    pub certificate: Option<PathBuf>,
    /// Our private key, PEM.
    pub key: Option<PathBuf>,
    /// Application protocols to offer.
    pub alpn: Vec<String>,
    /// Whether the broker's certificate is verified.
    pub verify: bool,
}

/// `[mqtt.reconnect]`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReconnectSettings {
    /// First pause.
    pub initial: DurationText,
    /// Longest pause.
    pub max: DurationText,
    /// Part of a pause by which it varies, 0 to 1.
    pub jitter: f64,
}
