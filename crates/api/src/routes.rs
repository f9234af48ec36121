//! What the probes and the actors' paths answer.

use crate::api::{Actor, Actors, Live, OrderDone, PartState, Ready, Version};
use crate::exposition;
use crate::problem::Refusal;
use crate::state::Parts;
use actix_web::HttpResponse;
use actix_web::web::{Data, Json, Path};
use hearthgate_supervision::{Answer, Command, Entry, Status};
use tracing::info;

/// Not live: an essential actor is down for good or stuck, and only ending the process can help.
pub(crate) async fn live(parts: Data<Parts>) -> HttpResponse {
    let failing: Vec<PartState> = parts
        .registry
        .list()
        .iter()
        .filter(|health| health.essential && matches!(health.status, Status::Parked | Status::Unresponsive))
        .map(|health| part_state(&health.name, health.status, health.last_error.as_deref()))
        .collect();
    verdict(failing.is_empty()).json(Live { live: failing.is_empty(), failing })
}

/// Ready: every actor takes messages, and so does everything that the wiring asks about.
pub(crate) async fn ready(parts: Data<Parts>) -> HttpResponse {
    let actors = parts.registry.list();
    let down = actors
        .iter()
        .filter(|health| health.status != Status::Running)
        .map(|health| part_state(&health.name, health.status, health.last_error.as_deref()));
    let others = (parts.readiness)();
    let others = others.into_iter().filter_map(|(part, state)| Some(PartState { part, error: state.err()? }));
    let failing: Vec<PartState> = others.chain(down).collect();
    verdict(failing.is_empty()).json(Ready { ready: failing.is_empty(), failing })
}

fn part_state(actor: &str, status: Status, error: Option<&str>) -> PartState {
    let error = match error {
        Some(error) => format!("{status}: {error}"),
        None => status.to_string(),
    };
    PartState { part: format!("actor {actor}"), error }
}

fn verdict(good: bool) -> actix_web::HttpResponseBuilder {
    if good { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() }
}

pub(crate) async fn metrics(parts: Data<Parts>) -> HttpResponse {
    let mut text = parts.metrics.render();
    exposition::actors(&mut text, &parts.registry.list());
    exposition::process(&mut text);
    HttpResponse::Ok().content_type("text/plain; version=0.0.4; charset=utf-8").body(text)
}

pub(crate) async fn version(parts: Data<Parts>) -> Json<Version> {
    Json(Version { name: "hearthgate".into(), version: parts.version.into() })
}

pub(crate) async fn actors(parts: Data<Parts>) -> Json<Actors> {
    Json(Actors { actors: parts.registry.list().iter().map(Actor::from).collect() })
}

pub(crate) async fn actor(parts: Data<Parts>, name: Path<String>) -> Result<Json<Actor>, Refusal> {
    let entry = find(&parts, &name)?;
    let actor = Actor::from(&*entry.health.borrow());
    Ok(Json(actor))
}

pub(crate) async fn order(parts: Data<Parts>, path: Path<(String, String)>) -> Result<Json<OrderDone>, Refusal> {
    let (name, command) = path.into_inner();
    let command: Command = command.parse().map_err(Refusal::UnknownCommand)?;
    let entry = find(&parts, &name)?;
    let answer = entry.control.order(command).await;
    info!(actor = name, command = command.as_str(), ?answer, "order over HTTP");
    done(&entry, answer?)
}

#[cfg(feature = "fault-injection")]
pub(crate) async fn fault(parts: Data<Parts>, path: Path<(String, String)>) -> Result<Json<OrderDone>, Refusal> {
    use hearthgate_supervision::Fault;
    let (name, kind) = path.into_inner();
    let fault = match (kind.as_str(), kind.strip_prefix("freeze-").map(str::parse)) {
        ("panic", _) => Fault::Panic,
        ("error", _) => Fault::Error,
        (_, Some(Ok(millis))) => Fault::Freeze(std::time::Duration::from_millis(millis)),
        _ => return Err(Refusal::UnknownCommand("a fault is panic, error or freeze-MILLISECONDS".into())),
    };
    let entry = find(&parts, &name)?;
    let answer = entry.control.inject(fault).await?;
    done(&entry, answer)
}

fn done(entry: &Entry, answer: Answer) -> Result<Json<OrderDone>, Refusal> {
    let outcome = match answer {
        Answer::Done => "done",
        Answer::Already => "already",
    };
    let actor = Actor::from(&*entry.health.borrow());
    Ok(Json(OrderDone { outcome: outcome.into(), actor }))
}

fn find(parts: &Parts, name: &str) -> Result<Entry, Refusal> {
    parts.registry.get(name).ok_or_else(|| Refusal::UnknownActor(name.to_owned()))
}
