//! What can be said about flows.

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
    /// Change a flow
    Edit(FlowFields),
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
    /// Run sample payloads through a flow: JSON lines on standard input, one verdict out for each
    Test {
        /// Its code
        code: String,
        /// Topic of the samples, when the flow's has wildcards
        #[arg(long)]
        topic: Option<String>,
    },
    /// Write all flows as TOML
    Export,
    /// Add or change flows from TOML on standard input, or from a file
    Import {
        /// The file; - or absent: standard input
        file: Option<PathBuf>,
        /// Only say what would change
        #[arg(long)]
        dry_run: bool,
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
    /// User at the broker, instead of the configured one
    #[arg(long, requires = "password_file")]
    pub username: Option<String>,
    /// File with the user's password
    #[arg(long, value_name = "FILE", requires = "username")]
    pub password_file: Option<PathBuf>,
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
    /// Write it to the log
    #[value(name = "LOG")]
    Log,
}
