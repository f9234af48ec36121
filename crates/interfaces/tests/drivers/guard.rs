//! `kill -9` of the process that runs the driver.

use crate::support::{PATIENCE, start_in, until};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;
use tempfile::TempDir;

const FOLDER: &str = "HEARTHGATE_TEST_GUARD_FOLDER";

/// Not a test: what the test below starts and kills.
#[test]
#[ignore = "it is the gateway that another test kills"]
fn a_gateway_that_waits_to_be_killed() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let script = "trap '' TERM INT HUP PIPE\n\
             sleep 1000 & echo $! >> pids\n\
             setsid sh -c 'trap \"\" HUP; sleep 1000 & echo $! >> pids; wait' &\n\
             (setsid sh -c 'echo $$ >> pids; exec sleep 1000' &)\n\
             echo $$ >> pids\n\
             while :; do sleep 1000; done";
        let options = format!(
            "kind = \"exec\"\nstart_timeout = \"10m\"\ndirectory = {:?}\ncommand = {}",
            Path::new(&folder),
            serde_json::json!(["sh", "-c", script])
        );
        let mut driver = start_in(TempDir::new().unwrap(), crate::support::config(&options));
        driver.ended().await.unwrap();
    });
}

#[tokio::test]
async fn killing_the_gateway_leaves_no_descendant_of_a_child_whatever_it_did_to_hide() {
    let folder = TempDir::new().unwrap();
    let mut gateway = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "guard::a_gateway_that_waits_to_be_killed", "--ignored", "--nocapture"])
        .env(FOLDER, folder.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let pids = || std::fs::read_to_string(folder.path().join("pids")).unwrap_or_default();
    let since = Instant::now();
    while pids().lines().count() < 4 {
        assert!(since.elapsed() < PATIENCE, "the child does not start; {:?}", pids());
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert!(pids().lines().all(alive), "{:?}", pids());
    gateway.kill().unwrap();
    gateway.wait().unwrap();
    until("every descendant is dead", || !pids().lines().any(alive)).await;
}

fn alive(pid: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit_once(')').unwrap_or_default().1.trim_start().starts_with('Z'))
}
