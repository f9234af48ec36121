//! Logging in to the page and out.

use crate::keys::AccessKeys;
use crate::page;
use crate::problem::RequestRefusal;
use crate::scope::AccessScope;
use crate::sessions::cookie;
use crate::settings::ApiOptions;
use crate::state::ServerDeps;
use crate::wire::{LoginStatus, LoginWanted, SessionList, SessionView};
use actix_web::http::header;
use actix_web::web::{Data, Json, Path, ReqData};
use actix_web::{HttpRequest, HttpResponse};
use std::net::{IpAddr, Ipv4Addr};
use tracing::{info, warn};

/// Seconds that a browser keeps the cookie: as long as an unused session lasts.
const COOKIE_AGE: u32 = 30 * 24 * 3600;

pub(crate) async fn show(
    keys: Data<AccessKeys>,
    parts: Data<ServerDeps>,
    scope: ReqData<AccessScope>,
) -> Json<LoginStatus> {
    Json(state(&keys, &parts, *scope))
}

pub(crate) async fn log_in(
    request: HttpRequest,
    settings: Data<ApiOptions>,
    parts: Data<ServerDeps>,
    keys: Data<AccessKeys>,
    wanted: Json<LoginWanted>,
) -> Result<HttpResponse, RequestRefusal> {
    if !keys.needs_token() {
        return Err(RequestRefusal::NoLogin);
    }
    let address = request.peer_addr().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |address| address.ip());
    if keys.sessions.must_wait(address) {
        return Err(RequestRefusal::TooManyTries);
    }
    let Some((scope, token)) = keys.of_token(wanted.token.trim().as_bytes()) else {
        warn!(%address, "somebody tried to log in to the page with a wrong token");
        keys.sessions.note_wrong(address);
        return Err(RequestRefusal::TokenWrong);
    };
    let begun = keys.sessions.begin(&token, scope, &address.to_string());
    let value = begun.map_err(|_| RequestRefusal::Internal("the system gives no random bytes"))?;
    info!(%address, "login to the page");
    let name = settings.cookie_name();
    let secure = if is_encrypted(&request) { "; Secure" } else { "" };
    let set = format!("{name}={value}; Max-Age={COOKIE_AGE}; HttpOnly; SameSite=Strict{secure}");
    Ok(HttpResponse::Ok().insert_header((header::SET_COOKIE, set)).json(state(&keys, &parts, scope)))
}

pub(crate) async fn log_out(request: HttpRequest, settings: Data<ApiOptions>, keys: Data<AccessKeys>) -> HttpResponse {
    let name = settings.cookie_name();
    if let Some(cookie) = cookie(request.headers(), &name) {
        keys.sessions.end(cookie);
    }
    let gone = format!("{name}=; Max-Age=0; HttpOnly; SameSite=Strict");
    HttpResponse::NoContent().insert_header((header::SET_COOKIE, gone)).finish()
}

pub(crate) async fn list(
    request: HttpRequest,
    settings: Data<ApiOptions>,
    keys: Data<AccessKeys>,
) -> Json<SessionList> {
    let cookie = cookie(request.headers(), &settings.cookie_name());
    let view = |(kept, own): (crate::sessions::KeptLogin, bool)| SessionView {
        id: kept.id().to_owned(),
        scope: kept.scope,
        since: kept.since,
        used: kept.used,
        address: kept.address,
        own,
    };
    let all = keys.sessions.list(cookie).into_iter().filter(|(kept, _)| keys.is_in_force(&kept.token));
    Json(SessionList { sessions: all.map(view).collect() })
}

pub(crate) async fn revoke(keys: Data<AccessKeys>, id: Path<String>) -> Result<HttpResponse, RequestRefusal> {
    if !keys.sessions.revoke(&id) {
        return Err(RequestRefusal::Missing(format!("there is no session {id}")));
    }
    Ok(HttpResponse::NoContent().finish())
}

fn state(keys: &AccessKeys, parts: &ServerDeps, scope: AccessScope) -> LoginStatus {
    LoginStatus { needs_token: keys.needs_token(), scope, version: parts.version.to_owned(), page: page::version() }
}

/// The browser says by which scheme it reached us, whatever stands between us.
fn is_encrypted(request: &HttpRequest) -> bool {
    let origin = request.headers().get(header::ORIGIN).and_then(|origin| origin.to_str().ok());
    origin.is_some_and(|origin| origin.starts_with("https:"))
}
