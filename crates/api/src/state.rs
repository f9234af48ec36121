//! What the API shows, and whom it asks.

use crate::metrics::MetricStore;
use crate::subjects::ApiSubjects;
use hearthgate_supervision::ActorRegistry;
use std::pin::Pin;
use std::sync::Arc;

/// What the API shows.
#[derive(Clone)]
pub struct ServerDeps {
    /// The actors.
    pub registry: ActorRegistry,
    /// Everything else that must work.
    pub readiness: ReadinessProbe,
    /// What was counted.
    pub metrics: MetricStore,
    /// Orders to the flows; absent where flows are switched off.
    pub flows: Option<FlowOrders>,
    /// What the views show and order.
    pub subjects: ApiSubjects,
    /// The gateway's version.
    pub version: &'static str,
}

/// Tells for each part that is no actor (broker session, database, journal) whether messages get through it, or why not.
/// Called for every `GET /readyz`; reads states that others keep, and never waits.
pub type ReadinessProbe = Arc<dyn Fn() -> Vec<(String, Result<(), String>)> + Send + Sync>;

/// How orders to the flows are carried out. They are absent where flows are switched off.
#[derive(Clone)]
pub struct FlowOrders {
    /// Reads the flows again; ends once they are in force.
    pub reload: Arc<dyn Fn() -> OrderResult<()> + Send + Sync>,
    /// Replays the dead letter of this number, a second time only when `true`; tells how many flows took it.
    pub replay: Arc<dyn Fn(i64, bool) -> OrderResult<usize> + Send + Sync>,
}

/// The end of an order, or why it could not be carried out, for people.
pub type OrderResult<T> = Pin<Box<dyn Future<Output = Result<T, String>> + Send>>;
