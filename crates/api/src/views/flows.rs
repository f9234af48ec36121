//! The flows.

use crate::problem::Refusal;
use crate::state::Parts;
use crate::subjects::FlowStore;
use crate::wire::{FlowInput, FlowTest, FlowView, Flows};
use actix_web::http::header;
use actix_web::web::{Data, Json, Path};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::Value;
use std::sync::Arc;
use tracing::info;

fn store(parts: &Parts) -> Result<&Arc<dyn FlowStore>, Refusal> {
    parts.subjects.flows.as_ref().ok_or(Refusal::FlowsOff)
}

pub(crate) async fn list(parts: Data<Parts>) -> Result<Json<Flows>, Refusal> {
    Ok(Json(Flows { flows: store(&parts)?.list().await? }))
}

pub(crate) async fn show(parts: Data<Parts>, code: Path<String>) -> Result<HttpResponse, Refusal> {
    let flows = store(&parts)?.list().await?;
    let found = flows.into_iter().find(|view| view.flow.code == *code);
    Ok(versioned(&found.ok_or_else(|| Refusal::Missing(format!("there is no flow {code}")))?))
}

pub(crate) async fn add(parts: Data<Parts>, flow: Json<FlowInput>) -> Result<HttpResponse, Refusal> {
    let added = store(&parts)?.add(flow.into_inner()).await?;
    info!(flow = added.flow.code, "flow added over HTTP");
    Ok(versioned(&added))
}

pub(crate) async fn change(
    request: HttpRequest,
    parts: Data<Parts>,
    code: Path<String>,
    flow: Json<FlowInput>,
) -> Result<HttpResponse, Refusal> {
    let seen = seen(&request)?;
    let changed = store(&parts)?.change(code.into_inner(), flow.into_inner(), seen).await?;
    info!(flow = changed.flow.code, "flow changed over HTTP");
    Ok(versioned(&changed))
}

pub(crate) async fn remove(
    request: HttpRequest,
    parts: Data<Parts>,
    code: Path<String>,
) -> Result<HttpResponse, Refusal> {
    let seen = seen(&request)?;
    store(&parts)?.remove(code.clone(), seen).await?;
    info!(flow = *code, "flow removed over HTTP");
    Ok(HttpResponse::NoContent().finish())
}

pub(crate) async fn test(parts: Data<Parts>, test: Json<FlowTest>) -> Result<Json<Value>, Refusal> {
    Ok(Json(store(&parts)?.test(test.into_inner()).await?))
}

fn versioned(view: &FlowView) -> HttpResponse {
    HttpResponse::Ok().insert_header((header::ETAG, format!("\"{}\"", view.version))).json(view)
}

/// RFC 9110 section 13.1.1, with one entity tag.
fn seen(request: &HttpRequest) -> Result<String, Refusal> {
    let value = request.headers().get(header::IF_MATCH).and_then(|value| value.to_str().ok());
    Ok(value.ok_or(Refusal::VersionMissing)?.trim().trim_matches('"').to_owned())
}
