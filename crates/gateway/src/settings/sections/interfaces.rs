//! `[mapper]` and `[interfaces.NAME]`.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

/// `[mapper]`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mapper {
    /// Whether topics are mapped at all.
    pub enabled: bool,
    /// Messages waiting for one interface.
    pub queue: usize,
    /// Whether a changed map file is reloaded at once.
    pub watch: bool,
}

/// `[interfaces.NAME]`: the options as they stand; the driver of that kind reads them.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
pub struct Interface {
    /// Whether it runs.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// The driver.
    pub kind: String,
    /// Everything else.
    #[serde(flatten)]
    pub options: Map<String, Value>,
}

fn yes() -> bool {
    true
}
