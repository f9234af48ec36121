//! A private Mosquitto.

use crate::free_port;
use crate::server::find;
use std::fs;
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A running Mosquitto with its own folder; it ends with this value.
pub struct Mosquitto {
    folder: TempDir,
    /// Its port on 127.0.0.1.
    pub port: u16,
    child: Option<Child>,
}

impl Mosquitto {
    /// Starts one that keeps sessions over a restart and takes anybody.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with("")
    }

    /// The same with more lines in its configuration.
    #[must_use]
    pub fn start_with(more: &str) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let port = free_port();
        let data = folder.path().join("data");
        fs::create_dir(&data).expect("its data folder");
        // Started as root, Mosquitto changes to its own user, which must reach its files.
        let config = format!(
            "listener {port} 127.0.0.1\nallow_anonymous true\nuser root\npersistence true\npersistence_location {}/\n\
             max_queued_messages 0\nmax_inflight_messages 0\n{more}\n",
            data.display()
        );
        fs::write(folder.path().join("mosquitto.conf"), config).expect("its configuration");
        let mut broker = Mosquitto { folder, port, child: None };
        broker.resume();
        broker
    }

    /// Ends it in order: sessions are kept.
    pub fn stop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        let asked = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
        assert!(asked.expect("running kill").success());
        child.wait().expect("its end");
    }

    /// Writes its sessions and what is in flight to disk, and waits until that is done.
    pub fn save(&self) {
        let store = self.folder.path().join("data/mosquitto.db");
        drop(fs::remove_file(&store));
        let child = self.child.as_ref().expect("a running broker");
        let asked = Command::new("kill").args(["-USR1", &child.id().to_string()]).status();
        assert!(asked.expect("running kill").success());
        let since = Instant::now();
        while !store.exists() {
            assert!(since.elapsed() < crate::PATIENCE, "mosquitto does not save");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Kills it: what it has not saved is gone.
    pub fn kill(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        child.kill().expect("killing mosquitto");
        child.wait().expect("its end");
    }

    /// Forgets all sessions and messages; only while it is stopped.
    pub fn forget(&self) {
        let store = self.folder.path().join("data/mosquitto.db");
        if store.exists() {
            fs::remove_file(store).expect("removing its store");
        }
    }

    /// Starts it again on the same port.
    pub fn resume(&mut self) {
        let log = fs::File::create(self.folder.path().join("log")).expect("its log");
        let child = Command::new(find("mosquitto"))
            .arg("-c")
            .arg(self.folder.path().join("mosquitto.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("starting mosquitto");
        self.child = Some(child);
        let since = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(since.elapsed() < crate::PATIENCE, "mosquitto does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.kill());
            drop(child.wait());
        }
    }
}
