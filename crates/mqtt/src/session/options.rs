//! What a session with a remote broker needs to know.

use crate::session::transport::tls::TlsOptions;
use bytes::Bytes;
use hearthgate_domain::delivery::QoS;
use hearthgate_domain::redelivery::CLIENT_WINDOW;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::watch;

/// Protocol version to speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProtocolVersion {
    /// MQTT 3.1.1.
    V3,
    /// MQTT 5.0.
    #[default]
    V5,
}

/// Where the broker is and how to get there.
#[derive(Clone, Debug)]
pub enum BrokerServer {
    /// Plain TCP, usually port 1883.
    Tcp {
        /// Name or address.
        host: String,
        /// Port.
        port: u16,
    },
    /// TLS over TCP, usually port 8883.
    Tls {
        /// Name or address.
        host: String,
        /// Port.
        port: u16,
        /// Certificates and keys.
        tls: TlsOptions,
    },
    /// WebSocket (MQTT 5.0, section 6), with TLS when `tls` is given.
    WebSocket {
        /// Name or address.
        host: String,
        /// Port.
        port: u16,
        /// Path with its leading slash, often `/mqtt`.
        path: String,
        /// Certificates and keys for `wss`.
        tls: Option<TlsOptions>,
    },
    /// A Unix domain socket.
    Unix(PathBuf),
}

impl fmt::Display for BrokerServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BrokerServer::Tcp { host, port } => write!(f, "mqtt://{host}:{port}"),
            BrokerServer::Tls { host, port, .. } => write!(f, "mqtts://{host}:{port}"),
            BrokerServer::WebSocket { host, port, path, tls: None } => write!(f, "ws://{host}:{port}{path}"),
            BrokerServer::WebSocket { host, port, path, tls: Some(_) } => write!(f, "wss://{host}:{port}{path}"),
            BrokerServer::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

/// User name and password; `Debug` hides the password.
#[derive(Clone)]
pub struct BrokerCredentials {
    /// User name.
    pub username: String,
    /// Password.
    pub password: String,
}

impl fmt::Debug for BrokerCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({}, password hidden)", self.username)
    }
}

/// What the broker publishes for us when the connection breaks (MQTT 3.1.1, section 3.1.2.5).
#[derive(Clone, Debug)]
pub struct WillMessage {
    /// Topic name.
    pub topic: String,
    /// Payload.
    pub payload: Bytes,
    /// QoS to publish with.
    pub qos: QoS,
    /// Whether the broker keeps it.
    pub retain: bool,
    /// MQTT 5 only: how long the broker waits for us to come back, in whole seconds.
    pub delay: Duration,
}

/// A broker and how we show who we are.
#[derive(Clone, Debug)]
pub struct BrokerAddress {
    /// Where it is.
    pub server: BrokerServer,
    /// User name and password.
    pub credentials: Option<BrokerCredentials>,
}

/// What one connection to a broker leaves for the next, also over a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct KnownBroker {
    /// The session of the last `Event::Connected`.
    pub session: u64,
    /// The filters of the last `Event::Subscribed`: those that are no longer wanted are unsubscribed.
    pub filters: Vec<String>,
}

/// How long to wait between attempts.
#[derive(Clone, Copy, Debug)]
pub struct ReconnectDelay {
    /// After the first failure; doubled by each further one.
    pub first: Duration,
    /// Never longer than this. A refusal (wrong password, …) waits this long at once.
    pub longest: Duration,
    /// Each wait is varied by up to this share of it, up or down; 0 to 1.
    pub jitter: f64,
    /// A connection that lasted this long starts the count anew.
    pub stable_after: Duration,
}

impl Default for ReconnectDelay {
    fn default() -> Self {
        ReconnectDelay {
            first: Duration::from_secs(1),
            longest: Duration::from_secs(60),
            jitter: 0.2,
            stable_after: Duration::from_secs(30),
        }
    }
}

