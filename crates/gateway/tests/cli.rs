//! The program as a person or a script meets it: the real binary, its output, its exit codes.

use serde_json::{Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn hearthgate(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hearthgate"));
    // Nothing of the developer's own configuration.
    command.current_dir(folder).env_clear().env("HOME", folder);
    command
}

fn run(folder: &Path, arguments: &[&str], input: &[u8]) -> Output {
    let mut child = hearthgate(folder)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    // A reader that stops early closes the pipe; its exit code tells.
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}

fn here() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn vectors() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors")
}

fn cases(file: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(vectors().join(file)).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Asks one run of the program about all `questions`, and gives the answers in order.
fn answers(arguments: &[&str], questions: &[Value]) -> Vec<Value> {
    let folder = here();
    let input: String = questions.iter().map(|question| format!("{question}\n")).collect();
    let output = run(folder.path(), arguments, input.as_bytes());
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let answers: Vec<Value> = text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers.len(), questions.len());
    answers
}

/// Runs the cases of one file, grouped by map and name as the program takes them.
fn through_the_maps(file: &str, direction: &str, question: impl Fn(&Value) -> Value, check: impl Fn(&Value, &Value)) {
    let cases = cases(file);
    assert!(cases.len() > 400);
    let key = |case: &Value| (case["map"].as_str().unwrap().to_owned(), case["name"].as_str().unwrap().to_owned());
    let groups: std::collections::BTreeSet<_> = cases.iter().map(key).collect();
    for group in groups {
        let of_group: Vec<&Value> = cases.iter().filter(|case| key(case) == group).collect();
        let map = vectors().join("mapping").join(&group.0);
        let arguments = ["map", direction, "--map", map.to_str().unwrap(), "--name", &group.1];
        let questions: Vec<Value> = of_group.iter().map(|case| question(case)).collect();
        for (case, answer) in of_group.iter().zip(answers(&arguments, &questions)) {
            if case["expect"]["error"] == true {
                assert!(answer["error"].is_string(), "{case}\n{answer}");
            } else {
                check(case, &answer);
            }
        }
    }
}

#[test]
fn every_recorded_message_is_decoded_as_recorded() {
    through_the_maps(
        "mapping/decode.jsonl",
        "decode",
        |case| json!({"topic": case["topic"], "payload": case["payload"]}),
        |case, answer| assert_eq!(answer.to_string(), case["expect"].to_string(), "{case}"),
    );
}

#[test]
fn every_recorded_message_is_encoded_as_recorded() {
    through_the_maps(
        "mapping/encode.jsonl",
        "encode",
        |case| case["msg"].clone(),
        |case, answer| assert_eq!(answer, &case["expect"], "{case}"),
    );
}

#[test]
fn every_recorded_filter_matches_as_recorded() {
    let cases = cases("topic_filters.jsonl");
    for (case, answer) in cases.iter().zip(answers(&["topic", "match"], &cases)) {
        assert_eq!(answer, json!({"match": case["match"]}), "{case}");
    }
}

#[test]
fn every_recorded_payload_is_judged_as_recorded() {
    let cases = cases("payload_schemas.jsonl");
    for (case, answer) in cases.iter().zip(answers(&["schema", "validate"], &cases)) {
        match case["valid"].as_bool() {
            Some(true) => assert_eq!(answer, json!({"valid": true}), "{case}"),
            Some(false) => {
                assert_eq!(answer["valid"], false, "{case}");
                assert!(answer["errors"].as_array().is_some_and(|errors| !errors.is_empty()), "{case} {answer}");
            }
            None => assert!(answer["error"].is_string(), "{case}"),
        }
    }
}

#[test]
fn a_malformed_line_is_answered_and_the_next_ones_too() {
    let folder = here();
    let output = run(
        folder.path(),
        &["topic", "match"],
        b"{\"filter\":\"a/#/b\",\"topic\":\"a\"}\nno json\n{\"filter\":\"+\",\"topic\":\"a\"}\n",
    );
    assert_eq!(output.status.code(), Some(0));
    let lines: Vec<Value> = text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 3);
    assert!(lines[0]["error"].is_string() && lines[1]["error"].is_string());
    assert_eq!(lines[2], json!({"match": true}));
}

#[test]
fn a_broken_map_is_refused_with_its_line() {
    let folder = here();
    std::fs::write(
        folder.path().join("m.json"),
        "{\"root\":\"r\",\"topics\":[\"r/#\"],\n\"function\":{\"maptype\":\"fuzzy\"}}",
    )
    .unwrap();
    let output = run(folder.path(), &["map", "decode", "--map", "m.json", "--name", "x"], b"");
    assert_eq!(output.status.code(), Some(78), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("m.json: line 2"), "{}", text(&output.stderr));
}

#[test]
fn a_wrong_command_line_is_64_and_help_is_0() {
    let folder = here();
    assert_eq!(run(folder.path(), &["sing"], b"").status.code(), Some(64));
    assert_eq!(run(folder.path(), &["map", "decode"], b"").status.code(), Some(64));
    let help = run(folder.path(), &["--help"], b"");
    assert_eq!(help.status.code(), Some(0));
    assert!(text(&help.stdout).contains("Examples:"));
}

