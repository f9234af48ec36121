//! From a topic to those who want it.

mod table;
mod tree;

pub use table::{Difference, Resting, RoutingTable};
pub use tree::FilterTree;
