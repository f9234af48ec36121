//! Who may ask, and who may order: decided on a request's head alone, before any handler.
//!
//! Three doors that a browser on the same machine would otherwise open to any web page: DNS rebinding (the `Host` is a
//! stranger's name that points here), cross-site requests (an `Origin` that is not ours), and plain reading by scripts
//! (which CORS headers would permit; we send none).

use crate::keys::{AccessKeys, GrantOrigin};
use crate::problem::RequestRefusal;
use crate::scope::AccessScope;
use crate::sessions::cookie;
use crate::settings::ApiOptions;
use crate::table::OperationRights;
use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::{self, HeaderMap};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage as _, ResponseError, web};
use std::net::IpAddr;

pub(crate) async fn gate(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    match admit(&request) {
        Err(refusal) => Ok(request.into_response(refusal.error_response())),
        Ok(grant) => {
            request.extensions_mut().insert(grant.scope);
            request.extensions_mut().insert(grant.origin);
            Ok(next.call(request).await?.map_into_boxed_body())
        }
    }
}

/// What a caller may do, and by what.
#[derive(Debug, PartialEq, Eq)]
struct AccessGrant {
    scope: AccessScope,
    origin: GrantOrigin,
}

/// What the caller may do, if it is enough.
fn admit(request: &ServiceRequest) -> Result<AccessGrant, RequestRefusal> {
    let (settings, rights, keys) = (
        request.app_data::<web::Data<ApiOptions>>(),
        request.app_data::<web::Data<OperationRights>>(),
        request.app_data::<web::Data<AccessKeys>>(),
    );
    let (Some(settings), Some(rights), Some(keys)) = (settings, rights, keys) else {
        return Err(RequestRefusal::Internal("the API was started without its settings"));
    };
    let head = Head::of(request);
    check(settings, &head)?;
    let granted = granted(&settings.cookie_name(), keys, &head);
    // The very text that the router will match.
    let needed = rights.needed(request.method(), request.match_info().unprocessed());
    let needed = needed.unwrap_or(if head.changes { AccessScope::Operate } else { AccessScope::Open });
    match granted {
        Err(_) if needed == AccessScope::Open => {
            Ok(AccessGrant { scope: AccessScope::Open, origin: GrantOrigin::Everybody })
        }
        Ok(grant) if grant.scope >= needed => Ok(grant),
        Ok(_) => Err(RequestRefusal::ScopeTooNarrow(needed.as_str())),
        Err(refusal) => Err(refusal),
    }
}

/// By the token, or by the cookie of whoever logged in with it; all of it where there is no token.
fn granted(cookie_name: &str, keys: &AccessKeys, head: &Head<'_>) -> Result<AccessGrant, RequestRefusal> {
    if !keys.needs_token() {
        return Ok(AccessGrant { scope: AccessScope::Admin, origin: GrantOrigin::Everybody });
    }
    if let Some(sent) = head.authorization {
        let sent = strip_bearer(sent).ok_or(RequestRefusal::TokenMissing)?;
        let (scope, hashed) = keys.of_token(sent).ok_or(RequestRefusal::TokenWrong)?;
        return Ok(AccessGrant { scope, origin: GrantOrigin::Token(hashed) });
    }
    let cookie = head.headers.and_then(|headers| cookie(headers, cookie_name)).ok_or(RequestRefusal::TokenMissing)?;
    let origin = GrantOrigin::Login(cookie.to_owned());
    let scope = keys.scope_of(&origin).ok_or(RequestRefusal::TokenMissing)?;
    Ok(AccessGrant { scope, origin })
}

/// What of a request decides.
#[derive(Clone, Copy, Debug, Default)]
struct Head<'a> {
    changes: bool,
    /// From the `Host` header, or the request line's authority.
    host: Option<&'a str>,
    origin: Option<&'a str>,
    fetch_site: Option<&'a str>,
    authorization: Option<&'a [u8]>,
    headers: Option<&'a HeaderMap>,
}

impl<'a> Head<'a> {
    fn of(request: &'a ServiceRequest) -> Self {
        let text = |name| request.headers().get(name).map(|value| value.to_str().unwrap_or("(not text)"));
        Head {
            changes: !matches!(*request.method(), Method::GET | Method::HEAD),
            host: text(header::HOST).or_else(|| request.uri().authority().map(|authority| authority.as_str())),
            origin: text(header::ORIGIN),
            fetch_site: request.headers().get("sec-fetch-site").and_then(|value| value.to_str().ok()),
            authorization: request.headers().get(header::AUTHORIZATION).map(header::HeaderValue::as_bytes),
            headers: Some(request.headers()),
        }
    }
}

fn check(settings: &ApiOptions, head: &Head<'_>) -> Result<(), RequestRefusal> {
    check_host(settings, head.host.unwrap_or_default())?;
    if head.changes { check_origin(head) } else { Ok(()) }
}

