//! The wiring, the interfaces, the broker.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a part is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NodeState {
    /// It works.
    Ok,
    /// It can not go on now, and will by itself.
    Waiting,
    /// It does not work until somebody does something.
    Failed,
    /// It is switched off, or was stopped.
    Off,
}

/// A part of the wiring.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GraphNode {
    /// Names it in edges.
    pub id: String,
    /// For people.
    pub label: String,
    /// `broker`, `session`, `mapper`, `interface`, `router`, `journal`, `database`, `endpoints`, `letters`.
    pub kind: String,
    /// The actor that it is, if it is one.
    pub actor: Option<String>,
    /// How it is.
    pub state: NodeState,
    /// Why it is silent, waiting or refused.
    pub reason: Option<String>,
    /// What to do about it.
    pub advice: Option<String>,
    /// More of it: an address, how full it is.
    pub detail: String,
}

/// What goes from one part to another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GraphEdge {
    /// A node's id.
    pub from: String,
    /// A node's id.
    pub to: String,
    /// Messages since the gateway was started.
    pub total: u64,
    /// Messages that wait on this way, where that is known.
    pub waiting: Option<u64>,
}

/// `GET /api/v1/overview`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WiringGraph {
    /// When it was taken.
    pub at: DateTime<Utc>,
    /// The parts, from the left to the right.
    pub nodes: Vec<GraphNode>,
    /// What goes between them.
    pub edges: Vec<GraphEdge>,
}

/// A device interface.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct InterfaceView {
    /// Its name in the configuration.
    pub name: String,
    /// `dummy`, `exec`, `serial`, `tcp`.
    pub kind: String,
    /// Its actor.
    pub actor: String,
    /// How it is.
    pub state: NodeState,
    /// Why it is not.
    pub reason: Option<String>,
    /// Topics that it listens to.
    pub topics: Vec<String>,
    /// Messages for the device, as they were handed over.
    pub received: u64,
    /// Messages that its map refused.
    pub refused: u64,
    /// Messages from the device, as they were published.
    pub emitted: u64,
}

/// `GET /api/v1/interfaces`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct InterfaceList {
    /// By name.
    pub interfaces: Vec<InterfaceView>,
}

/// A client of the embedded broker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ClientView {
    /// Its client id.
    pub id: String,
    /// As whom it came.
    pub user: Option<String>,
    /// `3.1`, `3.1.1` or `5.0`.
    pub protocol: String,
    /// Whether it is connected now.
    pub connected: bool,
    /// When its connection ended.
    pub left_at: Option<DateTime<Utc>>,
    /// Seconds that its session outlives the connection.
    pub expiry: u32,
    /// Its filters.
    pub subscriptions: Vec<String>,
    /// Messages that wait for it.
    pub queued: u64,
    /// Their bytes, with those on their way.
    pub queued_bytes: u64,
    /// Messages on their way to it.
    pub inflight: u64,
}

/// `GET /api/v1/broker`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BrokerSummary {
    /// Where it listens.
    pub listens: Vec<String>,
    /// The connected ones first, then by id; at most 1,000.
    pub clients: Vec<ClientView>,
    /// How many more there are.
    pub left_out: u64,
    /// Retained messages.
    pub retained: u64,
    /// Messages that clients did not get because their queue was full.
    pub dropped: u64,
}

/// `GET /api/v1/broker/rights`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BrokerRights {
    /// The topic that was asked for.
    pub topic: String,
    /// Whether a client of this name can connect at all, with the right password.
    pub may_connect: bool,
    /// Whether it may publish to the topic.
    pub may_publish: bool,
    /// Whether it gets the topic's messages, if it subscribes.
    pub may_receive: bool,
}

/// Who would come, and for which topic.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RightsQuery {
    /// Its user's name; absent or empty: without one.
    pub user: Option<String>,
    /// Its client id.
    #[serde(default)]
    pub client: String,
    /// A topic without wildcards.
    pub topic: String,
}

/// A retained message of the embedded broker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RetainedView {
    /// Its topic.
    pub topic: String,
    /// The first 256 bytes of its payload, if they are text.
    pub text: Option<String>,
    /// The same in hexadecimal digits.
    pub hex: String,
    /// Bytes of the whole payload.
    pub bytes: u64,
}

/// `GET /api/v1/topics/retained`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RetainedList {
    /// By topic; at most 500.
    pub messages: Vec<RetainedView>,
    /// How many more there are.
    pub left_out: u64,
}

/// Which retained message.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetainedQuery {
    /// Its topic.
    pub topic: String,
}

/// Which retained messages.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetainedPrefix {
    /// Of this topic and below it; all if it is empty.
    #[serde(default)]
    pub under: String,
}
