//! How the program ends: the codes of `sysexits.h` that a script can tell apart.

use hearthgate_settings::ConfigError;
use std::process::ExitCode;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
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

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(match exit {
            Exit::Ok => 0,
            Exit::Findings => 1,
            Exit::Usage => 64,
            Exit::Unavailable => 69,
            Exit::Internal => 70,
            Exit::Config => 78,
        })
    }
}

/// Why a command could not be carried out; anything else is internal.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
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
pub fn exit_of(error: &anyhow::Error) -> Exit {
    if error.downcast_ref::<ConfigError>().is_some() {
        return Exit::Config;
    }
    match error.downcast_ref::<Failure>() {
        Some(Failure::Usage(_)) => return Exit::Usage,
        Some(Failure::Unavailable(_)) => return Exit::Unavailable,
        Some(Failure::Refused(_)) => return Exit::Findings,
        Some(Failure::Config(_)) => return Exit::Config,
        None => {}
    }
    match error.downcast_ref::<std::io::Error>() {
        // Whoever reads our answers had enough: `hearthgate … | head`.
        Some(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Exit::Ok,
        Some(_) | None => Exit::Internal,
    }
}
