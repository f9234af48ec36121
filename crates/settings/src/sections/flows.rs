//! `[flows]` and what delivers: `[journal]`, `[store]`, `[endpoints]`, `[secrets]`, `[dead_letters]`, `[database]`.

use crate::environment::EnvironmentVariables;
use crate::types::{ByteSize, DurationText, TimeZoneName};
use crate::urls::DatabaseUrl;
use schemars::JsonSchema;
use secrecy::SecretString;
use serde::Deserialize;
use std::path::PathBuf;

/// `[flows]`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FlowSettings {
    /// Whether messages are routed at all.
    pub enabled: bool,
    /// How often the flows are read again, at least a second.
    pub reload_interval: DurationText,
    /// How values are stored.
    pub value_format: ValueFormatSetting,
    /// Of event times that don't say theirs.
    pub time_zone: TimeZoneName,
}

/// How values that are no strings are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ValueFormatSetting {
    /// `true`, `null`, `{"a":1}`.
    Json,
    /// `True`, `None`, `{"a": 1}`.
    Python,
}

/// `[journal]`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JournalSettings {
    /// Bytes that may wait.
    pub max_size: ByteSize,
    /// How long something may wait.
    pub max_age: DurationText,
    /// What happens at the bound.
    pub when_full: WhenFullSetting,
    /// Size of one segment file.
    pub segment_size: ByteSize,
    /// Bytes that are set aside of flows whose deliveries hang.
    pub set_aside: ByteSize,
}

/// What happens when the journal is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WhenFullSetting {
    /// Nothing more is taken in; the broker keeps the messages.
    Block,
    /// The oldest messages go to make room.
    DropOldest,
    /// The new message is refused.
    Reject,
}

/// `[store]`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StoreSettings {
    /// Messages in one transaction, at most.
    pub batch: usize,
    /// Wait for a batch to fill up.
    pub linger: DurationText,
}

/// `[endpoints]`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EndpointSettings {
    /// Time for one call.
    pub http_timeout: DurationText,
    /// Pauses before each try.
    pub retry: Vec<DurationText>,
    /// Part of a pause by which it varies, 0 to 1.
    pub jitter: f64,
    /// Hosts that may be called; empty: any.
    pub allow_hosts: Vec<String>,
    /// Hosts on this machine or its network that a message may name; empty: none.
    pub allow_local_hosts: Vec<String>,
    /// Calls under way to one endpoint.
    pub parallel: usize,
    /// When an endpoint rests.
    pub breaker: CircuitBreakerSettings,
}

/// `[endpoints.breaker]`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CircuitBreakerSettings {
    /// Failures in a row.
    pub failures: u32,
    /// How long it rests.
    pub rest: DurationText,
}

/// `[secrets]`: what flows may name as secrets.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretSettings {
    /// Folder of the files; after loading absolute.
    pub folder: PathBuf,
    /// How the names of the variables begin; empty: any variable.
    pub env_prefix: String,
    /// Where variables are looked for: those of the process, and below them those of the `.env` file.
    #[serde(skip)]
    pub variables: EnvironmentVariables,
}

/// `[dead_letters]`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeadLetterSettings {
    /// Messages kept.
    pub max_messages: u64,
    /// Bytes kept.
    pub max_size: ByteSize,
    /// How long they are kept.
    pub max_age: DurationText,
}

/// `[database]`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DatabaseSettings {
    /// Whether there is one.
    pub enabled: bool,
    /// Where it is; after loading with its password.
    pub url: DatabaseUrl,
    /// Password, unless the URL holds it.
    #[schemars(with = "Option<String>")]
    pub password: Option<SecretString>,
    /// File with the password.
    pub password_file: Option<PathBuf>,
    /// Connections at most.
    pub max_connections: u32,
    /// Wait for a connection.
    pub connect_timeout: DurationText,
    /// Whether our tables are created and upgraded at start.
    pub migrate: bool,
    /// How the connections to a server are encrypted.
    pub tls: DatabaseTls,
}

/// `[database.tls]`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DatabaseTls {
    /// What is asked of the server; absent: what the URL says, or else `prefer`.
    pub mode: Option<DatabaseTlsMode>,
    /// An authority to trust besides the system's, PEM.
    pub ca: Option<PathBuf>,
}

/// What is asked of the server of a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DatabaseTlsMode {
    /// No encryption.
    Disable,
    /// Encryption when it is offered.
    Prefer,
    /// Encryption.
    Require,
    /// A certificate of a trusted authority.
    VerifyCa,
    /// One with the server's name.
    VerifyFull,
}

impl DatabaseTlsMode {
    /// Whether the certificate is looked at.
    #[must_use]
    pub fn verifies(self) -> bool {
        match self {
            Self::VerifyCa | Self::VerifyFull => true,
            Self::Disable | Self::Prefer | Self::Require => false,
        }
    }
}
