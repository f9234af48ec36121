//! What the program says of typical mistakes. `findings.txt` holds, for each of them, the commands and what they answer,
//! word for word; `HEARTHGATE_BLESS=1` writes it anew, for review.

#![expect(clippy::unwrap_used, reason = "a test fails where it unwraps")]

mod certificates;
mod configuration;
mod flows;
mod interfaces;
mod network;

use std::fmt::Write as _;
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};

const FINDINGS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/mistakes/findings.txt");

/// In texts: a port that another program listens on.
const TAKEN: &str = "TAKEN";

/// In seconds: whoever has not refused by then has started.
const PATIENCE: &str = "20";

/// What `timeout` answers then.
const ENDLESS: i32 = 124;

/// A mistake, and what is run to be told of it.
struct Mistake {
    name: &'static str,
    /// Names and texts of the files.
    files: Vec<(&'static str, String)>,
    /// What is done before, and succeeds.
    before: Vec<&'static str>,
    commands: Vec<&'static str>,
    /// Where a person has to look: each command must name it.
    place: &'static str,
}

impl Mistake {
    /// One that keeps the gateway from starting, in this text of `hearthgate.toml`.
    fn refused(name: &'static str, place: &'static str, text: &str) -> Self {
        let files = vec![("hearthgate.toml", text.to_owned())];
        Mistake { name, files, before: Vec::new(), commands: vec!["check --offline", "run"], place }
    }

    /// One that the gateway starts with, since the rest of it works.
    fn told(name: &'static str, place: &'static str, text: &str) -> Self {
        Mistake { commands: vec!["check --offline"], ..Self::refused(name, place, text) }
    }

    fn with(mut self, name: &'static str, text: impl Into<String>) -> Self {
        self.files.push((name, text.into()));
        self
    }

    fn by(self, commands: &[&'static str]) -> Self {
        Mistake { commands: commands.to_vec(), ..self }
    }
}

#[test]
fn each_mistake_is_told_with_its_place_and_remedy() {
    // Nobody answers there, and nobody else gets it.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let mistakes = [
        configuration::mistakes(),
        certificates::mistakes(),
        network::mistakes(),
        interfaces::mistakes(),
        flows::mistakes(),
    ];
    let (mut told, mut untold) = (String::new(), Vec::new());
    for mistake in mistakes.into_iter().flatten() {
        told += &transcript(&mistake, &port, &mut untold);
    }
    if std::env::var_os("HEARTHGATE_BLESS").is_some() {
        fs::write(FINDINGS, &told).unwrap();
    }
    assert!(untold.is_empty(), "{}", untold.join("\n"));
    let known = fs::read_to_string(FINDINGS).unwrap_or_default();
    for (line, (told, known)) in told.lines().zip(known.lines()).enumerate() {
        assert_eq!(told, known, "findings.txt:{}; HEARTHGATE_BLESS=1 writes it anew", line + 1);
    }
    assert_eq!(told.lines().count(), known.lines().count(), "HEARTHGATE_BLESS=1 writes findings.txt anew");
}

/// The commands and what they answer, without what is in order, and with names for what differs from run to run. What is
/// not told as it should be goes to `untold`.
fn transcript(mistake: &Mistake, port: &str, untold: &mut Vec<String>) -> String {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in &mistake.files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text.replace(TAKEN, port)).unwrap();
    }
    let mut transcript = format!("## {}\n", mistake.name);
    for command in &mistake.before {
        let (code, answer) = run(folder.path(), command);
        if code != 0 {
            untold.push(format!("{}: `{command}` → {code}:\n{answer}", mistake.name));
        }
    }
    for command in &mistake.commands {
        let (code, answer) = run(folder.path(), command);
        let answer = answer.replace(&folder.path().display().to_string(), "FOLDER").replace(port, TAKEN);
        if code == ENDLESS || !answer.contains(mistake.place) {
            untold.push(format!("{}: `{command}` → {code}, without {}:\n{answer}", mistake.name, mistake.place));
        }
        writeln!(transcript, "$ hearthgate {command} → {code}\n{answer}").unwrap();
    }
    transcript + "\n"
}

/// The exit code, and the lines that a person has to do something about.
fn run(folder: &Path, command: &str) -> (i32, String) {
    let output = Command::new("timeout")
        .args([PATIENCE, env!("CARGO_BIN_EXE_hearthgate")])
        .current_dir(folder)
        .env_clear()
        .env("HOME", folder)
        .env("PATH", "/usr/bin:/bin")
        .env("TZ", "UTC")
        .env("HEARTHGATE__LOG__FORMAT", "json")
        .args(command.split(' '))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let (told, failed) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    let in_order = ["ok ", "skip ", "{", "everything is in order"];
    let lines = told.lines().chain(failed.lines()).filter(|line| !in_order.iter().any(|start| line.starts_with(start)));
    (output.status.code().unwrap_or(-1), lines.collect::<Vec<_>>().join("\n"))
}
