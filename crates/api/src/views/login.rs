//! Logging in to the page and out.

use crate::page;
use crate::problem::RequestRefusal;
use crate::scope::AccessScope;
use crate::sessions::{LoginSessions, cookie};
use crate::settings::ApiOptions;
use crate::state::ServerDeps;
use crate::wire::{LoginStatus, LoginWanted, SessionList, SessionView};
use actix_web::http::header;
use actix_web::web::{Data, Json, Path, ReqData};
use actix_web::{HttpRequest, HttpResponse};
use secrecy::ExposeSecret;
use std::net::{IpAddr, Ipv4Addr};
use subtle::ConstantTimeEq;
use tracing::{info, warn};

/// Seconds that a browser keeps the cookie: as long as an unused session lasts.
const COOKIE_AGE: u32 = 30 * 24 * 3600;

pub(crate) async fn show(
    settings: Data<ApiOptions>,
    parts: Data<ServerDeps>,
    scope: ReqData<AccessScope>,
) -> Json<LoginStatus> {
    Json(state(&settings, &parts, *scope))
}

pub(crate) async fn log_in(
    request: HttpRequest,
    settings: Data<ApiOptions>,
    parts: Data<ServerDeps>,
    sessions: Data<LoginSessions>,
    wanted: Json<LoginWanted>,
) -> Result<HttpResponse, RequestRefusal> {
    let token = settings.token().ok_or(RequestRefusal::NoLogin)?.expose_secret();
    let address = request.peer_addr().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |address| address.ip());
    if sessions.must_wait(address) {
        return Err(RequestRefusal::TooManyTries);
    }
    if !bool::from(wanted.token.trim().as_bytes().ct_eq(token.as_bytes())) {
        warn!(%address, "somebody tried to log in to the page with a wrong token");
        sessions.note_wrong(address);
        return Err(RequestRefusal::TokenWrong);
    }
    let begun = sessions.begin(token, AccessScope::Admin, &address.to_string());
    let value = begun.map_err(|_| RequestRefusal::Internal("the system gives no random bytes"))?;
    info!(%address, "login to the page");
    let name = settings.cookie_name();
    let secure = if is_encrypted(&request) { "; Secure" } else { "" };
    let set = format!("{name}={value}; Max-Age={COOKIE_AGE}; HttpOnly; SameSite=Strict{secure}");
    Ok(HttpResponse::Ok().insert_header((header::SET_COOKIE, set)).json(state(&settings, &parts, AccessScope::Admin)))
}

pub(crate) async fn log_out(
    request: HttpRequest,
    settings: Data<ApiOptions>,
    sessions: Data<LoginSessions>,
) -> HttpResponse {
    let name = settings.cookie_name();
    if let Some(cookie) = cookie(request.headers(), &name) {
        sessions.end(cookie);
    }
    let gone = format!("{name}=; Max-Age=0; HttpOnly; SameSite=Strict");
    HttpResponse::NoContent().insert_header((header::SET_COOKIE, gone)).finish()
}

pub(crate) async fn list(
    request: HttpRequest,
    settings: Data<ApiOptions>,
    sessions: Data<LoginSessions>,
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
    Json(SessionList { sessions: sessions.list(cookie).into_iter().map(view).collect() })
}

pub(crate) async fn revoke(sessions: Data<LoginSessions>, id: Path<String>) -> Result<HttpResponse, RequestRefusal> {
    if !sessions.revoke(&id) {
        return Err(RequestRefusal::Missing(format!("there is no session {id}")));
    }
    Ok(HttpResponse::NoContent().finish())
}

fn state(settings: &ApiOptions, parts: &ServerDeps, scope: AccessScope) -> LoginStatus {
    LoginStatus {
        needs_token: settings.token().is_some(),
        scope,
        version: parts.version.to_owned(),
        page: page::version(),
    }
}

/// The browser says by which scheme it reached us, whatever stands between us.
fn is_encrypted(request: &HttpRequest) -> bool {
    let origin = request.headers().get(header::ORIGIN).and_then(|origin| origin.to_str().ok());
    origin.is_some_and(|origin| origin.starts_with("https:"))
}
