//! Files that must survive a loss of power, and small files that are replaced as a whole.
//!
//! Never in here: what a file holds.

pub mod disk;
mod replaced;

pub use replaced::replace_file;
