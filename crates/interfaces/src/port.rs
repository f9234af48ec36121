//! What a driver and the one who runs it say to each other.

use hearthgate_domain::delivery::QoS;
use hearthgate_domain::message::InternalMsg;
use std::collections::VecDeque;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Mutex, OwnedMutexGuard, mpsc, watch};

/// A message for the device.
#[derive(Clone, PartialEq)]
pub struct Command {
    /// In internal keywords, as the interface's map decoded it. Statuses of others come this way too.
    pub message: InternalMsg,
    /// When it came from the broker: its age counts from here.
    pub received_at: Instant,
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Command({} {} arguments)", self.message.action, self.message.arguments.len())
    }
}

/// The receiving end of the bounded queue of commands. It outlives a run of the driver: clone it into each run, and what
/// a crashed run had not handed to its device is first in line for the next.
#[derive(Clone)]
pub struct CommandQueue(Arc<Mutex<Commands>>);

impl CommandQueue {
    /// A queue for at most `capacity` (at least 1) waiting commands. `try_send` on the sender and answer a full queue
    /// with [`crate::replies::refusal`]. When every sender is gone the driver stops in order.
    #[must_use]
    pub fn new(capacity: usize) -> (mpsc::Sender<Command>, CommandQueue) {
        let (sender, receiver) = mpsc::channel(capacity.max(1));
        let commands = Commands { receiver, waiting: VecDeque::new(), capacity: capacity.max(1), in_hand: false };
        (sender, CommandQueue(Arc::new(Mutex::new(commands))))
    }

    /// Waits until no other run holds the queue.
    pub(crate) async fn lock(&self) -> OwnedMutexGuard<Commands> {
        let mut commands = Arc::clone(&self.0).lock_owned().await;
        commands.in_hand = false; // whoever had it in hand is gone, and had not finished with it
        commands
    }
}

/// The commands as one run of a driver sees them, oldest first. Every method can be cancelled without losing a command.
pub(crate) struct Commands {
    receiver: mpsc::Receiver<Command>,
    waiting: VecDeque<Command>,
    capacity: usize,
    in_hand: bool,
}

impl Commands {
    /// Takes the oldest command in hand, leaving it in the queue until [`Commands::finish`]. `None`: all senders are gone.
    pub(crate) async fn begin(&mut self) -> Option<Command> {
        if self.waiting.is_empty() {
            let command = self.receiver.recv().await?;
            self.waiting.push_back(command);
        }
        self.in_hand = true;
        self.waiting.front().cloned()
    }

    /// The command in hand was handed over, or refused: it leaves the queue.
    pub(crate) fn finish(&mut self) {
        if std::mem::take(&mut self.in_hand) {
            self.waiting.pop_front();
        }
    }

    /// The next command behind the one in hand, as soon as it is older than `max_age`; it leaves the queue. Statuses
    /// never do. Does not complete while there is nothing to expire.
    pub(crate) async fn next_expired(&mut self, max_age: Duration) -> Command {
        let behind = usize::from(self.in_hand);
        loop {
            let oldest = self.waiting.iter().skip(behind).position(|command| command.message.iscmd);
            if let Some(index) = oldest.map(|index| index + behind) {
                match self.waiting[index].received_at.checked_add(max_age) {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
                if let Some(command) = self.waiting.remove(index) {
                    return command;
                }
            }
            if self.waiting.len() >= self.capacity {
                std::future::pending::<()>().await;
            }
            match self.receiver.recv().await {
                Some(command) => self.waiting.push_back(command),
                None => std::future::pending().await,
            }
        }
    }
}

/// Everything a driver is given for one run.
pub struct DriverPort {
    /// Where commands come from.
    pub commands: CommandQueue,
    /// Where events go; bounded. While it is full the driver waits and its device is not read: that is the back-pressure.
    pub events: mpsc::Sender<DriverEvent>,
    /// Asks the driver to stop in order.
    pub stop: StopSignal,
}

/// Asks a driver to stop; dropping it asks as well.
#[derive(Debug)]
pub struct StopSender(watch::Sender<bool>);

/// The driver's end of [`StopSender`].
#[derive(Clone, Debug)]
pub struct StopSignal(watch::Receiver<bool>);

impl StopSender {
    /// A sender with its signal.
    #[must_use]
    pub fn new() -> (StopSender, StopSignal) {
        let (sender, receiver) = watch::channel(false);
        (StopSender(sender), StopSignal(receiver))
    }

