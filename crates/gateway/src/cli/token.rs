//! What can be said about tokens.

use clap::{Subcommand, ValueEnum};

/// `token …`
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token, and print it: it cannot be shown again
    #[command(after_help = "Examples:\n  \
        hearthgate token new wall-tablet                       may look\n  \
        hearthgate token new night-script --scope operate      may restart and replay, too")]
    New {
        /// A name to know it by
        name: String,
        /// What its bearer may do; each includes those before it
        #[arg(long, value_enum, default_value_t = ScopeName::Read)]
        scope: ScopeName,
    },
    /// The tokens by name; never the tokens themselves
    List {
        /// Answer as JSON lines
        #[arg(long)]
        json: bool,
    },
    /// Refuse a token from now on; whoever logged in with it is logged out
    Revoke {
        /// Its name
        name: String,
    },
}

/// What a token gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ScopeName {
    /// See everything that is no secret
    Read,
    /// Restart parts, replay messages, test
    Operate,
    /// Change flows, drop what is kept
    Admin,
}
