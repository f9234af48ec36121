//! Orders that concern no actor by name: what they are, and how the gateway takes them.

use crate::api::{FlowsReloaded, LetterReplayed};
use crate::problem::Refusal;
use crate::state::Parts;
use actix_web::web::{Data, Json, Path, Query};
use serde::Deserialize;
use tracing::info;

pub(crate) async fn reload(parts: Data<Parts>) -> Result<Json<FlowsReloaded>, Refusal> {
    let orders = parts.flows.as_ref().ok_or(Refusal::FlowsOff)?;
    (orders.reload)().await.map_err(Refusal::NotDone)?;
    info!("flows reloaded over HTTP");
    Ok(Json(FlowsReloaded { reloaded: true }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HowToReplay {
    #[serde(default)]
    again: bool,
}

pub(crate) async fn replay(
    parts: Data<Parts>,
    id: Path<i64>,
    how: Query<HowToReplay>,
) -> Result<Json<LetterReplayed>, Refusal> {
    let orders = parts.flows.as_ref().ok_or(Refusal::FlowsOff)?;
    let id = id.into_inner();
    let flows = (orders.replay)(id, how.again).await.map_err(Refusal::NotDone)?;
    info!(letter = id, flows, "dead letter replayed over HTTP");
    Ok(Json(LetterReplayed { id, flows }))
}
