//! The flows.

use crate::problem::RequestRefusal;
use crate::state::ServerDeps;
use crate::subjects::FlowStore;
use crate::wire::{FlowInput, FlowList, FlowTest, FlowView, LearnAnswer, LearnWanted};
use actix_web::http::header;
use actix_web::web::{Data, Json, Path};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::Value;
use std::sync::Arc;
use tracing::info;

fn store(parts: &ServerDeps) -> Result<&Arc<dyn FlowStore>, RequestRefusal> {
    parts.subjects.flows.as_ref().ok_or(RequestRefusal::FlowsOff)
}

pub(crate) async fn list(parts: Data<ServerDeps>) -> Result<Json<FlowList>, RequestRefusal> {
    Ok(Json(FlowList { flows: store(&parts)?.list().await? }))
}

pub(crate) async fn show(parts: Data<ServerDeps>, code: Path<String>) -> Result<HttpResponse, RequestRefusal> {
    let flows = store(&parts)?.list().await?;
    let found = flows.into_iter().find(|view| view.flow.code == *code);
    Ok(versioned(&found.ok_or_else(|| RequestRefusal::Missing(format!("there is no flow {code}")))?))
}

pub(crate) async fn add(parts: Data<ServerDeps>, flow: Json<FlowInput>) -> Result<HttpResponse, RequestRefusal> {
    let added = store(&parts)?.add(flow.into_inner()).await?;
    info!(flow = added.flow.code, "flow added over HTTP");
    Ok(versioned(&added))
}

pub(crate) async fn change(
    request: HttpRequest,
    parts: Data<ServerDeps>,
    code: Path<String>,
    flow: Json<FlowInput>,
) -> Result<HttpResponse, RequestRefusal> {
    let seen = seen(&request)?;
    let changed = store(&parts)?.change(code.into_inner(), flow.into_inner(), seen).await?;
    info!(flow = changed.flow.code, "flow changed over HTTP");
    Ok(versioned(&changed))
}

pub(crate) async fn remove(
    request: HttpRequest,
    parts: Data<ServerDeps>,
    code: Path<String>,
) -> Result<HttpResponse, RequestRefusal> {
    let seen = seen(&request)?;
    store(&parts)?.remove(code.clone(), seen).await?;
    info!(flow = *code, "flow removed over HTTP");
    Ok(HttpResponse::NoContent().finish())
}

pub(crate) async fn test(parts: Data<ServerDeps>, test: Json<FlowTest>) -> Result<Json<Value>, RequestRefusal> {
    Ok(Json(store(&parts)?.test(test.into_inner()).await?))
}

pub(crate) async fn learn(
    parts: Data<ServerDeps>,
    wanted: Json<LearnWanted>,
) -> Result<Json<LearnAnswer>, RequestRefusal> {
    Ok(Json(store(&parts)?.learn(wanted.into_inner()).await?))
}

fn versioned(view: &FlowView) -> HttpResponse {
    HttpResponse::Ok().insert_header((header::ETAG, format!("\"{}\"", view.version))).json(view)
}

/// RFC 9110 section 13.1.1, with one entity tag.
fn seen(request: &HttpRequest) -> Result<String, RequestRefusal> {
    let value = request.headers().get(header::IF_MATCH).and_then(|value| value.to_str().ok());
    Ok(value.ok_or(RequestRefusal::VersionMissing)?.trim().trim_matches('"').to_owned())
}
