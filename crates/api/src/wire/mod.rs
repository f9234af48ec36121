//! What the views get and send, by subject.

mod flows;
mod letters;
mod parts;
mod records;
mod system;
mod traffic;

pub use flows::{FlowFigures, FlowInput, FlowTest, FlowView, Flows};
pub use letters::{
    LetterChoice, LetterFate, LetterGroup, LetterGroups, LetterPage, LetterView, LettersDropped, LettersReplayed,
};
pub use parts::{BrokerState, ClientView, Edge, Graph, InterfaceView, Interfaces, Node, NodeState};
pub use records::{AttributeView, Attributes, Point, Series, SeriesQuestion};
pub use system::{
    ConfigurationView, LogLevel, LogWanted, LoginWanted, SessionList, SessionState, SessionView, SettingView,
};
pub use traffic::{TopicLevel, TopicView};
