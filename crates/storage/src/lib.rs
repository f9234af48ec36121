//! The durable side: the journal, and SQL for flows, servers, records and dead letters.
//!
//! Never in here: what a message means, when to try again, actors.

pub mod dead_letters;
pub mod journal;
pub mod sql;
