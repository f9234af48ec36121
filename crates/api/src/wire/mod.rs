//! What the views get and send, by subject.

mod flows;
mod letters;
mod parts;
mod records;
mod system;
mod traffic;

pub use flows::{FlowFigures, FlowInput, FlowList, FlowTest, FlowView};
pub use letters::{
    LetterChoice, LetterFate, LetterGroup, LetterGroups, LetterPage, LetterView, LettersDropped, LettersReplayed,
};
pub use parts::{
    BrokerRights, BrokerSummary, ClientView, GraphEdge, GraphNode, InterfaceList, InterfaceView, NodeState,
    RightsQuery, WiringGraph,
};
pub use records::{AttributeList, AttributeView, RecordSeries, SeriesPoint, SeriesQuestion};
pub use system::{
    ConfigurationView, LogLevelView, LogWanted, LoginStatus, LoginWanted, SessionList, SessionView, SettingView,
};
pub use traffic::{FateList, FateQuestion, FateView, TopicLevel, TopicView};
