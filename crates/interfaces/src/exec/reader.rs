//! What a child says on its standard output, and writes to its standard error.

use super::lines::{LONGEST_COMPLAINT, LONGEST_LINE, LineReader, NextLine};
use super::protocol::{self, FromChild};
use super::watchdog::ChildHeartbeat;
use crate::events::{EventSender, HostGone};
use crate::frames::FrameDirection;
use crate::port::{DriverCount, DriverEvent, DriverLogLevel};
use std::convert::Infallible;
use tokio::process::{ChildStderr, ChildStdout};
use tokio::sync::Notify;

/// Why reading ended.
pub(crate) enum ReadEnd {
    /// The child closed its standard output.
    Closed,
    /// A line over the limit.
    TooLong,
    /// The events have no listener any more.
    NobodyListens,
}

pub(crate) async fn read(stdout: ChildStdout, pulse: &ChildHeartbeat, events: &EventSender) -> ReadEnd {
    let mut lines = LineReader::new(stdout, LONGEST_LINE);
    loop {
        let line = match lines.next().await {
            Ok(NextLine::Whole(line)) => line.trim_ascii(),
            Ok(NextLine::TooLong(_)) => return ReadEnd::TooLong,
            Ok(NextLine::End) | Err(_) => return ReadEnd::Closed,
        };
        if line.is_empty() {
            continue;
        }
        pulse.hand_over(true);
        let handed_over = hear(line, pulse, events).await;
        pulse.hand_over(false);
        if handed_over.is_err() {
            return ReadEnd::NobodyListens;
        }
    }
}

async fn hear(line: &[u8], pulse: &ChildHeartbeat, events: &EventSender) -> Result<(), HostGone> {
    match protocol::understand(line) {
        Ok(FromChild::Ready) => {
            if pulse.ready() {
                events.send(DriverEvent::Online).await
            } else {
                Ok(())
            }
        }
        Ok(FromChild::Pong(id)) => {
            pulse.pong(id);
            Ok(())
        }
        Ok(FromChild::Message(emission)) => {
            events.show_frame(FrameDirection::FromDevice, line, || serde_json::json!(emission.message).to_string());
            events.send(DriverEvent::Emit(*emission)).await
        }
        Ok(FromChild::Log(level, text)) => log(events, level, &text).await,
        Err(problem) => {
            events.show_frame(FrameDirection::FromDevice, line, || format!("not a line of the protocol: {problem}"));
            events.count(DriverCount::LineInvalid).await?;
            let shown = String::from_utf8_lossy(&line[..line.len().min(80)]).into_owned();
            events.log(DriverLogLevel::Warn, || format!("not a line of the protocol ({problem}): {shown:?}")).await
        }
    }
}

/// Logs standard error line by line. Its end is told, and means nothing else: the future never completes.
pub(crate) async fn log_errors(stderr: ChildStderr, events: &EventSender, ended: &Notify) -> Infallible {
    let mut lines = LineReader::new(stderr, LONGEST_COMPLAINT);
    loop {
        let text = match lines.next().await {
            Ok(NextLine::Whole(line) | NextLine::TooLong(line)) => {
                String::from_utf8_lossy(line.trim_ascii_end()).into_owned()
            }
            Ok(NextLine::End) | Err(_) => break,
        };
        if !text.is_empty() && log(events, DriverLogLevel::Info, &text).await.is_err() {
            break;
        }
    }
    ended.notify_one();
    std::future::pending().await
}

/// One log line for each line of the text, without control characters.
async fn log(events: &EventSender, level: DriverLogLevel, text: &str) -> Result<(), HostGone> {
    for line in text.lines() {
        let shown = || {
            line.chars().take(LONGEST_COMPLAINT).map(|c| if c.is_control() && c != '\t' { ' ' } else { c }).collect()
        };
        events.log(level, shown).await?;
    }
    Ok(())
}
