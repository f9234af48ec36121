//! The HTTP API and the page that uses it: liveness, readiness, the actors and orders to them, metrics, and a view of each
//! subject; and the client that the command line uses.
//!
//! The server is made of [`Parts`] that others fill in: it reads the actors' health from their registry, asks a closure what
//! is ready, and renders what was counted through the `metrics` facade. Listens on loopback only, unless a token is set.
//!
//! Never in here: business rules, TLS (that is a reverse proxy's), CORS, the end of the process, and no metric labels but
//! `flow`, `interface`, `actor` and `outcome`: a topic or a device as a label would grow without bound.

mod access;
mod api;
mod client;
mod document;
mod exposition;
mod metrics;
mod operation;
mod orders;
mod page;
mod problem;
mod routes;
mod scope;
mod server;
mod sessions;
mod settings;
mod state;
mod subjects;
mod table;
mod views;
pub mod wire;

pub use crate::state::{FlowOrders, Outcome};
pub use crate::state::{Parts, Readiness};
pub use api::{Actor, Actors, FlowsReloaded, LetterReplayed, Live, OrderDone, PartState, Problem, Ready, Version};
pub use client::{Client, ClientError};
pub use metrics::{InstallError, Metrics};
pub use scope::Scope;
pub use server::{AdminError, Server, bind};
pub use settings::{Settings, SettingsError};
pub use subjects::{
    Answer, BrokerView, Failure, FlowStore, LetterStore, Records, Subjects, SystemView, TrafficView, WiringView,
};
