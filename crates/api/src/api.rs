//! What goes over the wire, for the server and for the command line alike.

use chrono::{DateTime, Utc};
use hearthgate_supervision::ActorHealth;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One actor, as in `GET /api/v1/actors/{name}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ActorView {
    /// Its name, unique in the gateway.
    pub name: String,
    /// `starting`, `running`, `backing_off`, `parked`, `stopped` or `unresponsive`.
    pub status: String,
    /// Starts after the first one.
    pub restarts: u64,
    /// Failures so far.
    pub failures: u64,
    /// The latest failure, also when it has recovered.
    pub last_error: Option<String>,
    /// When `status` was entered (RFC 3339, UTC).
    pub since: DateTime<Utc>,
    /// When it starts again by itself, if it is down and will.
    pub next_restart: Option<DateTime<Utc>>,
    /// The gateway ends when this actor parks.
    pub essential: bool,
}

impl From<&ActorHealth> for ActorView {
    fn from(health: &ActorHealth) -> Self {
        ActorView {
            name: health.name.to_string(),
            status: health.status.as_str().to_owned(),
            restarts: health.restarts,
            failures: health.failures.total(),
            last_error: health.last_error.as_deref().map(str::to_owned),
            since: health.since.into(),
            next_restart: health.next_restart.map(Into::into),
            essential: health.essential,
        }
    }
}

/// `GET /api/v1/actors`, by name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ActorList {
    /// All of them.
    pub actors: Vec<ActorView>,
}

/// The answer to an order that the actor took.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OrderDone {
    /// `done`, or `already` when there was nothing to do.
    pub outcome: String,
    /// The actor after it.
    pub actor: ActorView,
}

/// The answer to `POST /api/v1/flows/reload`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FlowsReloaded {
    /// Always true: what could not be done is a [`ProblemDetails`].
    pub reloaded: bool,
}

/// The answer to `POST /api/v1/dead-letters/{id}/replay`: its message is safe in the journal again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LetterReplayed {
    /// The letter's number.
    pub id: i64,
    /// How many flows took it.
    pub flows: usize,
}

/// `GET /livez`: 503 when only ending the process can help.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LivenessAnswer {
    /// The verdict.
    pub live: bool,
    /// Essential actors that are parked or do not answer.
    pub failing: Vec<PartState>,
}

/// `GET /readyz`: 503 unless messages can go from end to end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ReadinessAnswer {
    /// The verdict.
    pub ready: bool,
    /// What keeps it from being ready.
    pub failing: Vec<PartState>,
}

/// A part of the gateway that does not work, by name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PartState {
    /// Which one: `mqtt`, `database`, `actor mapper`.
    pub part: String,
    /// Why.
    pub error: String,
}

/// `GET /api/v1/version`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct VersionAnswer {
    /// Always `hearthgate`.
    pub name: String,
    /// Semantic version of the gateway.
    pub version: String,
}

/// An error, in the form of RFC 9457; `code` is ours and stable, `detail` is for people.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ProblemDetails {
    /// `about:blank`: the status says what kind it is.
    #[serde(rename = "type")]
    pub kind: String,
    /// The status in words.
    pub title: String,
    /// HTTP status.
    pub status: u16,
    /// What happened, and what to do about it.
    pub detail: String,
    /// For programs: `unknown-actor`, `token-missing`, …
    pub code: String,
}
