//! What the views show and what they order, as others fill it in: the wiring knows the parts, the API only asks.

use crate::exposition::ExposedFigure;
use crate::problem::RequestRefusal;
use crate::wire::*;
use hearthgate_domain::fate::MessageFate;
use serde_json::Value;
use std::pin::Pin;
use std::sync::Arc;
use tokio::sync::broadcast;

/// The end of a question or an order.
pub type SubjectAnswer<T> = Pin<Box<dyn Future<Output = Result<T, SubjectFailure>> + Send>>;

/// Why something could not be answered or done, for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubjectFailure {
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

impl From<SubjectFailure> for RequestRefusal {
    fn from(failure: SubjectFailure) -> Self {
        match failure {
            SubjectFailure::Missing(text) => RequestRefusal::Missing(text),
            SubjectFailure::Invalid(text) => RequestRefusal::Invalid(text),
            SubjectFailure::Conflict(text) => RequestRefusal::Conflict(text),
            SubjectFailure::Outdated => RequestRefusal::Outdated,
            SubjectFailure::Unavailable(text) => RequestRefusal::Unavailable(text),
        }
    }
}

/// The wiring as it runs.
pub trait WiringView: Send + Sync {
    /// Parts and what goes between them.
    fn graph(&self) -> SubjectAnswer<WiringGraph>;
    /// The device interfaces.
    fn interfaces(&self) -> SubjectAnswer<Vec<InterfaceView>>;
}

/// What goes to devices and comes from them.
pub trait InterfaceAccess: Send + Sync {
    /// Hands a command over to the interface of this name.
    fn command(&self, name: String, wanted: CommandWanted) -> SubjectAnswer<CommandTaken>;
    /// The last frames of the interface of this name.
    fn frames(&self, name: String) -> SubjectAnswer<FrameList>;
}

/// The flows in the database.
pub trait FlowStore: Send + Sync {
    /// All, disabled ones too.
    fn list(&self) -> SubjectAnswer<Vec<FlowView>>;
    /// A new one.
    fn add(&self, flow: FlowInput) -> SubjectAnswer<FlowView>;
    /// Replaces the flow of this code, if it still is the version that was seen.
    fn change(&self, code: String, flow: FlowInput, seen: String) -> SubjectAnswer<FlowView>;
    /// Removes the flow of this code, if it still is the version that was seen.
    fn remove(&self, code: String, seen: String) -> SubjectAnswer<()>;
    /// Flows that would take what passes, for some seconds.
    fn learn(&self, wanted: LearnWanted) -> SubjectAnswer<LearnAnswer>;
    /// What it would make of a message; nothing is sent, written or counted.
    fn test(&self, test: FlowTest) -> SubjectAnswer<Value>;
}

/// The dead letters.
pub trait LetterStore: Send + Sync {
    /// All of them, by flow and reason.
    fn groups(&self) -> SubjectAnswer<LetterGroups>;
    /// Some of them, the newest first.
    fn list(&self, choice: LetterChoice, before: Option<i64>, limit: u32) -> SubjectAnswer<LetterPage>;
    /// One with its whole payload.
    fn show(&self, id: i64) -> SubjectAnswer<LetterView>;
    /// Replays them, or tells what would become of each.
    fn replay(&self, choice: LetterChoice, is_dry: bool) -> SubjectAnswer<LettersReplayed>;
    /// Removes them, for good after a while; answers how many.
    fn drop_letters(&self, choice: LetterChoice) -> SubjectAnswer<u64>;
    /// Brings back what was removed and is not gone yet; answers how many.
    fn restore(&self) -> SubjectAnswer<u64>;
}

/// Calls of endpoints.
pub trait DeliveryStore: Send + Sync {
    /// Of all flows that call one, by code.
    fn list(&self) -> SubjectAnswer<Vec<DeliveryView>>;
    /// Calls the endpoint of the flow of this code once; nothing else comes of it.
    fn test(&self, flow: String, trial: DeliveryTrial) -> SubjectAnswer<AttemptView>;
}

/// What flows stored.
pub trait RecordStore: Send + Sync {
    /// What a flow stores.
    fn attributes(&self, flow: String) -> SubjectAnswer<Vec<AttributeView>>;
    /// The values of an attribute in a window, at most so many points.
    fn series(&self, question: SeriesQuestion) -> SubjectAnswer<RecordSeries>;
}

/// The embedded broker.
pub trait BrokerView: Send + Sync {
    /// Who is or was connected.
    fn clients(&self) -> SubjectAnswer<BrokerSummary>;
    /// What the broker counts, as metrics.
    fn figures(&self) -> SubjectAnswer<Vec<ExposedFigure>>;
    /// What a client may do with a topic.
    fn rights(&self, question: RightsQuery) -> SubjectAnswer<BrokerRights>;
    /// The retained messages below a prefix.
    fn retained(&self, under: String) -> SubjectAnswer<RetainedList>;
    /// Removes the retained message of a topic, as a client would.
    fn clear_retained(&self, topic: String) -> SubjectAnswer<()>;
    /// Ends the connection of this client id.
    fn disconnect(&self, client: String) -> SubjectAnswer<()>;
}

/// Messages as they pass.
pub trait TrafficView: Send + Sync {
    /// What passes from now on. Whoever is slow misses some.
    fn watch(&self) -> broadcast::Receiver<Arc<MessageFate>>;
    /// What became of messages, the newest first; at most `limit` of them.
    fn fates(&self, question: FateQuestion) -> SubjectAnswer<FateList>;
    /// The topics below a prefix, one level of them.
    fn topics(&self, under: &str) -> TopicLevel;
}

/// The gateway itself.
pub trait SystemView: Send + Sync {
    /// Every value in force.
    fn configuration(&self) -> ConfigurationView;
    /// The log's level now.
    fn log_level(&self) -> LogLevelView;
    /// Another level for some minutes.
    fn set_log_level(&self, wanted: LogWanted) -> SubjectAnswer<LogLevelView>;
}

/// All of it; what is absent is switched off.
#[derive(Clone, Default)]
pub struct ApiSubjects {
    /// The wiring.
    pub wiring: Option<Arc<dyn WiringView>>,
    /// What goes to devices and comes from them.
    pub interfaces: Option<Arc<dyn InterfaceAccess>>,
    /// Calls of endpoints.
    pub deliveries: Option<Arc<dyn DeliveryStore>>,
    /// The flows.
    pub flows: Option<Arc<dyn FlowStore>>,
    /// The dead letters.
    pub letters: Option<Arc<dyn LetterStore>>,
    /// What flows stored.
    pub records: Option<Arc<dyn RecordStore>>,
    /// The embedded broker.
    pub broker: Option<Arc<dyn BrokerView>>,
    /// Messages as they pass.
    pub traffic: Option<Arc<dyn TrafficView>>,
    /// The gateway itself.
    pub system: Option<Arc<dyn SystemView>>,
}
