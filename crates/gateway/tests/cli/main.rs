//! The program as a person or a script meets it: the real binary, its output, its exit codes.

#![expect(clippy::unwrap_used, reason = "a test fails where it unwraps")]

mod flows;

use hearthgate_domain::flow::FlowRow;
use hearthgate_storage::sql::{Database, DatabaseOptions};
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
fn a_new_interface_is_complete_and_never_overwritten() {
    let folder = here();
    let mut configuration = String::new();
    for language in ["python", "shell"] {
        let name = format!("lamp_{language}");
        let arguments = ["interface", "new", &name, "--language", language];
        let output = run(folder.path(), &arguments, b"");
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        assert_eq!(run(folder.path(), &arguments, b"").status.code(), Some(64));
        configuration += &text(&output.stdout);
    }
    std::fs::write(folder.path().join("hearthgate.toml"), configuration).unwrap();
    let check = run(folder.path(), &["check", "--offline"], b"");
    assert_eq!(check.status.code(), Some(0), "{}{}", text(&check.stdout), text(&check.stderr));
    assert!(text(&check.stdout).contains("interface lamp_python"), "{}", text(&check.stdout));
    assert_eq!(run(folder.path(), &["interface", "new", "a/b"], b"").status.code(), Some(64));
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

#[test]
fn check_tells_each_thing_and_a_broken_map_with_its_line() {
    let folder = here();
    std::fs::write(
        folder.path().join("bad.json"),
        "{\"root\":\"r\",\"topics\":[\"r/#\"],\n\"function\":{\"maptype\":\"fuzzy\"}}",
    )
    .unwrap();
    let file = "[interfaces.good]\nkind = \"dummy\"\nmap = \"builtin:dummy\"\n[interfaces.bad]\nkind = \"dummy\"\nmap = \"bad.json\"\n";
    std::fs::write(folder.path().join("hearthgate.toml"), file).unwrap();
    let output = run(folder.path(), &["check", "--offline"], b"");
    let shown = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{shown}");
    assert!(shown.contains("ok    interface good: dummy, listens to testmqttgtw/+/dummy/"), "{shown}");
    assert!(shown.contains("WRONG interfaces.bad.map: ") && shown.contains("bad.json: line 2"), "{shown}");
    assert!(!folder.path().join("data").exists(), "check has created something");
}

#[test]
fn check_ends_with_69_when_the_broker_does_not_answer() {
    let folder = here();
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let file = format!(
        "[mqtt]\nserver = \"mqtt://127.0.0.1:{port}\"\n[http]\nenabled = false\n[database]\nenabled = false\n[flows]\nenabled = false\n"
    );
    std::fs::write(folder.path().join("hearthgate.toml"), file).unwrap();
    let output = run(folder.path(), &["check"], b"");
    assert_eq!(output.status.code(), Some(69), "{}", text(&output.stdout));
    assert!(text(&output.stdout).contains(&format!("DOWN  mqtt: mqtt://127.0.0.1:{port}")), "{}", text(&output.stdout));
}

#[test]
fn status_ends_with_69_when_no_gateway_runs() {
    let folder = here();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let listen = format!("http.listen=127.0.0.1:{port}");
    for arguments in [&["status"][..], &["restart", "mqtt"]] {
        let output = run(folder.path(), &[arguments, &["--set", &listen]].concat(), b"");
        assert_eq!(output.status.code(), Some(69), "{}", text(&output.stderr));
        assert!(text(&output.stderr).contains("no gateway answers"), "{}", text(&output.stderr));
    }
}

/// A folder with the database that a first start leaves behind.
fn with_database() -> tempfile::TempDir {
    let folder = here();
    std::fs::create_dir(folder.path().join("data")).unwrap();
    let migrate = run(folder.path(), &["db", "migrate"], b"");
    assert_eq!(migrate.status.code(), Some(0), "{}", text(&migrate.stderr));
    let add = ["flow", "add", "GARDEN", "--topic", "sensors/{room}/temp", "--schema", "{\"t\":\"float\"}"];
    let added = run(folder.path(), &add, b"");
    assert_eq!(added.status.code(), Some(0), "{}", text(&added.stderr));
    folder
}

#[test]
fn flows_are_added_changed_moved_and_removed() {
    let folder = with_database();
    let ok = |arguments: &[&str], input: &[u8]| {
        let output = run(folder.path(), arguments, input);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", text(&output.stderr));
        text(&output.stdout)
    };
    assert!(ok(&["db", "status"], b"").contains("applied"));
    assert!(ok(&["flow", "list"], b"").contains("AHT10_SENSOR"), "the samples of a first start are missing");
    ok(&["flow", "disable", "GARDEN"], b"");
    let shown: Value = serde_json::from_str(&ok(&["flow", "show", "GARDEN", "--json"], b"")).unwrap();
    assert_eq!((&shown["enabled"], &shown["schema"]), (&json!(false), &json!({"t": "float"})));
    let exported = ok(&["flow", "export"], b"");
    ok(&["flow", "remove", "GARDEN"], b"");
    assert!(!ok(&["flow", "list"], b"").contains("GARDEN"));
    let planned = ok(&["flow", "import", "--dry-run"], exported.as_bytes());
    assert!(planned.contains("added GARDEN") && planned.contains("unchanged AHT10_SENSOR"), "{planned}");
    assert!(!ok(&["flow", "list"], b"").contains("GARDEN"), "a dry run has written");
    ok(&["flow", "import"], exported.as_bytes());
    assert_eq!(ok(&["flow", "export"], b"").matches("GARDEN").count(), 1);
}

#[test]
fn a_flow_that_could_not_run_is_not_let_in() {
    let folder = with_database();
    let add = ["flow", "add", "BAD", "--topic", "a/#/b", "--schema", "{\"t\":\"flaot\"}"];
    let output = run(folder.path(), &add, b"");
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("BAD"), "{}", text(&output.stderr));
    assert_eq!(run(folder.path(), &["flow", "show", "BAD"], b"").status.code(), Some(64));
}

