//! The actors, and all messages between them in [`messages`]. A folder is a subject, and its actors are:
//!
//! - [`mqtt`]: `MqttActor`, the way to a broker; `BrokerActor`, the embedded one;
//! - [`mapping`]: `MapperActor`, `DeviceInterfaceActor`, `MapKeeperActor`;
//! - [`flows`]: `FlowRouterActor`, `CatalogActor`, `RecordWriterActor`, `EndpointPosterActor`, `DeadLetterActor`;
//! - [`operation`]: `SupervisorActor`, `HomeAssistantActor`.
//!
//! An actor's handler calls a domain function and sends the result; it holds `Recipient`s, never a peer's type, so that
//! only the binary's wiring knows the graph. Never in here: configuration files, environment, process exit, SQL text.

mod backoff;
pub mod condition;
pub mod flows;
pub mod in_hand;
mod lock;
pub mod mapping;
pub mod messages;
pub mod metrics;
pub mod mqtt;
pub mod operation;
mod poison;
mod retained;
pub mod traffic;
