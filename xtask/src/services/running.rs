//! A service as it runs: its port, its process, its log.

use crate::command::quiet;
use anyhow::{Context, bail};
use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const START: Duration = Duration::from_secs(90);
const STOP: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(50);

/// The folder of one service.
pub(super) struct Service<'a> {
    pub(super) folder: &'a Path,
    /// Name of its process, so that a process id that went to somebody else is not mistaken for it.
    pub(super) process: &'static str,
}

impl Service<'_> {
    /// The port of the running service, if it runs.
    pub(super) fn port(&self) -> Option<u16> {
        let port = fs::read_to_string(self.folder.join("port")).ok()?.trim().parse().ok()?;
        (self.pid().is_some() && answers(port)).then_some(port)
    }

    /// The process, if it lives.
    pub(super) fn pid(&self) -> Option<u32> {
        let pid = fs::read_to_string(self.pid_file()).ok()?.lines().next()?.trim().parse().ok()?;
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
        // A child of ours that has ended stays in the table until we do; it is no running service.
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let state = stat.rsplit(") ").next()?.chars().next()?;
        (name.trim() == self.process && state != 'Z').then_some(pid)
    }

    pub(super) fn pid_file(&self) -> PathBuf {
        self.folder.join("pid")
    }

    pub(super) fn log_file(&self) -> PathBuf {
        self.folder.join("log")
    }

    pub(super) fn remember_port(&self, port: u16) -> anyhow::Result<()> {
        fs::write(self.folder.join("port"), port.to_string()).context("writing the port")
    }

    /// Starts a process that outlives us, with its output in the log.
    pub(super) fn start(&self, command: &mut Command, port: u16) -> anyhow::Result<()> {
        let log = File::create(self.log_file()).context("creating the log")?;
        let mut child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone().context("sharing the log")?)
            .stderr(log)
            .process_group(0)
            .spawn()
            .context("starting the process")?;
        fs::write(self.pid_file(), child.id().to_string()).context("writing the process id")?;
        self.wait_for(&mut child, port)
    }

    fn wait_for(&self, child: &mut Child, port: u16) -> anyhow::Result<()> {
        let end = Instant::now() + START;
        while !answers(port) {
            if let Some(status) = child.try_wait().context("looking after the process")? {
                bail!("it ended with {status}; its log ends:\n{}", self.log_tail());
            }
            if Instant::now() > end {
                bail!("it does not answer on port {port} after {START:?}; its log ends:\n{}", self.log_tail());
            }
            std::thread::sleep(PAUSE);
        }
        self.remember_port(port)
    }

    pub(super) fn log_tail(&self) -> String {
        let text = fs::read(self.log_file()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }

    /// Asks the process to end and waits for it.
    pub(super) fn stop(&self, signal: &str) -> anyhow::Result<()> {
        let Some(pid) = self.pid() else { return Ok(()) };
        quiet(Command::new("kill").args(["-s", signal, &pid.to_string()]))?;
        let end = Instant::now() + STOP;
        while self.pid().is_some() {
            if Instant::now() > end {
                bail!("process {pid} does not end");
            }
            std::thread::sleep(PAUSE);
        }
        Ok(())
    }
}

/// A port that nobody listens on now.
pub(super) fn free_port() -> anyhow::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("looking for a free port")?;
    Ok(listener.local_addr().context("looking for a free port")?.port())
}

fn answers(port: u16) -> bool {
    TcpStream::connect_timeout(&(Ipv4Addr::LOCALHOST, port).into(), Duration::from_secs(1)).is_ok()
}

/// Gives a folder to the user that a database runs as.
pub(super) fn give_to(user: &str, folder: &Path) -> anyhow::Result<()> {
    quiet(Command::new("chown").arg("-R").arg(format!("{user}:")).arg(folder))?;
    Ok(())
}
