//! What was written to a device and may still wait in the kernel: it must not reach the device after its time.
//!
//! A TCP link that is down takes bytes for minutes and delivers them in one burst when it is back; a serial line whose flow
//! control holds it up does so, too. So the kernel is told to give a connection up once its bytes are older than the
//! command may be, a serial line is looked at before each write, and what may not have arrived is known to be refused.

use super::error::LinkError;
use super::serial_line::LineGauge;
use hearthgate_domain::mapping::internal_msg::InternalMsg;
use rustix::net::sockopt;
use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, WriteHalf};
use tokio::time::sleep;

/// How often a serial line is asked whether its bytes have left.
const LOOK: Duration = Duration::from_millis(2);
/// The timeout of a connection is set in these steps, so that it need not be set for each command.
const STEP: Duration = Duration::from_millis(100);
/// The kernel gives a connection up at a retransmission, which can be so much later.
const SLACK: Duration = Duration::from_secs(1);
/// Commands that are remembered; of more than that the oldest have arrived long since.
const MOST: usize = 256;

/// An open device.
pub(crate) trait DeviceStream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> DeviceStream for T {}

/// The writing half of a device.
pub(crate) type DeviceWriter = WriteHalf<Box<dyn DeviceStream>>;

/// The way to what the kernel holds of a device's bytes.
pub(crate) enum OutletControl {
    /// The same socket.
    Tcp(OwnedFd),
    /// The same line; read anew with each flush.
    Serial(Arc<LineGauge>),
}

/// See the module.
pub(crate) struct DeviceOutlet {
    control: OutletControl,
    /// Commands whose bytes may not have arrived, with the time by which they must have.
    written: VecDeque<(Instant, InternalMsg)>,
    /// As it is set on the socket.
    timeout: Duration,
}

impl DeviceOutlet {
    pub(crate) fn new(control: OutletControl) -> Self {
        DeviceOutlet { control, written: VecDeque::new(), timeout: Duration::ZERO }
    }

    /// To be called before a command is written that may be carried out within `life`. On a serial line it waits until the
    /// bytes before it have left.
    ///
    /// # Errors
    /// They did not leave in time, or the device is gone; nothing may be written.
    pub(crate) async fn make_way(&mut self, writer: &mut DeviceWriter, life: Duration) -> Result<(), LinkError> {
        match &self.control {
            OutletControl::Tcp(socket) => {
                let steps = u32::try_from(life.as_millis() / STEP.as_millis()).unwrap_or(u32::MAX);
                let timeout = STEP.saturating_mul(steps.max(1));
                if timeout != self.timeout {
                    let millis = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX);
                    sockopt::set_tcp_user_timeout(socket, millis).map_err(|error| LinkError::Write(error.into()))?;
                    self.timeout = timeout;
                }
            }
            OutletControl::Serial(gauge) => {
                let until = Instant::now() + life;
                while has_unsent(gauge, writer).await? {
                    if Instant::now() >= until {
                        return Err(LinkError::Stalled);
                    }
                    sleep(LOOK).await;
                }
                self.written.clear();
            }
        }
        Ok(())
    }

    /// A command was written that must have arrived after `life`.
    pub(crate) fn note(&mut self, command: &InternalMsg, life: Duration) {
        let now = Instant::now();
        while self.written.len() >= MOST || self.written.front().is_some_and(|(until, _)| *until + SLACK < now) {
            self.written.pop_front();
        }
        self.written.push_back((now + life, command.clone()));
    }

    /// Resolves when the bytes of a command have not left a serial line in time, or it is gone. A connection is given up by
    /// the kernel, which the reader finds out.
    pub(crate) async fn stalled(&mut self, writer: &mut DeviceWriter) -> LinkError {
        let OutletControl::Serial(gauge) = &self.control else { return std::future::pending().await };
        while let Some((until, _)) = self.written.front() {
            match has_unsent(gauge, writer).await {
                Ok(false) => self.written.clear(),
                Ok(true) if Instant::now() >= *until => return LinkError::Stalled,
                Ok(true) => sleep(LOOK).await,
                Err(error) => return error,
            }
        }
        std::future::pending().await
    }

    /// The device is lost: drops what has not left, and answers the commands that may not have arrived.
    pub(crate) async fn abandon(&mut self, writer: &mut DeviceWriter, why: &LinkError) -> Vec<InternalMsg> {
        if let OutletControl::Serial(gauge) = &self.control {
            gauge.discard();
            // A line that is gone has no buffer either.
            let _ = writer.flush().await;
        }
        let is_unknown = match why {
            LinkError::Stalled => true,
            LinkError::Read(error) | LinkError::Write(error) => error.kind() == io::ErrorKind::TimedOut,
            _ => false,
        };
        let now = Instant::now();
        let written = std::mem::take(&mut self.written).into_iter();
        written.filter(|(until, _)| is_unknown && *until + SLACK >= now).map(|(_, command)| command).collect()
    }
}

async fn has_unsent(gauge: &LineGauge, writer: &mut DeviceWriter) -> Result<bool, LinkError> {
    writer.flush().await.map_err(LinkError::Write)?;
    Ok(gauge.has_unsent())
}
