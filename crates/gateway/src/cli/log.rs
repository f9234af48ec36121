//! What can be said about the log.

use clap::Args;
use hearthgate_domain::duration::BoundedDuration;

pub(super) const LOG_HELP: &str = "Examples:\n  \
    hearthgate log                        what is logged now\n  \
    hearthgate log debug writer           more of the database's writer, for ten minutes\n  \
    hearthgate log debug --for 1h         more of everything\n  \
    hearthgate log --reset                as configured again\n\n\
    It ends by itself; log.level of the configuration is for good. Components are named as in `hearthgate status`.";

/// `log …`
#[derive(Debug, Args)]
pub struct LogArgs {
    /// error, warn, info, debug, trace or off; or directives such as info,hearthgate_mqtt=debug
    pub level: Option<String>,
    /// Only this component's; the others stay as they are configured
    #[arg(requires = "level")]
    pub component: Option<String>,
    /// For how long, 1m to 1d
    #[arg(long = "for", value_name = "TIME", default_value = "10m", requires = "level")]
    pub time: BoundedDuration,
    /// As configured again, at once
    #[arg(long, conflicts_with = "level")]
    pub reset: bool,
}
