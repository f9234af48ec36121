//! The gateway under test: the real binary, with its own folder and ports.

use crate::{PATIENCE, free_port};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The binary that was built with the tests.
#[must_use]
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("HEARTHGATE_BIN") {
        return path.into();
    }
    let test = std::env::current_exe().expect("the test's own path");
    let profile = test.ancestors().nth(2).expect("target/PROFILE/deps/TEST");
    let binary = profile.join("hearthgate");
    assert!(binary.is_file(), "{} is missing: run `cargo build`, or the tests by `cargo xtask test`", binary.display());
    binary
}

/// A folder with a configuration, in which gateways are started one after the other.
pub struct Home {
    folder: TempDir,
    /// Port of the embedded broker.
    pub mqtt: u16,
    /// Port of the HTTP API.
    pub http: u16,
}

impl Default for Home {
    fn default() -> Self {
        Self::new()
    }
}

impl Home {
    /// An empty folder and free ports.
    #[must_use]
    pub fn new() -> Self {
        Home { folder: TempDir::new().expect("a temporary folder"), mqtt: free_port(), http: free_port() }
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes `hearthgate.toml`. The ports of broker and HTTP API are set by environment variables, not here.
    pub fn configure(&self, toml: &str) {
        fs::write(self.path().join("hearthgate.toml"), toml).expect("writing the configuration");
    }

    /// A command of the gateway's command line in this folder.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = Command::new(binary());
        command
            .current_dir(self.path())
            .env("HOME", self.path())
            .env_remove("XDG_CONFIG_HOME")
            .env_remove("RUST_LOG")
            .env("HEARTHGATE__BROKER__LISTEN", format!("127.0.0.1:{}", self.mqtt))
            .env("HEARTHGATE__HTTP__LISTEN", format!("127.0.0.1:{}", self.http));
        command
    }

    /// Starts the gateway; it is killed when the answer is dropped.
    #[must_use]
    pub fn start(&self) -> Gateway {
        self.start_with(|_| {})
    }

    /// Starts the gateway with a changed command.
    #[must_use]
    pub fn start_with(&self, change: impl FnOnce(&mut Command)) -> Gateway {
        let mut command = self.command();
        command.arg("run").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        change(&mut command);
        Gateway::spawn(command)
    }
}

/// A running gateway.
pub struct Gateway {
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
    reader: Option<thread::JoinHandle<()>>,
}

impl Gateway {
    fn spawn(mut command: Command) -> Self {
        let mut child = command.spawn().expect("starting the gateway");
        let log = Arc::new(Mutex::new(Vec::new()));
        let stderr = child.stderr.take().expect("its standard error");
        let lines = Arc::clone(&log);
        let reader = thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                lines.lock().expect("the log").push(line);
            }
        });
        Gateway { child, log, reader: Some(reader) }
    }

    /// Everything it has logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.log.lock().expect("the log").join("\n")
    }

    /// Waits for a line of the log that contains all of `parts`, and answers it.
    ///
    /// # Panics
    /// When none comes, with the log.
    pub fn wait_for_log(&mut self, parts: &[&str]) -> String {
        let since = Instant::now();
        loop {
            let found = {
                let log = self.log.lock().expect("the log");
                log.iter().find(|line| parts.iter().all(|part| line.contains(part))).cloned()
            };
            if let Some(line) = found {
                return line;
            }
            let ended = self.child.try_wait().expect("its state");
            assert!(ended.is_none(), "the gateway ended ({ended:?}) before it logged {parts:?}:\n{}", self.log());
            assert!(since.elapsed() < PATIENCE, "no line with {parts:?} in:\n{}", self.log());
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its resident memory in KiB.
    #[must_use]
    pub fn resident(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("its status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its resident memory");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    /// Sends a signal, by its name without SIG.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.pid().to_string()]).status();
        assert!(sent.expect("running kill").success(), "sending SIG{name}");
    }

    /// `kill -9`; everything it has logged.
    pub fn kill(mut self) -> String {
        self.child.kill().expect("killing the gateway");
        self.wait();
        self.log()
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("its state").is_some()
    }

    /// Asks it to end in order, and answers how it ended and what it logged.
    #[must_use]
    pub fn terminate(mut self) -> (ExitStatus, String) {
        self.signal("TERM");
        let status = self.wait();
        (status, self.log())
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it does not end.
    pub fn wait(&mut self) -> ExitStatus {
        let since = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("its state") {
                if let Some(reader) = self.reader.take() {
                    reader.join().expect("reading its log");
                }
                return status;
            }
            assert!(since.elapsed() < PATIENCE, "the gateway does not end:\n{}", self.log());
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // It may have ended already; then there is nothing to kill.
        if self.child.try_wait().ok().flatten().is_none() {
            drop(self.child.kill());
            drop(self.child.wait());
        }
        if thread::panicking() {
            eprintln!("--- log of the gateway ---\n{}", self.log());
        }
    }
}
