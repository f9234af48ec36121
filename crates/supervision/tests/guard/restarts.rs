//! What a guarded actor survives, seen from outside through its address, its health and its control handle.

use crate::probe::{self, Act, Note, Probe, Rig, policy, until};
use actix::prelude::*;
use hearthgate_supervision::{
    ActorExit, ActorStatus, ControlError, FailureKind, OperatorAnswer, RestartPolicy, StartError,
};
use std::time::Duration;

#[actix::test]
async fn a_panicking_handler_restarts_only_its_actor() {
    let rig = Rig::new();
    let (one, other) = (rig.start("one", policy()), rig.start("other", policy()));
    other.addr.send(Note(1)).await.unwrap();
    assert_eq!(
        one.addr.send(Act::Panic).await,
        Err(MailboxError::Closed),
        "the outcome of the message in hand is unknown"
    );
    until(&one.health, |h| h.status == ActorStatus::Running && h.restarts == 1).await;
    one.addr.send(Note(2)).await.unwrap();
    other.addr.send(Note(3)).await.unwrap();
    assert_eq!(one.seen(), ["started", "restarting", "started", "note 2"]);
    assert_eq!(other.seen(), ["started", "note 1", "note 3"]);
    assert_eq!(one.health.borrow().last_error.as_deref(), Some("panicked: told to"));
    assert_eq!(other.health.borrow().restarts, 0);
}

#[actix::test]
async fn queued_messages_survive_a_panic_in_order() {
    let rig = Rig::new();
    let one = rig.start("one", policy());
    one.control.stop().await.unwrap();
    one.addr.try_send(Note(1)).unwrap();
    one.addr.try_send(Act::Panic).unwrap();
    for n in 2..=200 {
        one.addr.try_send(Note(n)).unwrap();
    }
    one.control.start().await.unwrap();
    until_seen(&one, "note 200").await;
    let expected: Vec<String> = (1..=200).map(|n| format!("note {n}")).collect();
    assert_eq!(one.notes(), expected);
    assert_eq!(one.health.borrow().failures.total(), 1);
}

#[actix::test]
async fn a_spawned_future_panic_restarts_its_actor() {
    let rig = Rig::new();
    for (restarts, act) in [(1, Act::PanicInSpawn), (2, Act::PanicInTimer), (3, Act::PanicInWait)] {
        let one = rig.get_or_start("one");
        one.addr.send(act).await.unwrap();
        until(&one.health, |h| h.status == ActorStatus::Running && h.restarts == restarts).await;
        one.addr.send(Note(restarts)).await.unwrap();
    }
    assert_eq!(rig.get_or_start("one").notes(), ["note 1", "note 2", "note 3"]);
}

#[actix::test]
async fn an_error_return_restarts_its_actor() {
    let rig = Rig::new();
    let one = rig.start("one", policy());
    one.addr.send(Act::Fail).await.unwrap();
    until(&one.health, |h| h.restarts == 1 && h.status == ActorStatus::Running).await;
    assert_eq!(one.health.borrow().last_error.as_deref(), Some("the line is gone"));
    assert_eq!(one.health.borrow().failures.of(FailureKind::Dependency), 1);
    assert_eq!(one.seen(), ["started", "stopping", "stopped", "restarting", "started"]);
}

#[actix::test]
async fn an_actor_that_fails_and_says_it_goes_on_is_ended_all_the_same() {
    let rig = Rig::new();
    let one = rig.start("one", policy());
    one.addr.send(Act::FailButContinue).await.unwrap();
    until(&one.health, |h| h.restarts == 1 && h.status == ActorStatus::Running).await;
    assert_eq!(one.health.borrow().last_error.as_deref(), Some("the line is gone"));
}

#[actix::test]
async fn a_clean_stop_is_not_restarted() {
    let rig = Rig::new();
    let one = rig.start("one", policy());
    one.addr.send(Act::Stop).await.unwrap();
    until(&one.health, |h| h.status == ActorStatus::Stopped).await;
    assert_eq!((one.health.borrow().restarts, one.health.borrow().failures.total()), (0, 0));
    assert_eq!(one.control.resume().await, Err(ControlError::Stopped("one".into())));
    assert_eq!(one.control.start().await, Ok(OperatorAnswer::Done));
    one.addr.send(Note(1)).await.unwrap();
    assert_eq!(one.seen(), ["started", "stopping", "stopped", "restarting", "started", "note 1"]);
}

