//! The process between the gateway and a child of the `exec` kind: whatever happens to the gateway, nothing that the
//! child has started stays behind.
//!
//! The gateway runs its own binary again as `__exec-guard FD -- PROGRAM ARGUMENT…` and keeps the writing end of a pipe,
//! the lifeline, whose reading end is descriptor FD of the guard. The guard starts the program with its own standard
//! streams and waits. When the lifeline ends, because the gateway closed it or was killed with SIGKILL, the guard kills
//! the program and all its descendants. When the program ends by itself its left-over descendants are killed as well, and
//! the guard ends with its exit code (128 + N for signal N).
//!
//! Why not less:
//! - `PR_SET_PDEATHSIG` alone fires when the *thread* that forked ends (an async worker may), reaches only the child
//!   itself, and is cleared by set-user-id programs. The guard forks from its main thread, and uses it for the one case
//!   that it can not serve: its own SIGKILL.
//! - A process group alone does not hold a descendant that calls `setsid`. The guard is a child subreaper: orphans become
//!   its children, however they were started, and are found by walking `/proc`.

use rustix::process::{Pid, Signal, WaitOptions, WaitStatus};
use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

/// The hidden subcommand under which the gateway's binary calls [`main`].
pub const SUBCOMMAND: &str = "__exec-guard";

/// The program could not be started; what a shell answers too.
const CAN_NOT_START: u8 = 127;

/// Why the guard cannot do its work.
#[derive(Debug, thiserror::Error)]
enum GuardError {
    #[error("the guard of exec interfaces is started by the gateway only")]
    NoLifeline,
    #[error("the guard was given no program")]
    NoProgram,
    #[error("the child has no process id")]
    NoProcessId,
    #[error("starting {} failed: {source}", program.display())]
    Start { program: OsString, source: io::Error },
    #[error("{attempted} failed: {source}")]
    System { attempted: &'static str, source: io::Error },
}

impl GuardError {
    fn system<E: Into<io::Error>>(attempted: &'static str) -> impl FnOnce(E) -> Self {
        move |source| GuardError::System { attempted, source: source.into() }
    }
}

/// Runs the guard with the arguments behind [`SUBCOMMAND`]. Call it before anything else happens in the process: no other
/// thread may run, and no descriptor above 2 but the lifeline may be open.
#[must_use]
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    match guard(arguments.into_iter()) {
        Ok(code) => ExitCode::from(code),
        Err(problem) => {
            #[expect(clippy::print_stderr, reason = "standard error is what the gateway logs")]
            {
                eprintln!("{problem}");
            }
            ExitCode::from(CAN_NOT_START)
        }
    }
}

fn guard(mut arguments: impl Iterator<Item = OsString>) -> Result<u8, GuardError> {
    let lifeline = arguments.next().and_then(|fd| fd.to_str()?.parse::<RawFd>().ok()).filter(|fd| *fd > 2);
    let lifeline = lifeline.ok_or(GuardError::NoLifeline)?;
    // SAFETY: the gateway opened this descriptor for us and nothing else in this new process knows of it.
    let lifeline = unsafe { OwnedFd::from_raw_fd(lifeline) };
    let close_on_exec = rustix::io::fcntl_setfd(&lifeline, rustix::io::FdFlags::CLOEXEC);
    close_on_exec.map_err(GuardError::system("reading the lifeline"))?;
    let program = arguments.nth(1).ok_or(GuardError::NoProgram)?;

    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .map_err(GuardError::system("becoming the reaper of descendants"))?;
    let child = start(program, arguments)?;
    watch(lifeline)?;
    let code = wait_for(child);
    end_descendants();
    Ok(code)
}

fn start(program: OsString, arguments: impl Iterator<Item = OsString>) -> Result<Pid, GuardError> {
    let ourselves = rustix::process::getpid();
    let mut command = Command::new(&program);
    command.args(arguments).process_group(0);
    // SAFETY: between fork and exec only two system calls are made, and no memory is allocated.
    unsafe {
        command.pre_exec(move || {
            rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
            // The guard may have died before the line above.
            if rustix::process::getppid() == Some(ourselves) { Ok(()) } else { Err(io::ErrorKind::Interrupted.into()) }
        });
    }
    let child = command.spawn().map_err(|source| GuardError::Start { program, source })?;
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or(GuardError::NoProcessId)?;
    leave_the_streams_to_the_child().map_err(GuardError::system("closing the guard's streams"))?;
    Ok(pid)
}

/// As long as the guard held them too, the gateway would not see that the child closed them.
fn leave_the_streams_to_the_child() -> io::Result<()> {
    let null = File::options().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    Ok(())
}

/// Kills every descendant once the lifeline ends, again and again until the process ends with them.
fn watch(lifeline: OwnedFd) -> Result<(), GuardError> {
    let mut lifeline = File::from(lifeline);
    let watch = move || {
        let mut byte = [0];
        while !matches!(lifeline.read(&mut byte), Ok(0)) {}
        loop {
            kill_descendants();
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    let thread = std::thread::Builder::new().name("lifeline".into()).spawn(watch);
    thread.map(|_| ()).map_err(GuardError::system("watching the lifeline"))
}

fn wait_for(child: Pid) -> u8 {
    loop {
        match rustix::process::wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid == child => return exit_code(status),
            Ok(_) | Err(rustix::io::Errno::INTR) => {} // a descendant that had lost its parent
            Err(_) => return CAN_NOT_START,
        }
    }
}

fn exit_code(status: WaitStatus) -> u8 {
    let code = status.exit_status().or_else(|| status.terminating_signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
}

fn end_descendants() {
    loop {
        kill_descendants();
        match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some(_)) | Err(rustix::io::Errno::INTR) => {}
            Ok(None) => std::thread::sleep(Duration::from_millis(2)),
            Err(_) => return, // no children are left
        }
    }
}

fn kill_descendants() {
    let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
    for pid in processes() {
        if let Some(parent) = parent_of(pid) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = vec![rustix::process::getpid().as_raw_nonzero().get()];
    while let Some(parent) = found.pop() {
        for pid in children.remove(&parent).unwrap_or_default() {
            found.push(pid);
            if let Some(pid) = Pid::from_raw(pid) {
                // It may just have ended; or it runs as another user, and then nobody but root can end it.
                let _ = rustix::process::kill_process(pid, Signal::KILL);
            }
        }
    }
}

fn processes() -> impl Iterator<Item = i32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// The fourth field of `/proc/PID/stat`; the second one, the name, may hold blanks and parentheses.
fn parent_of(pid: i32) -> Option<i32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// Standard streams that are piped to the gateway, for the one who starts the guard.
pub(crate) fn command(guard: &[OsString], lifeline: RawFd, words: &[String]) -> Option<Command> {
    let (program, first) = guard.split_first()?;
    let mut command = Command::new(program);
    command.args(first).arg(lifeline.to_string()).arg("--").args(words);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // Ctrl-C in a terminal is for the gateway, which stops its children in order.
    command.process_group(0);
    Some(command)
}
