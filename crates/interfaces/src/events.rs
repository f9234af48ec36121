//! The driver's side of its event channel: counting, refusing, and cutting floods of log lines.

use crate::config::InterfaceConfig;
use crate::log_limit::{LogLimit, Verdict};
use crate::port::{Count, DriverEvent, Emission, Level};
use crate::replies;
use hearthgate_domain::mapping::internal_msg::InternalMsg;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use tokio::sync::mpsc;

/// Nobody listens to this driver any more.
#[derive(Debug)]
pub(crate) struct Closed;

/// Cheap to clone; all clones share one limit for log lines.
#[derive(Clone)]
pub(crate) struct Events {
    sender: mpsc::Sender<DriverEvent>,
    limit: Arc<Mutex<LogLimit>>,
}

impl Events {
    pub(crate) fn new(sender: mpsc::Sender<DriverEvent>) -> Self {
        Events { sender, limit: Arc::new(Mutex::new(LogLimit::new(Instant::now()))) }
    }

    /// Waits while the channel is full.
    pub(crate) async fn send(&self, event: DriverEvent) -> Result<(), Closed> {
        self.sender.send(event).await.map_err(|_| Closed)
    }

    pub(crate) async fn count(&self, what: Count) -> Result<(), Closed> {
        self.send(DriverEvent::Counted { what, by: 1 }).await
    }

    /// Logs a line unless there were too many; then it isn't even made.
    pub(crate) async fn log(&self, level: Level, text: impl FnOnce() -> String) -> Result<(), Closed> {
        let verdict = self.limit.lock().unwrap_or_else(PoisonError::into_inner).offer(Instant::now());
        match verdict {
            Verdict::Cut => Ok(()),
            Verdict::Pass => self.send(DriverEvent::Log { level, text: text() }).await,
            Verdict::PassAfter(cut) => {
                self.send(DriverEvent::Counted { what: Count::LogSuppressed, by: cut }).await?;
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
    ) -> Result<(), Closed> {
        self.refuse_as(Count::CommandRefused, config, command, reason).await
    }

    /// The same for a command that waited too long.
    pub(crate) async fn refuse_late(
        &self,
        config: &InterfaceConfig,
        command: &InternalMsg,
        reason: &str,
    ) -> Result<(), Closed> {
        self.refuse_as(Count::CommandTooOld, config, command, reason).await
    }

    async fn refuse_as(
        &self,
        what: Count,
        config: &InterfaceConfig,
        command: &InternalMsg,
        reason: &str,
    ) -> Result<(), Closed> {
        if !command.iscmd {
            return Ok(());
        }
        self.count(what).await?;
        self.log(Level::Warn, || format!("{} refused: {reason}", command.action.escape_debug())).await?;
        match replies::refusal(config, command, reason) {
            Some(answer) => self.send(DriverEvent::Emit(Emission::from(answer))).await,
            None => Ok(()),
        }
    }
}
