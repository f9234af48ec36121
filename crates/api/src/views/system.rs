//! Configuration, log, and all of it in one for whoever helps.

use crate::api::{Actor, PartState};
use crate::document;
use crate::problem::Refusal;
use crate::state::Parts;
use crate::subjects::SystemView;
use crate::wire::{ConfigurationView, LogLevel, LogWanted};
use actix_web::HttpResponse;
use actix_web::http::header;
use actix_web::web::{Data, Json};
use chrono::Utc;
use serde_json::{Value, json};
use std::sync::Arc;
use tracing::info;

fn system(parts: &Parts) -> Result<&Arc<dyn SystemView>, Refusal> {
    parts.subjects.system.as_ref().ok_or(Refusal::NotHere("the configuration"))
}

pub(crate) async fn configuration(parts: Data<Parts>) -> Result<Json<ConfigurationView>, Refusal> {
    Ok(Json(system(&parts)?.configuration()))
}

pub(crate) async fn log(parts: Data<Parts>) -> Result<Json<LogLevel>, Refusal> {
    Ok(Json(system(&parts)?.log_level()))
}

pub(crate) async fn set_log(parts: Data<Parts>, wanted: Json<LogWanted>) -> Result<Json<LogLevel>, Refusal> {
    let set = system(&parts)?.set_log_level(wanted.into_inner()).await?;
    info!(level = set.level, until = ?set.until, "log level set over HTTP");
    Ok(Json(set))
}

/// States, figures, configuration without secrets; no topics, no payloads. Flows by what they do, not by where to.
pub(crate) async fn support(parts: Data<Parts>) -> Result<HttpResponse, Refusal> {
    let actors: Vec<Actor> = parts.registry.list().iter().map(Actor::from).collect();
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