#[actix::test]
async fn an_address_taken_before_the_crash_works_after_it() {
    let rig = Rig::new();
    let one = rig.start("one", policy());
    let recipient = one.addr.clone().recipient::<Note>();
    let from_inside = one.addr.send(probe::OwnAddress).await.unwrap();
    one.addr.try_send(Act::Panic).unwrap();
    until(&one.health, |h| h.restarts == 1 && h.status == ActorStatus::Running).await;
    recipient.send(Note(1)).await.unwrap();
    from_inside.send(Note(2)).await.unwrap();
    assert_eq!(one.notes(), ["note 1", "note 2"]);
}

#[actix::test]
async fn an_actor_that_nobody_addresses_is_kept_alive_and_restarted() {
    let rig = Rig::new();
    let one = rig.start("one", policy());
    let (log, health) = (one.log.clone(), one.health.clone());
    one.addr.try_send(Act::PanicInTimer).unwrap();
    drop(one);
    until(&health, |h| h.restarts == 1 && h.status == ActorStatus::Running).await;
    assert_eq!(log.lines(), ["started", "restarting", "started"]);
}

#[actix::test]
async fn failing_to_start_backs_off_then_parks() {
    let rig = Rig::new();
    let one =
        rig.start_with("one", RestartPolicy { max_restarts: 3, ..policy() }, |probe| probe.fail_starts = u32::MAX);
    until(&one.health, |h| h.status == ActorStatus::Parked).await;
    let health = one.health.borrow().clone();
    assert_eq!((health.restarts, health.failures.total()), (3, 4));
    assert_eq!(health.last_error.as_deref(), Some("nothing to start with"));
    assert_eq!(health.next_restart, None, "without a cool-down only an operator resumes");
}

#[actix::test]
async fn a_parked_actor_drains_its_mailbox_on_resume() {
    let rig = Rig::new();
    let one = rig.start_with("one", RestartPolicy { max_restarts: 0, ..policy() }, |probe| probe.fail_starts = 1);
    until(&one.health, |h| h.status == ActorStatus::Parked).await;
    for n in 1..=5 {
        one.addr.try_send(Note(n)).unwrap();
    }
    assert_eq!(one.control.resume().await, Ok(OperatorAnswer::Done));
    until(&one.health, |h| h.status == ActorStatus::Running).await;
    one.addr.send(Note(6)).await.unwrap();
    assert_eq!(one.notes(), ["note 1", "note 2", "note 3", "note 4", "note 5", "note 6"]);
}

#[actix::test]
async fn the_mailbox_of_a_parked_actor_stays_bounded() {
    let rig = Rig::new();
    let one = rig.start_with("one", RestartPolicy { max_restarts: 0, ..policy() }, |probe| probe.fail_starts = 1);
    until(&one.health, |h| h.status == ActorStatus::Parked).await;
    let taken = (0..10 * probe::CAPACITY).take_while(|_| one.addr.try_send(Note(0)).is_ok()).count();
    assert!(taken <= probe::CAPACITY + 1, "{taken} messages were taken by a mailbox for {}", probe::CAPACITY);
    assert!(matches!(one.addr.try_send(Note(0)), Err(SendError::Full(_))));
}

#[actix::test]
async fn a_parked_actor_resumes_by_itself_after_its_cool_down() {
    let rig = Rig::new();
    let policy = RestartPolicy { max_restarts: 0, cool_down: Some(Duration::from_millis(30)), ..policy() };
    let one = rig.start_with("one", policy, |probe| probe.fail_starts = 2);
    until(&one.health, |h| h.status == ActorStatus::Running).await;
    assert_eq!((one.health.borrow().restarts, one.health.borrow().failures.total()), (2, 2));
}

#[actix::test]
async fn health_is_readable_while_backing_off() {
    let rig = Rig::new();
    let slow = RestartPolicy {
        initial_backoff: Duration::from_secs(3600),
        max_backoff: Duration::from_secs(3600),
        ..policy()
    };
    let one = rig.start("one", slow);
    one.addr.try_send(Act::Panic).unwrap();
    until(&one.health, |h| h.status == ActorStatus::BackingOff).await;
    let health = rig.registry.list().into_iter().find(|h| &*h.name == "one").unwrap();
    assert_eq!(health.last_error.as_deref(), Some("panicked: told to"));
    assert!(health.next_restart.unwrap() > health.since);
    assert_eq!(one.control.resume().await, Ok(OperatorAnswer::Done), "an operator need not wait for the backoff");
    until(&one.health, |h| h.status == ActorStatus::Running).await;
}

