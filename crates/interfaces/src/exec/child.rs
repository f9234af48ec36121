//! Starts a child process under its guard, and ends it.

use crate::DriverError;
use crate::config::ExecConfig;
use crate::exec::guard;
use crate::port::DriverHost;
use rustix::pipe::{PipeFlags, pipe_with};
use std::ffi::OsString;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

/// The child, all its descendants, and the guard over them. Dropping it kills them all.
pub(crate) struct GuardedChild {
    guard: Child,
    /// While it is open they live.
    lifeline: Option<OwnedFd>,
}

/// The child's standard streams.
pub(crate) struct ChildPipes {
    pub(crate) stdin: ChildStdin,
    pub(crate) stdout: ChildStdout,
    pub(crate) stderr: ChildStderr,
}

/// The guard needs milliseconds.
const KILL_TIMEOUT: Duration = Duration::from_secs(5);

/// Room for commands that the child has not read yet, in bytes: little, so that few can become old in there.
const STDIN_ROOM: usize = 4_096;

/// What a program sees of the gateway's own environment; secrets may be in the rest.
const BASE_ENVIRONMENT: [&str; 7] = ["PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ", "TMPDIR"];

fn base_environment(of: impl Fn(&str) -> Option<OsString>) -> impl Iterator<Item = (&'static str, OsString)> {
    BASE_ENVIRONMENT.into_iter().filter_map(move |name| Some((name, of(name)?)))
}

impl GuardedChild {
    pub(crate) fn start(
        exec: &ExecConfig,
        host: &DriverHost,
        runner: &Path,
    ) -> Result<(Self, ChildPipes), DriverError> {
        let failed = |source| DriverError::Start { program: exec.command.join(" "), source };
        let (watched, lifeline) = pipe_with(PipeFlags::CLOEXEC).map_err(|error| failed(error.into()))?;
        // Another child started at this very moment may inherit it too: it is the reading end, and does no harm.
        rustix::io::fcntl_setfd(&watched, rustix::io::FdFlags::empty()).map_err(|error| failed(error.into()))?;
        let command = guard::command(&host.guard, watched.as_raw_fd(), &exec.command);
        let mut command = command.ok_or_else(|| failed(std::io::Error::other("the gateway gave no guard program")))?;
        command
            .current_dir(
                exec.directory.as_ref().map_or_else(|| host.base_dir.clone(), |folder| host.base_dir.join(folder)),
            )
            .env_clear()
            .envs(base_environment(|name| std::env::var_os(name)))
            .envs(&exec.environment)
            .env("PYTHONPATH", python_path(exec, runner));
        let mut guard = Command::from(command).spawn().map_err(failed)?;
        drop(watched);
        let pipes = (guard.stdin.take(), guard.stdout.take(), guard.stderr.take());
        let (Some(stdin), Some(stdout), Some(stderr)) = pipes else {
            return Err(failed(std::io::Error::other("its standard streams are not piped")));
        };
        // A kernel that keeps its own size only lets more commands wait in the pipe.
        let _ = rustix::pipe::fcntl_setpipe_size(&stdin, STDIN_ROOM);
        Ok((GuardedChild { guard, lifeline: Some(lifeline) }, ChildPipes { stdin, stdout, stderr }))
    }

    /// Waits for the child's end and says in words how it ended. Can be cancelled.
    pub(crate) async fn ended(&mut self) -> String {
        match self.guard.wait().await {
            Ok(status) => describe(status),
            Err(error) => format!("was lost: {error}"),
        }
    }

    /// Kills the child and its descendants, if they still live, and waits until they are gone.
    pub(crate) async fn kill(&mut self) {
        self.lifeline = None;
        if timeout(KILL_TIMEOUT, self.guard.wait()).await.is_err() {
            // A guard that somebody has stopped can not act; the child is killed by the guard's death.
            let _ = self.guard.start_kill();
        }
    }
}

fn describe(status: ExitStatus) -> String {
    match status.code() {
        Some(code @ 129..=192) => format!("was killed by signal {}", code - 128),
        Some(code) => format!("ended with exit code {code}"),
        None => "lost its guard".to_owned(),
    }
}

/// The runner's folder, then what the child would have had anyway.
fn python_path(exec: &ExecConfig, runner: &Path) -> OsString {
    let mut path = runner.as_os_str().to_owned();
    let given = exec.environment.get("PYTHONPATH").map(OsString::from).or_else(|| std::env::var_os("PYTHONPATH"));
    if let Some(given) = given.filter(|given| !given.is_empty()) {
        path.push(":");
        path.push(given);
    }
    path
}