#[test]
fn samples_run_through_a_flow_without_storing_anything() {
    let folder = with_database();
    let arguments = ["flow", "test", "GARDEN", "--topic", "sensors/kitchen/temp"];
    let output = run(folder.path(), &arguments, b"{\"t\":21.50}\n{\"t\":\"warm\"}\nnothing\n{\"t\":1}\n");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let answers: Vec<Value> = text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers[0]["captures"], json!({"room": "kitchen"}));
    let row = |index: usize| &answers[0]["actions"][0]["rows"][index];
    assert_eq!((&row(0)["attribute_name"], &row(0)["attribute_value"]), (&json!("room"), &json!("kitchen")));
    assert_eq!((&row(1)["attribute_name"], &row(1)["attribute_value"]), (&json!("t"), &json!("21.50")));
    assert_eq!(answers[1]["errors"][0]["pointer"], "/t");
    assert_eq!(answers[2]["valid"], false);
    assert_eq!((&answers[0]["last_msg_id"], &answers[3]["last_msg_id"]), (&json!(1), &json!(2)));
    let shown = run(folder.path(), &["flow", "show", "GARDEN", "--json"], b"");
    assert_eq!(serde_json::from_slice::<Value>(&shown.stdout).unwrap()["last_msg_id"], 0);
}

#[test]
fn explain_tells_what_interfaces_and_flows_would_make_of_a_message() {
    let folder = with_database();
    let explain = |topic: &str, payload: &str| {
        let output = run(folder.path(), &["explain", topic, payload, "--json"], b"");
        (output.status.code(), serde_json::from_slice::<Value>(&output.stdout).unwrap())
    };
    let (code, answer) = explain("testmqttgtw/dummyfunction//kitchen//me/C", "audio_on");
    assert_eq!(code, Some(0), "{answer}");
    assert_eq!(answer["interfaces"][0]["message"]["action"], "POWER_ON");
    let (code, answer) = explain("sensors/aht10", "{\"temperature\":23.5,\"humidity\":65.20}");
    assert_eq!(code, Some(0), "{answer}");
    assert_eq!(answer["flows"][0]["flow"], "AHT10_SENSOR");
    assert_eq!(answer["flows"][0]["actions"][0]["rows"][1]["attribute_value"], "65.20");
    let (code, answer) = explain("sensors/aht10", "{\"temperature\":true}");
    assert_eq!(code, Some(1), "{answer}");
    assert_eq!(answer["flows"][0]["errors"][0]["pointer"], "/temperature");
    assert_eq!(explain("nobody/listens", "x").0, Some(1));
    assert_eq!(run(folder.path(), &["explain", "a/+", "x"], b"").status.code(), Some(64));
    let words = run(folder.path(), &["explain", "sensors/aht10", "-"], b"{\"temperature\":1,\"humidity\":2}");
    assert!(text(&words.stdout).contains("row temperature = \"1\""), "{}", text(&words.stdout));
}

#[test]
fn check_and_explain_name_a_flow_whose_own_table_can_not_be() {
    let folder = with_database();
    // As an earlier version, or somebody's own SQL, may have left it.
    let database = folder.path().join("data/hearthgate.db");
    let options = DatabaseOptions::new(format!("sqlite:{}", database.display()), folder.path().join("data"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let database = Database::connect(&options).await.unwrap();
        let row = FlowRow {
            code: "TWICE".into(),
            topic: "twice/#".into(),
            action: "STORE_DB".into(),
            payload_schema: "{\"Id\":\"int\"}".into(),
            enabled: true,
            options: Some("{\"table\":\"twice\"}".into()),
            ..FlowRow::default()
        };
        database.insert_flow(&row).await.unwrap();
        database.close().await;
    });
    let reason = "flow \"TWICE\", options.table: table twice: Id can't be a column, the name is taken";
    let checked = run(folder.path(), &["check"], b"");
    assert_eq!(checked.status.code(), Some(1), "{}", text(&checked.stdout));
    assert!(text(&checked.stdout).contains(reason), "{}", text(&checked.stdout));
    let explained = run(folder.path(), &["explain", "twice/a", "{\"Id\":1}"], b"");
    assert_eq!(explained.status.code(), Some(1));
    assert!(text(&explained.stdout).contains(reason), "{}", text(&explained.stdout));
}

#[test]
fn hostile_payloads_are_explained_without_a_panic() {
    let folder = with_database();
    let deep = [b"[".repeat(10_000), b"]".repeat(10_000)].concat();
    let big = [b"{\"temperature\":\"".to_vec(), vec![b'x'; 5 << 20], b"\"}".to_vec()].concat();
    for payload in [Vec::new(), vec![0xff, 0xfe], deep, big] {
        for topic in ["sensors/aht10", "testmqttgtw/dummyfunction//kitchen//me/C"] {
            let output = run(folder.path(), &["explain", topic, "-"], &payload);
            assert!(!text(&output.stderr).contains("panicked"), "{}", text(&output.stderr));
            assert!(matches!(output.status.code(), Some(0 | 1)), "{:?}", output.status);
        }
    }
}
