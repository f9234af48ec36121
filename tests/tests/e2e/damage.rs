//! Damage to any one state file keeps nothing down, and is told.

use hearthgate_tests::client::Client;
use hearthgate_tests::database::Database;
use hearthgate_tests::gateway::Home;
use hearthgate_tests::{http, until};
use std::fs;
use std::path::{Path, PathBuf};

/// A crash leaves these torn: of two files that are written in turn the other one counts, and of what was in hand a message
/// is tried once more. There is nothing to be told.
const TORN_BY_CRASHES: [&str; 3] = ["in-hand", ".a", ".b"];

/// All files of the state folder but the database, which is the user's own, and what has no content to lose.
fn state_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("the state folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            let is_apart = name.starts_with("hearthgate.db") || ["lock", "hold"].contains(&name.as_str());
            if !is_apart && fs::metadata(&path).expect("a file").len() > 0 {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Copies a folder with all that is in it.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let path = entry.expect("an entry").path();
        let target = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).expect("a copy");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_any_one_state_file_damaged_the_gateway_starts_says_so_and_stores_what_comes() {
    let home = Home::new();
    let gateway = home.start();
    until("ready", async || http::is_ready(home.http).then_some(())).await;
    let mut client = Client::connect(home.mqtt, "sensor").await;
    client.publish("sensors/aht10", r#"{"temperature":1,"humidity":1}"#).await;
    client.publish("sensors/aht10", "{broken").await;
    client.confirmed(2).await;
    drop(client);
    drop(gateway.terminate());
    let (state, sound) = (home.path().join("data"), home.path().join("sound"));
    copy(&state, &sound);
    let files = state_files(&state);
    assert!(files.len() > 6, "{files:?}");
    for file in files {
        fs::remove_dir_all(&state).expect("removing the state");
        copy(&sound, &state);
        let length = fs::metadata(&file).expect("a file").len();
        fs::write(&file, b"{\0 no state of ours ".repeat(1 + length as usize / 20)).expect("writing damage");
        let mut gateway = home.start();
        let name = file.strip_prefix(&state).expect("a file in it").display().to_string();
        until(&format!("ready with a damaged {name}"), async || {
            assert!(!gateway.has_ended(), "{name} keeps it down: {}", gateway.log());
            http::is_ready(home.http).then_some(())
        })
        .await;
        let database = Database::sqlite(home.path()).await;
        let before = database.number("SELECT COUNT(*) FROM data").await;
        let mut client = Client::connect(home.mqtt, "sensor").await;
        client.publish("sensors/aht10", r#"{"temperature":2,"humidity":2}"#).await;
        client.confirmed(1).await;
        until(&format!("a row with a damaged {name}"), async || {
            (database.number("SELECT COUNT(*) FROM data").await >= before + 2).then_some(())
        })
        .await;
        let (status, log) = gateway.terminate();
        assert!(status.success(), "{name}: {log}");
        // A start that finds nothing wrong says neither.
        let is_told =
            TORN_BY_CRASHES.iter().any(|end| name.ends_with(end)) || log.contains("WARN") || log.contains("ERROR");
        assert!(is_told, "a damaged {name} is not told: {log}");
    }
}
