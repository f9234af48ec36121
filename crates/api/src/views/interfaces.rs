//! Commands to device interfaces, and the frames between them and their devices.

use crate::problem::RequestRefusal;
use crate::state::ServerDeps;
use crate::subjects::InterfaceAccess;
use crate::wire::{CommandTaken, CommandWanted, FrameList};
use actix_web::web::{Data, Json, Path};
use std::sync::Arc;
use tracing::info;

fn interfaces(parts: &ServerDeps) -> Result<&Arc<dyn InterfaceAccess>, RequestRefusal> {
    parts.subjects.interfaces.as_ref().ok_or(RequestRefusal::NotHere("the device interfaces"))
}

pub(crate) async fn command(
    parts: Data<ServerDeps>,
    name: Path<String>,
    wanted: Json<CommandWanted>,
) -> Result<Json<CommandTaken>, RequestRefusal> {
    let taken = interfaces(&parts)?.command(name.clone(), wanted.into_inner()).await?;
    info!(interface = *name, "command given over HTTP");
    Ok(Json(taken))
}

pub(crate) async fn frames(parts: Data<ServerDeps>, name: Path<String>) -> Result<Json<FrameList>, RequestRefusal> {
    Ok(Json(interfaces(&parts)?.frames(name.into_inner()).await?))
}
