//! What a driver and the one who runs it say to each other.

use crate::frames::FrameRing;
use crate::queue::CommandQueue;
use hearthgate_domain::delivery::QoS;
use hearthgate_domain::mapping::internal_msg::InternalMsg;
use std::fmt;
use std::path::PathBuf;
use tokio::sync::{mpsc, watch};

/// Everything a driver is given for one run.
pub struct DriverPort {
    /// Where commands come from.
    pub commands: CommandQueue,
    /// Where events go; bounded. While it is full the driver waits and its device is not read: that is the back-pressure.
    pub events: mpsc::Sender<DriverEvent>,
    /// Asks the driver to stop in order.
    pub stop: StopSignal,
    /// Where the last frames are kept.
    pub frames: FrameRing,
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
pub struct DriverHost {
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
    Emit(DeviceMessage),
    /// A line for the log, under the interface's name. Repeats are already folded and floods are cut.
    Log {
        /// How important.
        level: DriverLogLevel,
        /// One line.
        text: String,
    },
    /// Something worth a counter happened.
    Counted {
        /// What.
        what: DriverCount,
        /// How many times, at least 1.
        by: u64,
    },
}

/// A message from the device, or an answer of the driver, with what it overrides of the interface's settings.
#[derive(Clone, PartialEq)]
pub struct DeviceMessage {
    /// In internal keywords. An empty sender becomes the interface's own name.
    pub message: InternalMsg,
    /// Overrides the interface's `retain`.
    pub retain: Option<bool>,
    /// Overrides the interface's `qos`.
    pub qos: Option<QoS>,
    /// A whole topic name in place of the mapped one.
    pub topic: Option<String>,
}

impl From<InternalMsg> for DeviceMessage {
    fn from(message: InternalMsg) -> Self {
        DeviceMessage { message, retain: None, qos: None, topic: None }
    }
}

impl fmt::Debug for DeviceMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Emission({} {} arguments)", self.message.action, self.message.arguments.len())
    }
}

/// How important a log line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DriverLogLevel {
    /// For someone who looks for a fault.
    Debug,
    /// What happens.
    Info,
    /// Something is off, and the driver goes on.
    Warn,
    /// Something was lost or refused for good.
    Error,
}

/// What drivers count; [`DriverCount::name`] is the label for metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DriverCount {
    /// A command was answered with an error (late ones are counted as [`DriverCount::CommandTooOld`]).
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

impl DriverCount {
    /// The label for metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            DriverCount::CommandRefused => "command_refused",
            DriverCount::CommandTooOld => "command_too_old",
            DriverCount::FrameUnmatched => "frame_unmatched",
            DriverCount::FrameIncomplete => "frame_incomplete",
            DriverCount::FrameTooLong => "frame_too_long",
            DriverCount::FrameNotText => "frame_not_text",
            DriverCount::LineInvalid => "line_invalid",
            DriverCount::LogSuppressed => "log_suppressed",
        }
    }

    /// For a log line.
    pub(crate) fn describe(self) -> &'static str {
        match self {
            DriverCount::CommandRefused => "a command was refused",
            DriverCount::CommandTooOld => "a command waited too long",
            DriverCount::FrameUnmatched => "no rule knows the frame",
            DriverCount::FrameIncomplete => "the rest of a frame did not come",
            DriverCount::FrameTooLong => "the frame is longer than max_length",
            DriverCount::FrameNotText => "the frame is not UTF-8",
            DriverCount::LineInvalid => "the line is not of the protocol",
            DriverCount::LogSuppressed => "log lines were cut",
        }
    }
}
