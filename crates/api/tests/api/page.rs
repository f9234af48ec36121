//! The page's shell, and logging in to it.

use crate::gateway::{Gateway, TOKEN};
use hearthgate_api::{AccessScope, TokenFile};
use secrecy::ExposeSecret;

/// `name=value` of the cookie that a login with this token set.
async fn log_in_with(gateway: &Gateway, token: &str) -> String {
    let reply = gateway.send("POST /api/v1/session", &[], &format!("{{\"token\":\"{token}\"}}")).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let set = reply.header("set-cookie").expect("a cookie");
    assert!(set.contains("HttpOnly") && set.contains("SameSite=Strict"), "{set}");
    assert!(!set.contains("Path="), "the browser takes the folder of the API under any prefix: {set}");
    assert!(!set.contains(token), "{set}");
    set.split(';').next().expect("a pair").to_owned()
}

async fn log_in(gateway: &Gateway) -> String {
    log_in_with(gateway, TOKEN).await
}

#[actix::test]
async fn the_page_is_served_to_everybody_with_a_policy_and_is_not_sent_again_when_it_is_known() {
    let gateway = Gateway::open(true);
    let reply = gateway.ask("GET /", &[]).await;
    assert_eq!(reply.status, 200);
    let policy = reply.header("content-security-policy").expect("a policy");
    assert!(policy.contains("default-src 'self'") && policy.contains("frame-ancestors 'none'"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!(reply.header("cache-control"), Some("no-cache"));
    let etag = reply.header("etag").expect("an ETag").to_owned();
    let again = gateway.ask("GET /", &[&format!("If-None-Match: {etag}")]).await;
    assert_eq!((again.status, again.body.as_str()), (304, ""));
    for file in reply.body.split("\"page/").skip(1).filter_map(|rest| rest.split('"').next()) {
        assert_eq!(gateway.ask(&format!("GET /page/{file}"), &[]).await.status, 200, "{file}");
    }
    for nothing in ["/page/", "/page/../Cargo.toml", "/page/%2e%2e/build.rs", "/page/main.js/x", "/favicon.ico"] {
        assert_eq!(gateway.ask(&format!("GET {nothing}"), &[]).await.problem().0, 404, "{nothing}");
    }
}

#[actix::test]
async fn a_login_gives_a_cookie_that_may_what_the_token_may_until_it_is_ended() {
    let gateway = Gateway::open(true);
    let state = gateway.ask("GET /api/v1/session", &[]).await.json();
    assert_eq!((state["needs_token"].as_bool(), state["scope"].as_str()), (Some(true), Some("open")));
    let cookie = format!("Cookie: {}", log_in(&gateway).await);
    assert_eq!(gateway.ask("GET /api/v1/session", &[&cookie]).await.json()["scope"], "admin");
    let sessions = gateway.ask("GET /api/v1/sessions", &[&cookie]).await.json();
    assert_eq!(
        (sessions["sessions"].as_array().map(Vec::len), &sessions["sessions"][0]["own"]),
        (Some(1), &true.into())
    );
    let forged = format!("{}0", &cookie[..cookie.len() - 1]);
    assert_eq!(gateway.ask("GET /api/v1/sessions", &[&forged]).await.status, 401);

    let other = format!("Cookie: {}", log_in(&gateway).await);
    let id = sessions["sessions"][0]["id"].as_str().expect("an id");
    assert_eq!(gateway.ask(&format!("DELETE /api/v1/sessions/{id}"), &[&other]).await.status, 204);
    assert_eq!(gateway.ask("GET /api/v1/sessions", &[&cookie]).await.problem(), (401, "token-missing".into()));
    assert_eq!(gateway.ask("DELETE /api/v1/session", &[&other]).await.status, 204);
    assert_eq!(gateway.ask("GET /api/v1/sessions", &[&other]).await.status, 401);
}

#[actix::test]
async fn a_kept_token_gives_its_scope_alone_and_revoked_it_ends_its_logins_and_no_others() {
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = Gateway::open_in(folder.path());
    let tokens = TokenFile::in_folder(folder.path());
    let token = tokens.add("wall", AccessScope::Read).expect("a token");
    let token = token.expose_secret();
    let bearer = format!("Authorization: Bearer {token}");
    let (theirs, ours) = (log_in_with(&gateway, token).await, log_in(&gateway).await);
    let (theirs, ours) = (format!("Cookie: {theirs}"), format!("Cookie: {ours}"));
    for shown in [&bearer, &theirs] {
        assert_eq!(gateway.ask("GET /api/v1/session", &[shown]).await.json()["scope"], "read");
        let narrow = gateway.ask("GET /api/v1/sessions", &[shown]).await;
        assert_eq!(narrow.problem(), (403, "scope-too-narrow".into()));
    }
    let count = async || {
        let sessions = gateway.ask("GET /api/v1/sessions", &[&ours]).await.json();
        sessions["sessions"].as_array().map(Vec::len)
    };
    assert_eq!(count().await, Some(2));

    tokens.revoke("wall").expect("it is there");
    assert_eq!(gateway.ask("GET /api/v1/session", &[&theirs]).await.json()["scope"], "open");
    assert_eq!(gateway.ask("GET /api/v1/flows", &[&theirs]).await.problem(), (401, "token-missing".into()));
    assert_eq!(gateway.ask("GET /api/v1/flows", &[&bearer]).await.problem(), (403, "token-wrong".into()));
    assert_eq!(count().await, Some(1), "the login with the other token goes on");
}

#[actix::test]
async fn a_cookie_is_of_no_use_to_the_pages_of_other_sites() {
    let gateway = Gateway::open(true);
    let cookie = format!("Cookie: {}", log_in(&gateway).await);
    let foreign = gateway.ask("DELETE /api/v1/session", &[&cookie, "Origin: http://evil.example"]).await;
    assert_eq!(foreign.problem(), (403, "foreign-origin".into()));
    let rebound = gateway.ask("GET /api/v1/sessions", &[&cookie, "Host: evil.example"]).await;
    assert_eq!(rebound.problem(), (421, "foreign-host".into()));
    let login = gateway.send("POST /api/v1/session", &["Sec-Fetch-Site: cross-site"], "{\"token\":\"x\"}").await;
    assert_eq!(login.problem(), (403, "foreign-origin".into()));
}

#[actix::test]
async fn whoever_guesses_tokens_has_to_wait() {
    let gateway = Gateway::open(true);
    let guess = || gateway.send("POST /api/v1/session", &[], "{\"token\":\"a guess\"}");
    for _ in 0..10 {
        assert_eq!(guess().await.problem(), (403, "token-wrong".into()));
    }
    let reply = guess().await;
    assert_eq!(reply.problem(), (429, "too-many-tries".into()));
    assert!(reply.header("retry-after").is_some());
}

#[actix::test]
async fn what_can_not_be_read_is_a_problem_that_says_what_was_wrong() {
    let gateway = Gateway::open(false);
    for (request, body) in [
        ("POST /api/v1/flows/test", "{"),
        ("POST /api/v1/flows/test", "{\"nothing\": 1}"),
        ("POST /api/v1/dead-letters/drop", "{}"),
        ("GET /api/v1/data/A/b?from=yesterday", ""),
        ("GET /api/v1/topics?nothing=1", ""),
    ] {
        let reply = gateway.send(request, &[], body).await;
        let (status, code) = reply.problem();
        assert!(matches!(status, 404 | 409 | 422), "{request}: {status} {code}");
    }
    assert_eq!(gateway.ask("GET /api/v1/dead-letters/x", &[]).await.problem(), (404, "no-such-path".into()));
}
