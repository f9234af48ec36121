//! The durable side: the journal, and SQL for flows, servers, records and dead letters.

pub mod journal;
