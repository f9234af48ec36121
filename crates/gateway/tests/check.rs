//! What the program says of a configuration that would not work: `check` finds it, and every remedy can be followed.

#![expect(clippy::unwrap_used, reason = "a test fails where it unwraps")]

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn run(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hearthgate"));
    command.current_dir(folder).env_clear().env("HOME", folder).env("PATH", "/usr/bin:/bin").args(arguments);
    command.output().unwrap()
}

/// The exit code of `check` and its lines that find fault.
fn check(configuration: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("hearthgate.toml"), configuration).unwrap();
    let output = run(folder.path(), &[&["check"], arguments].concat());
    let text = String::from_utf8(output.stdout).unwrap();
    let found: Vec<&str> = text.lines().filter(|line| line.starts_with("WRONG") || line.starts_with("DOWN")).collect();
    (output.status.code(), found.join("\n"))
}

#[test]
fn a_certificate_that_is_not_there_is_found_with_its_file() {
    let (code, found) = check(
        "[broker.tls]\nlisten = \"127.0.0.1:0\"\ncertificate = \"none.pem\"\nkey = \"none.key\"\n",
        &["--offline"],
    );
    assert!(code == Some(1) && found.contains("none.pem") && found.contains("set broker.tls.certificate"), "{found}");
}

#[test]
fn an_authority_of_the_broker_that_is_not_there_is_found_with_its_file() {
    let (code, found) =
        check("[mqtt]\nserver = \"mqtts://localhost\"\n[mqtt.tls]\nca = \"none.pem\"\n", &["--offline"]);
    assert!(code == Some(1) && found.contains("none.pem") && found.contains("set mqtt.tls.ca"), "{found}");
}

#[test]
fn a_program_and_a_device_of_interfaces_that_are_not_there_are_found() {
    let exec = "[interfaces.radio]\nkind = \"exec\"\nroot = \"home\"\ntopics = [\"home/#\"]\ncommand = [\"pyhton3\"]\n";
    let (code, found) = check(exec, &["--offline"]);
    assert!(code == Some(1) && found.contains("interface radio") && found.contains("pyhton3"), "{found}");
    let (code, found) = check(&exec.replace("pyhton3", "sh"), &["--offline"]);
    assert!(code == Some(0) && found.is_empty(), "{found}");
}

#[test]
fn a_port_that_another_program_has_is_no_running_gateway() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let configuration =
        format!("[broker]\nlisten = \"127.0.0.1:{port}\"\n[http]\nenabled = false\n[database]\nenabled = false\n");
    let (code, found) = check(&configuration, &[]);
    assert!(code == Some(1) && found.contains(&port.to_string()) && found.contains("set broker.listen"), "{found}");
}

#[test]
fn a_misspelt_log_level_is_found_by_check_alone() {
    let (code, found) = check("[log]\nlevel = \"verbose\"\n", &["--offline"]);
    assert!(code == Some(1) && found.contains("log.level"), "{found}");
}

#[test]
fn an_encrypted_connection_to_a_server_without_encryption_is_down() {
    // It hangs up at once.
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = server.local_addr().unwrap().port();
    std::thread::spawn(move || server.incoming().for_each(drop));
    let (code, found) = check(
        &format!(
            "[mqtt]\nserver = \"mqtts://127.0.0.1:{port}\"\n[http]\nenabled = false\n[database]\nenabled = false\n"
        ),
        &[],
    );
    assert!(code == Some(69) && found.starts_with("DOWN  mqtt"), "{found}");
}

#[test]
fn an_empty_database_is_no_fault() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("data")).unwrap();
    fs::write(folder.path().join("data/hearthgate.db"), "").unwrap();
    fs::write(folder.path().join("hearthgate.toml"), "[http]\nenabled = false\n[broker]\nlisten = \"127.0.0.1:0\"\n")
        .unwrap();
    let output = run(folder.path(), &["check"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn a_broker_that_refuses_the_credentials_is_found_with_what_it_says() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = server.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let (mut stream, _) = server.accept().unwrap();
        // CONNACK of MQTT 3.1.1: not authorized.
        stream.write_all(&[0x20, 2, 0, 5]).unwrap();
        let mut connect = Vec::new();
        drop(stream.read_to_end(&mut connect));
    });
    let (code, found) = check(
        &format!(
            "[mqtt]\nserver = \"mqtt://127.0.0.1:{port}\"\nusername = \"a\"\npassword = \"wrong\"\n[http]\nenabled = false\n[database]\nenabled = false\n"
        ),
        &[],
    );
    assert!(code == Some(1) && found.starts_with("WRONG mqtt") && found.contains("set mqtt.username"), "{found}");
}

#[test]
fn messages_name_only_keys_that_exist() {
    let defaults = include_str!("../../../config/hearthgate.default.toml");
    let bare = |line: &str| line.trim_start_matches(['#', ' ']).to_owned();
    let lines: Vec<String> = defaults.lines().map(bare).collect();
    let has_section = |name: &str| lines.iter().any(|line| line.starts_with(&format!("[{name}]")));
    let has_key = |key: &str| {
        let start = |end: &str| format!("{key}{end}");
        lines.iter().any(|line| line.starts_with(&start(" =")) || line.contains(&format!(".{key}]")))
    };
    assert_eq!(named_keys("is in use; set [http] bind"), [("http".to_owned(), "bind".to_owned())]);
    assert!(has_section("http") && !has_key("bind") && has_key("listen"));
    let mut unknown = Vec::new();
    for file in sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("..")) {
        let text = fs::read_to_string(&file).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for (section, key) in code.split('"').skip(1).step_by(2).flat_map(named_keys) {
            if has_section(&section) && !has_key(&key) {
                unknown.push(format!("{}: {section}.{key}", file.display()));
            }
        }
    }
    assert!(unknown.is_empty(), "{unknown:#?}");
}

/// Section and key where a message says `[section] key`, `set section.key` or `(section.key)`.
fn named_keys(message: &str) -> Vec<(String, String)> {
    let word = |text: &str| text.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect::<String>();
    let mut keys = Vec::new();
    for (start, separator) in [("[", "] "), ("set ", "."), ("(", ".")] {
        for (at, _) in message.match_indices(start) {
            let section = word(&message[at + start.len()..]);
            let behind = &message[at + start.len() + section.len()..];
            let key = behind.strip_prefix(separator).map(word).unwrap_or_default();
            if !section.is_empty() && !key.is_empty() {
                keys.push((section, key));
            }
        }
    }
    keys
}

/// The sources of all crates, without their tests.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap_or_default();
        if path.is_dir() && name != "tests" && name != "target" {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|end| end == "rs") && name != "tests.rs" {
            files.push(path);
        }
    }
    files
}

#[test]
fn a_device_at_an_address_where_nobody_answers_is_down() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let configuration = format!(
        "[broker]\nlisten = \"127.0.0.1:0\"\n[http]\nenabled = false\n[database]\nenabled = false\n\
         [interfaces.alarm]\nkind = \"tcp\"\nroot = \"home\"\ntopics = [\"home/#\"]\naddress = \"127.0.0.1:{port}\"\n\
         frame = {{ delimiter = \"\\n\" }}\n"
    );
    let (code, found) = check(&configuration, &[]);
    assert!(code == Some(69) && found.contains("interface alarm") && found.contains(&port.to_string()), "{found}");
}
