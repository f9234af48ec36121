//! Moving in from the two Python gateways: what is written works, says what it could not take, and overwrites nothing.

#![expect(clippy::unwrap_used, reason = "a test fails where it unwraps")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

const ENTRY: &str = "# The gate\n[INTERFACE]\nPort: /dev/ttyACM0\n; a note\nwords: one\n  two\n\n[MQTT]\nhost: 10.0.0.5\n\
    port = 1884\nkeepalive: 30\nclientid: gate\ntimeout: 0.01\nmapping: on\nmapfilename: entry_map.json\nroot:\ntopics:\n\n\
    [LOG]\nconsolelevel: NONE\nlogfilename: .\nfilelevel: DEBUG\nfilenum:4\nfilesize: 500\nemailhost: mail.lan\n";

const BELL: &str = "[MQTT]\nhost: 10.0.0.5\nport: 1884\nmapping: off\nmapfilename: .\nroot: home\n\
    topics: home/bell/#, home/+/bell/#\n[LOG]\nlogfilename:\n";

const MAP: &str = r#"{"root": "home", "topics": ["home/security/#"],
    "function": {"maptype": "none"}, "gateway": {"maptype": "none"}, "location": {"maptype": "none"},
    "device": {"maptype": "loose", "map": {"Gate": ["gate", "door"]}}, "sender": {"maptype": "none"},
    "action": {"maptype": "none"}, "argkey": {"maptype": "none"}, "argvalue": {"maptype": "none"}}"#;

fn run(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hearthgate"));
    command.current_dir(folder).env_clear().env("HOME", folder).env("PATH", "/usr/bin:/bin").args(arguments);
    command.output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[&*output.stdout, &*output.stderr].concat()).into_owned()
}

fn library() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let old = folder.path().join("old");
    fs::create_dir(&old).unwrap();
    fs::write(old.join("entry2mqtt.conf"), ENTRY).unwrap();
    fs::write(old.join("entry_map.json"), MAP).unwrap();
    fs::write(old.join("entry_interface.py"), "import serial\n\nclass entryInterface(object):\n    pass\n").unwrap();
    fs::write(old.join("bell2mqtt.conf"), BELL).unwrap();
    folder
}

#[test]
fn files_of_the_python_library_become_interfaces_of_one_gateway() {
    let folder = library();
    let arguments = ["import", "mqttgateway", "old/entry2mqtt.conf", "old/bell2mqtt.conf", "--folder", "new"];
    let done = run(folder.path(), &arguments);
    assert!(done.status.success(), "{}", text(&done));
    let written = fs::read_to_string(folder.path().join("new/hearthgate.toml")).unwrap();
    for part in [
        "server = \"mqtt://10.0.0.5:1884\"",
        "keep_alive = \"30s\"",
        "level = \"debug\"",
        "max_size = \"500KiB\"",
        "keep = 4",
        "\"entry_interface:entryInterface\"",
        "map = \"maps/entry2mqtt.json\"",
        "\"port\" = \"/dev/ttyACM0\"",
        "\"words\" = ",
        "topics = [\"home/bell/#\", \"home/+/bell/#\"]",
        "# [MQTT] timeout: 0.01",
        "# [MQTT] clientid: gate (not taken over",
        "# [LOG] emailhost: mail.lan",
        "# Its class was not found",
    ] {
        assert!(written.contains(part), "{part} is missing in\n{written}");
    }
    assert_eq!(fs::read_to_string(folder.path().join("new/maps/entry2mqtt.json")).unwrap(), MAP);
    let shown = run(folder.path(), &["-c", "new/hearthgate.toml", "config", "show", "--changed"]);
    assert!(shown.status.success() && !text(&shown).contains("client_id"), "{}", text(&shown));
    let again = run(folder.path(), &arguments);
    assert_eq!(again.status.code(), Some(64), "an import overwrites nothing: {}", text(&again));
}