/// Everything about a session. [`SessionOptions::new`] has the defaults.
#[derive(Clone, Debug)]
pub struct SessionOptions {
    /// Where the broker is.
    pub server: BrokerServer,
    /// Protocol version, 5 by default.
    pub protocol: ProtocolVersion,
    /// Client identifier; two gateways must never share one.
    pub client_id: String,
    /// `true`: the broker forgets us with each connection, and what it owed is lost. Default `false`.
    pub clean: bool,
    /// User name and password.
    pub credentials: Option<BrokerCredentials>,
    /// Something is sent at least this often, 0 switches it off. Default 30 s, at most 65,535 s.
    pub keep_alive: Duration,
    /// MQTT 5: how long the broker keeps a session without a connection. Default 7 days; 3.1.1 has no such limit.
    pub session_expiry: Duration,
    /// Last will.
    pub will: Option<WillMessage>,
    /// Longest wait for TCP, TLS and CONNACK together. Default 10 s.
    pub connect_timeout: Duration,
    /// Waits between attempts.
    pub backoff: ReconnectDelay,
    /// Largest packet taken in, in bytes; default 1 MiB. MQTT 5 announces it, and a 3.1.1 broker's larger messages are
    /// read past, acknowledged and reported, for they would come again for ever.
    pub max_incoming_packet: usize,
    /// Largest packet sent, in bytes; default 1 MiB. The broker's own limit counts too.
    pub max_outgoing_packet: usize,
    /// Reading stops while received but unacknowledged messages take more memory than this. Default 16 MiB.
    pub max_unacknowledged_bytes: usize,
    /// Most messages in a batch. Default 1,000.
    pub batch_messages: usize,
    /// Most bytes in a batch, one message may exceed it. Default 1 MiB.
    pub batch_bytes: usize,
    /// Most messages waiting to be published or to be acknowledged by the broker. Default 10,000.
    pub outbox_messages: usize,
    /// Most bytes of them. Default 8 MiB.
    pub outbox_bytes: usize,
    /// Most QoS 1 and 2 messages sent but not acknowledged by the broker, 1 to 65,000; default 1,000. The broker's
    /// receive maximum counts too.
    pub max_inflight: u16,
    /// Most QoS 1 and 2 messages that an MQTT 5 broker may send ahead of our acknowledgements (its receive maximum); never
    /// more than can be recognised when they come again. Default 32,767.
    pub receive_maximum: u16,
    /// A QoS 0 message that could not be written for so long is dropped: it is stale. Default 5 s.
    pub stale_after: Duration,
    /// Longest wait at the end for what the broker still has to acknowledge. Default 2 s.
    pub close_timeout: Duration,
    /// What earlier runs learned of the brokers that they were connected to.
    pub known: Vec<KnownBroker>,
    /// Where the session is to move to while it lasts; what is in hand is finished first. `None`: it stays.
    pub moves: Option<watch::Receiver<BrokerAddress>>,
}

impl SessionOptions {
    /// Options with their defaults.
    #[must_use]
    pub fn new(server: BrokerServer, client_id: impl Into<String>) -> Self {
        SessionOptions {
            server,
            protocol: ProtocolVersion::default(),
            client_id: client_id.into(),
            clean: false,
            credentials: None,
            keep_alive: Duration::from_secs(30),
            session_expiry: Duration::from_secs(7 * 24 * 3600),
            will: None,
            connect_timeout: Duration::from_secs(10),
            backoff: ReconnectDelay::default(),
            max_incoming_packet: 1 << 20,
            max_outgoing_packet: 1 << 20,
            max_unacknowledged_bytes: 16 << 20,
            batch_messages: 1_000,
            batch_bytes: 1 << 20,
            outbox_messages: 10_000,
            outbox_bytes: 8 << 20,
            max_inflight: 1_000,
            receive_maximum: u16::try_from(CLIENT_WINDOW).unwrap_or(u16::MAX),
            stale_after: Duration::from_secs(5),
            close_timeout: Duration::from_secs(2),
            known: Vec::new(),
            moves: None,
        }
    }
}
