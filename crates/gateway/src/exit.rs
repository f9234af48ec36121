//! How the program ends: the codes of `sysexits.h` that a script can tell apart.

use hearthgate_settings::SettingsError;
use std::process::ExitCode;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    /// Done, nothing to report.
    Ok,
    /// Done, and there is something to put right.
    Findings,
    /// The command line was wrong.
    Usage,
    /// Something needed can't be reached.
    Unavailable,
    /// Our own fault.
    Internal,
    /// The configuration is wrong.
    Config,
}

impl From<ExitStatus> for ExitCode {
    fn from(exit: ExitStatus) -> Self {
        ExitCode::from(match exit {
            ExitStatus::Ok => 0,
            ExitStatus::Findings => 1,
            ExitStatus::Usage => 64,
            ExitStatus::Unavailable => 69,
            ExitStatus::Internal => 70,
            ExitStatus::Config => 78,
        })
    }
}

/// Why a command could not be carried out; anything else is internal.
#[derive(Debug, thiserror::Error)]
pub enum CommandFailure {
    /// The command line was wrong in a way that its parser can't see.
    #[error("{0}")]
    Usage(String),
    /// Something needed can't be reached.
    #[error("{0}")]
    Unavailable(String),
    /// The running gateway said no.
    #[error("{0}")]
    Refused(String),
    /// A file that the configuration, or the command line, names is wrong.
    #[error("{0}")]
    Config(String),
}

/// The exit code for an error.
#[must_use]
pub fn exit_of(error: &anyhow::Error) -> ExitStatus {
    if error.downcast_ref::<SettingsError>().is_some() {
        return ExitStatus::Config;
    }
    match error.downcast_ref::<CommandFailure>() {
        Some(CommandFailure::Usage(_)) => return ExitStatus::Usage,
        Some(CommandFailure::Unavailable(_)) => return ExitStatus::Unavailable,
        Some(CommandFailure::Refused(_)) => return ExitStatus::Findings,
        Some(CommandFailure::Config(_)) => return ExitStatus::Config,
        None => {}
    }
    match error.downcast_ref::<std::io::Error>() {
        // Whoever reads our answers had enough: `hearthgate … | head`.
        Some(error) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitStatus::Ok,
        Some(_) | None => ExitStatus::Internal,
    }
}
