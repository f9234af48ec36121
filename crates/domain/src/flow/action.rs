//! What happens to a message of a flow.

use crate::delivery::QoS;
use serde::{Deserialize, Serialize};

/// What happens to a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "SCREAMING_SNAKE_CASE", deny_unknown_fields)]
pub enum FlowAction {
    /// It is stored in the database.
    StoreDb {},
    /// It is posted to the flow's endpoint.
    PostEndpoint {},
    /// It is published again.
    Publish {
        /// Template of the topic.
        topic: String,
        /// With this QoS.
        #[serde(default)]
        qos: QoS,
        /// Whether the broker keeps it.
        #[serde(default)]
        retain: bool,
        /// Template of the payload; without it the payload goes on as it came, or as the flow's record.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        payload_template: Option<String>,
    },
    /// Somebody is told.
    Notify {
        /// Who: a `[notify.NAME]` of the configuration.
        to: String,
        /// Template of the title; without it the flow's code.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        title_template: Option<String>,
        /// Template of the text; without it topic and payload.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        text_template: Option<String>,
    },
    /// It is written to the log.
    Log {
        /// With this level.
        #[serde(default)]
        level: LogLevel,
    },
}

impl FlowAction {
    /// Its name, as in the column `action`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.part().map_or("LOG", ActionKind::name)
    }

    /// What it is when it fails by itself; writing to the log can't.
    #[must_use]
    pub fn part(&self) -> Option<ActionKind> {
        match self {
            FlowAction::StoreDb {} => Some(ActionKind::Store),
            FlowAction::PostEndpoint {} => Some(ActionKind::Post),
            FlowAction::Publish { .. } => Some(ActionKind::Publish),
            FlowAction::Notify { .. } => Some(ActionKind::Notify),
            FlowAction::Log { .. } => None,
        }
    }
}

/// A part of a flow's actions that can fail by itself, and be replayed by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ActionKind {
    /// `STORE_DB`, and counting the message.
    Store,
    /// `POST_ENDPOINT`.
    Post,
    /// `PUBLISH`.
    Publish,
    /// `NOTIFY`.
    Notify,
}

impl ActionKind {
    /// All of them.
    pub const ALL: [ActionKind; 4] = [ActionKind::Store, ActionKind::Post, ActionKind::Publish, ActionKind::Notify];

    /// The name of its actions, as in the column `action`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            ActionKind::Store => "STORE_DB",
            ActionKind::Post => "POST_ENDPOINT",
            ActionKind::Publish => "PUBLISH",
            ActionKind::Notify => "NOTIFY",
        }
    }

    /// The part of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<ActionKind> {
        ActionKind::ALL.into_iter().find(|part| part.name() == name)
    }
}

/// Which parts of a flow a message was accepted for: what waits is not forgotten when the flow loses one of them meanwhile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PromisedActions(u8);

impl PromisedActions {
    /// Of a message whose acceptance does not tell: the flow's actions are what it has when its turn comes.
    pub const UNKNOWN: PromisedActions = PromisedActions(0);

    /// These parts.
    #[must_use]
    pub fn of(parts: impl IntoIterator<Item = ActionKind>) -> Self {
        PromisedActions(parts.into_iter().fold(0, |bits, part| bits | 1 << part as u8))
    }

    /// As [`PromisedActions::bits`] told; bits that name no part are dropped.
    #[must_use]
    pub fn from_bits(bits: u8) -> Self {
        PromisedActions(bits & PromisedActions::of(ActionKind::ALL).0)
    }

    /// As four bits, to be kept with the message: `STORE_DB` is 1, `POST_ENDPOINT` 2, `PUBLISH` 4, `NOTIFY` 8.
    #[must_use]
    pub fn bits(self) -> u8 {
        self.0
    }

    /// Whether this part is among them.
    #[must_use]
    pub fn includes(self, part: ActionKind) -> bool {
        self.0 & 1 << part as u8 != 0
    }
}

/// Levels of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// The least important.
    Trace,
    /// For those who look for an error.
    Debug,
    /// For everybody.
    #[default]
    Info,
    /// Something is odd.
    Warn,
    /// Something failed.
    Error,
}
