//! The actors, one file each, and all messages between them in [`messages`].
//!
//! An actor's handler calls a domain function and sends the result; it holds `Recipient`s, never a peer's type, so that
//! only the binary's wiring knows the graph. Never in here: configuration files, environment, process exit, SQL text.

pub mod announced;
pub mod broker;
pub mod catalog;
mod deaths;
pub mod desk;
pub mod discovery;
pub mod homeassistant;
pub mod in_hand;
pub mod interests;
pub mod interface;
mod known_flows;
pub mod letters;
mod lineage;
pub mod mapper;
pub mod maps;
pub mod messages;
pub mod metrics;
pub mod mqtt;
mod pace;
pub mod poster;
pub mod progress;
pub mod router;
pub mod supervisor;
pub mod trouble;
pub mod writer;
