//! A guard that keeps an actix actor alive behind one address.
//!
//! The guard owns the actor's mailbox and polls the actor under `catch_unwind`. A panic, a reported failure or an
//! operator's order ends one *incarnation*; the next one begins behind the same address, with the queued messages still
//! queued and in order. A pure [`RestartPolicy`] decides when, [`ActorHealth`] tells what is going on even while the actor is down, and
//! a watchdog thread notices an actor that no longer takes its messages.
//!
//! Never in here: business rules, configuration, I/O, the end of the process (who ends it waits on
//! [`ActorRegistry::essential_failure`]). No message is ever replayed: the one in hand when an actor dies is lost to the actor,
//! and its sender sees `MailboxError::Closed`, which means "outcome unknown".

#[cfg(panic = "abort")]
compile_error!("supervision needs `panic = \"unwind\"`: under `abort` one actor's panic ends the process");

mod control;
mod exit;
mod failure;
#[cfg(feature = "fault-injection")]
mod fault;
mod guard;
mod health;
mod incarnation;
mod mailbox;
mod policy;
mod pulse;
mod registry;
mod watchdog;

pub use control::{ControlError, ControlHandle, OperatorAnswer, OperatorCommand};
pub use exit::ActorExit;
pub use failure::{ActorFailure, FailureKind};
#[cfg(feature = "fault-injection")]
pub use fault::InjectedFault;
pub use guard::GuardedActor;
pub use health::{ActorHealth, ActorStatus, Escalation, FailureCounts};
pub use policy::{FailureWindow, RestartDecision, RestartPolicy};
pub use registry::{ActorRegistry, RegistryEntry, StartError};
