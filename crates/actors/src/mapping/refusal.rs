//! Why a command that was given by hand was not handed over.

use thiserror::Error;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum OrderRefusal {
    /// Its place is empty.
    #[error("there is no such interface")]
    NoInterface,
    /// It does not listen there.
    #[error("the interface does not listen to this topic; it listens to {0}")]
    OtherTopic(String),
    /// The topic names the interface as the sender.
    #[error("the topic's sender is the interface itself, whose own messages it ignores; name another one")]
    OwnName,
    /// Its map does not know a word, or the payload can't be read.
    #[error("{0}")]
    Map(String),
    /// It takes nothing now.
    #[error("{0}")]
    NotTaken(String),
}
