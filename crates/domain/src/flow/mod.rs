//! Flows: which messages they want, what they demand of them, and what happens to them.
//!
//! A [`FlowRow`] is what stands in the database; [`Flow::compile`] makes of it a flow that can run, or says which field
//! of which flow is wrong. One flow that cannot be compiled concerns no other.

mod action;
pub mod change_filter;
mod compile;
mod endpoint;
mod history;
pub mod learn;
mod options;
mod problem;
mod row_options;
mod silence;
mod topic;
mod verdict;

pub use action::{ActionKind, FlowAction, LogLevel, PromisedActions};
pub use compile::FlowError;
pub use endpoint::EndpointTarget;
pub use history::HistoryOptions;
pub use options::{
    EndpointAuth, FlowOptions, HeaderValue, OnChange, RetainedPolicy, RollupOption, SecretRef, SecretRefError,
};
pub use silence::SilenceRule;
pub use topic::{CaptureError, FlowTopic};
pub use verdict::RecordVerdict;

use crate::event_time::EventTimeReading;
use crate::payload::{JsonPayload, ValueFormat, field_text};
use crate::reading::RecordReading;
use crate::schema::PayloadSchema;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

/// A row of the table `flows`, and its options from a table of our own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowRow {
    /// Primary key.
    pub id: i64,
    /// Unique name, at most 100 characters.
    pub code: String,
    /// What it is for, at most 255 characters.
    pub description: String,
    /// Topic filter, perhaps with named captures; at most 255 characters.
    pub topic: String,
    /// `STORE_DB`, `POST_ENDPOINT`, `PUBLISH`, `NOTIFY` or `LOG`.
    pub action: String,
    /// JSON text.
    pub payload_schema: String,
    /// For `POST_ENDPOINT`, at most 500 characters.
    pub endpoint_url: Option<String>,
    /// The number of the last valid message.
    pub last_msg_id: i64,
    /// Whether it takes part.
    pub enabled: bool,
    /// JSON text of [`FlowOptions`].
    pub options: Option<String>,
}

/// Tells whether two rows define the same flow. The count of messages is no part of the definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlowFingerprint(u64, u64);

impl std::fmt::Display for FlowFingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}{:016x}", self.0, self.1)
    }
}

impl FlowRow {
    /// Of all columns but `last_msg_id`. Equal rows have equal fingerprints within one build of the program; that
    /// different rows share one has a chance of 2⁻¹²⁸.
    #[must_use]
    pub fn fingerprint(&self) -> FlowFingerprint {
        let Self {
            id,
            code,
            description,
            topic,
            action,
            payload_schema,
            endpoint_url,
            last_msg_id: _,
            enabled,
            options,
        } = self;
        let definition = (id, code, description, topic, action, payload_schema, endpoint_url, enabled, options);
        let half = |salt: u8| {
            let mut hasher = DefaultHasher::new();
            (salt, definition).hash(&mut hasher);
            hasher.finish()
        };
        FlowFingerprint(half(0), half(1))
    }
}

/// A flow that can run.
#[derive(Debug)]
pub struct Flow {
    /// Primary key of its row.
    pub id: i64,
    /// Its unique name.
    pub code: Arc<str>,
    /// What it is for.
    pub description: Box<str>,
    /// Which topics it wants.
    pub topic: FlowTopic,
    /// What it demands of a payload.
    pub schema: PayloadSchema,
    /// What happens to a message: at least one action, no two of a sort but `PUBLISH`, `NOTIFY` and `LOG`.
    pub actions: Vec<FlowAction>,
    /// Where `STORE_DB` stores; present exactly when that is one of the actions.
    pub store: Option<StoreTarget>,
    /// Where `POST_ENDPOINT` posts; present exactly when that is one of the actions.
    pub endpoint: Option<EndpointTarget>,
    /// Where the time of the event is; none for the time of receipt.
    pub event_time: Option<Box<EventTimeReading>>,
    /// What happens to retained messages.
    pub retained: RetainedPolicy,
    /// Whether a message like the one before it is passed over.
    pub on_change: Option<OnChange>,
    /// At most one message of a topic within this time.
    pub min_interval: Option<Duration>,
    /// How records are read; none: a payload is a record.
    pub reading: Option<Box<RecordReading>>,
    /// When one of its devices counts as silent.
    pub silence: Option<SilenceRule>,
    /// How values are written; none for what the configuration says.
    pub value_format: Option<ValueFormat>,
    /// How long what is stored stays.
    pub history: HistoryOptions,
    /// Whether it takes part.
    pub enabled: bool,
    fingerprint: FlowFingerprint,
}

/// Where a flow stores its messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreTarget {
    /// A table with a column for each field of the schema.
    pub table: Option<Box<str>>,
    /// Whether each field becomes a row of the table `data`.
    pub attributes: bool,
}

impl Flow {
    /// The attributes of a message, each a row of `data`: the named levels of its topic, unless the payload has a field
    /// of that name, and the fields of its payload.
    pub fn attributes<'a>(
        &'a self,
        topic: &'a str,
        payload: &'a JsonPayload<'a>,
        format: ValueFormat,
    ) -> impl Iterator<Item = (&'a str, Cow<'a, str>)> {
        let levels = self.topic.captures(topic).filter(|(name, _)| payload.get(name).is_none());
        let fields = payload.fields().iter().map(move |field| (&*field.name, field_text(&field.value, format)));
        levels.map(|(name, level)| (name, Cow::Borrowed(level))).chain(fields)
    }

    /// Whether a part is among its actions.
    #[must_use]
    pub fn does(&self, part: ActionKind) -> bool {
        self.actions.iter().any(|action| action.part() == Some(part))
    }

    /// What a message is accepted for that comes now.
    #[must_use]
    pub fn promise(&self) -> PromisedActions {
        PromisedActions::of(self.actions.iter().filter_map(FlowAction::part))
    }

    /// Equal for flows of equal rows; see [`FlowRow::fingerprint`].
    #[must_use]
    pub fn fingerprint(&self) -> FlowFingerprint {
        self.fingerprint
    }
}

impl PartialEq for Flow {
    fn eq(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint
    }
}

impl Eq for Flow {}
