//! What can be said to a broker as one of its clients.

use clap::Args;
use std::path::PathBuf;

pub(super) const SUB_HELP: &str = "Examples:\n  \
    hearthgate sub 'sensors/#'\n  \
    hearthgate sub -C 1 sensors/garden                     the next message, or the retained one\n  \
    hearthgate sub --json 'zigbee2mqtt/+' | jq .payload\n\n\
    The broker is that of mqtt.server, with its credentials; for the embedded one with users name one of them. It leaves no session behind.";

pub(super) const PUB_HELP: &str = "Examples:\n  \
    hearthgate pub home/light/set on\n  \
    hearthgate pub --retain config/lamp @lamp.json\n  \
    echo '{\"t\": 21.5}' | hearthgate pub sensors/garden -\n\n\
    It ends when the broker has acknowledged the message.";

/// Who logs in.
#[derive(Debug, Default, Args)]
pub struct GuestLogin {
    /// User at the broker, instead of the configured one
    #[arg(long, requires = "password_file")]
    pub username: Option<String>,
    /// File with the user's password
    #[arg(long, value_name = "FILE", requires = "username")]
    pub password_file: Option<PathBuf>,
}

/// `sub …`
#[derive(Debug, Args)]
pub struct SubArgs {
    /// Topic filters
    #[arg(required = true, value_name = "FILTER")]
    pub filters: Vec<String>,
    /// End after so many messages
    #[arg(short = 'C', long, value_name = "N")]
    pub count: Option<u64>,
    /// One JSON object for each message: topic, payload, qos, retain, time; what is no text as payload_base64
    #[arg(long)]
    pub json: bool,
    /// Who logs in
    #[command(flatten)]
    pub login: GuestLogin,
}

/// `pub …`
#[derive(Debug, Args)]
pub struct PubArgs {
    /// Topic
    pub topic: String,
    /// Payload; @FILE reads a file, - standard input
    pub payload: String,
    /// QoS 0, 1 or 2
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=2))]
    pub qos: u8,
    /// Have the broker keep it for whoever subscribes later
    #[arg(long)]
    pub retain: bool,
    /// Who logs in
    #[command(flatten)]
    pub login: GuestLogin,
}
