//! Device drivers: what bridges one device, or one bus of devices, to the internal messages of the mapped MQTT side.
//!
//! A driver is plain async code, [`run`]: commands come in through a [`CommandQueue`], what happens goes out as
//! [`DriverEvent`]s. It ends with an error when its device or child process is lost in a way that only a restart mends;
//! whoever runs it (an actor under the supervision guard) restarts it, and the command queue survives that. Dropping the
//! future ends everything it started, child processes with all their descendants included.
//!
//! Never in here: MQTT, keyword maps, actors, restart policies, reading of configuration files. Bytes from a device or
//! a child are data: they are refused and counted, and end no driver; only a child's line over 1 MiB does.

pub mod config;
mod dummy;
mod events;
pub mod exec;
mod log_limit;
pub mod port;
pub mod queue;
pub mod replies;
pub mod skeleton;
mod stream;

pub use config::{DriverConfig, InterfaceConfig, Kind};
pub use port::{Count, DriverEvent, DriverPort, Emission, Host, Level, StopSender, StopSignal};
pub use queue::{Command, CommandQueue, CommandSender};

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Why a driver ended although nobody asked it to. The remedy of the one who runs it is a restart under its policy.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// The options make no sense; [`InterfaceConfig::from_table`] refuses such ones.
    #[error("the interface's options make no sense: {0}")]
    Config(#[from] config::ConfigError),
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

/// Runs the interface `name` until it is asked to stop (`Ok`) or fails (`Err`).
///
/// Waits for the previous run on the same command queue to be gone. Commands that a failed run had not handed to its
/// device are still in the queue.
///
/// # Errors
/// [`DriverError`]: the driver can not go on; run it again after a pause.
pub async fn run(
    name: Arc<str>,
    config: Arc<InterfaceConfig>,
    host: Arc<Host>,
    port: DriverPort,
) -> Result<(), DriverError> {
    match &config.driver {
        DriverConfig::Dummy(dummy) => dummy::run(&config, dummy, port).await,
        DriverConfig::Serial(serial, stream) => {
            let path = host.base_dir.join(&serial.port);
            stream::run(&config, stream, stream::Connector::Serial(serial, &path), port).await
        }
        DriverConfig::Tcp(tcp, stream) => stream::run(&config, stream, stream::Connector::Tcp(tcp), port).await,
        DriverConfig::Exec(exec) => exec::run(&name, &config, exec, &host, port).await,
    }
}