#[actix::test]
async fn an_essential_actor_escalates_to_shutdown() {
    let rig = Rig::new();
    let parks = RestartPolicy { max_restarts: 0, ..policy() };
    let spare = rig.start_with("spare", parks.clone(), |probe| probe.fail_starts = 1);
    until(&spare.health, |h| h.status == ActorStatus::Parked).await;
    let vital = rig.start_with("vital", RestartPolicy { essential: true, ..parks }, |probe| probe.fail_starts = 1);
    let escalation = rig.registry.essential_failure().await;
    assert_eq!((&*escalation.actor, &*escalation.error), ("vital", "nothing to start with"));
    assert_eq!(vital.health.borrow().status, ActorStatus::Parked);
    assert_eq!(rig.registry.essential_failure().await, escalation, "who asks later is told as well");
}

#[actix::test]
async fn an_operators_restart_ends_the_life_in_order_and_keeps_the_queue() {
    let rig = Rig::new();
    let one = rig.start("one", policy());
    one.addr.send(Note(1)).await.unwrap();
    assert_eq!(one.control.restart().await, Ok(OperatorAnswer::Done));
    one.addr.send(Note(2)).await.unwrap();
    assert_eq!(one.seen(), ["started", "note 1", "stopping", "stopped", "restarting", "started", "note 2"]);
    let health = one.health.borrow().clone();
    assert_eq!((health.restarts, health.failures.total(), health.last_error), (1, 0, None));
}

#[actix::test]
async fn orders_may_be_repeated_and_say_when_there_was_nothing_to_do() {
    let rig = Rig::new();
    let one = rig.start("one", policy());
    assert_eq!(one.control.start().await, Ok(OperatorAnswer::Already));
    assert_eq!(one.control.resume().await, Ok(OperatorAnswer::Already));
    assert_eq!(one.control.stop().await, Ok(OperatorAnswer::Done));
    assert_eq!(one.control.stop().await, Ok(OperatorAnswer::Already));
    assert_eq!(one.control.restart().await, Ok(OperatorAnswer::Done), "as a service manager does with a stopped unit");
    assert_eq!(one.control.start().await, Ok(OperatorAnswer::Already));
}

#[actix::test]
async fn an_actor_that_will_not_stop_is_cut_off() {
    let rig = Rig::new();
    let one = rig.start("one", RestartPolicy { stop_timeout: Duration::from_millis(20), ..policy() });
    one.addr.send(Act::RefuseToStop).await.unwrap();
    assert_eq!(one.control.stop().await, Ok(OperatorAnswer::Done));
    assert_eq!(one.health.borrow().status, ActorStatus::Stopped);
    assert!(one.health.borrow().last_error.as_deref().unwrap().contains("cut off"));
    assert_eq!(one.control.start().await, Ok(OperatorAnswer::Done));
    one.addr.send(Note(1)).await.unwrap();
}

#[actix::test]
async fn a_timer_cancelled_in_the_failing_turn_does_not_cancel_one_of_the_next_life() {
    let rig = Rig::new();
    let one = rig.start_with("one", policy(), |probe| probe.timer_at_restart = true);
    one.addr.try_send(Act::CancelTimersAndPanic).unwrap();
    until(&one.health, |h| h.restarts == 1 && h.status == ActorStatus::Running).await;
    until_seen(&one, "timer").await;
}

#[actix::test]
async fn what_a_life_held_is_let_go_of_at_its_end_and_not_at_the_next_start() {
    let rig = Rig::new();
    let one = rig.start("one", never_again());
    let held = one.addr.send(probe::Hold).await.unwrap();
    one.addr.try_send(Act::Panic).unwrap();
    until(&one.health, |h| h.status == ActorStatus::BackingOff).await;
    assert!(held.upgrade().is_none(), "the future that held it is still there");
    assert_eq!(one.seen(), ["started", "restarting"]);
}

#[actix::test]
async fn an_actor_that_is_down_is_not_run_when_its_thread_ends() {
    let rig = Rig::new();
    let arbiter = Arbiter::new();
    let log = probe::Log::default();
    let one = rig.start_on("one", &arbiter.handle(), never_again(), log.clone(), |_| {});
    one.addr.try_send(Act::Panic).unwrap();
    one.addr.try_send(Note(1)).unwrap();
    until(&one.health, |h| h.status == ActorStatus::BackingOff).await;
    arbiter.stop();
    arbiter.join().unwrap();
    assert_eq!(log.lines(), ["started", "restarting"]);
}

