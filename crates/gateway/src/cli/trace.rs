//! What can be asked about fates.

use clap::Args;

/// `trace …`
#[derive(Debug, Args)]
pub struct TraceArgs {
    /// Only messages whose topic this filter matches
    #[arg(value_name = "FILTER")]
    pub topic: Option<String>,
    /// Only what this flow made of them
    #[arg(long, value_name = "CODE")]
    pub flow: Option<String>,
    /// Only these outcomes, with commas: accepted, stored, delivered, refused, retried, dead, kept_back, repeated, unwanted;
    /// bad: all that failed
    #[arg(long, value_name = "OUTCOME")]
    pub outcome: Option<String>,
    /// At most so many
    #[arg(long, default_value_t = 50)]
    pub limit: u32,
    /// Answer as JSON lines
    #[arg(long)]
    pub json: bool,
}
