//! The dead letters.

use crate::problem::Refusal;
use crate::state::Parts;
use crate::subjects::LetterStore;
use crate::wire::{LetterChoice, LetterGroups, LetterPage, LetterView, LettersDropped, LettersReplayed};
use actix_web::web::{Data, Json, Path, Query};
use serde::Deserialize;
use std::sync::Arc;
use tracing::info;

/// Letters of a page, unless said otherwise, and at most.
const PAGE: u32 = 50;
const LARGEST_PAGE: u32 = 200;

fn store(parts: &Parts) -> Result<&Arc<dyn LetterStore>, Refusal> {
    parts.subjects.letters.as_ref().ok_or(Refusal::FlowsOff)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wanted {
    group: Option<String>,
    flow: Option<String>,
    before: Option<i64>,
    limit: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HowToReplay {
    #[serde(default)]
    dry_run: bool,
}

pub(crate) async fn groups(parts: Data<Parts>) -> Result<Json<LetterGroups>, Refusal> {
    Ok(Json(store(&parts)?.groups().await?))
}

pub(crate) async fn list(parts: Data<Parts>, wanted: Query<Wanted>) -> Result<Json<LetterPage>, Refusal> {
    let Wanted { group, flow, before, limit } = wanted.into_inner();
    let choice = LetterChoice { group, flow, again: true, ..LetterChoice::default() };
    let limit = limit.unwrap_or(PAGE).clamp(1, LARGEST_PAGE);
    Ok(Json(store(&parts)?.list(choice, before, limit).await?))
}

pub(crate) async fn show(parts: Data<Parts>, id: Path<i64>) -> Result<Json<LetterView>, Refusal> {
    Ok(Json(store(&parts)?.show(*id).await?))
}

pub(crate) async fn replay(
    parts: Data<Parts>,
    how: Query<HowToReplay>,
    choice: Json<LetterChoice>,
) -> Result<Json<LettersReplayed>, Refusal> {
    let choice = limited(choice.into_inner())?;
    let done = store(&parts)?.replay(choice, how.dry_run).await?;
    if !how.dry_run {
        info!(taken = done.taken, refused = done.refused, "dead letters replayed over HTTP");
    }
    Ok(Json(done))
}

pub(crate) async fn drop_letters(
    parts: Data<Parts>,
    choice: Json<LetterChoice>,
) -> Result<Json<LettersDropped>, Refusal> {
    let choice = limited(choice.into_inner())?;
    let dropped = store(&parts)?.drop_letters(LetterChoice { again: true, ..choice }).await?;
    info!(dropped, "dead letters dropped over HTTP");
    Ok(Json(LettersDropped { dropped }))
}

/// An empty choice would be all letters; nobody means that by leaving something out.
fn limited(choice: LetterChoice) -> Result<LetterChoice, Refusal> {
    if choice.ids.is_empty() && choice.group.is_none() && choice.flow.is_none() {
        return Err(Refusal::Invalid("say which letters: ids, a group or a flow".into()));
    }
    Ok(choice)
}
