//! Flows.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A flow as it is written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FlowInput {
    /// Names it; unique.
    pub code: String,
    /// For people.
    #[serde(default)]
    pub description: String,
    /// MQTT topic filter, with `{name}` for a level that is captured.
    pub topic: String,
    /// `STORE_DB`, `POST_ENDPOINT`, `PUBLISH`, `NOTIFY` or `LOG`.
    pub action: String,
    /// What a payload must look like: a short schema or JSON Schema.
    pub schema: Value,
    /// Where `POST_ENDPOINT` posts to.
    #[serde(default)]
    pub endpoint_url: Option<String>,
    /// Whether it runs.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// What else it does; see the guide of flows.
    #[serde(default)]
    pub options: Option<Value>,
}

fn yes() -> bool {
    true
}

/// A flow as it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FlowView {
    /// As it is written.
    #[serde(flatten)]
    pub flow: FlowInput,
    /// Names this version of it, for `If-Match`.
    pub version: String,
    /// Why it can not run, if so.
    pub problem: Option<String>,
    /// Number of its last message.
    pub last_msg_id: i64,
    /// What it did since the gateway was started.
    pub figures: FlowFigures,
    /// Why its deliveries wait, if they do: for a secret that is not where the flow says.
    pub waits: Option<String>,
    /// Whom it listens for, by its option `silence`.
    pub silence: Option<FlowSilence>,
}

/// Whom a flow listens for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FlowSilence {
    /// After how long without a message a device is silent, such as `1h`.
    pub after: String,
    /// Those that are, at most 100, the longest silence first; `figures.silent` counts all.
    pub devices: Vec<SilentDeviceView>,
}

/// A device from which nothing comes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SilentDeviceView {
    /// Its topic, or the parts of its key.
    pub key: Vec<String>,
    /// When it was heard last.
    pub since: DateTime<Utc>,
}

/// What a flow did since the gateway was started.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FlowFigures {
    /// Messages stored.
    pub stored: u64,
    /// Messages delivered to an endpoint, or published.
    pub delivered: u64,
    /// Dead letters that are kept of it.
    pub dead: u64,
    /// Devices that are silent, by its option `silence`.
    pub silent: u64,
    /// When its last message came in, if one did.
    pub last_at: Option<DateTime<Utc>>,
}

/// `GET /api/v1/flows`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FlowList {
    /// All, by code.
    pub flows: Vec<FlowView>,
}

/// A flow, perhaps not stored yet, and a message for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FlowTest {
    /// The flow.
    pub flow: FlowInput,
    /// The message's topic; the flow's own when that has no wildcard.
    #[serde(default)]
    pub topic: Option<String>,
    /// The message's payload, as text.
    pub payload: String,
}

/// What to watch, and how long.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LearnWanted {
    /// MQTT topic filter, with `{name}` for a level that is captured.
    pub topic: String,
    /// 1 to 60.
    pub seconds: u32,
    /// It ends earlier after so many messages.
    #[serde(default)]
    pub messages: Option<u64>,
}

/// A flow that would take what passed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FlowProposal {
    /// The flow.
    pub flow: FlowInput,
    /// Messages that it would have taken.
    pub messages: u64,
    /// On so many topics, counted up to 1,000.
    pub topics: u64,
    /// Messages of another shape on topics that it would listen to as well.
    pub others: u64,
    /// Fields that its schema leaves open, each with the reason.
    pub left_open: Vec<String>,
}

/// `POST /api/v1/flows/learn`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LearnAnswer {
    /// Messages that a flow could take.
    pub messages: u64,
    /// Messages that are nothing to a flow: empty, no text, or a list.
    pub unusable: u64,
    /// The most frequent first; at most 50.
    pub proposals: Vec<FlowProposal>,
}
