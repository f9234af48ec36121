//! History: what keeps stored readings usable for years. Indexes, tables that are made when they are needed, retention,
//! rollups, and reading it all back.

mod backfill;
mod compute;
mod fault;
mod flow;
mod index;
mod query;
mod retention;
mod rollup;
mod size;
pub(crate) mod statement;
mod tables;
mod window;

pub use backfill::{BackfillCounts, BackfillExample, BackfillOrder, BackfillPreview, BackfillWork};
pub(crate) use fault::{TableFault, column_types};
pub use flow::FlowHistory;
pub use index::IndexState;
pub use query::{DataAnswer, DataError, DataQuery, MOST_POINTS};
pub use retention::PrunableRows;
pub use rollup::RollupStep;
pub use size::TableSize;
pub(crate) use statement::{HistoryStatement, StatementTarget, WindowCell};
pub use tables::TableChange;
pub use window::{BooleanSummary, NumberSummary, WindowSum};
