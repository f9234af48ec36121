//! What the views get and send, by subject.

mod deliveries;
mod flows;
mod interfaces;
mod letters;
mod parts;
mod records;
mod system;
mod traffic;

pub use deliveries::{AttemptView, DeliveryList, DeliveryTrial, DeliveryView};
pub use flows::{
    FlowFigures, FlowInput, FlowList, FlowProposal, FlowSilence, FlowTest, FlowView, LearnAnswer, LearnWanted,
    SilentDeviceView,
};
pub use interfaces::{CommandTaken, CommandWanted, FrameList, FrameView};
pub use letters::{
    LetterChoice, LetterFate, LetterGroup, LetterGroups, LetterPage, LetterView, LettersDropped, LettersReplayed,
    LettersRestored,
};
pub use parts::{
    BrokerRights, BrokerSummary, ClientView, GraphEdge, GraphNode, InterfaceList, InterfaceView, NodeState,
    RetainedList, RetainedPrefix, RetainedQuery, RetainedView, RightsQuery, WiringGraph,
};
pub use records::{AttributeList, AttributeView, RecordSeries, SeriesPoint, SeriesQuestion};
pub use system::{
    ConfigurationView, LogLevelView, LogWanted, LoginStatus, LoginWanted, SessionList, SessionView, SettingView,
};
pub use traffic::{FateList, FateQuestion, FateView, TopicLevel, TopicView};
