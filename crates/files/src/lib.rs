//! Files that must survive a loss of power, and small files that are replaced as a whole.
//!
//! Never in here: what a file holds.

mod aside;
pub mod disk;
mod replaced;

pub use aside::{is_damage_code, set_aside, set_database_aside};
pub use replaced::replace_file;
