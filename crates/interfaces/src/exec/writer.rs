//! What we say to a child. It never waits for a child that does not read: commands that grow old meanwhile are refused.
//!
//! A command leaves the queue when the child has *read* it, not when the pipe has it: what a child that crashed or hung
//! had not read is first in line for the next one, and what it had begun to read is not handed over again: a gate must
//! not open twice. So one command at a time is in the pipe; one that becomes too old in there is taken out again.

use super::protocol;
use super::watchdog::ChildHeartbeat;
use crate::config::InterfaceConfig;
use crate::events::EventSender;
use crate::frames::FrameDirection;
use crate::port::StopSignal;
use crate::queue::{DeviceCommand, PendingCommands};
use crate::replies;
use rustix::fs::{Mode, OFlags};
use rustix::io::ioctl_fionread;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use tokio::process::ChildStdin;
use tokio::sync::watch;
use tokio::time::{sleep, sleep_until};

pub(crate) struct ChildWriter<'a> {
    pub(crate) config: &'a InterfaceConfig,
    pub(crate) events: EventSender,
    pub(crate) pulse: Arc<ChildHeartbeat>,
    pub(crate) stop: StopSignal,
}

/// Why writing ended.
pub(crate) enum WriteEnd {
    /// We were asked to stop, have told the child so if it listened, and have closed its standard input.
    Stopped,
    /// The child has closed its standard input.
    StdinClosed,
}

/// What to say next.
enum Next {
    Stop,
    Ping(u64),
    Command(Arc<DeviceCommand>),
    TooOld(Arc<DeviceCommand>),
}

/// What became of a line.
#[derive(Clone, Copy, PartialEq)]
enum Outcome {
    Done,
    /// The child has not got a byte of it, and it is too old.
    TooLate,
}

/// How often we look whether the child has read its input: at once, then ever more seldom.
const FIRST_LOOK: Duration = Duration::from_micros(200);
const SELDOM_LOOK: Duration = Duration::from_millis(20);

const MAX_AGE_REASON: &str = "not executed: the interface did not take it within max_command_age";