/// A name that an attacker's DNS controls can be made to point at us; an address cannot. Beyond loopback, names are checked
/// once there is a list of them: only the owner knows what the machine is called there, and orders need the token.
fn check_host(settings: &ApiOptions, host: &str) -> Result<(), RequestRefusal> {
    let name = without_port(host).to_ascii_lowercase();
    let known = name == "localhost" || settings.names().contains(&name);
    let open = !settings.is_loopback() && settings.names().is_empty();
    let allowed = match name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
        Ok(address) => !settings.is_loopback() || address.to_canonical().is_loopback(),
        Err(_) => known || open,
    };
    if allowed { Ok(()) } else { Err(RequestRefusal::ForeignHost(host.to_owned())) }
}

/// Programs send neither header; browsers send them with every request that changes something.
fn check_origin(head: &Head<'_>) -> Result<(), RequestRefusal> {
    let ours = |origin: &str| origin.split_once("://").is_some_and(|(_, host)| Some(host) == head.host);
    let foreign = head.origin.is_some_and(|origin| !ours(origin))
        || head.fetch_site.is_some_and(|site| !matches!(site, "same-origin" | "none"));
    if foreign { Err(RequestRefusal::ForeignOrigin) } else { Ok(()) }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        // In `[::1]` the last colon belongs to the address.
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !port.is_empty() => name,
        _ => host,
    }
}

/// `Bearer TOKEN` (RFC 6750 section 2.1); the scheme in any case (RFC 9110 section 11.1).
fn strip_bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| rest.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef";

    fn settings(bind: &str, token: bool, names: &[&str]) -> ApiOptions {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        ApiOptions::new(bind.parse().unwrap(), token.then(|| TOKEN.into()), names).unwrap()
    }

    fn order<'a>(authorization: Option<&'a str>) -> Head<'a> {
        Head {
            changes: true,
            host: Some("127.0.0.1:1"),
            authorization: authorization.map(str::as_bytes),
            ..Head::default()
        }
    }

    #[test]
    fn on_loopback_only_loopback_names_are_answered() {
        let settings = settings("127.0.0.1:8787", false, &["Gateway.lan"]);
        for host in
            ["127.0.0.1", "127.0.0.1:8787", "localhost:1", "LOCALHOST", "[::1]:8787", "[::1]", "gateway.lan:8787"]
        {
            assert_eq!(check_host(&settings, host), Ok(()), "{host}");
        }
        for host in
            ["evil.example", "evil.example:8787", "localhost.evil.example", "192.168.1.2", "", "127.0.0.1.evil.example"]
        {
            assert_eq!(check_host(&settings, host), Err(RequestRefusal::ForeignHost(host.into())), "{host:?}");
        }
    }

    #[test]
    fn beyond_loopback_addresses_are_answered_and_names_when_no_list_says_otherwise() {
        let open = settings("0.0.0.0:8787", true, &[]);
        let listed = settings("0.0.0.0:8787", true, &["gateway.lan"]);
        for (host, with_list) in [("192.168.1.2:8787", true), ("gateway.lan", true), ("evil.example", false)] {
            assert_eq!(check_host(&open, host), Ok(()), "{host}");
            assert_eq!(check_host(&listed, host).is_ok(), with_list, "{host}");
        }
    }

    #[test]
    fn once_a_token_is_set_it_alone_gives_rights() {
        let settings = settings("127.0.0.1:1", true, &[]);
        let keys = AccessKeys::new(&settings);
        let granted = |head| granted("cookie", &keys, &head).map(|grant| grant.scope);
        assert_eq!(granted(order(None)), Err(RequestRefusal::TokenMissing));
        assert_eq!(granted(order(Some("Basic 0123456789abcdef"))), Err(RequestRefusal::TokenMissing));
        for wrong in ["Bearer ", "Bearer 0123456789abcdeX", "Bearer 0123456789abcde", "Bearer 0123456789abcdef0"] {
            assert_eq!(granted(order(Some(wrong))), Err(RequestRefusal::TokenWrong), "{wrong}");
        }
        assert_eq!(granted(order(Some("bearer 0123456789abcdef"))), Ok(AccessScope::Admin));
    }

    #[test]
    fn a_web_page_of_another_site_cannot_give_orders() {
        let settings = settings("127.0.0.1:1", false, &[]);
        let from = |origin| Head { origin: Some(origin), ..order(None) };
        assert_eq!(check(&settings, &from("http://127.0.0.1:1")), Ok(()));
        for origin in ["http://evil.example", "null", "http://127.0.0.1:2", "http://127.0.0.1:1.evil.example", ""] {
            assert_eq!(check(&settings, &from(origin)), Err(RequestRefusal::ForeignOrigin), "{origin}");
        }
        let cross = Head { fetch_site: Some("cross-site"), ..order(None) };
        assert_eq!(check(&settings, &cross), Err(RequestRefusal::ForeignOrigin));
    }
}
