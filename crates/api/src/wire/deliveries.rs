//! Calls of endpoints.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One call of an endpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AttemptView {
    /// When it ended.
    pub at: DateTime<Utc>,
    /// The message's number in the journal; 0 for a trial.
    pub seq: u64,
    /// The message's topic.
    pub topic: String,
    /// The how manieth for this message, from 1.
    pub number: u64,
    /// `delivered`, `retried` or `given_up`.
    pub outcome: String,
    /// HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// Why it failed, with the beginning of the answer.
    pub reason: String,
    /// How long it took.
    pub millis: f64,
}

/// The calls of a flow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DeliveryView {
    /// The flow's code.
    pub flow: String,
    /// Its endpoint, without secrets.
    pub endpoint: String,
    /// Whether the flow is switched on.
    pub enabled: bool,
    /// So many messages of the journal its deliveries are behind; not all of them need be this flow's.
    pub behind: u64,
    /// The endpoint's breaker: `closed` (calls go out), `open` (they wait) or `probing` (one tries).
    pub breaker: String,
    /// Until when calls wait for the breaker.
    pub breaker_until: Option<DateTime<Utc>>,
    /// When a message is tried again.
    pub next_at: Option<DateTime<Utc>>,
    /// The newest first; at most 30.
    pub attempts: Vec<AttemptView>,
    /// Calls that came through and are not listed, because there were many.
    pub left_out: u64,
}

/// `GET /api/v1/deliveries`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DeliveryList {
    /// Of all flows that call an endpoint, by code.
    pub flows: Vec<DeliveryView>,
}

/// A message to try an endpoint out with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeliveryTrial {
    /// Its topic; the flow's own when that has no wildcard.
    #[serde(default)]
    pub topic: Option<String>,
    /// Its payload, as text.
    pub payload: String,
}
