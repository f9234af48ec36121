//! What would abort a process is tried in a child process.

use crate::probe::{Act, Note, Rig, policy, until};
use hearthgate_supervision::{ActorStatus, OperatorAnswer};
use std::process::Command;

const IN_CHILD: &str = "HEARTHGATE_TEST_CHILD";

fn run_as_child(test: &str) -> bool {
    if std::env::var_os(IN_CHILD).is_some() {
        return false;
    }
    let this = std::env::current_exe().expect("this test has a file");
    let output = Command::new(this)
        .args(["--exact", test, "--nocapture"])
        .env(IN_CHILD, "1")
        .output()
        .expect("this test can be run again");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}\n{text}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("1 passed"), "the child ran no test: {text}");
    true
}

/// Under `actix::Supervisor` this aborts: the context's drop runs `stopped()` while the first panic unwinds.
#[test]
fn a_panic_in_stopped_does_not_abort_the_process() {
    if run_as_child("abort::a_panic_in_stopped_does_not_abort_the_process") {
        return;
    }
    actix::System::new().block_on(async {
        let rig = Rig::new();
        let one = rig.start_with("one", policy(), |probe| probe.panic_in_stopped = true);
        one.addr.try_send(Act::Panic).unwrap();
        until(&one.health, |h| h.restarts == 1 && h.status == ActorStatus::Running).await;
        one.addr.send(Note(1)).await.unwrap();

        // A reported failure runs stopped(), which panics.
        one.addr.try_send(Act::Fail).unwrap();
        until(&one.health, |h| h.restarts == 2 && h.status == ActorStatus::Running).await;
        assert_eq!(one.health.borrow().last_error.as_deref(), Some("the line is gone; then panicked: in stopped()"));

        // So does an order, and the end of the thread.
        assert_eq!(one.control.restart().await, Ok(OperatorAnswer::Done));
        assert_eq!(one.health.borrow().last_error.as_deref(), Some("panicked: in stopped()"));
        one.addr.send(Note(2)).await.unwrap();
        assert_eq!(one.notes(), ["note 1", "note 2"]);
        let health = one.health.clone();
        drop((rig, one));
        until(&health, |h| h.status == ActorStatus::Stopped).await;
    });
}
