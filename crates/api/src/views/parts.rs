//! The wiring, the interfaces, the broker.

use crate::problem::Refusal;
use crate::state::Parts;
use crate::wire::{BrokerState, Graph, Interfaces};
use actix_web::HttpResponse;
use actix_web::web::{Data, Json, Path};
use tracing::info;

pub(crate) async fn overview(parts: Data<Parts>) -> Result<Json<Graph>, Refusal> {
    let wiring = parts.subjects.wiring.as_ref().ok_or(Refusal::NotHere("the overview"))?;
    Ok(Json(wiring.graph().await?))
}

pub(crate) async fn interfaces(parts: Data<Parts>) -> Result<Json<Interfaces>, Refusal> {
    let wiring = parts.subjects.wiring.as_ref().ok_or(Refusal::NotHere("the overview"))?;
    Ok(Json(Interfaces { interfaces: wiring.interfaces().await? }))
}

pub(crate) async fn broker(parts: Data<Parts>) -> Result<Json<BrokerState>, Refusal> {
    let broker = parts.subjects.broker.as_ref().ok_or(Refusal::NotHere("the embedded broker"))?;
    Ok(Json(broker.clients().await?))
}

pub(crate) async fn disconnect(parts: Data<Parts>, id: Path<String>) -> Result<HttpResponse, Refusal> {
    let broker = parts.subjects.broker.as_ref().ok_or(Refusal::NotHere("the embedded broker"))?;
    let id = id.into_inner();
    broker.disconnect(id.clone()).await?;
    info!(client = id, "client disconnected over HTTP");
    Ok(HttpResponse::NoContent().finish())
}
