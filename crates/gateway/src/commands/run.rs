//! `run`: the gateway itself.

use crate::settings::Loaded;
use std::process::ExitCode;

/// Runs until a signal ends it.
///
/// # Errors
/// What could not be started, or an essential part that is parked.
pub fn run(_loaded: Loaded) -> anyhow::Result<ExitCode> {
    anyhow::bail!("the wiring is not written yet")
}
