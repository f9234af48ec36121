//! What can be said about moving in from another gateway.

use clap::{Args, Subcommand};
use std::path::PathBuf;

/// `import …`
#[derive(Debug, Subcommand)]
pub enum ImportCommand {
    /// From the Python library "mqttgateway": one interface for each configuration file
    #[command(after_help = "Example:\n  \
        hearthgate import mqttgateway dummy2mqtt.conf entry2mqtt.conf --folder hearthgate\n\n\
        The files stay as they are. Maps are copied to FOLDER/maps. What has no counterpart becomes a comment.")]
    Mqttgateway {
        /// Configuration files of the library; all of them at one broker
        #[arg(required = true, value_name = "FILE.conf")]
        files: Vec<PathBuf>,
        /// Where to write
        #[command(flatten)]
        target: ImportTarget,
    },
    /// From the Python MQTT Gateway: its .env file; flows and readings stay in its database
    #[command(after_help = "Example:\n  \
        hearthgate import mqtt-gateway /opt/mqtt-gateway/.env --folder /etc/hearthgate\n\n\
        MQTT_CLIENT_ID is not taken over: it is the running service's, and a broker keeps only one of two clients with the \
        same id.")]
    MqttGateway {
        /// Its environment file
        #[arg(default_value = ".env", value_name = "FILE")]
        file: PathBuf,
        /// Where to write
        #[command(flatten)]
        target: ImportTarget,
    },
}

/// Where an import writes.
#[derive(Debug, Args)]
pub struct ImportTarget {
    /// Folder of the new hearthgate.toml
    #[arg(long, default_value = ".")]
    pub folder: PathBuf,
}
