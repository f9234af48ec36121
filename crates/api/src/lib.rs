//! The HTTP API and the page that uses it: liveness, readiness, the actors and orders to them, metrics, and a view of each
//! subject; and the client that the command line uses.
//!
//! The server is made of [`ServerDeps`] that others fill in: it reads the actors' health from their registry, asks a closure what
//! is ready, and renders what was counted through the `metrics` facade. Listens on loopback only, unless a token is set.
//!
//! Never in here: business rules, TLS (that is a reverse proxy's), CORS, the end of the process, and no metric labels but
//! `flow`, `interface`, `actor` and `outcome`: a topic or a device as a label would grow without bound.

mod access;
mod api;
mod client;
mod document;
mod exposition;
mod keys;
mod lines;
mod metrics;
mod operation;
mod orders;
mod page;
mod problem;
mod routes;
mod scope;
mod secrets;
mod server;
mod sessions;
mod settings;
mod state;
mod subjects;
mod table;
mod tokens;
mod views;
pub mod wire;

pub use crate::state::{FlowOrders, OrderResult};
pub use crate::state::{ReadinessProbe, ServerDeps};
pub use api::{
    ActorList, ActorView, FlowsReloaded, LetterReplayed, LivenessAnswer, OrderDone, PartState, ProblemDetails,
    ReadinessAnswer, VersionAnswer,
};
pub use client::{ApiClient, ApiClientError};
pub use exposition::ExposedFigure;
pub use metrics::{InstallError, MetricStore};
pub use scope::AccessScope;
pub use server::{AdminError, ApiServer, bind};
pub use settings::{ApiOptions, ApiOptionsError};
pub use subjects::{
    ApiSubjects, BrokerView, DeliveryStore, FlowStore, InterfaceAccess, LetterStore, RecordStore, SubjectAnswer,
    SubjectFailure, SystemView, TrafficView, WiringView,
};
pub use tokens::{AccessToken, TokenFile, TokenFileError};
