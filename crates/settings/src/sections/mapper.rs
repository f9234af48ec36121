//! `[mapper]`.

use schemars::JsonSchema;
use serde::Deserialize;

/// `[mapper]`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MapperSettings {
    /// Whether topics are mapped at all.
    pub enabled: bool,
    /// Messages waiting for one interface.
    pub queue: usize,
    /// Whether a changed map file is reloaded at once.
    pub watch: bool,
}
