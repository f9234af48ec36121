//! `[flows]` and what delivers: `[journal]`, `[store]`, `[endpoints]`, `[dead_letters]`, `[database]`.

use crate::types::{Period, Size};
use crate::urls::DatabaseUrl;
use schemars::JsonSchema;
use secrecy::SecretString;
use serde::Deserialize;
use std::path::PathBuf;

/// `[flows]`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Flows {
    /// Whether messages are routed at all.
    pub enabled: bool,
    /// How often the flows are read again, at least a second.
    pub reload_interval: Period,
    /// How values are stored.
    pub value_format: ValueFormat,
}

/// How values that are no strings are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ValueFormat {
    /// `true`, `null`, `{"a":1}`.
    Json,
    /// `True`, `None`, `{"a": 1}`.
    Python,
}

/// `[journal]`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Journal {
    /// Bytes that may wait.
    pub max_size: Size,
    /// How long something may wait.
    pub max_age: Period,
    /// What happens at the bound.
    pub when_full: WhenFull,
    /// Size of one segment file.
    pub segment_size: Size,
    /// Bytes that are set aside of flows whose deliveries hang.
    pub set_aside: Size,
}

/// What happens when the journal is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WhenFull {
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
pub struct Store {
    /// Messages in one transaction, at most.
    pub batch: usize,
    /// Wait for a batch to fill up.
    pub linger: Period,
}

/// `[endpoints]`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Endpoints {
    /// Time for one call.
    pub http_timeout: Period,
    /// Pauses before each try.
    pub retry: Vec<Period>,
    /// Part of a pause by which it varies, 0 to 1.
    pub jitter: f64,
    /// Hosts that may be called; empty: any.
    pub allow_hosts: Vec<String>,
    /// Calls under way to one endpoint.
    pub parallel: usize,
    /// When an endpoint rests.
    pub breaker: Breaker,
}

/// `[endpoints.breaker]`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Breaker {
    /// Failures in a row.
    pub failures: u32,
    /// How long it rests.
    pub rest: Period,
}

/// `[dead_letters]`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeadLetters {
    /// Messages kept.
    pub max_messages: u64,
    /// Bytes kept.
    pub max_size: Size,
    /// How long they are kept.
    pub max_age: Period,
}

/// `[database]`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Database {
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
    pub connect_timeout: Period,
    /// Whether our tables are created and upgraded at start.
    pub migrate: bool,
}
