//! Calls of endpoints.

use crate::problem::RequestRefusal;
use crate::state::ServerDeps;
use crate::subjects::DeliveryStore;
use crate::wire::{AttemptView, DeliveryList, DeliveryTrial};
use actix_web::web::{Data, Json, Path};
use std::sync::Arc;
use tracing::info;

fn store(parts: &ServerDeps) -> Result<&Arc<dyn DeliveryStore>, RequestRefusal> {
    parts.subjects.deliveries.as_ref().ok_or(RequestRefusal::FlowsOff)
}

pub(crate) async fn list(parts: Data<ServerDeps>) -> Result<Json<DeliveryList>, RequestRefusal> {
    Ok(Json(DeliveryList { flows: store(&parts)?.list().await? }))
}

pub(crate) async fn test(
    parts: Data<ServerDeps>,
    flow: Path<String>,
    trial: Json<DeliveryTrial>,
) -> Result<Json<AttemptView>, RequestRefusal> {
    let tried = store(&parts)?.test(flow.clone(), trial.into_inner()).await?;
    info!(flow = *flow, outcome = tried.outcome, "endpoint tried out over HTTP");
    Ok(Json(tried))
}
