//! What the views show and what they order, as others fill it in: the wiring knows the parts, the API only asks.

use crate::problem::Refusal;
use crate::wire::*;
use hearthgate_domain::fate::Fate;
use serde_json::Value;
use std::pin::Pin;
use std::sync::Arc;
use tokio::sync::broadcast;

/// The end of a question or an order.
pub type Answer<T> = Pin<Box<dyn Future<Output = Result<T, Failure>> + Send>>;

/// Why something could not be answered or done, for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// There is no such thing.
    #[error("{0}")]
    Missing(String),
    /// What was sent can not be used.
    #[error("{0}")]
    Invalid(String),
    /// It does not fit with what is there.
    #[error("{0}")]
    Conflict(String),
    /// Somebody else changed it since it was read.
    #[error("somebody changed it since you read it")]
    Outdated,
    /// A part that is needed does not answer now.
    #[error("{0}")]
    Unavailable(String),
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Missing(text) => Refusal::Missing(text),
            Failure::Invalid(text) => Refusal::Invalid(text),
            Failure::Conflict(text) => Refusal::Conflict(text),
            Failure::Outdated => Refusal::Outdated,
            Failure::Unavailable(text) => Refusal::Unavailable(text),
        }
    }
}

/// The wiring as it runs.
pub trait WiringView: Send + Sync {
    /// Parts and what goes between them.
    fn graph(&self) -> Answer<Graph>;
    /// The device interfaces.
    fn interfaces(&self) -> Answer<Vec<InterfaceView>>;
}

/// The flows in the database.
pub trait FlowStore: Send + Sync {
    /// All, disabled ones too.
    fn list(&self) -> Answer<Vec<FlowView>>;
    /// A new one.
    fn add(&self, flow: FlowInput) -> Answer<FlowView>;
    /// Replaces the flow of this code, if it still is the version that was seen.
    fn change(&self, code: String, flow: FlowInput, seen: String) -> Answer<FlowView>;
    /// Removes the flow of this code, if it still is the version that was seen.
    fn remove(&self, code: String, seen: String) -> Answer<()>;
    /// What it would make of a message; nothing is sent, written or counted.
    fn test(&self, test: FlowTest) -> Answer<Value>;
}

/// The dead letters.
pub trait LetterStore: Send + Sync {
    /// All of them, by flow and reason.
    fn groups(&self) -> Answer<LetterGroups>;
    /// Some of them, the newest first.
    fn list(&self, choice: LetterChoice, before: Option<i64>, limit: u32) -> Answer<LetterPage>;
    /// One with its whole payload.
    fn show(&self, id: i64) -> Answer<LetterView>;
    /// Replays them, or tells what would become of each.
    fn replay(&self, choice: LetterChoice, is_dry: bool) -> Answer<LettersReplayed>;
    /// Removes them; answers how many.
    fn drop_letters(&self, choice: LetterChoice) -> Answer<u64>;
}

/// What flows stored.
pub trait Records: Send + Sync {
    /// What a flow stores.
    fn attributes(&self, flow: String) -> Answer<Vec<AttributeView>>;
    /// The values of an attribute in a window, at most so many points.
    fn series(&self, question: SeriesQuestion) -> Answer<Series>;
}

/// The embedded broker.
pub trait BrokerView: Send + Sync {
    /// Who is or was connected.
    fn clients(&self) -> Answer<BrokerState>;
    /// Ends the connection of this client id.
    fn disconnect(&self, client: String) -> Answer<()>;
}

/// Messages as they pass.
pub trait TrafficView: Send + Sync {
    /// What passes from now on. Whoever is slow misses some.
    fn watch(&self) -> broadcast::Receiver<Arc<Fate>>;
    /// The topics below a prefix, one level of them.
    fn topics(&self, under: &str) -> TopicLevel;
}

/// The gateway itself.
pub trait SystemView: Send + Sync {
    /// Every value in force.
    fn configuration(&self) -> ConfigurationView;
    /// The log's level now.
    fn log_level(&self) -> LogLevel;
    /// Another level for some minutes.
    fn set_log_level(&self, wanted: LogWanted) -> Answer<LogLevel>;
}

/// All of it; what is absent is switched off.
#[derive(Clone, Default)]
pub struct Subjects {
    /// The wiring.
    pub wiring: Option<Arc<dyn WiringView>>,
    /// The flows.
    pub flows: Option<Arc<dyn FlowStore>>,
    /// The dead letters.
    pub letters: Option<Arc<dyn LetterStore>>,
    /// What flows stored.
    pub records: Option<Arc<dyn Records>>,
    /// The embedded broker.
    pub broker: Option<Arc<dyn BrokerView>>,
    /// Messages as they pass.
    pub traffic: Option<Arc<dyn TrafficView>>,
    /// The gateway itself.
    pub system: Option<Arc<dyn SystemView>>,
}
