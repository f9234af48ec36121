//! Torture: the real binary under load while everything around it fails, and an account of every message.
//!
//! What counts as lost: a message that was acknowledged to its publisher and is neither stored, nor a dead letter, nor
//! (where the flow is one of an endpoint) delivered. One exception, counted apart: what Mosquitto forgot with our session
//! before we had acknowledged it. What counts as duplicated: a message that is stored twice or delivered under two
//! webhook-ids, a `last_msg_id` that is there twice or missing, and a message stored out of order.
//!
//! Between the messages that are stored come those that are not: commands and statuses for an interface, what flows hold
//! back. A command counts as executed late when the interface's program has it later than `max_command_age` allows, and as
//! executed twice when it has it again. What a flow publishes must reach a subscriber whose session is kept.

mod commands;
mod driver;
mod load;
mod lots;
mod plan;
mod report;
mod site;
mod verdict;

pub use plan::{BrokerKind, DatabaseKind, Fault, Payloads, Plan};
pub use report::{Outcome, Times, table};

/// Runs one plan from beginning to end.
///
/// # Errors
/// It could not be carried out, or the gateway got stuck; lost and duplicated messages are no error but in the outcome.
pub async fn run(plan: &Plan) -> anyhow::Result<Outcome> {
    driver::run(plan).await
}
