//! The commands on flows.

use crate::{here, run, text, vectors, with_database};
use hearthgate_storage::dead_letters::{DeadLetterOptions, DeadLetters, NewDeadLetter};
use serde_json::{Value, json};
use std::path::Path;
use uuid::Uuid;

/// Runs the program and wants this exit code; its output and its complaints.
fn told(folder: &Path, code: i32, arguments: &[&str], input: &str) -> String {
    let output = run(folder, arguments, input.as_bytes());
    let all = text(&output.stdout) + &text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {all}");
    all
}

#[test]
fn an_edited_flow_says_what_is_different_and_asks_about_data() {
    let folder = with_database();
    let told = |code: i32, arguments: &[&str]| told(folder.path(), code, arguments, "");
    let same = told(0, &["flow", "edit", "GARDEN", "--schema", "{ \"t\": \"float\" }"]);
    assert!(same.contains("unchanged GARDEN"), "{same}");
    let edited = told(0, &["flow", "edit", "GARDEN", "--options", "{\"table\":\"soil\",\"min_interval\":\"1m\"}"]);
    assert!(edited.contains("options.table: nothing → \"soil\""), "{edited}");
    let refused = told(64, &["flow", "edit", "GARDEN", "--retention", "30d"]);
    assert!(refused.contains("older than 30 days are removed") && refused.contains("--yes"), "{refused}");
    let agreed = told(0, &["flow", "edit", "GARDEN", "--retention", "30d", "--yes"]);
    assert!(agreed.contains("options.retention: nothing → \"30d\"") && !agreed.contains("min_interval:"), "{agreed}");
    let exported = told(0, &["flow", "export", "GARDEN"]);
    assert!(exported.contains("[flow.options]\ntable = \"soil\"\nmin_interval = \"1m\""), "{exported}");
}

#[test]
fn a_flow_is_copied_renamed_and_compared() {
    let folder = with_database();
    let told = |code: i32, arguments: &[&str]| told(folder.path(), code, arguments, "");
    told(0, &["flow", "copy", "GARDEN", "BALCONY"]);
    let differs = told(0, &["flow", "diff", "GARDEN", "BALCONY"]);
    assert_eq!(differs, "  code: \"GARDEN\" → \"BALCONY\"\n  enabled: true → false\n");
    assert!(told(64, &["flow", "copy", "GARDEN", "BALCONY"]).contains("there is a flow BALCONY already"));
    assert!(told(64, &["flow", "rename", "GARDEN", "YARD"]).contains("keeps the code GARDEN"));
    assert!(told(0, &["flow", "rename", "GARDEN", "YARD", "--yes"]).contains("renamed GARDEN"));
    let listed = told(0, &["flow", "list"]);
    assert!(listed.contains("YARD") && !listed.contains("GARDEN"), "{listed}");
}

#[test]
fn an_import_makes_tables_keeps_numbers_and_takes_all_or_nothing() {
    let folder = with_database();
    let file = "[[flow]]\ncode = \"GARDEN\"\ntopic = \"sensors/{room}/temp\"\naction = \"STORE_DB\"\n\
        [flow.schema]\nt = \"float\"\n[flow.options]\ntable = \"soil\"\nattributes = false\n";
    let broken =
        format!("{file}[[flow]]\ncode = \"BAD\"\ntopic = \"a\"\naction = \"STORE_DB\"\n[flow.schema]\nt = \"flaot\"\n");
    assert!(told(folder.path(), 1, &["flow", "import"], &broken).contains("BAD"));
    assert!(!told(folder.path(), 0, &["flow", "export"], "").contains("soil"), "a part of a file was taken");
    let planned = told(folder.path(), 0, &["flow", "import", "--dry-run"], file);
    assert!(planned.contains("options.table: nothing → \"soil\"") && planned.contains("not go to data"), "{planned}");
    assert!(told(folder.path(), 64, &["flow", "import"], file).contains("--yes"));
    told(folder.path(), 0, &["flow", "import", "--yes"], file);
    let made = told(folder.path(), 0, &["flow", "ddl", "GARDEN", "--apply"], "");
    assert!(made.contains("table soil is as it has to be"), "{made}");
    assert!(told(folder.path(), 0, &["flow", "import"], file).contains("unchanged GARDEN"));
}

#[test]
fn add_and_check_find_the_same_fault_with_a_flow() {
    let folder = with_database();
    std::fs::write(
        folder.path().join("hearthgate.toml"),
        "[mapper]\nenabled = false\n[endpoints]\nallow_hosts = [\"h\"]\n",
    )
    .unwrap();
    let told = |code: i32, arguments: &[&str]| told(folder.path(), code, arguments, "");
    let add =
        |code: &str, topic: &str| told(0, &["flow", "add", code, "--topic", topic, "--schema", "{\"t\":\"int\"}"]);
    let lines = [
        (add("LOAD", "$SYS/broker/load"), "has nothing at $SYS/broker/load"),
        (add("TWICE", "sensors/+/temp"), "both store them in data"),
        (
            told(
                0,
                &[
                    "flow",
                    "add",
                    "CALL",
                    "--topic",
                    "c",
                    "--schema",
                    "{}",
                    "--action",
                    "POST_ENDPOINT",
                    "--endpoint-url",
                    "http://127.0.0.1:9/",
                ],
            ),
            "127.0.0.1 is not in endpoints.allow_hosts",
        ),
    ];
    let checked = told(1, &["check"]);
    for (added, reason) in lines {
        assert!(added.contains(reason), "{reason}: {added}");
        assert!(checked.contains(reason), "{reason}: {checked}");
    }
}

