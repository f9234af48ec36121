//! Orders that concern no actor by name: what they are, and how the gateway takes them.

use crate::api::{FlowsReloaded, LetterReplayed};
use crate::problem::RequestRefusal;
use crate::state::ServerDeps;
use actix_web::web::{Data, Json, Path, Query};
use serde::Deserialize;
use tracing::info;

pub(crate) async fn reload(parts: Data<ServerDeps>) -> Result<Json<FlowsReloaded>, RequestRefusal> {
    let orders = parts.flows.as_ref().ok_or(RequestRefusal::FlowsOff)?;
    (orders.reload)().await.map_err(RequestRefusal::NotDone)?;
    info!("flows reloaded over HTTP");
    Ok(Json(FlowsReloaded { reloaded: true }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReplayQuery {
    #[serde(default)]
    again: bool,
}

pub(crate) async fn replay(
    parts: Data<ServerDeps>,
    id: Path<i64>,
    how: Query<ReplayQuery>,
) -> Result<Json<LetterReplayed>, RequestRefusal> {
    let orders = parts.flows.as_ref().ok_or(RequestRefusal::FlowsOff)?;
    let id = id.into_inner();
    let flows = (orders.replay)(id, how.again).await.map_err(RequestRefusal::NotDone)?;
    info!(letter = id, flows, "dead letter replayed over HTTP");
    Ok(Json(LetterReplayed { id, flows }))
}
