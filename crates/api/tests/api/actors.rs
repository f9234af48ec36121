//! Listing actors, giving them orders, and the client that the command line does it with.

use crate::gateway::{Gateway, blocking, policy};
use hearthgate_api::{ApiClient, ApiClientError};
use hearthgate_supervision::{ActorStatus, InjectedFault, OperatorCommand, RestartPolicy};
use std::time::Duration;

#[actix::test]
async fn actors_are_listed_by_name_with_what_is_known_of_them() {
    let gateway = Gateway::open(false);
    let _router = gateway.start("router", policy()).await;
    let mapper = gateway.start("mapper", RestartPolicy { essential: true, ..policy() }).await;
    mapper.control.inject(InjectedFault::Panic).await.unwrap();
    mapper
        .health
        .clone()
        .wait_for(|health| health.restarts == 1 && health.status == ActorStatus::Running)
        .await
        .unwrap();
    let listed = gateway.ask("GET /api/v1/actors", &[]).await.json();
    let names: Vec<_> = listed["actors"].as_array().unwrap().iter().map(|actor| actor["name"].clone()).collect();
    assert_eq!(names, ["mapper", "router"]);
    let one = gateway.ask("GET /api/v1/actors/mapper", &[]).await.json();
    assert_eq!(one, listed["actors"][0]);
    assert_eq!((&one["status"], &one["restarts"], &one["essential"]), (&"running".into(), &1.into(), &true.into()));
    assert_eq!(one["last_error"], "panicked: injected panic");
    assert!(one["since"].as_str().unwrap().ends_with('Z'));
}

#[actix::test]
async fn an_actor_goes_through_every_order_over_http() {
    let gateway = Gateway::open(false);
    let _one = gateway.start("interface entry", policy()).await;
    let table = [
        ("stop", 200, "done", "stopped"),
        ("stop", 200, "already", "stopped"),
        ("start", 200, "done", ""),
        ("start", 200, "already", ""),
        ("resume", 200, "already", ""),
        ("restart", 200, "done", ""),
    ];
    for (command, status, outcome, state) in table {
        let reply = gateway.ask(&format!("POST /api/v1/actors/interface%20entry/{command}"), &[]).await;
        assert_eq!((reply.status, reply.json()["outcome"].as_str()), (status, Some(outcome)), "{command}: {reply:?}");
        assert!(state.is_empty() || reply.json()["actor"]["status"] == state, "{reply:?}");
    }
    gateway.ask("POST /api/v1/actors/interface%20entry/stop", &[]).await;
    let reply = gateway.ask("POST /api/v1/actors/interface%20entry/resume", &[]).await;
    assert_eq!(reply.problem(), (409, "actor-stopped".into()));
}

#[actix::test]
async fn the_api_answers_while_an_actor_is_frozen_and_says_that_the_order_was_withdrawn() {
    let gateway = Gateway::open(false);
    let quick = RestartPolicy { stall_timeout: Duration::from_millis(100), stop_timeout: Duration::ZERO, ..policy() };
    let one = gateway.start("one", quick).await;
    // The order is withdrawn after two seconds; on a busy machine the rest must not run out before.
    assert_eq!(gateway.ask("POST /api/v1/actors/one/fault/freeze-8000", &[]).await.status, 200);
    one.health.clone().wait_for(|health| health.status == ActorStatus::Unresponsive).await.unwrap();
    let reply = gateway.ask("POST /api/v1/actors/one/restart", &[]).await;
    assert_eq!(reply.problem(), (504, "actor-unresponsive".into()));
    one.health.clone().wait_for(|health| health.status == ActorStatus::Running).await.unwrap();
    assert_eq!(one.health.borrow().restarts, 0, "a withdrawn order is not carried out later");
}

#[actix::test]
async fn faults_can_be_injected_into_an_actor_by_name() {
    let gateway = Gateway::open(false);
    let one = gateway.start("one", policy()).await;
    assert_eq!(gateway.ask("POST /api/v1/actors/one/fault/error", &[]).await.status, 200);
    one.health.clone().wait_for(|health| health.restarts == 1 && health.status == ActorStatus::Running).await.unwrap();
    assert_eq!(one.health.borrow().last_error.as_deref(), Some("injected error"));
    assert_eq!(gateway.ask("POST /api/v1/actors/one/fault/rust", &[]).await.problem(), (404, "unknown-command".into()));
}

#[actix::test]
async fn the_client_lists_orders_and_passes_on_why_not() {
    let gateway = Gateway::open(true);
    let one = gateway.start("interface entry/1", policy()).await;
    let (client, stranger) = (gateway.client(true), gateway.client(false));
    blocking(move || {
        assert_eq!(client.actors().unwrap()[0].name, "interface entry/1");
        assert_eq!(client.actor("interface entry/1").unwrap().status, "running");
        assert!(client.ready().unwrap().ready);
        let done = client.order("interface entry/1", OperatorCommand::Stop).unwrap();
        assert_eq!((done.outcome.as_str(), done.actor.status.as_str()), ("done", "stopped"));
        assert!(!client.ready().unwrap().ready);
        let refused = client.order("interface entry/1", OperatorCommand::Resume).unwrap_err();
        assert_eq!(refused.to_string(), "actor \"interface entry/1\" was stopped, it is not parked; use start");
        let refused = stranger.order("interface entry/1", OperatorCommand::Start).unwrap_err();
        assert!(matches!(&refused, ApiClientError::Refused(problem) if problem.code == "token-missing"), "{refused}");
    })
    .await;
    assert_eq!(one.health.borrow().status, ActorStatus::Stopped);
}

#[test]
fn the_client_says_what_to_do_when_nobody_listens() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = ApiClient::new(free, None).actors().unwrap_err();
    assert!(matches!(error, ApiClientError::Connect(..)) && error.to_string().contains("does it run"), "{error}");
}