#[test]
fn a_flow_of_a_file_is_tested_before_it_is_anywhere() {
    let folder = here();
    let file = "[[flow]]\ncode = \"GARDEN\"\ntopic = \"garden/{bed}\"\naction = \"STORE_DB\"\n\
        [flow.schema]\nt = \"float\"\nlux = \"float?\"\n[flow.options]\ntable = \"soil\"\nevent_time = \"at\"\n";
    std::fs::write(folder.path().join("garden.toml"), file).unwrap();
    let test = |code: i32, payload: &str| {
        told(folder.path(), code, &["flow", "test", "garden.toml", "--topic", "garden/2", "--payload", payload], "")
    };
    let taken = test(0, r#"{"t":21.50,"at":1764230166}"#);
    for line in [
        "row bed = \"2\"",
        "row t = \"21.50\"",
        "table soil",
        "column bed = \"2\"",
        "column t = \"21.50\"",
        "column lux = NULL",
        "event_time 2025-11-27T07:56:06Z",
    ] {
        assert!(taken.contains(line), "{line}: {taken}");
    }
    assert!(test(0, r#"{"t":1,"at":"noon"}"#).contains("event_time NULL: there is none that can be read"));
    assert!(test(1, r#"{"t":"warm"}"#).contains("refused at \"/t\""));
}

#[test]
fn the_history_of_a_flow_says_who_when_and_what() {
    let folder = with_database();
    let told = |code: i32, arguments: &[&str]| told(folder.path(), code, arguments, "");
    told(0, &["flow", "edit", "GARDEN", "--description", "the beds"]);
    told(0, &["flow", "disable", "GARDEN"]);
    told(0, &["flow", "rename", "GARDEN", "YARD", "--yes"]);
    told(0, &["flow", "remove", "YARD"]);
    let history = told(0, &["flow", "history", "GARDEN", "--json"]);
    let changes: Vec<Value> = history.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let verbs: Vec<&str> = changes.iter().map(|change| change["what"].as_str().unwrap()).collect();
    assert_eq!(verbs, ["added", "changed", "disabled", "renamed", "removed"]);
    assert_eq!(changes[1]["differences"], json!(["description: \"\" → \"the beds\""]));
    assert!(changes.iter().all(|change| change["author"] == "command line"), "{history}");
    assert_eq!(told(0, &["flow", "history", "YARD"]).lines().filter(|line| line.contains("command line")).count(), 5);
    assert!(told(1, &["flow", "history", "NONE"]).contains("no change of it is known"));
}

#[test]
fn the_files_of_flows_in_the_book_can_be_imported() {
    let book = std::fs::read_to_string(vectors().join("../../docs/flows.md")).unwrap();
    let files: Vec<&str> = book.split("```toml\n").skip(1).map(|after| after.split("```").next().unwrap()).collect();
    assert!(!files.is_empty());
    for file in files {
        told(with_database().path(), 0, &["flow", "import", "--yes"], file);
    }
}

#[test]
fn a_template_is_tried_on_the_newest_dead_letter_of_its_flow() {
    let folder = with_database();
    let options = DeadLetterOptions::new(folder.path().join("data/dead-letters.db"));
    let letter = NewDeadLetter {
        journal: Uuid::nil(),
        seq: None,
        flow_code: Some("GARDEN".into()),
        topic: "sensors/kitchen/temp".into(),
        payload: br#"{"t": 21.5}"#.as_slice().into(),
        reason: "the endpoint refused it".into(),
        pointer: None,
        received_at: 0,
        dead_at: 0,
        attempts: 1,
        part: None,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let letters = DeadLetters::open(&options).await.unwrap();
        letters.insert_batch(&[letter]).await.unwrap();
        letters.close().await;
    });
    let publish = |topic: &str| format!(r#"{{"actions":[{{"type":"PUBLISH","topic":"{topic}"}}]}}"#);
    let edit = |options: &str| told(folder.path(), 0, &["flow", "edit", "GARDEN", "--options", options], "");
    let failing = edit(&publish("out/{{ payload.humidity }}"));
    assert!(failing.contains("a template fails on the dead letter 1"), "{failing}");
    assert!(!edit(&publish("out/{{ payload.t }}")).contains("dead letter"));
}

#[test]
fn a_password_in_an_endpoints_url_is_shown_by_export_alone() {
    let folder = with_database();
    let told = |code: i32, arguments: &[&str]| told(folder.path(), code, arguments, "");
    let url = "http://user:hunter2@localhost/in";
    told(
        0,
        &["flow", "add", "HOOK", "--topic", "h", "--schema", "{}", "--action", "POST_ENDPOINT", "--endpoint-url", url],
    );
    let moved = told(0, &["flow", "edit", "HOOK", "--endpoint-url", "http://user:hunter2@localhost/out"]);
    for shown in [moved, told(0, &["flow", "show", "HOOK"]), told(0, &["flow", "show", "HOOK", "--json"])] {
        assert!(shown.contains("localhost/out") && !shown.contains("hunter2"), "{shown}");
    }
    for arguments in [&["flow", "list", "--json"][..], &["flow", "history", "HOOK"]] {
        assert!(!told(0, arguments).contains("hunter2"), "{arguments:?}");
    }
    assert!(told(0, &["flow", "export", "HOOK"]).contains("hunter2"), "what is imported again must be whole");
}
