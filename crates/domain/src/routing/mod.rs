//! From a topic to those who want it.

mod circle;
mod table;
mod tree;

pub use circle::{describe_circle, find_circles};
pub use table::{Difference, Resting, RoutingTable};
pub use tree::FilterTree;
