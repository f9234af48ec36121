//! Why an actor gave up, in a form that metrics and people can tell apart.

use std::any::Any;
use std::fmt::Display;

/// What an actor gave up for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// The machine does not give what it needs: a disk, a file, memory.
    Resource,
    /// Something that it talks to failed: a device, a program, a broker, a database, another actor.
    Dependency,
    /// A fault of ours: a panic, a state that cannot be.
    Bug,
}

impl FailureKind {
    /// All of them, in the order of their names.
    pub const ALL: [FailureKind; 3] = [FailureKind::Bug, FailureKind::Dependency, FailureKind::Resource];

    /// The name in logs, metrics and the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            FailureKind::Resource => "resource",
            FailureKind::Dependency => "dependency",
            FailureKind::Bug => "bug",
        }
    }
}

/// Why an actor cannot go on. For a lost resource, not for bad data: a refused message is an actor's everyday business.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct ActorFailure {
    kind: FailureKind,
    reason: String,
}

impl ActorFailure {
    /// See [`FailureKind::Resource`].
    pub fn resource(reason: impl Display) -> Self {
        Self::new(FailureKind::Resource, reason)
    }

    /// See [`FailureKind::Dependency`].
    pub fn dependency(reason: impl Display) -> Self {
        Self::new(FailureKind::Dependency, reason)
    }

    /// See [`FailureKind::Bug`].
    pub fn bug(reason: impl Display) -> Self {
        Self::new(FailureKind::Bug, reason)
    }

    fn new(kind: FailureKind, reason: impl Display) -> Self {
        ActorFailure { kind, reason: reason.to_string() }
    }

    /// A panic, with what it said as far as that is text.
    pub(crate) fn panicked(payload: &(dyn Any + Send)) -> Self {
        let text = payload
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("(payload is no text)");
        Self::bug(format_args!("panicked: {text}"))
    }

    /// The same failure, with the moment at which it struck.
    pub(crate) fn while_doing(self, moment: &str) -> Self {
        ActorFailure { reason: format!("{moment}: {}", self.reason), ..self }
    }

    /// What it gave up for.
    #[must_use]
    pub fn kind(&self) -> FailureKind {
        self.kind
    }

    /// In words.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }
}
