//! The Python library as it is published: its interface class under our gateway, and its own gateway beside ours.
//!
//! Only with `HEARTHGATE_TEST_PYPI=1`, since the packages are fetched from the package index; `cargo xtask test` sets it
//! where the index can be reached.

use hearthgate_tests::PATIENCE;
use hearthgate_tests::broker::Mosquitto;
use hearthgate_tests::gateway::Home;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

const PACKAGES: [&str; 2] = ["mqttgateway==1.1.4", "paho-mqtt==1.6.1"];

/// The folder of programs of a virtual environment with the packages; none where they are not wanted.
fn python() -> Option<PathBuf> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    if std::env::var_os("HEARTHGATE_TEST_PYPI").is_none_or(|wanted| wanted != "1") {
        eprintln!("SKIPPED: needs Python and its package index; set HEARTHGATE_TEST_PYPI=1");
        return None;
    }
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let environment = Path::new(env!("CARGO_TARGET_TMPDIR")).join("python-mqttgateway-1.1.4");
    let bin = environment.join("bin");
    let complete = environment.join("complete");
    if !complete.exists() {
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&environment));
        run(Command::new(bin.join("pip")).args(["install", "--quiet", "--disable-pip-version-check"]).args(PACKAGES));
        fs::write(complete, "").expect("noting that it is complete");
    }
    Some(bin)
}

fn run(command: &mut Command) {
    let status = command.status().expect("starting it");
    assert!(status.success(), "{command:?}: {status}");
}

/// A program whose output is read line by line; it is killed when this is dropped.
struct Program {
    child: Child,
    lines: Receiver<String>,
    heard: Vec<String>,
}

