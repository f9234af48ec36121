//! The paths and what they answer.

use crate::api::{Actor, Actors, Live, OrderDone, PartState, Ready, Version};
use crate::problem::Refusal;
use crate::server::Parts;
use crate::{exposition, orders};
use actix_web::web::{self, Data, Json, Path, ServiceConfig};
use actix_web::{HttpResponse, Resource};
use hearthgate_supervision::{Answer, Command, Entry, Status};
use tracing::info;

pub(crate) fn configure(app: &mut ServiceConfig) {
    app.service(reading("/livez").route(web::get().to(live)))
        .service(reading("/readyz").route(web::get().to(ready)))
        .service(reading("/metrics").route(web::get().to(metrics)))
        .service(reading("/api/v1/version").route(web::get().to(version)))
        .service(reading("/api/v1/actors").route(web::get().to(actors)))
        .service(reading("/api/v1/actors/{name}").route(web::get().to(actor)))
        .service(ordering("/api/v1/flows/reload").route(web::post().to(orders::reload)))
        .service(ordering("/api/v1/dead-letters/{id}/replay").route(web::post().to(orders::replay)))
        .service(ordering("/api/v1/actors/{name}/{command}").route(web::post().to(order)));
    #[cfg(feature = "fault-injection")]
    app.service(ordering("/api/v1/actors/{name}/fault/{kind}").route(web::post().to(fault)));
    app.default_service(web::to(|| refuse(Refusal::NoSuchPath)));
}

fn reading(path: &str) -> Resource {
    web::resource(path).default_service(web::to(|| refuse(Refusal::WrongMethod("GET"))))
}

fn ordering(path: &str) -> Resource {
    web::resource(path).default_service(web::to(|| refuse(Refusal::WrongMethod("POST"))))
}

async fn refuse(refusal: Refusal) -> Result<HttpResponse, Refusal> {
    Err(refusal)
}

/// Not live: an essential actor is down for good or stuck, and only ending the process can help.
async fn live(parts: Data<Parts>) -> HttpResponse {
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
async fn ready(parts: Data<Parts>) -> HttpResponse {
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

async fn metrics(parts: Data<Parts>) -> HttpResponse {
    let mut text = parts.metrics.render();
    exposition::actors(&mut text, &parts.registry.list());
    exposition::process(&mut text);
    HttpResponse::Ok().content_type("text/plain; version=0.0.4; charset=utf-8").body(text)
}

async fn version(parts: Data<Parts>) -> Json<Version> {
    Json(Version { name: "hearthgate".into(), version: parts.version.into() })
}

async fn actors(parts: Data<Parts>) -> Json<Actors> {
    Json(Actors { actors: parts.registry.list().iter().map(Actor::from).collect() })
}

async fn actor(parts: Data<Parts>, name: Path<String>) -> Result<Json<Actor>, Refusal> {
    let entry = find(&parts, &name)?;
    let actor = Actor::from(&*entry.health.borrow());
    Ok(Json(actor))
}

async fn order(parts: Data<Parts>, path: Path<(String, String)>) -> Result<Json<OrderDone>, Refusal> {
    let (name, command) = path.into_inner();
    let command: Command = command.parse().map_err(Refusal::UnknownCommand)?;
    let entry = find(&parts, &name)?;
    let answer = entry.control.order(command).await;
    info!(actor = name, command = command.as_str(), ?answer, "order over HTTP");
    done(&entry, answer?)
}

#[cfg(feature = "fault-injection")]
async fn fault(parts: Data<Parts>, path: Path<(String, String)>) -> Result<Json<OrderDone>, Refusal> {
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
