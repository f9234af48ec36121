//! What the probes and the actors' paths answer.

use crate::api::{ActorList, ActorView, LivenessAnswer, OrderDone, PartState, ReadinessAnswer, VersionAnswer};
use crate::exposition;
use crate::problem::RequestRefusal;
use crate::state::ServerDeps;
use actix_web::HttpResponse;
use actix_web::web::{Data, Json, Path};
use hearthgate_supervision::{ActorStatus, OperatorAnswer, OperatorCommand, RegistryEntry};
use tracing::info;

/// Not live: an essential actor is down for good or stuck, and only ending the process can help.
pub(crate) async fn live(parts: Data<ServerDeps>) -> HttpResponse {
    let failing: Vec<PartState> = parts
        .registry
        .list()
        .iter()
        .filter(|health| health.essential && matches!(health.status, ActorStatus::Parked | ActorStatus::Unresponsive))
        .map(|health| part_state(&health.name, health.status, health.last_error.as_deref()))
        .collect();
    verdict(failing.is_empty()).json(LivenessAnswer { live: failing.is_empty(), failing })
}

/// Ready: every actor takes messages, and so does everything that the wiring asks about.
pub(crate) async fn ready(parts: Data<ServerDeps>) -> HttpResponse {
    let actors = parts.registry.list();
    let down = actors
        .iter()
        .filter(|health| health.status != ActorStatus::Running)
        .map(|health| part_state(&health.name, health.status, health.last_error.as_deref()));
    let others = (parts.readiness)();
    let others = others.into_iter().filter_map(|(part, state)| Some(PartState { part, error: state.err()? }));
    let failing: Vec<PartState> = others.chain(down).collect();
    verdict(failing.is_empty()).json(ReadinessAnswer { ready: failing.is_empty(), failing })
}

fn part_state(actor: &str, status: ActorStatus, error: Option<&str>) -> PartState {
    let error = match error {
        Some(error) => format!("{status}: {error}"),
        None => status.to_string(),
    };
    PartState { part: format!("actor {actor}"), error }
}

fn verdict(good: bool) -> actix_web::HttpResponseBuilder {
    if good { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() }
}

pub(crate) async fn metrics(parts: Data<ServerDeps>) -> HttpResponse {
    let mut text = parts.metrics.render();
    exposition::actors(&mut text, &parts.registry.list());
    // A broker that is down or busy has none.
    if let Some(broker) = &parts.subjects.broker
        && let Ok(figures) = broker.figures().await
    {
        exposition::figures(&mut text, &figures);
    }
    exposition::process(&mut text);
    HttpResponse::Ok().content_type("text/plain; version=0.0.4; charset=utf-8").body(text)
}

pub(crate) async fn version(parts: Data<ServerDeps>) -> Json<VersionAnswer> {
    Json(VersionAnswer { name: "hearthgate".into(), version: parts.version.into() })
}

pub(crate) async fn actors(parts: Data<ServerDeps>) -> Json<ActorList> {
    Json(ActorList { actors: parts.registry.list().iter().map(ActorView::from).collect() })
}

pub(crate) async fn actor(parts: Data<ServerDeps>, name: Path<String>) -> Result<Json<ActorView>, RequestRefusal> {
    let entry = find(&parts, &name)?;
    let actor = ActorView::from(&*entry.health.borrow());
    Ok(Json(actor))
}

pub(crate) async fn order(
    parts: Data<ServerDeps>,
    path: Path<(String, String)>,
) -> Result<Json<OrderDone>, RequestRefusal> {
    let (name, command) = path.into_inner();
    let command: OperatorCommand = command.parse().map_err(RequestRefusal::UnknownCommand)?;
    let entry = find(&parts, &name)?;
    let answer = entry.control.order(command).await;
    info!(actor = name, command = command.as_str(), ?answer, "order over HTTP");
    done(&entry, answer?)
}

#[cfg(feature = "fault-injection")]
pub(crate) async fn fault(
    parts: Data<ServerDeps>,
    path: Path<(String, String)>,
) -> Result<Json<OrderDone>, RequestRefusal> {
    use hearthgate_supervision::InjectedFault;
    let (name, kind) = path.into_inner();
    let fault = match (kind.as_str(), kind.strip_prefix("freeze-").map(str::parse)) {
        ("panic", _) => InjectedFault::Panic,
        ("error", _) => InjectedFault::Error,
        (_, Some(Ok(millis))) => InjectedFault::Freeze(std::time::Duration::from_millis(millis)),
        _ => return Err(RequestRefusal::UnknownCommand("a fault is panic, error or freeze-MILLISECONDS".into())),
    };
    let entry = find(&parts, &name)?;
    let answer = entry.control.inject(fault).await?;
    done(&entry, answer)
}

fn done(entry: &RegistryEntry, answer: OperatorAnswer) -> Result<Json<OrderDone>, RequestRefusal> {
    let outcome = match answer {
        OperatorAnswer::Done => "done",
        OperatorAnswer::Already => "already",
    };
    let actor = ActorView::from(&*entry.health.borrow());
    Ok(Json(OrderDone { outcome: outcome.into(), actor }))
}

fn find(parts: &ServerDeps, name: &str) -> Result<RegistryEntry, RequestRefusal> {
    parts.registry.get(name).ok_or_else(|| RequestRefusal::UnknownActor(name.to_owned()))
}