#[test]
fn what_the_python_library_could_not_run_is_named_with_its_file_and_writes_nothing() {
    let cases = [
        ("bell2mqtt.conf", "host: 10.0.0.5\n", "old/bell2mqtt.conf:1: it stands before the first [SECTION]", 78),
        ("bell2mqtt.conf", "[MQTT]\nnonsense\n", "old/bell2mqtt.conf:2: expected `option: value`", 78),
        ("bell2mqtt.conf", "[MQTT]\nport: many\n", "old/bell2mqtt.conf: [MQTT] port: \"many\" is no whole number", 78),
        ("bell2mqtt.conf", "[MQTT]\nhost: other.lan\n", "import each into a --folder of its own", 64),
        ("entry_map.json", "{\"root\": 1}", "old/entry_map.json", 78),
    ];
    for (file, content, wanted, code) in cases {
        let folder = library();
        fs::write(folder.path().join("old").join(file), content).unwrap();
        let arguments = ["import", "mqttgateway", "old/entry2mqtt.conf", "old/bell2mqtt.conf", "--folder", "new"];
        let refused = run(folder.path(), &arguments);
        assert!(text(&refused).contains(wanted), "{wanted} is missing in {}", text(&refused));
        assert_eq!(refused.status.code(), Some(code), "{}", text(&refused));
        assert!(!folder.path().join("new").exists(), "{wanted}");
    }
}

#[test]
fn the_environment_of_the_mqtt_gateway_is_taken_over_without_its_client_id() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("old")).unwrap();
    let variables = "DB_HOST=db.lan\nDB_PORT=3307\nDB_NAME=iot\nDB_USER=gate way\nDB_PASSWORD='p#w'\nLOG_DIR=./log\n\
        HTTP_TIMEOUT_SECONDS=7\nMQTT_CLIENT_ID=mqtt-gateway\nMQTT_KEEPALIVE=45\nFLOWS_RELOAD_INTERVAL_SECONDS=300\n";
    fs::write(folder.path().join("old/.env"), variables).unwrap();
    let done = run(folder.path(), &["import", "mqtt-gateway", "old/.env", "--folder", "new"]);
    assert!(done.status.success(), "{}", text(&done));
    assert!(text(&done).contains("\"mqtt-gateway\" is the client id of the running service"), "{}", text(&done));
    let written = fs::read_to_string(folder.path().join("new/hearthgate.toml")).unwrap();
    for line in [
        "url = \"mysql://gate%20way@db.lan:3307/iot\"",
        "server = \"database\"",
        "http_timeout = \"7s\"",
        "keep_alive = \"45s\"",
        "reload_interval = \"300s\"",
        "value_format = \"python\"",
        "password_file = \"secrets/database\"",
    ] {
        assert!(written.lines().any(|found| found == line), "{line} is missing in\n{written}");
    }
    assert!(!written.contains("p#w") && !written.lines().any(|line| line.starts_with("client_id")), "{written}");
    let secret = folder.path().join("new/secrets/database");
    assert_eq!(fs::read_to_string(&secret).unwrap(), "p#w");
    assert_eq!(fs::metadata(&secret).unwrap().permissions().mode() & 0o777, 0o600);
    let shown = run(folder.path(), &["-c", "new/hearthgate.toml", "config", "show", "--changed"]);
    assert!(shown.status.success() && text(&shown).contains("db.lan"), "{}", text(&shown));
}

#[test]
fn a_file_that_is_no_environment_of_the_mqtt_gateway_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let missing = run(folder.path(), &["import", "mqtt-gateway"]);
    assert!(missing.status.code() == Some(78) && text(&missing).contains(".env"), "{}", text(&missing));
    fs::write(folder.path().join("other.env"), "MQTT_KEEPALIVE=45\n").unwrap();
    let refused = run(folder.path(), &["import", "mqtt-gateway", "other.env", "--folder", "new"]);
    assert!(refused.status.code() == Some(78) && text(&refused).contains("no DB_HOST"), "{}", text(&refused));
    assert!(!folder.path().join("new").exists());
}
