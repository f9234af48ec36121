//! A private Mosquitto for one test, and the command-line clients that come with it.

use std::fs;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Finds a program by PATH, or where Debian keeps brokers.
pub(crate) fn program(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin"), PathBuf::from("/usr/local/sbin")])
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
        .unwrap_or_else(|| panic!("`{name}` is missing: install the packages mosquitto and mosquitto-clients"))
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

pub(crate) struct Mosquitto {
    pub(crate) port: u16,
    pub(crate) folder: TempDir,
    child: Option<Child>,
}

impl Mosquitto {
    /// With persistence, anonymous clients and no limit on what is in flight.
    pub(crate) fn start() -> Self {
        Self::start_with("allow_anonymous true\npersistence true\n", "")
    }

    /// `global` comes before the listener's line, `listener` after it.
    pub(crate) fn start_with(global: &str, listener: &str) -> Self {
        let mut broker = Mosquitto { port: free_port(), folder: TempDir::new().unwrap(), child: None };
        broker.configure(global, listener);
        broker.resume();
        broker
    }

    pub(crate) fn configure(&self, global: &str, listener: &str) {
        let (folder, port) = (self.folder.path().display(), self.port);
        let text = format!(
            "user root\nmax_inflight_messages 0\nmax_queued_messages 0\npersistence_location {folder}/\n{global}\n\
             listener {port} 127.0.0.1\n{listener}\n"
        );
        fs::write(self.path("m.conf"), text).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts the broker (again) and waits until it listens.
    pub(crate) fn resume(&mut self) {
        let log = fs::File::create(self.path("m.log")).unwrap();
        let child = Command::new(program("mosquitto"))
            .arg("-c")
            .arg(self.path("m.conf"))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
        let start = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let log = fs::read_to_string(self.path("m.log")).unwrap_or_default();
            assert!(start.elapsed() < Duration::from_secs(20), "mosquitto does not listen: {log}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Stops it in order, so that it saves its sessions.
    pub(crate) fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let id = child.id().to_string();
            Command::new("kill").args(["-TERM", &id]).status().unwrap();
            child.wait().unwrap();
        }
    }

    /// Publishes each line at QoS 1, and returns when the broker has all of them.
    pub(crate) fn publish(&self, topic: &str, lines: &[String]) {
        self.publish_with(topic, lines.join("\n").as_bytes(), &["-l", "-q", "1"]);
    }

    /// Runs `mosquitto_pub` with `input` on its standard input.
    pub(crate) fn publish_with(&self, topic: &str, input: &[u8], arguments: &[&str]) {
        let mut child = Command::new(program("mosquitto_pub"))
            .args(["-p", &self.port.to_string(), "-t", topic])
            .args(arguments)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        assert!(child.wait().unwrap().success(), "mosquitto_pub failed");
    }

    /// A subscriber of its own; its lines are read from the file it writes.
    pub(crate) fn subscriber(&self, topic: &str, qos: u8) -> Subscriber {
        let file = self.path(&format!("sub-{}.txt", free_port()));
        let out = fs::File::create(&file).unwrap();
        let child = Command::new(program("mosquitto_sub"))
            .args(["-p", &self.port.to_string(), "-q", &qos.to_string(), "-t", topic, "-t", "ready/#", "-F", "%t %p"])
            .stdout(out)
            .spawn()
            .unwrap();
        let subscriber = Subscriber { child, file };
        let start = Instant::now();
        while !subscriber.lines().iter().any(|line| line.starts_with("ready/")) {
            assert!(start.elapsed() < Duration::from_secs(20), "mosquitto_sub does not subscribe");
            self.publish_with("ready/now", b"x", &["-s"]);
        }
        subscriber
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().ok();
            child.wait().ok();
        }
    }
}

pub(crate) struct Subscriber {
    child: Child,
    file: PathBuf,
}

impl Subscriber {
    fn lines(&self) -> Vec<String> {
        lines(&self.file)
    }

    /// Payloads on topics other than the ready signal, once there are at least `count`.
    pub(crate) async fn payloads(&self, count: usize) -> Vec<String> {
        let start = Instant::now();
        loop {
            let found: Vec<String> = self
                .lines()
                .iter()
                .filter(|line| !line.starts_with("ready/"))
                .filter_map(|line| line.split_once(' ').map(|(_, payload)| payload.to_owned()))
                .collect();
            if found.len() >= count {
                return found;
            }
            assert!(start.elapsed() < Duration::from_secs(30), "only {} of {count} messages: {found:?}", found.len());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn lines(file: &Path) -> Vec<String> {
    let text = String::from_utf8_lossy(&fs::read(file).unwrap_or_default()).into_owned();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(str::to_owned).collect()
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
