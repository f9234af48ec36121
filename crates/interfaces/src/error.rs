//! Why a driver ends.

use crate::config::{self};
use std::path::PathBuf;
use std::time::Duration;

/// Why a driver ended although nobody asked it to. The remedy of the one who runs it is a restart under its policy.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// The options make no sense; [`InterfaceConfig::from_table`] refuses such ones.
    #[error("the interface's options make no sense: {0}")]
    Config(#[from] config::InterfaceConfigError),
    /// The child process could not be started.
    #[error("starting `{program}` failed: {source}")]
    Start {
        /// Program and arguments.
        program: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The runner for Python interfaces could not be written.
    #[error("writing {} failed: {source}; the folder must belong to the gateway's user", file.display())]
    Runner {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The child did not say that it is ready.
    #[error("the child was not ready within start_timeout ({within:?})")]
    NotReady {
        /// The limit.
        within: Duration,
    },
    /// The child left a ping unanswered.
    #[error("the child did not answer a ping within ping_timeout ({within:?}) and was killed")]
    Silent {
        /// The limit.
        within: Duration,
    },
    /// The child ended by itself.
    #[error("the child {how}")]
    Exited {
        /// How, in words.
        how: String,
    },
    /// The child closed one of its standard streams and went on living; it was killed.
    #[error("the child closed its {stream} and was killed")]
    StreamClosed {
        /// Which.
        stream: &'static str,
    },
    /// The child wrote a line over the limit; it was killed.
    #[error("the child wrote a line of more than {limit} bytes and was killed")]
    LineTooLong {
        /// In bytes.
        limit: usize,
    },
}
