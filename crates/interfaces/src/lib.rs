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
mod error;
mod events;
pub mod exec;
mod frames;
mod log_limit;
pub mod port;
pub mod queue;
pub mod replies;
pub mod skeleton;
mod stream;

pub use config::{DriverConfig, DriverKind, InterfaceConfig};
pub use port::{
    DeviceMessage, DriverCount, DriverEvent, DriverHost, DriverLogLevel, DriverPort, StopSender, StopSignal,
};
pub use queue::{CommandQueue, CommandSender, DeviceCommand};

pub use error::DriverError;
pub use frames::{DeviceFrame, FrameDirection, FrameRing};
use std::sync::Arc;

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
    host: Arc<DriverHost>,
    port: DriverPort,
) -> Result<(), DriverError> {
    match &config.driver {
        DriverConfig::Dummy(dummy) => dummy::run(&config, dummy, port).await,
        DriverConfig::Serial(serial, stream) => {
            let path = host.base_dir.join(&serial.port);
            stream::run(&config, stream, stream::DeviceConnector::Serial(serial, &path), port).await
        }
        DriverConfig::Tcp(tcp, stream) => stream::run(&config, stream, stream::DeviceConnector::Tcp(tcp), port).await,
        DriverConfig::Exec(exec) => exec::run(&name, &config, exec, &host, port).await,
    }
}
