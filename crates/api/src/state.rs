//! What the API shows, and whom it asks.

use crate::metrics::Metrics;
use crate::subjects::Subjects;
use hearthgate_supervision::Registry;
use std::pin::Pin;
use std::sync::Arc;

/// What the API shows.
#[derive(Clone)]
pub struct Parts {
    /// The actors.
    pub registry: Registry,
    /// Everything else that must work.
    pub readiness: Readiness,
    /// What was counted.
    pub metrics: Metrics,
    /// Orders to the flows; absent where flows are switched off.
    pub flows: Option<FlowOrders>,
    /// What the views show and order.
    pub subjects: Subjects,
    /// The gateway's version.
    pub version: &'static str,
}

/// Tells for each part that is no actor (broker session, database, journal) whether messages get through it, or why not.
/// Called for every `GET /readyz`; reads states that others keep, and never waits.
pub type Readiness = Arc<dyn Fn() -> Vec<(String, Result<(), String>)> + Send + Sync>;

/// How orders to the flows are carried out. They are absent where flows are switched off.
#[derive(Clone)]
pub struct FlowOrders {
    /// Reads the flows again; ends once they are in force.
    pub reload: Arc<dyn Fn() -> Outcome<()> + Send + Sync>,
    /// Replays the dead letter of this number, a second time only when `true`; tells how many flows took it.
    pub replay: Arc<dyn Fn(i64, bool) -> Outcome<usize> + Send + Sync>,
}

/// The end of an order, or why it could not be carried out, for people.
pub type Outcome<T> = Pin<Box<dyn Future<Output = Result<T, String>> + Send>>;
