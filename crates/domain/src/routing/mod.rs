//! From a topic to those who want it.

mod tree;

pub use tree::FilterTree;
