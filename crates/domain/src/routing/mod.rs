//! From a topic to those who want it.

mod circle;
mod table;
mod tree;

pub use circle::{describe_circle, find_circles};
pub use table::{RestingFlow, RoutingTable, TableDifference};
pub use tree::FilterTree;