    /// Asks the driver to finish what it has in hand and return.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

impl StopSignal {
    /// Completes once the driver was asked to stop.
    pub(crate) async fn asked(&mut self) {
        // An error says that the sender is gone, which asks as well.
        let _ = self.0.wait_for(|asked| *asked).await;
    }
}

/// What the process around the drivers provides.
#[derive(Clone, Debug)]
pub struct Host {
    /// Program and first arguments that run `exec_guard::main`, in the gateway `["/proc/self/exe", "__exec-guard"]`.
    pub guard: Vec<std::ffi::OsString>,
    /// A folder that only the gateway's user may write to; the Python runner is put there for child processes.
    pub runtime_dir: PathBuf,
    /// What relative paths in an interface's options start from: the configuration file's folder.
    pub base_dir: PathBuf,
}

/// What a driver reports.
#[expect(clippy::large_enum_variant, reason = "nearly every event is an emission; a box each would only cost")]
#[derive(Clone, Debug, PartialEq)]
pub enum DriverEvent {
    /// The device can be reached. Sent once for each time it comes.
    Online,
    /// The device is out of reach; sent once, however often the driver tries again.
    Offline {
        /// Why, in words.
        reason: String,
    },
    /// A message to publish.
    Emit(Emission),
    /// A line for the log, under the interface's name. Repeats are already folded and floods are cut.
    Log {
        /// How important.
        level: Level,
        /// One line.
        text: String,
    },
    /// Something worth a counter happened.
    Counted {
        /// What.
        what: Count,
        /// How many times, at least 1.
        by: u64,
    },
}

/// A message from the device, or an answer of the driver, with what it overrides of the interface's settings.
#[derive(Clone, PartialEq)]
pub struct Emission {
    /// In internal keywords. An empty sender becomes the interface's own name.
    pub message: InternalMsg,
    /// Overrides the interface's `retain`.
    pub retain: Option<bool>,
    /// Overrides the interface's `qos`.
    pub qos: Option<QoS>,
    /// A whole topic name in place of the mapped one.
    pub topic: Option<String>,
}

impl From<InternalMsg> for Emission {
    fn from(message: InternalMsg) -> Self {
        Emission { message, retain: None, qos: None, topic: None }
    }
}

impl fmt::Debug for Emission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Emission({} {} arguments)", self.message.action, self.message.arguments.len())
    }
}

/// How important a log line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For someone who looks for a fault.
    Debug,
    /// What happens.
    Info,
    /// Something is off, and the driver goes on.
    Warn,
    /// Something was lost or refused for good.
    Error,
}

/// What drivers count; [`Count::name`] is the label for metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Count {
    /// A command was answered with an error (late ones are counted as [`Count::CommandTooOld`]).
    CommandRefused,
    /// A command waited longer than `max_command_age`.
    CommandTooOld,
    /// A frame that no rule knows.
    FrameUnmatched,
    /// The rest of a frame did not come in time.
    FrameIncomplete,
    /// A frame longer than `max_length`.
    FrameTooLong,
    /// A text frame that is not UTF-8.
    FrameNotText,
    /// A line of a child process that is not of the protocol.
    LineInvalid,
    /// A log line that was cut because of too many.
    LogSuppressed,
}

impl Count {
    /// The label for metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Count::CommandRefused => "command_refused",
            Count::CommandTooOld => "command_too_old",
            Count::FrameUnmatched => "frame_unmatched",
            Count::FrameIncomplete => "frame_incomplete",
            Count::FrameTooLong => "frame_too_long",
            Count::FrameNotText => "frame_not_text",
            Count::LineInvalid => "line_invalid",
            Count::LogSuppressed => "log_suppressed",
        }
    }

    /// For a log line.
    pub(crate) fn describe(self) -> &'static str {
        match self {
            Count::CommandRefused => "a command was refused",
            Count::CommandTooOld => "a command waited too long",
            Count::FrameUnmatched => "no rule knows the frame",
            Count::FrameIncomplete => "the rest of a frame did not come",
            Count::FrameTooLong => "the frame is longer than max_length",
            Count::FrameNotText => "the frame is not UTF-8",
            Count::LineInvalid => "the line is not of the protocol",
            Count::LogSuppressed => "log lines were cut",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(action: &str, received_at: Instant) -> Command {
        Command { message: InternalMsg { iscmd: true, action: action.into(), ..InternalMsg::default() }, received_at }
    }

    #[tokio::test]
    async fn a_command_that_was_not_finished_is_first_in_line_for_the_next_run() {
        let (sender, queue) = CommandQueue::new(4);
        sender.send(command("A", Instant::now())).await.unwrap();
        sender.send(command("B", Instant::now())).await.unwrap();
        let mut crashed = queue.lock().await;
        assert_eq!(crashed.begin().await.unwrap().message.action, "A");
        drop(crashed);
        let mut next = queue.lock().await;
        assert_eq!(next.begin().await.unwrap().message.action, "A");
        next.finish();
        assert_eq!(next.begin().await.unwrap().message.action, "B");
    }

    #[tokio::test]
    async fn a_status_does_not_expire_and_does_not_hide_an_old_command() {
        let (sender, queue) = CommandQueue::new(4);
        let long_ago = Instant::now().checked_sub(Duration::from_secs(60)).unwrap();
        let mut status = command("status", long_ago);
        status.message.iscmd = false;
        sender.send(status).await.unwrap();
        sender.send(command("command", long_ago)).await.unwrap();
        let mut commands = queue.lock().await;
        assert_eq!(commands.next_expired(Duration::from_secs(5)).await.message.action, "command");
        assert_eq!(commands.begin().await.unwrap().message.action, "status");
    }

    #[tokio::test]
    async fn the_command_in_hand_does_not_expire_but_the_one_behind_it_does() {
        let (sender, queue) = CommandQueue::new(4);
        let long_ago = Instant::now().checked_sub(Duration::from_secs(60)).unwrap();
        sender.send(command("in hand", long_ago)).await.unwrap();
        sender.send(command("behind", long_ago)).await.unwrap();
        let mut commands = queue.lock().await;
        commands.begin().await.unwrap();
        assert_eq!(commands.next_expired(Duration::from_secs(5)).await.message.action, "behind");
        commands.finish();
        drop(sender);
        assert!(commands.begin().await.is_none());
    }
}
