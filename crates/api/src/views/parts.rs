//! The wiring, the interfaces, the broker.

use crate::problem::RequestRefusal;
use crate::state::ServerDeps;
use crate::wire::{BrokerRights, BrokerSummary, InterfaceList, RightsQuery, WiringGraph};
use actix_web::HttpResponse;
use actix_web::web::{Data, Json, Path, Query};
use tracing::info;

pub(crate) async fn overview(parts: Data<ServerDeps>) -> Result<Json<WiringGraph>, RequestRefusal> {
    let wiring = parts.subjects.wiring.as_ref().ok_or(RequestRefusal::NotHere("the overview"))?;
    Ok(Json(wiring.graph().await?))
}

pub(crate) async fn interfaces(parts: Data<ServerDeps>) -> Result<Json<InterfaceList>, RequestRefusal> {
    let wiring = parts.subjects.wiring.as_ref().ok_or(RequestRefusal::NotHere("the overview"))?;
    Ok(Json(InterfaceList { interfaces: wiring.interfaces().await? }))
}

pub(crate) async fn broker(parts: Data<ServerDeps>) -> Result<Json<BrokerSummary>, RequestRefusal> {
    let broker = parts.subjects.broker.as_ref().ok_or(RequestRefusal::NotHere("the embedded broker"))?;
    Ok(Json(broker.clients().await?))
}

pub(crate) async fn rights(
    parts: Data<ServerDeps>,
    question: Query<RightsQuery>,
) -> Result<Json<BrokerRights>, RequestRefusal> {
    let broker = parts.subjects.broker.as_ref().ok_or(RequestRefusal::NotHere("the embedded broker"))?;
    Ok(Json(broker.rights(question.into_inner()).await?))
}

pub(crate) async fn disconnect(parts: Data<ServerDeps>, id: Path<String>) -> Result<HttpResponse, RequestRefusal> {
    let broker = parts.subjects.broker.as_ref().ok_or(RequestRefusal::NotHere("the embedded broker"))?;
    let id = id.into_inner();
    broker.disconnect(id.clone()).await?;
    info!(client = id, "client disconnected over HTTP");
    Ok(HttpResponse::NoContent().finish())
}
