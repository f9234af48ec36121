//! The journal at its bounds, on a full disk, and damaged.

use crate::flows::{hearthgate, told};
use hearthgate_tests::database::Database;
use hearthgate_tests::endpoint::{Answer, Endpoint};
use hearthgate_tests::gateway::{Gateway, Home};
use hearthgate_tests::publisher::{Options, Publisher};
use hearthgate_tests::tmpfs::Tmpfs;
use hearthgate_tests::{PATIENCE, http, is_root, until};
use std::fs;
use std::path::{Path, PathBuf};

const MESSAGES: usize = 1_000;

/// Large enough for a thousand of them to fill a journal of 1 MiB several times.
fn large(index: usize) -> String {
    format!(r#"{{"temperature":{index},"humidity":1,"filling":"{}"}}"#, "x".repeat(4_000))
}

fn small(index: usize) -> String {
    format!(r#"{{"temperature":{index},"humidity":1}}"#)
}

/// The numbers of the messages that are stored, in their order.
async fn stored(database: &Database) -> Vec<usize> {
    let page = database.page("AHT10_SENSOR", "temperature", 0, 1_000_000).await.expect("the database");
    page.iter().map(|row| row.value.parse().expect("a number")).collect()
}

async fn started(home: &Home, toml: &str) -> (Gateway, Database) {
    home.configure(&format!("[broker]\nenabled = true\n{toml}"));
    let gateway = home.start();
    until("ready", async || http::is_ready(home.http).then_some(())).await;
    (gateway, Database::sqlite(home.path()).await)
}

/// Waits until readiness is refused for a reason with these words.
async fn is_in_trouble(home: &Home, words: &str) {
    until(words, async || {
        let (status, body) = http::request(home.http, "GET", "/readyz").ok()?;
        (status == 503 && body.contains(words)).then_some(())
    })
    .await;
}

async fn with_policy(home: &Home, policy: &str) -> (Gateway, Database) {
    started(home, &format!("[journal]\nmax_size = \"1MiB\"\nsegment_size = \"128KiB\"\nwhen_full = \"{policy}\"\n"))
        .await
}

/// Its session is kept, which a full disk would not allow later.
async fn connected(home: &Home) -> Publisher {
    let publisher = Publisher::start(Options::new(home.mqtt, "device"));
    until("a connection", async || (publisher.account().connections == 1).then_some(())).await;
    publisher
}

async fn publish_large(publisher: &Publisher) {
    for index in 0..MESSAGES {
        publisher.publish("sensors/aht10", large(index)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_journal_that_blocks_acknowledges_nothing_more_and_loses_nothing() {
    let home = Home::new();
    let (gateway, database) = with_policy(&home, "block").await;
    let lock = database.lock().await.expect("a lock");
    // It waits itself, once as much is on the way as may be.
    let publisher = connected(&home).await;
    let full = is_in_trouble(&home, "the journal is full");
    let ((), ()) = tokio::join!(publish_large(&publisher), full);
    let account = publisher.account();
    assert!(account.acknowledged < MESSAGES as u64 / 2, "{account:?}");
    lock.release().await.expect("the lock's end");
    publisher.all_acknowledged(PATIENCE).await.expect("all acknowledgements");
    until("all", async || (stored(&database).await.len() >= MESSAGES).then_some(())).await;
    assert_eq!(stored(&database).await, (0..MESSAGES).collect::<Vec<_>>());
    assert!(gateway.terminate().0.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_journal_that_drops_its_oldest_counts_them_and_keeps_the_newest() {
    let home = Home::new();
    let (mut gateway, database) = with_policy(&home, "drop_oldest").await;
    let lock = database.lock().await.expect("a lock");
    let publisher = connected(&home).await;
    publish_large(&publisher).await;
    publisher.all_acknowledged(PATIENCE).await.expect("all acknowledgements");
    gateway.wait_for_log(&["ERROR", "the journal is full", "oldest messages were dropped"]);
    lock.release().await.expect("the lock's end");
    until("the newest", async || stored(&database).await.contains(&(MESSAGES - 1)).then_some(())).await;
    let stored = stored(&database).await;
    assert!(stored.len() < MESSAGES && stored.is_sorted(), "{stored:?}");
    let (_, metrics) = http::request(home.http, "GET", "/metrics").expect("the metrics");
    let dropped =
        metrics.lines().find_map(|line| line.strip_prefix(r#"hearthgate_journal_messages_total{outcome="dropped"} "#));
    let dropped: usize = dropped.and_then(|count| count.parse().ok()).unwrap_or_else(|| panic!("none in {metrics}"));
    // What the writer had in hand when it was dropped is stored all the same.
    assert!(dropped + stored.len() >= MESSAGES, "{dropped} dropped, {} stored", stored.len());
    database.assert_numbers_without_gap_or_repeat("AHT10_SENSOR").await;
    assert!(gateway.terminate().0.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_journal_that_rejects_makes_each_new_message_a_dead_letter() {
    let home = Home::new();
    let (gateway, database) = with_policy(&home, "reject").await;
    let lock = database.lock().await.expect("a lock");
    let publisher = connected(&home).await;
    publish_large(&publisher).await;
    publisher.all_acknowledged(PATIENCE).await.expect("all acknowledgements");
    lock.release().await.expect("the lock's end");
    let letters = Database::try_open(&home.path().join("data/dead-letters.db")).await.expect("the dead letters");
    let rejected = "SELECT CAST(payload AS TEXT) FROM dead_letters WHERE reason LIKE '%the journal is full%'";
    until("each in one place or the other", async || {
        let rejected = letters.texts(rejected).await.ok()?.len();
        (rejected > 0 && rejected + stored(&database).await.len() == MESSAGES).then_some(())
    })
    .await;
    let mut all = stored(&database).await;
    for payload in letters.texts(rejected).await.expect("the dead letters") {
        let payload: serde_json::Value = serde_json::from_str(&payload).expect("the payload as it was sent");
        all.push(payload["temperature"].as_u64().expect("a number") as usize);
    }
    all.sort_unstable();
    assert_eq!(all, (0..MESSAGES).collect::<Vec<_>>());
    assert!(gateway.terminate().0.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn after_an_orderly_stop_a_copy_of_the_database_file_alone_is_complete() {
    let (home, copy) = (Home::new(), Home::new());
    home.configure("[broker]\nenabled = true\n");
    let gateway = home.start();
    until("ready", async || http::is_ready(home.http).then_some(())).await;
    let publisher = connected(&home).await;
    for index in 0..3 {
        publisher.publish("sensors/aht10", small(index)).await;
    }
    publisher.all_acknowledged(PATIENCE).await.expect("all acknowledgements");
    assert!(gateway.terminate().0.success());
    let file = |home: &Home| home.path().join("data/hearthgate.db");
    fs::create_dir_all(copy.path().join("data")).expect("a folder");
    fs::copy(file(&home), file(&copy)).expect("a copy");
    assert_eq!(stored(&Database::sqlite(copy.path()).await).await, [0, 1, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_full_disk_nothing_is_acknowledged_and_when_there_is_room_again_all_is_stored() {
    if !is_root() {
        eprintln!("SKIPPED: only root can mount a disk that can be full");
        return;
    }
    let home = Home::new();
    let disk = Tmpfs::mount(&home.path().join("data")).expect("a tmpfs");
    let (gateway, database) = started(&home, "[journal]\nsegment_size = \"128KiB\"\n").await;
    let publisher = connected(&home).await;
    disk.fill().expect("a full disk");
    let full = is_in_trouble(&home, "\"part\":\"journal\"");
    let ((), ()) = tokio::join!(publish_large(&publisher), full);
    let account = publisher.account();
    assert!(account.acknowledged < MESSAGES as u64 / 2, "{account:?}");
    let log = gateway.log();
    assert!(log.contains("no room on the file system") && log.contains("free some space"), "{log}");
    drop(gateway.kill());
    let gateway = home.start();
    is_in_trouble(&home, "\"ready\":false").await;
    disk.free().expect("room");
    publisher.all_acknowledged(PATIENCE).await.expect("all acknowledgements");
    until("all", async || (stored(&database).await.len() >= MESSAGES).then_some(())).await;
    assert_eq!(stored(&database).await, (0..MESSAGES).collect::<Vec<_>>());
    until("ready", async || http::is_ready(home.http).then_some(())).await;
    assert!(gateway.terminate().0.success());
}

/// A gateway that was killed with all messages in its journal and none in its database; the journal's file.
async fn killed_with_a_full_journal(home: &Home) -> PathBuf {
    let (gateway, database) = started(home, "").await;
    killed(home, gateway, &database).await
}

async fn killed(home: &Home, gateway: Gateway, database: &Database) -> PathBuf {
    let lock = database.lock().await.expect("a lock");
    let publisher = Publisher::start(Options::new(home.mqtt, "device"));
    for index in 0..MESSAGES {
        publisher.publish("sensors/aht10", small(index)).await;
    }
    publisher.all_acknowledged(PATIENCE).await.expect("all acknowledgements");
    gateway.kill();
    lock.release().await.expect("the lock's end");
    assert_eq!(stored(database).await, [] as [usize; 0]);
    let files = fs::read_dir(home.path().join("data/journal")).expect("the journal");
    let segments: Vec<PathBuf> = files
        .filter_map(|file| Some(file.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|ending| ending == "seg"))
        .collect();
    assert_eq!(segments.len(), 1, "{segments:?}");
    segments.into_iter().next().expect("a segment")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_torn_write_left_at_the_journals_tail_is_cut_off_and_nothing_before_it_is_lost() {
    let home = Home::new();
    let segment = killed_with_a_full_journal(&home).await;
    let mut bytes = fs::read(&segment).expect("the segment");
    let end = bytes.iter().rposition(|byte| *byte != 0).expect("entries") + 1;
    // The beginning of an entry that was being written.
    let torn = bytes[end - 60..end - 20].to_vec();
    bytes.truncate(end);
    bytes.extend(torn);
    fs::write(&segment, bytes).expect("damage");
    let gateway = home.start();
    let database = Database::sqlite(home.path()).await;
    until("all", async || (stored(&database).await.len() >= MESSAGES).then_some(())).await;
    assert_eq!(stored(&database).await, (0..MESSAGES).collect::<Vec<_>>());
    assert!(gateway.terminate().0.success());
}

/// A few bytes amid the entries.
fn damage(segment: &Path) {
    let mut bytes = fs::read(segment).expect("the segment");
    let end = bytes.iter().rposition(|byte| *byte != 0).expect("entries");
    bytes[end / 2..end / 2 + 8].fill(0xFF);
    fs::write(segment, bytes).expect("damage");
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_in_the_middle_of_the_journal_is_told_and_what_is_readable_becomes_dead_letters() {
    let home = Home::new();
    let segment = killed_with_a_full_journal(&home).await;
    damage(&segment);
    let mut gateway = home.start();
    let line = gateway.wait_for_log(&["ERROR", "the journal was damaged"]);
    assert!(line.contains(".seg") && line.contains("readable:"), "it names the file and what was in it: {line}");
    let database = Database::sqlite(home.path()).await;
    until("the last", async || stored(&database).await.contains(&(MESSAGES - 1)).then_some(())).await;
    let after = stored(&database).await;
    // What was synced together is not trusted any more: at most what one publisher had in flight.
    assert!(after.len() < MESSAGES && after.len() >= MESSAGES - 200 && after.is_sorted(), "{} stored", after.len());
    database.assert_numbers_without_gap_or_repeat("AHT10_SENSOR").await;
    // It is a dead letter, but for an entry or two in which the damage is.
    let letters = Database::try_open(&home.path().join("data/dead-letters.db")).await.expect("the dead letters");
    let readable = letters.number("SELECT COUNT(*) FROM dead_letters WHERE part = 'STORE_DB'").await as usize;
    let hidden = MESSAGES - after.len() - readable;
    assert!(hidden <= 2, "{} stored, {readable} readable", after.len());
    // Whoever finds it right puts it in its place; what the damage has made of one or two is refused again.
    let replayed = hearthgate(&home, &["dlq", "replay", "--flow", "AHT10_SENSOR"]).stdout;
    let replayed = String::from_utf8_lossy(&replayed).lines().filter(|line| line.contains("taken by 1 flow")).count();
    assert!(replayed + 2 >= readable, "{replayed} of {readable}");
    until("the rest", async || (stored(&database).await.len() == after.len() + replayed).then_some(())).await;
    // It goes on with what comes.
    let publisher = Publisher::start(Options::new(home.mqtt, "device"));
    publisher.publish("sensors/aht10", small(MESSAGES)).await;
    publisher.all_acknowledged(PATIENCE).await.expect("an acknowledgement");
    until("the next", async || stored(&database).await.contains(&MESSAGES).then_some(())).await;
    let (status, log) = gateway.terminate();
    assert!(status.success() && !log.contains("panicked"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_message_is_not_posted_but_a_dead_letter_of_its_call() {
    let home = Home::new();
    let endpoint = Endpoint::start(Answer::Status(503));
    let (gateway, database) = started(&home, "[endpoints.breaker]\nrest = \"1s\"\n").await;
    let options = r#"{"actions":[{"type":"POST_ENDPOINT"}],"retry":["0s","1s","1s","1s","1s","1s","1s","1s"]}"#;
    let add = ["flow", "add", "CALLS", "--topic", "sensors/#", "--schema", r#"{"temperature":"float"}"#];
    told(&home, &[&add[..], &["--options", options, "--endpoint-url", &endpoint.url]].concat());
    until("subscribed", async || http::is_ready(home.http).then_some(())).await;
    let segment = killed(&home, gateway, &database).await;
    damage(&segment);
    endpoint.switch(Answer::Status(200));
    let _gateway = home.start();
    until("the last", async || endpoint.delivered().contains(&small(MESSAGES - 1)).then_some(())).await;
    let delivered = endpoint.delivered();
    let letters = Database::try_open(&home.path().join("data/dead-letters.db")).await.expect("the dead letters");
    let of = |part: &str| format!("SELECT COUNT(*) FROM dead_letters WHERE flow_code = 'CALLS' AND part = '{part}'");
    let readable = letters.number(&of("POST_ENDPOINT")).await as usize;
    assert!(delivered.len() < MESSAGES && delivered.len() + readable + 2 >= MESSAGES, "{} {readable}", delivered.len());
    assert!(delivered.len() + readable <= MESSAGES, "{} {readable}", delivered.len());
    let expected = readable as i64;
    until("those of storing", async || (letters.number(&of("STORE_DB")).await == expected).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_message_of_the_last_run_becomes_a_dead_letter_though_no_flow_is_left() {
    let home = Home::new();
    let (gateway, _) = started(&home, "").await;
    let letters = Database::try_open(&home.path().join("data/dead-letters.db")).await.expect("the dead letters");
    let lock = letters.lock().await.expect("a lock");
    let publisher = Publisher::start(Options::new(home.mqtt, "device"));
    publisher.publish("sensors/aht10", "no JSON").await;
    publisher.all_acknowledged(PATIENCE).await.expect("an acknowledgement");
    gateway.kill();
    lock.release().await.expect("the lock's end");
    told(&home, &["flow", "remove", "AHT10_SENSOR"]);
    let _gateway = home.start();
    until("the dead letter", async || {
        let kept = letters.number("SELECT COUNT(*) FROM dead_letters WHERE CAST(payload AS TEXT) = 'no JSON'").await;
        (kept == 1).then_some(())
    })
    .await;
}