impl ChildWriter<'_> {
    pub(crate) async fn run(mut self, mut stdin: ChildStdin, hello: &[u8], commands: &mut PendingCommands) -> WriteEnd {
        let mut readiness = self.pulse.readiness();
        let mut pings = self.pulse.pings();
        if let Err(end) = self.write(&mut stdin, hello, commands, None).await {
            return end;
        }
        loop {
            let next = self.next(commands, &mut readiness, &mut pings).await;
            let done = match next {
                Next::Stop => return say_stop(stdin).await,
                Next::Ping(id) => self.write(&mut stdin, &protocol::ping(id), commands, None).await.map(|_| ()),
                Next::TooOld(command) => self.refuse_late(&command).await,
                Next::Command(command) => {
                    let done = self.hand_over(&mut stdin, &command, commands).await;
                    if done.is_ok() {
                        commands.finish();
                    }
                    done
                }
            };
            match done {
                Ok(()) => {}
                Err(WriteEnd::Stopped) => return say_stop(stdin).await,
                Err(WriteEnd::StdinClosed) => return WriteEnd::StdinClosed,
            }
        }
    }

    async fn next(
        &mut self,
        commands: &mut PendingCommands,
        readiness: &mut watch::Receiver<bool>,
        pings: &mut watch::Receiver<u64>,
    ) -> Next {
        let max_age = self.config.max_command_age;
        let command = async {
            let becomes_ready = async {
                // An error would say that the pulse is gone, which we hold ourselves.
                let _ = readiness.wait_for(|ready| *ready).await;
            };
            tokio::select! {
                biased;
                () = becomes_ready => {}
                late = commands.next_expired(max_age) => return Next::TooOld(late),
            }
            match commands.begin().await {
                Some(command) => Next::Command(command),
                None => Next::Stop,
            }
        };
        tokio::select! {
            biased;
            () = self.stop.asked() => Next::Stop,
            Ok(()) = pings.changed() => Next::Ping(*pings.borrow_and_update()),
            next = command => next,
        }
    }

    async fn hand_over(
        &mut self,
        stdin: &mut ChildStdin,
        command: &DeviceCommand,
        commands: &mut PendingCommands,
    ) -> Result<(), WriteEnd> {
        if let Some(reason) = replies::too_old(command, Instant::now(), self.config.max_command_age) {
            return self
                .events
                .refuse_late(self.config, &command.message, &reason)
                .await
                .map_err(|_| WriteEnd::Stopped);
        }
        let line = protocol::message(&command.message);
        let expires = command.received_at.checked_add(self.config.max_command_age).filter(|_| command.message.iscmd);
        let mut outcome = self.until_read(stdin, &[], commands, expires).await?;
        if outcome == Outcome::Done {
            outcome = self.write(stdin, &line, commands, expires).await?;
        }
        if outcome == Outcome::Done {
            let _in_pipe = InPipe { stdin, length: line.len() as u64, handed_over: commands.handed_over() };
            outcome = match self.until_read(stdin, &line, commands, expires).await {
                Ok(outcome) => outcome,
                Err(end) => {
                    // It is in the pipe, and read before the stop that follows it: not to be handed over again.
                    commands.finish();
                    return Err(end);
                }
            };
        }
        match outcome {
            Outcome::Done => {
                let meaning = || serde_json::json!(command.message).to_string();
                self.events.show_frame(FrameDirection::ToDevice, line.trim_ascii_end(), meaning);
                Ok(())
            }
            Outcome::TooLate => self.refuse_late(command).await,
        }
    }

    /// Writes a line, refusing the commands that become too old behind it.
    async fn write(
        &mut self,
        stdin: &mut ChildStdin,
        line: &[u8],
        commands: &mut PendingCommands,
        expires: Option<Instant>,
    ) -> Result<Outcome, WriteEnd> {
        let max_age = self.config.max_command_age;
        let mut taken = 0;
        while taken < line.len() {
            tokio::select! {
                biased;
                written = stdin.write(&line[taken..]) => match written {
                    Ok(0) | Err(_) => return Err(WriteEnd::StdinClosed),
                    Ok(length) => taken += length,
                },
                () = self.stop.asked() => return Err(WriteEnd::Stopped),
                () = expiry(expires.filter(|_| taken == 0)) => return Ok(Outcome::TooLate),
                late = commands.next_expired(max_age) => self.refuse_late(&late).await?,
            }
        }
        Ok(Outcome::Done)
    }

    /// Waits until the child has read all of its input. `line`, the last that was written, is taken back when it expires.
    async fn until_read(
        &mut self,
        stdin: &ChildStdin,
        line: &[u8],
        commands: &mut PendingCommands,
        mut expires: Option<Instant>,
    ) -> Result<Outcome, WriteEnd> {
        let max_age = self.config.max_command_age;
        let mut pause = FIRST_LOOK;
        // Where the system can not tell what is unread, what is written counts as read.
        while ioctl_fionread(stdin).is_ok_and(|unread| unread > 0) {
            tokio::select! {
                biased;
                () = self.stop.asked() => return Err(WriteEnd::Stopped),
                () = expiry(expires) => {
                    if line.is_empty() || take_back(stdin, line) {
                        return Ok(Outcome::TooLate);
                    }
                    expires = None; // the child has begun to read it
                }
                late = commands.next_expired(max_age) => self.refuse_late(&late).await?,
                () = sleep(pause) => pause = (pause * 2).min(SELDOM_LOOK),
            }
        }
        Ok(Outcome::Done)
    }

    async fn refuse_late(&mut self, command: &DeviceCommand) -> Result<(), WriteEnd> {
        self.events.refuse_late(self.config, &command.message, MAX_AGE_REASON).await.map_err(|_| WriteEnd::Stopped)
    }
}

/// A line in the pipe. When all this is dropped, because the child has ended or the interface's actor has, the line may
/// have been read without our having looked again.
struct InPipe<'a> {
    stdin: &'a ChildStdin,
    length: u64,
    handed_over: Arc<AtomicBool>,
}

impl Drop for InPipe<'_> {
    fn drop(&mut self) {
        // What a child that has ended did not read is still in there. Where the system can not tell it counts as read.
        let is_unread = ioctl_fionread(self.stdin).is_ok_and(|unread| unread >= self.length);
        self.handed_over.store(!is_unread, Ordering::Relaxed);
    }
}

async fn expiry(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

/// Reads a line back out of the pipe, if the child has not begun to read it. Whether it worked.
fn take_back(stdin: &ChildStdin, line: &[u8]) -> bool {
    if !ioctl_fionread(stdin).is_ok_and(|unread| unread == line.len() as u64) {
        return false;
    }
    let other_end = format!("/proc/self/fd/{}", stdin.as_raw_fd());
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let Ok(other_end) = rustix::fs::open(other_end, flags, Mode::empty()) else { return false };
    let mut taken = vec![0; line.len()];
    let Ok(length) = rustix::io::read(&other_end, &mut taken[..]) else { return false };
    if length == line.len() {
        return true;
    }
    // The child began to read between our look and our read: it gets the rest back. The pipe is empty, so it has room.
    let _ = rustix::io::write(stdin, &taken[..length]);
    false
}

/// One try: a child that takes nothing sees the end of its input all the same, and is killed after `stop_timeout`.
async fn say_stop(mut stdin: ChildStdin) -> WriteEnd {
    let line = protocol::stop();
    tokio::select! {
        biased;
        _ = stdin.write_all(&line) => {}
        () = std::future::ready(()) => {}
    }
    WriteEnd::Stopped
}
