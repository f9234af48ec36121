//! The driver's side of its event channel: counting, refusing, and cutting floods of log lines.

use crate::config::InterfaceConfig;
use crate::frames::{FrameDirection, FrameRing};
use crate::log_limit::{LogLimit, LogVerdict};
use crate::port::{DeviceMessage, DriverCount, DriverEvent, DriverLogLevel};
use crate::replies;
use hearthgate_domain::mapping::internal_msg::InternalMsg;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use tokio::sync::mpsc;

/// Nobody listens to this driver any more.
#[derive(Debug)]
pub(crate) struct HostGone;

/// Cheap to clone; all clones share one limit for log lines.
#[derive(Clone)]
pub(crate) struct EventSender {
    sender: mpsc::Sender<DriverEvent>,
    limit: Arc<Mutex<LogLimit>>,
    frames: FrameRing,
}

impl EventSender {
    pub(crate) fn new(sender: mpsc::Sender<DriverEvent>, frames: FrameRing) -> Self {
        EventSender { sender, limit: Arc::new(Mutex::new(LogLimit::new(Instant::now()))), frames }
    }

    /// Keeps a frame for those who look on; never waits.
    pub(crate) fn show_frame(&self, direction: FrameDirection, bytes: &[u8], meaning: impl FnOnce() -> String) {
        self.frames.keep(direction, bytes, meaning);
    }

    /// Waits while the channel is full.
    pub(crate) async fn send(&self, event: DriverEvent) -> Result<(), HostGone> {
        self.sender.send(event).await.map_err(|_| HostGone)
    }

    pub(crate) async fn count(&self, what: DriverCount) -> Result<(), HostGone> {
        self.send(DriverEvent::Counted { what, by: 1 }).await
    }

    /// Logs a line unless there were too many; then it isn't even made.
    pub(crate) async fn log(&self, level: DriverLogLevel, text: impl FnOnce() -> String) -> Result<(), HostGone> {
        let verdict = self.limit.lock().unwrap_or_else(PoisonError::into_inner).offer(Instant::now());
        match verdict {
            LogVerdict::Cut => Ok(()),
            LogVerdict::Pass => self.send(DriverEvent::Log { level, text: text() }).await,
            LogVerdict::PassAfter(cut) => {
                self.send(DriverEvent::Counted { what: DriverCount::LogSuppressed, by: cut }).await?;
                let text = format!("{} ({cut} lines before this one were cut)", text());
                self.send(DriverEvent::Log { level, text }).await
            }
        }
    }

    /// Refuses a command: the count, a log line, and the answer if one is due. A status is forgotten.
    pub(crate) async fn refuse(
        &self,
        config: &InterfaceConfig,
        command: &InternalMsg,
        reason: &str,
    ) -> Result<(), HostGone> {
        self.refuse_as(DriverCount::CommandRefused, config, command, reason).await
    }

    /// The same for a command that waited too long.
    pub(crate) async fn refuse_late(
        &self,
        config: &InterfaceConfig,
        command: &InternalMsg,
        reason: &str,
    ) -> Result<(), HostGone> {
        self.refuse_as(DriverCount::CommandTooOld, config, command, reason).await
    }

    async fn refuse_as(
        &self,
        what: DriverCount,
        config: &InterfaceConfig,
        command: &InternalMsg,
        reason: &str,
    ) -> Result<(), HostGone> {
        if !command.iscmd {
            return Ok(());
        }
        self.count(what).await?;
        self.log(DriverLogLevel::Warn, || format!("{} refused: {reason}", command.action.escape_debug())).await?;
        match replies::refusal(config, command, reason) {
            Some(answer) => self.send(DriverEvent::Emit(DeviceMessage::from(answer))).await,
            None => Ok(()),
        }
    }
}
