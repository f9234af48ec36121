//! What can be said about flows.

use super::client::GuestLogin;
use clap::{Args, Subcommand, ValueEnum};
use hearthgate_settings::DurationText;
use std::path::PathBuf;

/// `flow …`
#[derive(Debug, Subcommand)]
pub enum FlowCommand {
    /// All flows, one a line
    List {
        /// Answer as JSON lines
        #[arg(long)]
        json: bool,
    },
    /// One flow
    Show {
        /// Its code
        code: String,
        /// Answer as JSON
        #[arg(long)]
        json: bool,
    },
    /// Add a flow
    #[command(after_help = "Example:\n  \
        hearthgate flow add GARDEN --topic 'sensors/garden/#' --schema '{\"temperature\":\"float\"}'")]
    Add(FlowFields),
    /// Write a file of flows for a family of devices, to review and import
    #[command(after_help = "Example:\n  \
        hearthgate flow new --preset zigbee2mqtt > zigbee2mqtt.toml\n  \
        # review it, then:\n  hearthgate flow import zigbee2mqtt.toml")]
    New {
        /// Which devices
        #[arg(long, value_enum)]
        preset: DevicePreset,
    },
    /// Change what the flags name of a flow, and nothing else
    Edit {
        /// What to change
        #[command(flatten)]
        fields: FlowFields,
        /// What concerns stored data is meant
        #[arg(long)]
        yes: bool,
    },
    /// Give a flow another code; its number goes on, what it has stored keeps the old code
    Rename {
        /// Its code
        code: String,
        /// The new one
        new: String,
        /// What concerns stored data is meant
        #[arg(long)]
        yes: bool,
    },
    /// Add a flow like another, switched off
    Copy {
        /// The other's code
        code: String,
        /// The new one's
        new: String,
    },
    /// What differs between two flows, or between a flow and a file
    Diff {
        /// Its code
        code: String,
        /// Another code, or a file of flows (@FILE, or a name that ends with .toml)
        other: String,
    },
    /// Who changed a flow, when, and how
    History {
        /// Its code, also one that it had
        code: String,
        /// Answer as JSON lines
        #[arg(long)]
        json: bool,
    },
    /// Enable a flow
    Enable {
        /// Its code
        code: String,
    },
    /// Disable a flow
    Disable {
        /// Its code
        code: String,
    },
    /// Remove a flow; its records stay
    Remove {
        /// Its code
        code: String,
    },
    /// Run sample payloads through a flow: lines on standard input, one verdict out for each
    Test {
        /// Its code, or a file (@FILE, or a name that ends with .toml), each of whose flows answers that takes the topic
        flow: String,
        /// Topic of the samples, when the flow's has wildcards
        #[arg(long)]
        topic: Option<String>,
        /// One payload instead of lines on standard input; @FILE reads a file
        #[arg(long)]
        payload: Option<String>,
        /// Answer to --payload as JSON
        #[arg(long, requires = "payload")]
        json: bool,
    },
    /// Write flows as TOML
    Export {
        /// Their codes [default: all]
        codes: Vec<String>,
    },
    /// Add or change flows from TOML on standard input, or from a file
    Import {
        /// The file; - or absent: standard input
        file: Option<PathBuf>,
        /// Only say what would change
        #[arg(long)]
        dry_run: bool,
        /// What concerns stored data is meant
        #[arg(long)]
        yes: bool,
    },
    /// Watch a topic, and propose a flow with a schema for what comes by
    #[command(after_help = "Example:\n  \
        hearthgate flow learn 'sensors/garden/#' --for 10m > garden.toml\n  \
        # review it, then:\n  hearthgate flow import garden.toml")]
    Learn(LearnArgs),
    /// Print the SQL that creates a flow's own table (option `table`)
    Ddl {
        /// Its code
        code: String,
        /// Create it, or add the columns that it lacks
        #[arg(long)]
        apply: bool,
    },
}

/// What to watch, and for how long.
#[derive(Debug, Args)]
pub struct LearnArgs {
    /// Topic filter, perhaps with named captures (sensors/{room}/#)
    pub topic: String,
    /// How long, such as 30s or 1h
    #[arg(long = "for", value_name = "TIME", default_value = "1m")]
    pub time: DurationText,
    /// End after so many messages
    #[arg(long, value_name = "N")]
    pub messages: Option<u64>,
    /// Code of the proposed flow [default: made of the topic]
    #[arg(long)]
    pub code: Option<String>,
    /// Who logs in
    #[command(flatten)]
    pub login: GuestLogin,
}

/// The fields of a flow.
#[derive(Debug, Args)]
pub struct FlowFields {
    /// Its code, unique
    pub code: String,
    /// Topic filter
    #[arg(long)]
    pub topic: Option<String>,
    /// What it is for
    #[arg(long)]
    pub description: Option<String>,
    /// What it does
    #[arg(long, value_enum)]
    pub action: Option<ActionName>,
    /// Payload schema as JSON; @FILE reads a file
    #[arg(long, value_name = "JSON")]
    pub schema: Option<String>,
    /// Where POST_ENDPOINT posts
    #[arg(long, value_name = "URL")]
    pub endpoint_url: Option<String>,
    /// Further options as JSON (actions, table, headers, templates, …); @FILE reads a file
    #[arg(long, value_name = "JSON")]
    pub options: Option<String>,
    /// How long its rows are kept, such as 90d; empty: for ever
    #[arg(long, value_name = "TIME")]
    pub retention: Option<String>,
    /// Windows that outlive its rows: length and, after a colon, how long each is kept, such as 15m:5y,1d; empty: none
    #[arg(long, value_name = "EVERY[:KEEP],…")]
    pub rollups: Option<String>,
    /// Add it switched off
    #[arg(long)]
    pub disabled: bool,
}

/// A family of devices that there is a file of flows for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DevicePreset {
    /// Zigbee devices behind Zigbee2MQTT
    #[value(name = "zigbee2mqtt")]
    Zigbee2mqtt,
    /// Plugs, meters and sensors with Tasmota
    #[value(name = "tasmota")]
    Tasmota,
    /// Shelly devices of generation 1
    #[value(name = "shelly-gen1")]
    ShellyGen1,
    /// Shelly devices of generation 2 and later
    #[value(name = "shelly-gen2")]
    ShellyGen2,
    /// Devices with ESPHome
    #[value(name = "esphome")]
    Esphome,
    /// Radio sensors that rtl_433 hears
    #[value(name = "rtl_433")]
    Rtl433,
    /// Smart meters with a P1 port, by DSMR-reader
    #[value(name = "dsmr")]
    Dsmr,
    /// States of Home Assistant, by MQTT Statestream
    #[value(name = "homeassistant-statestream")]
    HomeassistantStatestream,
    /// Telephones with OwnTracks
    #[value(name = "owntracks")]
    Owntracks,
    /// Objects that Frigate sees
    #[value(name = "frigate")]
    Frigate,
}

/// What a flow does.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum ActionName {
    /// Store each field as a row
    #[value(name = "STORE_DB")]
    StoreDb,
    /// Post the payload
    #[value(name = "POST_ENDPOINT")]
    PostEndpoint,
    /// Publish it again, as the options say
    #[value(name = "PUBLISH")]
    Publish,
    /// Tell somebody, as the options say
    #[value(name = "NOTIFY")]
    Notify,
    /// Write it to the log
    #[value(name = "LOG")]
    Log,
}
