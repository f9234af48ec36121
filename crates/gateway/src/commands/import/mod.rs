//! `import`: the configuration of another gateway as one of ours. Nothing of the other one is changed.

mod environment;
mod library_file;
mod library_map;
mod mqttgateway;
mod writing;

use crate::cli::ImportCommand;
use crate::exit::ExitStatus;
use std::io::Write;

/// Carries out the command.
///
/// # Errors
/// A file of the other gateway can't be read or used; the target is there already or can't be written.
pub fn run(command: &ImportCommand, out: &mut dyn Write) -> anyhow::Result<ExitStatus> {
    match command {
        ImportCommand::Mqttgateway { files, target } => mqttgateway::run(files, &target.folder, out),
        ImportCommand::MqttGateway { file, target } => environment::run(file, &target.folder, out),
    }
}
