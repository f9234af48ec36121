//! Configuration, log, and all of it in one for whoever helps.

use crate::api::{ActorView, PartState};
use crate::document;
use crate::problem::RequestRefusal;
use crate::state::ServerDeps;
use crate::subjects::SystemView;
use crate::wire::{ConfigurationView, LogLevelView, LogWanted};
use actix_web::HttpResponse;
use actix_web::http::header;
use actix_web::web::{Data, Json};
use chrono::Utc;
use serde_json::{Value, json};
use std::sync::Arc;
use tracing::info;

fn system(parts: &ServerDeps) -> Result<&Arc<dyn SystemView>, RequestRefusal> {
    parts.subjects.system.as_ref().ok_or(RequestRefusal::NotHere("the configuration"))
}

pub(crate) async fn configuration(parts: Data<ServerDeps>) -> Result<Json<ConfigurationView>, RequestRefusal> {
    Ok(Json(system(&parts)?.configuration()))
}

pub(crate) async fn log(parts: Data<ServerDeps>) -> Result<Json<LogLevelView>, RequestRefusal> {
    Ok(Json(system(&parts)?.log_level()))
}

pub(crate) async fn set_log(
    parts: Data<ServerDeps>,
    wanted: Json<LogWanted>,
) -> Result<Json<LogLevelView>, RequestRefusal> {
    let set = system(&parts)?.set_log_level(wanted.into_inner()).await?;
    info!(level = set.level, until = ?set.until, "log level set over HTTP");
    Ok(Json(set))
}

/// States, figures, configuration without secrets; no topics, no payloads. Flows by what they do, not by where to.
pub(crate) async fn support(parts: Data<ServerDeps>) -> Result<HttpResponse, RequestRefusal> {
    let actors: Vec<ActorView> = parts.registry.list().iter().map(ActorView::from).collect();
    let states = (parts.readiness)().into_iter();
    let states: Vec<PartState> =
        states.map(|(part, state)| PartState { part, error: state.err().unwrap_or_default() }).collect();
    let graph = match &parts.subjects.wiring {
        Some(wiring) => wiring.graph().await.map_or_else(|error| json!(error.to_string()), |graph| json!(graph)),
        None => Value::Null,
    };
    let configuration = parts.subjects.system.as_ref().map(|system| system.configuration());
    let bundle = json!({
        "at": Utc::now(), "version": parts.version, "actors": actors, "parts": states, "wiring": graph,
        "configuration": configuration, "metrics": parts.metrics.render(),
        "api": document::document(parts.version, &crate::table::operations())["paths"].as_object().map_or(0, serde_json::Map::len),
    });
    let disposition = (header::CONTENT_DISPOSITION, "attachment; filename=\"hearthgate-support.json\"");
    Ok(HttpResponse::Ok().insert_header(disposition).json(bundle))
}
