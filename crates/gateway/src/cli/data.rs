//! What can be said about stored readings.

use clap::{Args, ValueEnum};
use hearthgate_settings::DurationText;

/// Which readings, and how they are shown.
#[derive(Debug, Args)]
pub struct DataArgs {
    /// Code of the flow
    pub code: String,
    /// Only readings of this device: a named level of the topic and its value; may be repeated
    #[arg(long, value_name = "LEVEL=VALUE", value_parser = super::key_value)]
    pub key: Vec<(String, String)>,
    /// How far back, such as 24h or 365d
    #[arg(long, value_name = "TIME", default_value = "24h")]
    pub since: DurationText,
    /// Length of a window, such as 15m [default: the shortest with at most 500 windows]
    #[arg(long, value_name = "TIME")]
    pub every: Option<DurationText>,
    /// Only this field
    #[arg(long, value_name = "NAME")]
    pub field: Option<String>,
    /// How to show them
    #[arg(long, value_enum, default_value_t = DataFormat::Table)]
    pub format: DataFormat,
}

/// How readings are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DataFormat {
    /// Columns for people
    Table,
    /// Comma-separated values
    Csv,
    /// A JSON object a line
    Jsonl,
    /// A chart in the terminal
    Chart,
}
