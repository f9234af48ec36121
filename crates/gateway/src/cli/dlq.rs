//! What can be said about dead letters.

use clap::{Args, Subcommand};

/// `dlq …`
#[derive(Debug, Subcommand)]
pub enum DlqCommand {
    /// The newest dead letters, one a line
    List {
        /// Only those of one flow
        #[arg(long, value_name = "CODE")]
        flow: Option<String>,
        /// At most so many
        #[arg(long, default_value_t = 50)]
        limit: u32,
        /// Answer as JSON lines
        #[arg(long)]
        json: bool,
    },
    /// One dead letter with its payload
    Show {
        /// Its number
        id: i64,
        /// Answer as JSON
        #[arg(long)]
        json: bool,
    },
    /// Take dead letters through their flows again, as these are now; needs the running gateway
    #[command(after_help = "Example, after a flow's schema was mended:\n  hearthgate dlq replay --flow GARDEN\n\n\
        What was replayed stays in the list, marked; the part of a flow that had succeeded is not done again.")]
    Replay {
        /// Which ones; those that were replayed before are left out
        #[command(flatten)]
        choice: DeadLetterChoice,
        /// Also those that were replayed before
        #[arg(long)]
        again: bool,
    },
    /// Give dead letters up; for ten minutes `dlq undo` brings them back
    Drop(DeadLetterChoice),
    /// Bring back what was dropped within ten minutes
    Undo,
}

/// Which dead letters.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct DeadLetterChoice {
    /// Their numbers
    #[arg(value_name = "ID")]
    pub ids: Vec<i64>,
    /// All of one flow
    #[arg(long, value_name = "CODE")]
    pub flow: Option<String>,
    /// Every one
    #[arg(long)]
    pub all: bool,
}
