//! The rules of Hearthgate, pure: topics and filters, messages and keyword maps, flows, payload schemas, routing.
//!
//! Never in here: I/O, async, clocks, environment, threads. What happens now is told by the caller as a value.

pub mod delivery;
pub mod duration;
pub mod event_time;
pub mod fate;
pub mod flow;
pub mod mapping;
pub mod payload;
pub mod reading;
pub mod redelivery;
pub mod retry;
pub mod routing;
pub mod schema;
pub mod silence;
pub mod suggestion;
pub mod topic;
