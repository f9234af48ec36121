//! The file of flows that `flow import` reads and `flow export` writes.

use serde::{Deserialize, Serialize};

/// Flows as TOML, for `import` and `export`.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FlowFile {
    #[serde(default)]
    pub(super) flow: Vec<FlowEntry>,
}

/// One `[[flow]]`; `schema` and `options` are JSON.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FlowEntry {
    pub(super) code: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) description: String,
    pub(super) topic: String,
    pub(super) action: String,
    pub(super) schema: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) endpoint_url: Option<String>,
    #[serde(default = "yes")]
    pub(super) enabled: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) options: Option<String>,
}

fn yes() -> bool {
    true
}
