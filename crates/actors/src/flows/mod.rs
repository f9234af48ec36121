//! Flow routing: from a message to the journal, and from the journal to databases, endpoints and dead letters.

pub mod catalog;
pub mod commit;
pub mod dead_letters;
mod decision;
pub mod historian;
mod known_flows;
mod lineage;
pub mod poster;
mod refusal;
pub mod router;
pub mod silence;
mod unsent;
pub mod writer;

pub use refusal::{FlowCompileError, ReloadFailure, ReplayRefusal};
