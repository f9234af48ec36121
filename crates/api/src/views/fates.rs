//! What became of messages, looked back at.

use crate::problem::RequestRefusal;
use crate::state::ServerDeps;
use crate::wire::{FateList, FateQuestion};
use actix_web::web::{Data, Json, Query};

const LIMIT: u32 = 100;
const MOST: u32 = 500;

pub(crate) async fn list(
    parts: Data<ServerDeps>,
    question: Query<FateQuestion>,
) -> Result<Json<FateList>, RequestRefusal> {
    let traffic = parts.subjects.traffic.as_ref().ok_or(RequestRefusal::NotHere("the mqtt connection"))?;
    let question = question.into_inner();
    let limit = question.limit.unwrap_or(LIMIT).clamp(1, MOST);
    Ok(Json(traffic.fates(FateQuestion { limit: Some(limit), ..question }).await?))
}
