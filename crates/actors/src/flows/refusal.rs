//! Why the flows could not do what somebody asked of them.

use hearthgate_domain::flow::FlowError;
use hearthgate_storage::journal::JournalError;
use hearthgate_storage::sql::{DatabaseError, TableDesignError};
use thiserror::Error;

/// A dead letter was not taken through its flow again; it is a letter as before.
#[derive(Debug, Error)]
pub enum ReplayRefusal {
    /// Dropped, or never there.
    #[error("there is no dead letter {0}")]
    NotFound(i64),
    /// Whoever wants it twice has to say so.
    #[error("dead letter {0} was replayed before; say that you want it again")]
    ReplayedBefore(i64),
    /// Of several that replay it at once, one does.
    #[error("dead letter {0} is being replayed by another, or was dropped")]
    TakenByAnother(i64),
    /// The dead letters cannot be read or written.
    #[error(transparent)]
    DeadLetters(#[from] DatabaseError),
    /// The router is down.
    #[error("the router cannot take it now: {0}")]
    RouterGone(#[from] actix::MailboxError),
    /// No flow that is in force has its topic.
    #[error("{} listens to {topic}", .flow.as_ref().map_or_else(|| "no flow".to_owned(), |code| format!("no enabled flow {code}")))]
    NobodyListens {
        /// The flow that the letter is of.
        flow: Option<String>,
        /// Its topic.
        topic: String,
    },
    /// Its flow lacks the action that failed.
    #[error("{0}")]
    ActionRemoved(String),
    /// The flows say what they said before.
    #[error("it is refused as before: {}", .0.join("; "))]
    RefusedAgain(Vec<String>),
    /// Others have been promised the journal's next numbers.
    #[error("messages wait for room in the journal; replay when they are through")]
    JournalBusy,
    /// It is not durable.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The writing of it panicked.
    #[error("writing to the journal: {0}")]
    Panicked(String),
}

/// The flows in force are those from before.
#[derive(Clone, Debug, Error)]
pub enum ReloadFailure {
    /// The catalog ended meanwhile.
    #[error("the catalog of flows was restarted meanwhile; try again")]
    Restarted,
    /// It waits for something, most often for the database.
    #[error("the flows are not reloaded yet: {0}")]
    NotYet(String),
    /// The database failed.
    #[error("the flows could not be reloaded, the old ones go on: {0}")]
    Database(String),
    /// It is not the database from last time.
    #[error("{0}")]
    ForeignDatabase(String),
}

/// A flow that cannot run.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FlowCompileError {
    /// One of its fields.
    #[error(transparent)]
    Flow(#[from] FlowError),
    /// The table of its own.
    #[error("flow {code:?}, options.table: {reason}")]
    Table {
        /// The flow.
        code: String,
        /// What is wrong with it.
        reason: TableDesignError,
    },
    /// Its retention or rollups.
    #[error("flow {code:?}, options.{reason}")]
    History {
        /// The flow.
        code: String,
        /// The option, and what is wrong with it.
        reason: TableDesignError,
    },
}
