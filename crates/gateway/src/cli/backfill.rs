//! What can be said about old messages that a flow is to take again.

use clap::Args;
use hearthgate_settings::DurationText;

/// Which messages, and what is done with them.
#[derive(Debug, Args)]
pub struct BackfillArgs {
    /// Code of the flow
    pub code: String,
    /// How far back, such as 30d
    #[arg(long, value_name = "TIME")]
    pub since: DurationText,
    /// Only messages that came longer ago than this, such as 1d
    #[arg(long, value_name = "TIME")]
    pub until: Option<DurationText>,
    /// Only tell what would be done
    #[arg(long)]
    pub dry_run: bool,
    /// Do it without asking
    #[arg(long)]
    pub yes: bool,
    /// Forget how far one that was cut off had come
    #[arg(long)]
    pub anew: bool,
}
