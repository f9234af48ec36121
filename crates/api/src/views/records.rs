//! What flows stored.

use crate::problem::Refusal;
use crate::state::Parts;
use crate::subjects::Records;
use crate::wire::{Attributes, Series, SeriesQuestion};
use actix_web::web::{Data, Json, Path, Query};
use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;
use std::sync::Arc;

const POINTS: u32 = 300;
const MOST_POINTS: u32 = 500;

fn records(parts: &Parts) -> Result<&Arc<dyn Records>, Refusal> {
    parts.subjects.records.as_ref().ok_or(Refusal::FlowsOff)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Window {
    from: Option<DateTime<Utc>>,
    to: Option<DateTime<Utc>>,
    points: Option<u32>,
}

pub(crate) async fn attributes(parts: Data<Parts>, flow: Path<String>) -> Result<Json<Attributes>, Refusal> {
    Ok(Json(Attributes { attributes: records(&parts)?.attributes(flow.into_inner()).await? }))
}

pub(crate) async fn series(
    parts: Data<Parts>,
    of: Path<(String, String)>,
    window: Query<Window>,
) -> Result<Json<Series>, Refusal> {
    let (flow, attribute) = of.into_inner();
    let Window { from, to, points } = window.into_inner();
    let to = to.unwrap_or_else(Utc::now);
    let from = from.unwrap_or_else(|| to - TimeDelta::days(1));
    if from >= to {
        return Err(Refusal::Invalid("`from` must be before `to`".into()));
    }
    let points = points.unwrap_or(POINTS).clamp(1, MOST_POINTS);
    Ok(Json(records(&parts)?.series(SeriesQuestion { flow, attribute, from, to, points }).await?))
}
