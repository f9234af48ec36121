//! The `exec` kind: a child process in any language that speaks JSON lines.
//!
//! Five futures run side by side and share little, so that none of them waits for another: what the child says, what it
//! writes to standard error, what we say to it, whether it is alive, and its end.

mod child;
pub mod guard;
mod lines;
mod protocol;
mod python;
mod reader;
mod watchdog;
mod writer;

use crate::DriverError;
use crate::config::{ExecConfig, InterfaceConfig};
use crate::events::EventSender;
use crate::port::{DriverHost, DriverLogLevel, DriverPort};
use crate::queue::PendingCommands;
use child::{ChildPipes, GuardedChild};
use reader::ReadEnd;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::timeout;
use watchdog::ChildHeartbeat;
use writer::WriteEnd;

/// How long the last lines of a child that has ended are read, and how long a child that has closed its standard output
/// may take to end. All its descendants are dead by then, so nothing but a slow listener needs the time.
const LAST_WORDS: Duration = Duration::from_secs(2);

pub(crate) async fn run(
    name: &str,
    config: &InterfaceConfig,
    exec: &ExecConfig,
    host: &DriverHost,
    port: DriverPort,
) -> Result<(), DriverError> {
    let DriverPort { commands, events, stop, frames } = port;
    let events = EventSender::new(events, frames);
    let mut commands = commands.lock().await;
    let runner = python::install(&host.runtime_dir)?;
    let (mut child, pipes) = GuardedChild::start(exec, host, &runner)?;
    let pulse = Arc::new(ChildHeartbeat::new());
    let hello = protocol::hello(name, config, exec);
    let writer = writer::ChildWriter { config, events: events.clone(), pulse: Arc::clone(&pulse), stop };
    let outcome = talk(exec, &mut child, pipes, &pulse, &events, writer, &hello, &mut commands).await;
    child.kill().await;
    outcome
}

#[expect(clippy::too_many_arguments, reason = "the parts of one conversation, taken apart once")]
async fn talk(
    exec: &ExecConfig,
    child: &mut GuardedChild,
    pipes: ChildPipes,
    pulse: &ChildHeartbeat,
    events: &EventSender,
    writer: writer::ChildWriter<'_>,
    hello: &[u8],
    commands: &mut PendingCommands,
) -> Result<(), DriverError> {
    let mut reading = pin!(reader::read(pipes.stdout, pulse, events));
    let stderr_ended = Notify::new();
    let mut complaints = pin!(reader::log_errors(pipes.stderr, events, &stderr_ended));
    let reason = {
        let mut writing = pin!(writer.run(pipes.stdin, hello, commands));
        let mut watching = pin!(watchdog::watch(pulse, exec));
        tokio::select! {
            written = &mut writing => match written {
                WriteEnd::Stopped => Leave::Stopped,
                WriteEnd::StdinClosed => Leave::StdinClosed,
            },
            read = &mut reading => match read {
                ReadEnd::Closed => Leave::StdoutClosed,
                ReadEnd::TooLong => return Err(DriverError::LineTooLong { limit: lines::LONGEST_LINE }),
                ReadEnd::NobodyListens => return Ok(()),
            },
            never = &mut complaints => match never {},
            error = &mut watching => return Err(error),
            how = child.ended() => {
                let last_words = async { tokio::join!(&mut reading, stderr_ended.notified()) };
                // What it said before its end counts; whether all of it is heard in time does not change the outcome.
                tokio::select! { _ = timeout(LAST_WORDS, last_words) => {}, never = &mut complaints => match never {} }
                return Err(DriverError::Exited { how });
            }
        }
    };
    let patience = if reason == Leave::Stopped { exec.stop_timeout } else { LAST_WORDS };
    let mut heard_out = reason == Leave::StdoutClosed;
    let end = async {
        loop {
            tokio::select! {
                _ = &mut reading, if !heard_out => heard_out = true,
                never = &mut complaints => match never {},
                how = child.ended() => break how,
            }
        }
    };
    let end = timeout(patience, end).await;
    if end.is_ok() {
        let last_words = async {
            if !heard_out {
                reading.await;
            }
            stderr_ended.notified().await;
        };
        tokio::select! { _ = timeout(LAST_WORDS, last_words) => {}, never = &mut complaints => match never {} }
    }
    match (end, reason) {
        (Ok(_), Leave::Stopped) => Ok(()),
        (Err(_), Leave::Stopped) => {
            let text = || format!("it did not end within stop_timeout ({:?}) and is killed", exec.stop_timeout);
            // The one who asked us to stop need not listen any more.
            let _ = events.log(DriverLogLevel::Warn, text).await;
            Ok(())
        }
        (Ok(how), Leave::StdinClosed | Leave::StdoutClosed) => Err(DriverError::Exited { how }),
        (Err(_), Leave::StdinClosed) => Err(DriverError::StreamClosed { stream: "standard input" }),
        (Err(_), Leave::StdoutClosed) => Err(DriverError::StreamClosed { stream: "standard output" }),
    }
}

/// Why a conversation is over while the child still runs.
#[derive(Clone, Copy, PartialEq)]
enum Leave {
    Stopped,
    StdinClosed,
    StdoutClosed,
}
