//! From a topic to those who want it.

mod table;
mod tree;

pub use table::{Difference, RoutingTable};
pub use tree::FilterTree;
