//! What differs between the databases when records are written: one file a dialect.

pub(crate) mod mysql;
pub(crate) mod postgres;
pub(crate) mod sqlite;
