//! The wiring, the interfaces, the broker.

use crate::problem::RequestRefusal;
use crate::state::ServerDeps;
use crate::subjects::BrokerView;
use crate::wire::{
    BrokerRights, BrokerSummary, InterfaceList, RetainedList, RetainedPrefix, RetainedQuery, RightsQuery, WiringGraph,
};
use actix_web::HttpResponse;
use actix_web::web::{Data, Json, Path, Query};
use std::sync::Arc;
use tracing::info;

fn broker_view(parts: &ServerDeps) -> Result<&Arc<dyn BrokerView>, RequestRefusal> {
    parts.subjects.broker.as_ref().ok_or(RequestRefusal::NotHere("the embedded broker"))
}

pub(crate) async fn overview(parts: Data<ServerDeps>) -> Result<Json<WiringGraph>, RequestRefusal> {
    let wiring = parts.subjects.wiring.as_ref().ok_or(RequestRefusal::NotHere("the overview"))?;
    Ok(Json(wiring.graph().await?))
}

pub(crate) async fn interfaces(parts: Data<ServerDeps>) -> Result<Json<InterfaceList>, RequestRefusal> {
    let wiring = parts.subjects.wiring.as_ref().ok_or(RequestRefusal::NotHere("the overview"))?;
    Ok(Json(InterfaceList { interfaces: wiring.interfaces().await? }))
}

pub(crate) async fn broker(parts: Data<ServerDeps>) -> Result<Json<BrokerSummary>, RequestRefusal> {
    let broker = broker_view(&parts)?;
    Ok(Json(broker.clients().await?))
}

pub(crate) async fn rights(
    parts: Data<ServerDeps>,
    question: Query<RightsQuery>,
) -> Result<Json<BrokerRights>, RequestRefusal> {
    let broker = broker_view(&parts)?;
    Ok(Json(broker.rights(question.into_inner()).await?))
}

pub(crate) async fn disconnect(parts: Data<ServerDeps>, id: Path<String>) -> Result<HttpResponse, RequestRefusal> {
    let broker = broker_view(&parts)?;
    let id = id.into_inner();
    broker.disconnect(id.clone()).await?;
    info!(client = id, "client disconnected over HTTP");
    Ok(HttpResponse::NoContent().finish())
}

pub(crate) async fn retained(
    parts: Data<ServerDeps>,
    wanted: Query<RetainedPrefix>,
) -> Result<Json<RetainedList>, RequestRefusal> {
    let under = wanted.into_inner().under;
    if under.contains(['+', '#']) {
        return Err(RequestRefusal::Invalid("`under` is a topic without wildcards".into()));
    }
    Ok(Json(broker_view(&parts)?.retained(under).await?))
}

pub(crate) async fn clear_retained(
    parts: Data<ServerDeps>,
    wanted: Query<RetainedQuery>,
) -> Result<HttpResponse, RequestRefusal> {
    let RetainedQuery { topic } = wanted.into_inner();
    broker_view(&parts)?.clear_retained(topic.clone()).await?;
    info!(topic, "retained message cleared over HTTP");
    Ok(HttpResponse::NoContent().finish())
}
