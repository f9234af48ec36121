//! The durable side: the journal, SQL for flows, servers, records and dead letters, and kept fates.
//!
//! Never in here: what a message means, when to try again, actors.

pub mod dead_letters;
pub mod fates;
pub mod journal;
pub mod sql;
