//! Configuration, log, logins.

use crate::scope::AccessScope;
use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A value of the configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SettingView {
    /// Section and key.
    pub key: String,
    /// The value; `"***"` for a secret.
    pub value: Value,
    /// Where it is from.
    pub origin: String,
    /// It differs from what the program brings along.
    pub changed: bool,
    /// The environment rules: changing the file changes nothing.
    pub locked: bool,
}

/// `GET /api/v1/configuration`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ConfigurationView {
    /// The file, if there is one.
    pub file: Option<String>,
    /// Relative paths begin there.
    pub base: String,
    /// What was doubtful about it.
    pub warnings: Vec<String>,
    /// By key.
    pub settings: Vec<SettingView>,
}

/// `GET /api/v1/log`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LogLevelView {
    /// In force.
    pub level: String,
    /// As configured.
    pub configured: String,
    /// When it is as configured again, if it is not now.
    pub until: Option<DateTime<Utc>>,
}

/// `PUT /api/v1/log`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LogWanted {
    /// `error`, `warn`, `info`, `debug`, `trace`, or directives such as `info,hearthgate_mqtt=debug`.
    pub level: String,
    /// For so long, 1 to 1,440; 0: back to what is configured, at once.
    pub minutes: u32,
    /// Of this component alone, by its name as in `GET /api/v1/actors`; the others stay as they are configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub component: Option<String>,
}

/// `POST /api/v1/session`
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LoginWanted {
    /// That of `[http] token`, or one of `hearthgate token new`.
    pub token: String,
}

/// `GET /api/v1/session`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LoginStatus {
    /// Whether there is a token to log in with; without one everybody may do everything, from this machine alone.
    pub needs_token: bool,
    /// What you may do.
    pub scope: AccessScope,
    /// Of the gateway.
    pub version: String,
    /// Names the page that it serves.
    pub page: String,
}

/// A login to the page.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SessionView {
    /// Names it; nobody can log in with it.
    pub id: String,
    /// What it may do.
    pub scope: AccessScope,
    /// When it began.
    pub since: DateTime<Utc>,
    /// When it asked last.
    pub used: DateTime<Utc>,
    /// From where it began.
    pub address: String,
    /// It is the one that asks.
    pub own: bool,
}

/// `GET /api/v1/sessions`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SessionList {
    /// The last used first.
    pub sessions: Vec<SessionView>,
}