#[actix::test]
async fn a_panicking_constructor_parks_the_actor_for_good_and_says_so() {
    let rig = Rig::new();
    let made = rig.registry.start(
        "one",
        &rig.arbiter(),
        4,
        RestartPolicy { essential: true, ..policy() },
        |_: ActorExit| -> Probe { panic!("no such map") },
    );
    let one = made.unwrap();
    let mut health = one.health.clone();
    let health = health.wait_for(|h| h.status == ActorStatus::Parked).await.unwrap().clone();
    assert_eq!(health.last_error.as_deref(), Some("while it was made: panicked: no such map"));
    assert_eq!(one.control.resume().await, Err(ControlError::NotMade("one".into())));
    one.addr.try_send(Note(1)).unwrap();
    assert_eq!(&*rig.registry.essential_failure().await.actor, "one");
}

#[actix::test]
async fn a_panic_in_restarting_is_one_more_failure_and_not_the_end() {
    let rig = Rig::new();
    let one = rig.start_with("one", policy(), |probe| probe.panic_restarts = 2);
    one.addr.try_send(Act::Panic).unwrap();
    until(&one.health, |h| h.status == ActorStatus::Running && h.restarts > 0).await;
    one.addr.send(Note(1)).await.unwrap();
    assert_eq!(one.notes(), ["note 1"]);
}

#[actix::test]
async fn a_name_is_given_once() {
    let rig = Rig::new();
    let _one = rig.start("one", policy());
    let again = rig.registry.start("one", &rig.arbiter(), 4, policy(), |exit| Probe::new(exit, probe::Log::default()));
    assert!(matches!(again, Err(StartError::NameTaken(name)) if &*name == "one"));
}

#[actix::test]
async fn an_actor_whose_thread_has_ended_is_stopped_and_its_name_is_free() {
    let rig = Rig::new();
    let arbiter = Arbiter::new();
    let log = probe::Log::default();
    let one = rig.start_on("one", &arbiter.handle(), policy(), log.clone(), |_| {});
    one.addr.send(Note(1)).await.unwrap();
    arbiter.stop();
    arbiter.join().unwrap();
    until(&one.health, |h| h.status == ActorStatus::Stopped).await;
    assert_eq!(log.lines(), ["started", "note 1", "stopping", "stopped"]);
    assert_eq!(one.control.start().await, Err(ControlError::Gone("one".into())));
    let again = rig.start("one", policy());
    again.addr.send(Note(2)).await.unwrap();
}

#[actix::test]
async fn a_guard_given_to_an_ended_thread_says_stopped() {
    let rig = Rig::new();
    let arbiter = Arbiter::new();
    let handle = arbiter.handle();
    arbiter.stop();
    arbiter.join().unwrap();
    let one = rig.start_on("one", &handle, policy(), probe::Log::default(), |_| {});
    until(&one.health, |h| h.status == ActorStatus::Stopped).await;
    assert_eq!(one.addr.send(Note(1)).await, Err(MailboxError::Closed));
}

#[actix::test]
async fn every_change_is_announced_to_subscribers() {
    let rig = Rig::new();
    let mut changes = rig.registry.subscribe();
    let one = rig.start("one", policy());
    until(&one.health, |h| h.status == ActorStatus::Running).await;
    changes.borrow_and_update();
    one.control.stop().await.unwrap();
    changes.changed().await.unwrap();
}

#[actix::test]
async fn a_flooded_mailbox_leaves_time_for_timers_and_neighbours_on_the_thread() {
    let rig = Rig::new();
    let one = rig.start("one", policy());
    // A message that always queues the next: actix's own mailbox would never give the thread back.
    one.addr.try_send(probe::Flood).unwrap();
    one.addr.send(Act::Timer).await.unwrap();
    until_seen(&one, "timer").await;
    assert_eq!(one.control.stop().await, Ok(OperatorAnswer::Done), "the guard gets its turn as well");
}

/// A backoff that no test waits for.
fn never_again() -> RestartPolicy {
    RestartPolicy { initial_backoff: Duration::from_secs(3600), max_backoff: Duration::from_secs(3600), ..policy() }
}

async fn until_seen(actor: &probe::Started, line: &str) {
    while !actor.seen().iter().any(|seen| seen == line) {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
