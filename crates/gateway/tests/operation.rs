//! Backup and restore, what the service manager is told, and the files that a package is made of.

#![expect(clippy::unwrap_used, reason = "a test fails where it unwraps")]

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};
use std::time::Duration;

const CONFIGURATION: &str = "[broker]\nlisten = \"127.0.0.1:0\"\n[http]\nenabled = false\n";

fn hearthgate(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hearthgate"));
    command.current_dir(folder).env_clear().env("HOME", folder).env("PATH", "/usr/bin:/bin");
    command
}

fn run(folder: &Path, arguments: &[&str]) -> Output {
    hearthgate(folder).args(arguments).output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[&*output.stdout, &*output.stderr].concat()).into_owned()
}

/// A running gateway, and the socket on which it tells its service manager how it is.
struct Gateway {
    child: Child,
    manager: UnixDatagram,
}

impl Gateway {
    fn start(folder: &Path) -> Self {
        let socket = folder.join("notify");
        let manager = UnixDatagram::bind(&socket).unwrap();
        manager.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut command = hearthgate(folder);
        command.env("NOTIFY_SOCKET", &socket).env("WATCHDOG_USEC", "200000").arg("run");
        let child = command.spawn().unwrap();
        let gateway = Gateway { child, manager };
        gateway.wait_for("READY=1");
        gateway
    }

    fn wait_for(&self, word: &str) {
        let mut buffer = [0; 1_024];
        loop {
            let length = self.manager.recv(&mut buffer).unwrap();
            if std::str::from_utf8(&buffer[..length]).unwrap().lines().any(|line| line == word) {
                return;
            }
        }
    }

    fn signal(&self, name: &str) {
        let done = Command::new("kill").args([format!("-{name}"), self.child.id().to_string()]).status();
        assert!(done.unwrap().success());
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn configured() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("hearthgate.toml"), CONFIGURATION).unwrap();
    let path = folder.path().to_owned();
    (folder, path)
}

#[test]
fn the_service_manager_is_told_of_start_life_reload_and_end() {
    let (_folder, path) = configured();
    let mut gateway = Gateway::start(&path);
    gateway.wait_for("WATCHDOG=1");
    gateway.signal("HUP");
    gateway.wait_for("RELOADING=1");
    gateway.wait_for("READY=1");
    gateway.signal("TERM");
    gateway.wait_for("STOPPING=1");
    assert!(gateway.child.wait().unwrap().success());
}

#[test]
fn a_backup_of_a_running_gateway_is_restored_elsewhere_and_runs() {
    let (_folder, path) = configured();
    let gateway = Gateway::start(&path);
    let made = run(&path, &["backup", "copy.tar"]);
    assert!(made.status.success(), "{}", text(&made));
    assert!(!path.join("data/backup.part").exists());
    let again = run(&path, &["backup", "copy.tar"]);
    assert_eq!(again.status.code(), Some(64), "a backup overwrites none: {}", text(&again));
    let busy = run(&path, &["restore", "copy.tar", "--replace"]);
    assert_eq!(busy.status.code(), Some(69), "not under a running gateway: {}", text(&busy));
    drop(gateway);

    let (_other, elsewhere) = configured();
    fs::copy(path.join("copy.tar"), elsewhere.join("copy.tar")).unwrap();
    let restored = run(&elsewhere, &["restore", "copy.tar"]);
    assert!(restored.status.success(), "{}", text(&restored));
    let occupied = run(&elsewhere, &["restore", "copy.tar"]);
    assert_eq!(occupied.status.code(), Some(64), "{}", text(&occupied));
    let id = |folder: &Path| fs::read(folder.join("data/journal/journal.id")).unwrap();
    assert_eq!(id(&elsewhere), id(&path));
    drop(Gateway::start(&elsewhere));
}

