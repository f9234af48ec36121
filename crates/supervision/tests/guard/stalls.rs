//! Actors that no longer take their messages, noticed from another thread.

use crate::probe::{self, Act, Note, Rig, policy, until};
use hearthgate_supervision::{ActorStatus, InjectedFault, OperatorAnswer, RestartPolicy};
use std::time::Duration;

fn watched() -> RestartPolicy {
    RestartPolicy { stall_timeout: Duration::from_millis(200), stop_timeout: Duration::from_millis(50), ..policy() }
}

const LONG: Duration = Duration::from_millis(1500);

#[actix::test]
async fn a_blocked_handler_is_noticed_by_name_and_running_again_when_it_answers() {
    let rig = Rig::new();
    let (frozen, other) = (rig.start("frozen", watched()), rig.start("other", watched()));
    frozen.addr.try_send(Act::Block(LONG)).unwrap();
    frozen.addr.try_send(Note(1)).unwrap();
    until(&frozen.health, |h| h.status == ActorStatus::Unresponsive).await;
    let health = rig.registry.get("frozen").unwrap().health.borrow().clone();
    assert_eq!(health.last_error.as_deref(), Some("took no message for 200ms: its thread is blocked"));
    other.addr.send(Note(2)).await.unwrap();
    assert_eq!(other.health.borrow().status, ActorStatus::Running);
    until(&frozen.health, |h| h.status == ActorStatus::Running).await;
    assert_eq!((frozen.notes(), frozen.health.borrow().restarts), (vec!["note 1".to_owned()], 0));
}

#[actix::test]
async fn an_actor_that_waits_without_end_is_noticed_and_can_be_restarted() {
    let rig = Rig::new();
    let one = rig.start("one", watched());
    one.addr.try_send(Act::WaitFor(Duration::from_secs(3600))).unwrap();
    one.addr.try_send(Note(1)).unwrap();
    until(&one.health, |h| h.status == ActorStatus::Unresponsive).await;
    let error = one.health.borrow().last_error.clone().unwrap();
    assert_eq!(&*error, "took no message for 200ms: it waits for a future (ctx.wait) that does not end");
    assert_eq!(one.control.restart().await, Ok(OperatorAnswer::Done));
    until(&one.health, |h| h.status == ActorStatus::Running).await;
    one.addr.send(Note(2)).await.unwrap();
    assert_eq!(one.notes(), ["note 1", "note 2"]);
}

#[actix::test]
async fn an_idle_actor_and_a_flooded_one_are_responsive() {
    let rig = Rig::new();
    let (idle, busy) = (rig.start("idle", watched()), rig.start("busy", watched()));
    let stuck = rig.start("stuck", RestartPolicy { stall_timeout: Duration::from_millis(400), ..watched() });
    busy.addr.try_send(probe::Flood).unwrap();
    stuck.addr.try_send(Act::Block(LONG)).unwrap();
    // By the time that twice their timeout has passed, by the same watchdog's count, they would have been reported.
    until(&stuck.health, |h| h.status == ActorStatus::Unresponsive).await;
    assert_eq!(idle.health.borrow().last_error, None);
    assert_eq!(busy.health.borrow().last_error, None);
}

#[actix::test]
async fn a_parked_actor_is_not_called_unresponsive() {
    let rig = Rig::new();
    let parked =
        rig.start_with("parked", RestartPolicy { max_restarts: 0, ..watched() }, |probe| probe.fail_starts = 1);
    let stuck = rig.start("stuck", RestartPolicy { stall_timeout: Duration::from_millis(400), ..watched() });
    stuck.addr.try_send(Act::Block(LONG)).unwrap();
    until(&stuck.health, |h| h.status == ActorStatus::Unresponsive).await;
    assert_eq!(parked.health.borrow().status, ActorStatus::Parked);
}

#[actix::test]
async fn a_panic_after_a_stall_is_restarted_like_any_other() {
    let rig = Rig::new();
    let one = rig.start("one", watched());
    one.addr.try_send(Act::Block(LONG)).unwrap();
    one.addr.try_send(Act::Panic).unwrap();
    one.addr.try_send(Note(1)).unwrap();
    until(&one.health, |h| h.status == ActorStatus::Unresponsive).await;
    until(&one.health, |h| h.status == ActorStatus::Running && h.restarts == 1).await;
    one.addr.send(Note(2)).await.unwrap();
    assert_eq!(one.notes(), ["note 1", "note 2"]);
}

#[actix::test]
async fn injected_faults_are_suffered_by_the_actor_itself() {
    let rig = Rig::new();
    let one = rig.start("one", watched());
    one.addr.send(Note(1)).await.unwrap();
    one.control.inject(InjectedFault::Panic).await.unwrap();
    until(&one.health, |h| h.restarts == 1 && h.status == ActorStatus::Running).await;
    assert_eq!(one.health.borrow().last_error.as_deref(), Some("panicked: injected panic"));
    one.control.inject(InjectedFault::Error).await.unwrap();
    until(&one.health, |h| h.restarts == 2 && h.status == ActorStatus::Running).await;
    assert_eq!(one.health.borrow().last_error.as_deref(), Some("injected error"));
    one.control.inject(InjectedFault::Freeze(LONG)).await.unwrap();
    until(&one.health, |h| h.status == ActorStatus::Unresponsive).await;
    one.addr.send(Note(2)).await.unwrap();
    assert_eq!(one.notes(), ["note 1", "note 2"]);
}
