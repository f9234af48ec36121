//! What a caller may do.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Each includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AccessScope {
    /// Nothing that concerns anybody: states, versions and figures.
    Open,
    /// See everything that is no secret, payloads and topics too.
    Read,
    /// Restart parts, replay messages, test.
    Operate,
    /// Change flows and settings, drop what is kept.
    Admin,
}

impl AccessScope {
    /// For programs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            AccessScope::Open => "open",
            AccessScope::Read => "read",
            AccessScope::Operate => "operate",
            AccessScope::Admin => "admin",
        }
    }
}
