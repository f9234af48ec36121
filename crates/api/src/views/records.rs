//! What flows stored.

use crate::problem::RequestRefusal;
use crate::state::ServerDeps;
use crate::subjects::RecordStore;
use crate::wire::{AttributeList, RecordSeries, SeriesQuestion};
use actix_web::web::{Data, Json, Path, Query};
use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;
use std::sync::Arc;

const POINTS: u32 = 300;
const MOST_POINTS: u32 = 500;

fn records(parts: &ServerDeps) -> Result<&Arc<dyn RecordStore>, RequestRefusal> {
    parts.subjects.records.as_ref().ok_or(RequestRefusal::FlowsOff)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RecordQuery {
    from: Option<DateTime<Utc>>,
    to: Option<DateTime<Utc>>,
    points: Option<u32>,
}

pub(crate) async fn attributes(
    parts: Data<ServerDeps>,
    flow: Path<String>,
) -> Result<Json<AttributeList>, RequestRefusal> {
    Ok(Json(AttributeList { attributes: records(&parts)?.attributes(flow.into_inner()).await? }))
}

pub(crate) async fn series(
    parts: Data<ServerDeps>,
    of: Path<(String, String)>,
    window: Query<RecordQuery>,
) -> Result<Json<RecordSeries>, RequestRefusal> {
    let (flow, attribute) = of.into_inner();
    let RecordQuery { from, to, points } = window.into_inner();
    let to = to.unwrap_or_else(Utc::now);
    let from = from.unwrap_or_else(|| to - TimeDelta::days(1));
    if from >= to {
        return Err(RequestRefusal::Invalid("`from` must be before `to`".into()));
    }
    let points = points.unwrap_or(POINTS).clamp(1, MOST_POINTS);
    Ok(Json(records(&parts)?.series(SeriesQuestion { flow, attribute, from, to, points }).await?))
}
