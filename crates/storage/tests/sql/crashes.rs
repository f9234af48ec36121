//! A process that writes records is killed at any moment; the next one finds out how far it got.

use crate::support::{Kind, TestDatabase, on_every_database, record};
use hearthgate_storage::sql::{Database, DatabaseOptions, RecordBatch, RecordWriter};
use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use uuid::Uuid;

const CHILD: &str = "HEARTHGATE_TEST_CHILD_WRITER";

on_every_database! {
    a_killed_writer_leaves_each_message_once
    a_killed_guest_leaves_each_message_once
}

async fn a_killed_writer_leaves_each_message_once(kind: Kind) {
    kill_and_resume(kind, false).await;
}

async fn a_killed_guest_leaves_each_message_once(kind: Kind) {
    kill_and_resume(kind, true).await;
}

async fn kill_and_resume(kind: Kind, guest: bool) {
    let Some(test) = TestDatabase::new(kind).await else { return };
    let (database, _) = test.with_flows(&["a", "b"]).await;
    database.close().await;
    let journal = Uuid::now_v7();
    let state = test.folder.path().join("state");
    let arguments =
        serde_json::json!({ "url": test.url, "state": state, "guest": guest, "journal": journal.to_string() });
    for round in 0..8_u64 {
        let before = test.data().await.len();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "crashes::the_child_that_is_killed", "--nocapture"])
            .env(CHILD, arguments.to_string())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        // It must have written something in this life, then it dies wherever it stands.
        let limit = Instant::now() + Duration::from_secs(60);
        while test.data().await.len() == before {
            assert!(child.try_wait().unwrap().is_none(), "the child ended by itself");
            assert!(Instant::now() < limit, "the child wrote nothing");
        }
        tokio::time::sleep(Duration::from_millis(round * 7 % 23)).await;
        child.kill().unwrap();
        child.wait().unwrap();
    }

    let database = Database::open(&DatabaseOptions { guest, ..test.options() }).await.unwrap();
    let mut writer = RecordWriter::new(&database, journal).unwrap();
    let position = writer.recover().await.unwrap();
    let data = test.data().await;
    let mut seen: BTreeMap<u64, usize> = BTreeMap::new();
    for row in &data {
        *seen.entry(row.value.parse().unwrap()).or_default() += 1;
    }
    assert!(position > 0);
    assert_eq!(seen.len() as u64, position, "each message before the position, none after it");
    assert!(seen.values().all(|&rows| rows == 2), "each message with its two rows, once");
    for flow in database.load_flows().await.unwrap() {
        let mut numbers: Vec<i64> =
            data.iter().filter(|row| row.flow_code == flow.code).map(|row| row.number).collect();
        numbers.dedup();
        assert_eq!(numbers, (1..=flow.last_msg_id).collect::<Vec<_>>(), "flow {}", flow.code);
    }
}

/// Not a test of its own: runs in the child process only, until it is killed.
#[tokio::test]
async fn the_child_that_is_killed() {
    let Ok(arguments) = std::env::var(CHILD) else { return };
    let arguments: serde_json::Value = serde_json::from_str(&arguments).unwrap();
    let text = |key: &str| arguments[key].as_str().unwrap().to_owned();
    let mut options = DatabaseOptions::new(text("url"), text("state"));
    options.guest = arguments["guest"].as_bool().unwrap();
    let database = Database::open(&options).await.unwrap();
    let ids: Vec<i64> = database.load_flows().await.unwrap().iter().map(|flow| flow.id).collect();
    let mut writer = RecordWriter::new(&database, text("journal").parse().unwrap()).unwrap();
    let mut next = writer.recover().await.unwrap();
    loop {
        let end = next + 50;
        let records = (next + 1..=end)
            .map(|seq| record(seq, ids[(seq % 3 % 2) as usize], &[("x", &seq.to_string()), ("y", &seq.to_string())]))
            .collect();
        writer.write(&RecordBatch { records, through: end }).await.unwrap();
        next = end;
    }
}
