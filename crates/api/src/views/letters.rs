//! The dead letters.

use crate::problem::RequestRefusal;
use crate::state::ServerDeps;
use crate::subjects::LetterStore;
use crate::wire::{
    LetterChoice, LetterGroups, LetterPage, LetterView, LettersDropped, LettersReplayed, LettersRestored,
};
use actix_web::web::{Data, Json, Path, Query};
use serde::Deserialize;
use std::sync::Arc;
use tracing::info;

/// Letters of a page, unless said otherwise, and at most.
const PAGE: u32 = 50;
const LARGEST_PAGE: u32 = 200;

fn store(parts: &ServerDeps) -> Result<&Arc<dyn LetterStore>, RequestRefusal> {
    parts.subjects.letters.as_ref().ok_or(RequestRefusal::FlowsOff)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LetterQuery {
    group: Option<String>,
    flow: Option<String>,
    before: Option<i64>,
    limit: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LetterReplayQuery {
    #[serde(default)]
    dry_run: bool,
}

pub(crate) async fn groups(parts: Data<ServerDeps>) -> Result<Json<LetterGroups>, RequestRefusal> {
    Ok(Json(store(&parts)?.groups().await?))
}

pub(crate) async fn list(
    parts: Data<ServerDeps>,
    wanted: Query<LetterQuery>,
) -> Result<Json<LetterPage>, RequestRefusal> {
    let LetterQuery { group, flow, before, limit } = wanted.into_inner();
    let choice = LetterChoice { group, flow, again: true, ..LetterChoice::default() };
    let limit = limit.unwrap_or(PAGE).clamp(1, LARGEST_PAGE);
    Ok(Json(store(&parts)?.list(choice, before, limit).await?))
}

pub(crate) async fn show(parts: Data<ServerDeps>, id: Path<i64>) -> Result<Json<LetterView>, RequestRefusal> {
    Ok(Json(store(&parts)?.show(*id).await?))
}

pub(crate) async fn replay(
    parts: Data<ServerDeps>,
    how: Query<LetterReplayQuery>,
    choice: Json<LetterChoice>,
) -> Result<Json<LettersReplayed>, RequestRefusal> {
    let choice = limited(choice.into_inner())?;
    let done = store(&parts)?.replay(choice, how.dry_run).await?;
    if !how.dry_run {
        info!(taken = done.taken, refused = done.refused, "dead letters replayed over HTTP");
    }
    Ok(Json(done))
}

pub(crate) async fn drop_letters(
    parts: Data<ServerDeps>,
    choice: Json<LetterChoice>,
) -> Result<Json<LettersDropped>, RequestRefusal> {
    let choice = limited(choice.into_inner())?;
    let dropped = store(&parts)?.drop_letters(LetterChoice { again: true, ..choice }).await?;
    info!(dropped, "dead letters dropped over HTTP");
    Ok(Json(LettersDropped { dropped }))
}

pub(crate) async fn undo(parts: Data<ServerDeps>) -> Result<Json<LettersRestored>, RequestRefusal> {
    let restored = store(&parts)?.restore().await?;
    info!(restored, "dead letters brought back over HTTP");
    Ok(Json(LettersRestored { restored }))
}

/// An empty choice would be all letters; nobody means that by leaving something out.
fn limited(choice: LetterChoice) -> Result<LetterChoice, RequestRefusal> {
    if choice.ids.is_empty() && choice.group.is_none() && choice.flow.is_none() {
        return Err(RequestRefusal::Invalid("say which letters: ids, a group or a flow".into()));
    }
    Ok(choice)
}
