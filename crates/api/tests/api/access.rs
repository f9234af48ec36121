//! Who is answered and who is obeyed.

use crate::gateway::{Gateway, TOKEN, policy};
use hearthgate_supervision::ActorStatus;

#[actix::test]
async fn a_foreign_host_name_is_refused_also_for_reading() {
    let gateway = Gateway::open(false);
    for path in ["/api/v1/actors", "/metrics", "/livez", "/nothing"] {
        let reply = gateway.ask(&format!("GET {path}"), &["Host: evil.example"]).await;
        assert_eq!(reply.problem(), (421, "foreign-host".into()));
    }
    assert_eq!(gateway.ask("GET /livez", &["Host: localhost:8787"]).await.status, 200);
}

#[actix::test]
async fn orders_need_the_token_once_one_is_set_and_reading_does_not() {
    let gateway = Gateway::open(true);
    let one = gateway.start("one", policy()).await;
    assert_eq!(gateway.ask("GET /api/v1/actors", &[]).await.status, 200);
    let without = gateway.ask("POST /api/v1/actors/one/stop", &[]).await;
    assert_eq!(without.problem(), (401, "token-missing".into()));
    assert!(without.head.contains("www-authenticate: bearer"));
    let wrong = gateway.ask("POST /api/v1/actors/one/stop", &["Authorization: Bearer a-token-for-tests-onlz"]).await;
    assert_eq!(wrong.problem(), (403, "token-wrong".into()));
    assert_eq!(one.health.borrow().status, ActorStatus::Running);
    let right = gateway.ask("POST /api/v1/actors/one/stop", &[&format!("Authorization: Bearer {TOKEN}")]).await;
    assert_eq!(right.status, 200);
    assert_eq!(one.health.borrow().status, ActorStatus::Stopped);
}

#[actix::test]
async fn a_page_of_another_site_cannot_order_and_cannot_read() {
    let gateway = Gateway::open(false);
    let one = gateway.start("one", policy()).await;
    let reply = gateway.ask("POST /api/v1/actors/one/stop", &["Origin: http://evil.example"]).await;
    assert_eq!(reply.problem(), (403, "foreign-origin".into()));
    assert_eq!(one.health.borrow().status, ActorStatus::Running);
    let reply = gateway.ask("GET /api/v1/actors", &["Origin: http://evil.example"]).await;
    assert!(!reply.head.contains("access-control"), "{reply:?}");
    let reply = gateway.ask("OPTIONS /api/v1/actors/one/stop", &["Origin: http://evil.example"]).await;
    assert_eq!(reply.status, 403);
}

#[actix::test]
async fn unknown_paths_and_methods_are_problems_as_well() {
    let gateway = Gateway::open(false);
    let _one = gateway.start("one", policy()).await;
    assert_eq!(gateway.ask("GET /api/v2/actors", &[]).await.problem(), (404, "no-such-path".into()));
    let reply = gateway.ask("DELETE /api/v1/actors/one", &[]).await;
    assert_eq!(reply.problem(), (405, "wrong-method".into()));
    assert!(reply.head.contains("allow: get"));
    assert_eq!(gateway.ask("GET /api/v1/actors/one/stop", &[]).await.problem(), (405, "wrong-method".into()));
    assert_eq!(gateway.ask("POST /api/v1/actors/one/explode", &[]).await.problem(), (404, "unknown-command".into()));
    assert_eq!(gateway.ask("GET /api/v1/actors/two", &[]).await.problem(), (404, "unknown-actor".into()));
}

#[actix::test]
async fn every_answer_says_that_it_is_not_to_be_kept() {
    let gateway = Gateway::open(false);
    for request in ["GET /livez", "GET /nothing", "POST /livez"] {
        let reply = gateway.ask(request, &[]).await;
        assert!(reply.head.contains("cache-control: no-store") && reply.head.contains("nosniff"), "{reply:?}");
    }
}