#[test]
fn a_damaged_or_shortened_backup_touches_nothing() {
    let (_folder, path) = configured();
    drop(Gateway::start(&path));
    assert!(run(&path, &["backup", "copy.tar"]).status.success());
    let whole = fs::read(path.join("copy.tar")).unwrap();
    let before = fs::read(path.join("data/journal/journal.id")).unwrap();
    let mut damaged = whole.clone();
    let place = whole.windows(15).position(|window| window == b"SQLite format 3").unwrap();
    damaged[place + 200] ^= 1;
    for bytes in [&whole[..whole.len() / 2], &damaged] {
        fs::write(path.join("bad.tar"), bytes).unwrap();
        for arguments in [&["restore", "bad.tar", "--verify"][..], &["restore", "bad.tar", "--replace"]] {
            let refused = run(&path, arguments);
            assert_eq!(refused.status.code(), Some(78), "{}", text(&refused));
        }
    }
    assert_eq!(fs::read(path.join("data/journal/journal.id")).unwrap(), before);
    assert!(!path.join("data/restore.part").exists());
}

#[test]
fn what_init_writes_is_in_order_and_is_never_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let made = run(folder.path(), &["init", "--server", "mqtt://broker.lan", "--username", "a\"b"]);
    assert!(made.status.success(), "{}", text(&made));
    let shown = run(folder.path(), &["config", "show", "--changed"]);
    assert!(text(&shown).contains("broker.lan"), "{}", text(&shown));
    assert_eq!(run(folder.path(), &["init"]).status.code(), Some(64));
    let refused = run(folder.path(), &["init", "--folder", "other", "--database", "nonsense"]);
    assert_eq!(refused.status.code(), Some(78), "{}", text(&refused));
    assert!(!folder.path().join("other/hearthgate.toml").exists());
}

#[test]
fn the_report_of_doctor_holds_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let secrets = "[mqtt]\nenabled = false\nusername = \"u\"\npassword = \"s3cr3t-one\"\n[http]\nenabled = false\n\
        token = \"s3cr3t-two-s3cr3t-two-s3cr3t-two\"\n[database]\nurl = \"mysql://u:s3cr3t-three@127.0.0.1:1/x\"\n";
    fs::write(folder.path().join("hearthgate.toml"), secrets).unwrap();
    let report = text(&run(folder.path(), &["doctor"]));
    assert!(report.contains("=== check") && !report.contains("s3cr3t"), "{report}");
}

#[test]
fn check_answers_with_one_json_object() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("hearthgate.toml"), "[log]\nlevel = \"verbose\"\n").unwrap();
    let answer = run(folder.path(), &["check", "--offline", "--json"]);
    assert_eq!(answer.status.code(), Some(1));
    let answer: serde_json::Value = serde_json::from_slice(&answer.stdout).unwrap();
    let wrong = answer["findings"].as_array().unwrap().iter().find(|finding| finding["result"] == "wrong").unwrap();
    assert!(answer["wrong"] == 1 && wrong["subject"] == "log.level", "{answer}");
}

#[test]
fn completions_and_manual_pages_name_the_commands() {
    let folder = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        assert!(text(&run(folder.path(), &["completions", shell])).contains("restore"), "{shell}");
    }
    assert!(run(folder.path(), &["man", "pages"]).status.success());
    assert!(folder.path().join("pages/hearthgate-backup.1").exists());
}

#[test]
fn the_configurations_of_the_packages_can_be_read() {
    let packaging = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging");
    for name in ["debian/hearthgate.toml", "container/hearthgate.toml"] {
        let file = packaging.join(name);
        let shown = run(&packaging, &["-c", file.to_str().unwrap(), "config", "show", "--changed"]);
        assert!(shown.status.success() && text(&shown).contains("gateway.state_dir"), "{name}: {}", text(&shown));
    }
}

#[test]
fn the_page_about_the_configuration_names_every_section() {
    let page = include_str!("../../../docs/configuration.md");
    let defaults = include_str!("../../../config/hearthgate.default.toml");
    let sections = defaults.lines().filter(|line| line.starts_with('[') && !line.starts_with("[interfaces."));
    for section in sections {
        assert!(page.contains(&format!("`{section}`")), "docs/configuration.md does not name {section}");
    }
}
