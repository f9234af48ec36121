//! History: what keeps stored readings usable for years. Indexes, tables that are made when they are needed, retention,
//! rollups, and reading it all back.

mod index;
mod size;
pub(crate) mod statement;
mod tables;

pub use index::IndexState;
pub use size::TableSize;
pub(crate) use tables::MissingTable;
pub use tables::TableChange;