#[test]
fn a_wrong_configuration_is_78_and_tells_everything_at_once() {
    let folder = here();
    std::fs::write(folder.path().join("hearthgate.toml"), "[mqtt]\nsevrer = \"x\"\nkeep_alive = 5\n").unwrap();
    let output = run(folder.path(), &["config", "show"], b"");
    assert_eq!(output.status.code(), Some(78));
    assert_eq!(
        text(&output.stderr),
        "hearthgate: the configuration has 2 errors:\n  \
         hearthgate.toml:2: mqtt.sevrer: unknown key; did you mean \"server\"?\n  \
         hearthgate.toml:3: mqtt.keep_alive: expected a duration such as \"5s\", \"500ms\" or \"1h30m\", found the number 5\n"
    );
}

#[test]
fn config_show_tells_values_and_origins_and_hides_secrets() {
    let folder = here();
    std::fs::write(
        folder.path().join("hearthgate.toml"),
        "[mqtt]\nserver = \"mqtt://b\"\nusername = \"u\"\npassword = \"geheim\"\n",
    )
    .unwrap();
    let output = hearthgate(folder.path())
        .args(["config", "show", "--changed", "--set", "store.batch=5"])
        .env("HEARTHGATE__LOG__LEVEL", "debug")
        .output()
        .unwrap();
    let shown = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let has = |start: &str, origin: &str| shown.lines().any(|line| line.starts_with(start) && line.ends_with(origin));
    assert!(has("mqtt.server = \"mqtt://b\"", "# hearthgate.toml:2"), "{shown}");
    assert!(has("mqtt.password = \"***\"", "# hearthgate.toml:4"), "{shown}");
    assert!(has("log.level = \"debug\"", "# environment variable HEARTHGATE__LOG__LEVEL"), "{shown}");
    assert!(has("store.batch = \"5\"", "# flag --set store.batch"), "{shown}");
    assert!(!shown.contains("geheim"), "{shown}");
}

#[test]
fn the_default_configuration_and_its_schema_are_printed() {
    let folder = here();
    let default = run(folder.path(), &["config", "default"], b"");
    assert!(text(&default.stdout).contains("[gateway]"));
    let schema: Value = serde_json::from_slice(&run(folder.path(), &["config", "schema"], b"").stdout).unwrap();
    assert_eq!(schema["properties"]["http"]["properties"]["listen"]["default"], "127.0.0.1:8787");
}

#[test]
fn a_reader_that_had_enough_is_no_error() {
    let folder = here();
    let mut child = hearthgate(folder.path())
        .args(["config", "default"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(!text(&output.stderr).contains("panicked"), "{}", text(&output.stderr));
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn a_new_interface_speaks_the_protocol_and_is_never_overwritten() {
    let folder = here();
    for (language, program) in [("python", "python3"), ("shell", "sh")] {
        let name = format!("lamp-{language}");
        let arguments = ["interface", "new", &name, "--language", language];
        let output = run(folder.path(), &arguments, b"");
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        assert!(text(&output.stdout).starts_with(&format!("[interfaces.{name}]\nkind = \"exec\"\n")));
        assert_eq!(run(folder.path(), &arguments, b"").status.code(), Some(64));

        let map = folder.path().join(format!("maps/{name}.json"));
        let decoded = run(
            folder.path(),
            &["map", "decode", "--map", map.to_str().unwrap(), "--name", &name],
            b"{\"topic\":\"home/lighting//kitchen//me/C\",\"payload\":\"light_on\"}\n",
        );
        let message = serde_json::from_slice::<Value>(&decoded.stdout).unwrap()["ok"].clone();
        assert_eq!(message["action"], "LIGHT_ON");

        let file = std::fs::read_dir(folder.path().join("interfaces"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .find(|path| path.file_stem().is_some_and(|stem| stem == name.as_str()))
            .unwrap();
        let answers = converse(program, &file, &message);
        let kinds: Vec<&str> = answers.iter().map(|answer| answer["type"].as_str().unwrap()).collect();
        assert!(kinds.contains(&"ready") && kinds.contains(&"pong"), "{answers:?}");
        let status = answers.iter().find(|answer| answer["type"] == "message").unwrap();
        assert_eq!(status["message"]["action"], "LIGHT_ON");
        assert_eq!(status["message"]["location"], "Kitchen");
        assert_eq!(status["message"]["iscmd"], false);
    }
}

/// Plays the gateway to a skeleton: hello, a command, a ping, stop.
fn converse(program: &str, file: &Path, message: &Value) -> Vec<Value> {
    let mut child = Command::new(program).arg(file).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let lines = [
        json!({"type": "hello", "protocol": 1, "name": "lamp", "params": {}}),
        json!({"type": "message", "message": message}),
        json!({"type": "ping", "id": 7}),
        json!({"type": "stop"}),
    ];
    let mut stdin = child.stdin.take().unwrap();
    for line in lines {
        writeln!(stdin, "{line}").unwrap();
    }
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_password_becomes_a_section_that_does_not_show_it() {
    let folder = here();
    let output = run(folder.path(), &["broker", "passwd", "garden"], b"hunter2\n");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let section = text(&output.stdout);
    assert!(section.starts_with("[broker.users.garden]\npassword = \"$argon2id$"), "{section}");
    assert!(!section.contains("hunter2"));
    let file = format!("[broker]\nallow_anonymous = false\n{section}");
    std::fs::write(folder.path().join("hearthgate.toml"), file).unwrap();
    assert_eq!(run(folder.path(), &["config", "show"], b"").status.code(), Some(0));
    assert_eq!(run(folder.path(), &["broker", "passwd", "garden"], b"\n").status.code(), Some(64));
}
