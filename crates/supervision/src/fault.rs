//! Faults that tests inject into a running actor. The actor's own future does what the fault says, on the actor's thread and
//! between two messages, so nothing on the way is a mock.

use std::time::Duration;

/// What to make an actor do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InjectedFault {
    /// Panic.
    Panic,
    /// Fail, as with [`Exit::fail`](crate::Exit::fail).
    Error,
    /// Block its thread for this long.
    Freeze(Duration),
}