impl Program {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it");
        let (sender, lines) = channel();
        let streams: [Box<dyn std::io::Read + Send>; 2] = [
            Box::new(child.stdout.take().expect("its standard output")),
            Box::new(child.stderr.take().expect("its standard error")),
        ];
        for stream in streams {
            let sender = sender.clone();
            thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    // Who does not listen any more has seen enough.
                    drop(sender.send(line));
                }
            });
        }
        Program { child, lines, heard: Vec::new() }
    }

    /// Waits for a line with all of these.
    fn says(&mut self, parts: &[&str]) -> String {
        let until = Instant::now() + PATIENCE;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let Ok(line) = self.lines.recv_timeout(left) else {
                panic!("no line with {parts:?}:\n{}", self.heard.join("\n"))
            };
            self.heard.push(line.clone());
            if parts.iter().all(|part| line.contains(part)) {
                return line;
            }
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn mosquitto_sub(port: u16, filter: &str) -> Program {
    let mut program = Program::start(Command::new("mosquitto_sub").args([
        "-d",
        "-v",
        "-h",
        "127.0.0.1",
        "-p",
        &port.to_string(),
        "-t",
        filter,
    ]));
    program.says(&["Subscribed"]);
    program
}

fn mosquitto_pub(port: u16, topic: &str, payload: &str) {
    let port = port.to_string();
    run(Command::new("mosquitto_pub").args(["-h", "127.0.0.1", "-p", &port, "-t", topic, "-m", payload]));
}

#[test]
fn the_librarys_dummy_interface_runs_unchanged_and_talks_with_mosquittos_programs() {
    let Some(bin) = python() else { return };
    let home = Home::new();
    home.configure(&format!(
        "[flows]\nenabled = false\n[log]\nlevel = \"debug\"\n\
         [interfaces.radio]\nkind = \"exec\"\nmap = \"builtin:dummy\"\nstart_timeout = \"60s\"\n\
         command = [{:?}, \"-m\", \"hearthgate_exec\", \"mqttgateway.dummy_interface:dummyInterface\"]\n\
         [interfaces.radio.params]\nport = \"/dev/ttyUSB0\"\n",
        bin.join("python3")
    ));
    let mut gateway = home.start();
    gateway.wait_for_log(&["interface=radio", "Parameter \"port\" successfully updated", "/dev/ttyUSB0"]);
    let mut listener = mosquitto_sub(home.mqtt, "testmqttgtw/#");
    gateway.wait_for_log(&["online", "interface=radio"]);
    mosquitto_pub(home.mqtt, "testmqttgtw/dummyfunction//kitchen//me/C", "audio_on");
    gateway.wait_for_log(&["interface=radio", "Internal message received"]);
    gateway.wait_for_log(&["interface=radio", "action=POWER_ON", "location=Kitchen"]);
    mosquitto_pub(home.mqtt, "testmqttgtw/dummyfunction//kitchen//me/C", r#"{"action":"volume_up","level":"7"}"#);
    gateway.wait_for_log(&["interface=radio", "action=VOL_UP", "level"]);
    // Every 30 seconds, for the first time after five.
    listener.says(&["testmqttgtw/dummyfunction//office//radio/C mute_on"]);
    let (status, log) = gateway.terminate();
    assert!(status.success(), "{log}");
}

/// The Python gateway at this broker; the port is that of the broker.
fn dummy2mqtt(bin: &Path, home: &Home, port: u16) -> Program {
    let package = Command::new(bin.join("python3"))
        .args(["-c", "import mqttgateway, os; print(os.path.dirname(mqttgateway.__file__))"])
        .output()
        .expect("python3");
    let package = PathBuf::from(String::from_utf8_lossy(&package.stdout).trim());
    let folder = home.path().join("python");
    fs::create_dir(&folder).expect("a folder");
    fs::copy(package.join("dummy_map.json"), folder.join("dummy_map.json")).expect("its map");
    let text = fs::read_to_string(package.join("dummy2mqtt.conf")).expect("its configuration");
    let text = text.replace("host: test.mosquitto.org", "host: 127.0.0.1");
    let text = text.replace("port: 1883", &format!("port: {port}"));
    fs::write(folder.join("dummy2mqtt.conf"), text).expect("its configuration");
    Program::start(
        Command::new(bin.join("dummy2mqtt"))
            .args(["-c", "dummy2mqtt.conf"])
            .current_dir(folder)
            .env("PYTHONUNBUFFERED", "1"),
    )
}

fn both_gateways_hear_each_other(bin: &Path, mosquitto: Option<&Mosquitto>) {
    let home = Home::new();
    let server = mosquitto.map_or("embedded".to_owned(), |broker| format!("mqtt://127.0.0.1:{}", broker.port));
    home.configure(&format!(
        "[flows]\nenabled = false\n[mqtt]\nserver = \"{server}\"\n\
         [interfaces.dummy]\nkind = \"dummy\"\nmap = \"builtin:dummy\"\nperiod = \"500ms\"\n"
    ));
    let mut gateway = home.start();
    gateway.wait_for_log(&["connected to the broker"]);
    let port = mosquitto.map_or(home.mqtt, |broker| broker.port);
    let mut theirs = dummy2mqtt(bin, &home, port);
    // From ours to theirs, through both maps.
    theirs.says(&["Internal message received"]);
    let heard = theirs.says(&["MUTE_ON", "dummy"]);
    assert!(heard.contains("Office"), "{heard}");
    // From theirs to ours.
    gateway.wait_for_log(&["received command", "location=Office", "sender=dummy2mqtt", "action=MUTE_ON"]);
    let (status, log) = gateway.terminate();
    assert!(status.success(), "{log}");
}

#[test]
fn the_python_gateway_and_ours_hear_each_other_at_the_embedded_broker() {
    let Some(bin) = python() else { return };
    both_gateways_hear_each_other(&bin, None);
}

#[test]
fn the_python_gateway_and_ours_hear_each_other_at_mosquitto() {
    let Some(bin) = python() else { return };
    both_gateways_hear_each_other(&bin, Some(&Mosquitto::start()));
}
