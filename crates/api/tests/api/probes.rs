//! Liveness, readiness, metrics, version: what machines ask.

use crate::gateway::{Gateway, policy};
use hearthgate_api::{AdminError, ApiOptions, bind};
use hearthgate_supervision::{ActorStatus, InjectedFault, RestartPolicy};

#[actix::test]
async fn ready_means_that_every_actor_and_every_part_works() {
    let gateway = Gateway::open(false);
    let one = gateway.start("one", policy()).await;
    let reply = gateway.ask("GET /readyz", &[]).await;
    assert_eq!((reply.status, reply.body.as_str()), (200, r#"{"ready":true,"failing":[]}"#));

    *gateway.states.lock().unwrap() =
        vec![("mqtt".into(), Err("connection refused".into())), ("database".into(), Ok(()))];
    one.control.stop().await.unwrap();
    let reply = gateway.ask("GET /readyz", &[]).await;
    assert_eq!(reply.status, 503);
    let expected = serde_json::json!({"ready": false, "failing": [
        {"part": "mqtt", "error": "connection refused"}, {"part": "actor one", "error": "stopped"},
    ]});
    assert_eq!(reply.json(), expected);
}

#[actix::test]
async fn live_ends_when_only_ending_the_process_can_help() {
    let gateway = Gateway::open(false);
    let parks = RestartPolicy { max_restarts: 0, ..policy() };
    let (spare, vital) = (
        gateway.start("spare", parks.clone()).await,
        gateway.start("vital", RestartPolicy { essential: true, ..parks }).await,
    );
    spare.control.inject(InjectedFault::Error).await.unwrap();
    spare.health.clone().wait_for(|health| health.status == ActorStatus::Parked).await.unwrap();
    assert_eq!(gateway.ask("GET /livez", &[]).await.status, 200);
    vital.control.inject(InjectedFault::Error).await.unwrap();
    gateway.registry.essential_failure().await;
    let reply = gateway.ask("GET /livez", &[]).await;
    assert_eq!(reply.status, 503);
    assert_eq!(
        reply.json()["failing"],
        serde_json::json!([{"part": "actor vital", "error": "parked: injected error"}])
    );
}

#[actix::test]
async fn metrics_show_what_was_counted_the_actors_and_the_process() {
    let gateway = Gateway::open(false);
    let one = gateway.start("one", policy()).await;
    one.control.restart().await.unwrap();
    one.health.clone().wait_for(|health| health.status == ActorStatus::Running).await.unwrap();
    metrics::with_local_recorder(&gateway.metrics, || {
        metrics::counter!("hearthgate_messages_total", "flow" => "AHT10", "outcome" => "stored").increment(7);
    });
    let reply = gateway.ask("GET /metrics", &[]).await;
    assert!(reply.head.contains("content-type: text/plain; version=0.0.4"));
    for line in [
        "hearthgate_messages_total{flow=\"AHT10\",outcome=\"stored\"} 7",
        "hearthgate_actor_up{actor=\"one\"} 1",
        "hearthgate_actor_restarts_total{actor=\"one\"} 1",
        "# TYPE hearthgate_process_resident_memory_bytes gauge",
    ] {
        assert!(reply.body.lines().any(|shown| shown == line), "no {line} in\n{}", reply.body);
    }
    let names = reply.body.lines().filter(|line| !line.starts_with('#'));
    names.for_each(|line| assert!(line.starts_with("hearthgate_"), "{line}"));
}

#[actix::test]
async fn the_version_is_the_gateways() {
    let gateway = Gateway::open(false);
    assert_eq!(gateway.ask("GET /api/v1/version", &[]).await.body, r#"{"name":"hearthgate","version":"1.2.3"}"#);
}

#[test]
fn an_address_in_use_is_an_error_at_start_that_names_the_setting() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let settings = ApiOptions::new(taken.local_addr().unwrap(), None, Vec::new()).unwrap();
    let error = bind(settings).unwrap_err();
    assert!(matches!(error, AdminError::Bind(..)) && error.to_string().contains("[http] listen"), "{error}");
}
