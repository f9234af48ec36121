//! One flow, one endpoint, one database or one copy that is not as it was: the others go on, and nothing is lost.

use crate::flows::{hearthgate, told};
use hearthgate_tests::client::Client;
use hearthgate_tests::database::Database;
use hearthgate_tests::endpoint::{Answer, Endpoint};
use hearthgate_tests::gateway::{Gateway, Home};
use hearthgate_tests::{http, until};
use std::collections::HashSet;
use std::fs;
use std::path::Path;

const SCHEMA: &str = r#"{"n":"int"}"#;

async fn started(home: &Home) -> Gateway {
    let gateway = home.start();
    until("ready", async || http::is_ready(home.http).then_some(())).await;
    gateway
}

async fn publish(home: &Home, id: &str, topic: &str, numbers: std::ops::Range<usize>) {
    let mut client = Client::connect(home.mqtt, id).await;
    for n in numbers.clone() {
        client.publish(topic, format!(r#"{{"n":{n}}}"#)).await;
    }
    client.confirmed(numbers.len()).await;
}

fn add_poster(home: &Home, code: &str, url: &str) {
    let topic = format!("{}/#", code.to_lowercase());
    let post = ["--action", "POST_ENDPOINT", "--endpoint-url", url];
    told(home, &[&["flow", "add", code, "--topic", &topic, "--schema", SCHEMA], &post[..]].concat());
}

fn add_store(home: &Home) {
    told(home, &["flow", "add", "READINGS", "--topic", "in/#", "--schema", SCHEMA]);
}

async fn stored(home: &Home, count: usize) -> Vec<usize> {
    let database = Database::sqlite(home.path()).await;
    let values = async || -> Vec<usize> {
        let rows = database.page("READINGS", "n", 0, 1_000_000).await.expect("the database");
        rows.iter().map(|row| row.value.parse().expect("a number")).collect()
    };
    until("what is stored", async || Some(values().await).filter(|values| values.len() >= count)).await
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for file in fs::read_dir(from).expect("the folder") {
        let file = file.expect("a file");
        fs::copy(file.path(), to.join(file.file_name())).expect("copying");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_hangs_does_not_fill_the_journal_and_gets_its_messages_in_order_after_a_kill() {
    let home = Home::new();
    home.configure(
        "[broker]\nenabled = true\n[journal]\nmax_size = \"1MiB\"\nsegment_size = \"128KiB\"\n[endpoints]\nhttp_timeout = \"1h\"\n",
    );
    let hanging = Endpoint::start(Answer::Hang);
    add_poster(&home, "HOOK", &hanging.url);
    add_store(&home);
    let mut gateway = started(&home).await;
    // Without its share the first message would hold the journal, which takes half of the others.
    publish(&home, "poster", "hook/x", 0..200).await;
    let mut client = Client::connect(home.mqtt, "device").await;
    let filling = "x".repeat(1_000);
    for n in 0..2_000 {
        client.publish("in/x", format!(r#"{{"n":{n},"filling":"{filling}"}}"#)).await;
    }
    client.confirmed(2_000).await;
    gateway.wait_for_log(&["its deliveries hang", "HOOK"]);
    assert_eq!(stored(&home, 2_000).await.len(), 2_000);
    gateway.kill();
    let _gateway = started(&home).await;
    publish(&home, "poster", "hook/x", 200..210).await;
    hanging.switch(Answer::Status(200));
    let all: Vec<String> = (0..210).map(|n| format!(r#"{{"n":{n}}}"#)).collect();
    until("all deliveries", async || hanging.delivered().contains(&all[209]).then_some(())).await;
    let mut delivered = hanging.delivered();
    // The call that was under way at the kill may have been answered, too, at whatever time.
    let mut seen = HashSet::new();
    delivered.retain(|body| seen.insert(body.clone()));
    assert_eq!(delivered, all);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waited_for_a_flow_that_was_switched_off_is_found_by_its_code_and_replays() {
    let home = Home::new();
    home.configure("[broker]\nenabled = true\n[endpoints]\nretry = [\"0s\", \"200ms\", \"200ms\", \"200ms\", \"200ms\", \"200ms\"]\n");
    let endpoint = Endpoint::start(Answer::Status(503));
    add_poster(&home, "HOOK", &endpoint.url);
    let _gateway = started(&home).await;
    publish(&home, "device", "hook/x", 0..10).await;
    endpoint.switch(Answer::Status(410));
    let letters = Database::try_open(&home.path().join("data/dead-letters.db")).await.expect("the dead letters");
    let query = "SELECT COUNT(*) FROM dead_letters WHERE flow_code = 'HOOK' AND part = 'POST_ENDPOINT'";
    until("the letters", async || (letters.number(query).await == 10).then_some(())).await;
    endpoint.switch(Answer::Status(200));
    told(&home, &["flow", "enable", "HOOK"]);
    told(&home, &["dlq", "replay", "--all"]);
    until("all deliveries", async || (endpoint.delivered().len() == 10).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_flow_was_to_store_or_post_is_a_dead_letter_when_it_loses_that_action_meanwhile() {
    let home = Home::new();
    home.configure("[broker]\nenabled = true\n");
    let endpoint = Endpoint::start(Answer::Status(503));
    add_poster(&home, "HOOK", &endpoint.url);
    add_store(&home);
    let _gateway = started(&home).await;
    told(&home, &["stop", "writer"]);
    told(&home, &["stop", "poster"]);
    publish(&home, "device", "hook/x", 0..10).await;
    publish(&home, "device", "in/x", 0..10).await;
    told(&home, &["flow", "edit", "HOOK", "--action", "LOG", "--yes"]);
    told(&home, &["flow", "edit", "READINGS", "--action", "LOG", "--yes"]);
    told(&home, &["start", "writer"]);
    told(&home, &["start", "poster"]);
    let letters = Database::try_open(&home.path().join("data/dead-letters.db")).await.expect("the dead letters");
    for (code, part) in [("HOOK", "POST_ENDPOINT"), ("READINGS", "STORE_DB")] {
        let query = format!("SELECT COUNT(*) FROM dead_letters WHERE flow_code = '{code}' AND part = '{part}'");
        until("the letters", async || (letters.number(&query).await == 10).then_some(())).await;
    }
    endpoint.switch(Answer::Status(200));
    told(&home, &["flow", "edit", "HOOK", "--action", "POST_ENDPOINT", "--yes"]);
    told(&home, &["flow", "edit", "READINGS", "--action", "STORE_DB", "--yes"]);
    told(&home, &["dlq", "replay", "--all"]);
    until("all deliveries", async || (endpoint.delivered().len() == 10).then_some(())).await;
    assert_eq!(stored(&home, 10).await, (0..10).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_lacks_its_flows_at_one_start_is_named_and_gets_nothing() {
    let home = Home::new();
    home.configure("[broker]\nenabled = true\n[database]\nurl = \"sqlite://disk/house.db\"\n");
    let disk = home.path().join("disk");
    fs::create_dir(&disk).expect("a folder");
    add_store(&home);
    let gateway = started(&home).await;
    assert!(gateway.terminate().0.success());
    fs::rename(&disk, home.path().join("away")).expect("renaming");
    fs::create_dir(&disk).expect("a folder");
    let mut gateway = home.start();
    gateway.wait_for_log(&["is not the database from last time", "READINGS"]);
    // Its flows are in force, and what comes waits.
    until("the flow", async || {
        let (status, body) = http::request(home.http, "GET", "/readyz").ok()?;
        (status == 503 && body.contains("lacks the flows")).then_some(())
    })
    .await;
    publish(&home, "device", "in/x", 0..10).await;
    assert!(gateway.terminate().0.success());
    fs::rename(&disk, home.path().join("empty")).expect("renaming");
    fs::rename(home.path().join("away"), &disk).expect("renaming");
    let _gateway = started(&home).await;
    let database = Database::try_open(&disk.join("house.db")).await.expect("the database");
    let query = "SELECT COUNT(*) FROM data WHERE flow_code = 'READINGS'";
    until("all are stored", async || (database.number(query).await == 10).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_that_is_put_back_from_a_backup_loses_nothing_that_it_takes_from_then_on() {
    let home = Home::new();
    home.configure("[broker]\nenabled = true\n");
    add_store(&home);
    let (journal, backup) = (home.path().join("data/journal"), home.path().join("backup"));
    let gateway = started(&home).await;
    publish(&home, "one", "in/x", 0..10).await;
    stored(&home, 10).await;
    assert!(gateway.terminate().0.success());
    copy(&journal, &backup);
    let gateway = started(&home).await;
    publish(&home, "two", "in/x", 10..200).await;
    publish(&home, "two", "in/x", 200..201).await;
    stored(&home, 201).await;
    assert!(gateway.terminate().0.success());
    fs::remove_dir_all(&journal).expect("removing");
    copy(&backup, &journal);
    let mut gateway = started(&home).await;
    gateway.wait_for_log(&["the journal is older than the database"]);
    publish(&home, "three", "in/x", 201..250).await;
    assert_eq!(stored(&home, 250).await, (0..250).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn flows_that_publish_to_each_other_are_refused_and_come_to_an_end_by_themselves() {
    let home = Home::new();
    home.configure("[broker]\nenabled = true\n");
    let add = |code: &str, topic: &str, to: &str| {
        let options = format!(r#"{{"actions":[{{"type":"PUBLISH","topic":"{to}","qos":1}}]}}"#);
        let flow = ["flow", "add", code, "--topic", topic, "--schema", SCHEMA];
        hearthgate(&home, &[&flow[..], &["--action", "PUBLISH", "--options", &options]].concat())
    };
    assert!(add("THERE", "there", "back").status.success());
    let refused = add("BACK", "back", "there");
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        !refused.status.success() && why.contains("BACK → THERE → BACK") || why.contains("THERE → BACK → THERE"),
        "{why}"
    );

    assert!(add("FIRST", "round/{x}/a", "round/{{ captures.x }}/b").status.success());
    assert!(add("SECOND", "round/{x}/b", "round/{{ captures.x }}/a").status.success());
    let _gateway = started(&home).await;
    let mut watcher = Client::connect(home.mqtt, "watcher").await;
    watcher.subscribe("round/#").await;
    publish(&home, "device", "round/k/a", 0..1).await;
    let letters = Database::try_open(&home.path().join("data/dead-letters.db")).await.expect("the dead letters");
    let query = "SELECT COUNT(*) FROM dead_letters WHERE part = 'PUBLISH' AND reason LIKE '%goes round%'";
    until("the letter", async || (letters.number(query).await == 1).then_some(())).await;
    assert!(watcher.waiting().len() < 100);
}
