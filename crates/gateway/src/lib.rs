//! The program `hearthgate`: command line, settings, telemetry, and the wiring of everything else.
//!
//! Never in here: business rules. What a message means, which flow it matches and what becomes of it is decided in the
//! crates below; this one reads the configuration, puts the parts together and talks to the person in front of it.

pub mod allocator;
pub mod cli;
pub mod commands;
pub mod database;
pub mod exit;
mod fates;
pub mod maps;
pub(crate) mod requirements;
pub mod run;
pub mod telemetry;
pub(crate) mod wiring;
