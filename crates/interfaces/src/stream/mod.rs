//! Byte streams with declared rules: what the kinds `serial` and `tcp` share.
//!
//! The driver reconnects for ever by itself. While the device is out of reach, commands are refused at once.

mod error;
mod framing;
mod link;
mod outlet;
mod pattern;
mod rules;
mod serial_line;
mod value;

use crate::DriverError;
use crate::config::{FrameEncoding, InterfaceConfig, StreamOptions};
use crate::events::EventSender;
use crate::frames::FrameDirection;
use crate::port::{DriverCount, DriverEvent, DriverLogLevel, DriverPort, StopSignal};
use crate::queue::{DeviceCommand, PendingCommands};
use crate::replies;
use error::LinkError;
use framing::{FrameBuffer, NextFrame};
use hearthgate_domain::mapping::internal_msg::InternalMsg;
pub(crate) use link::DeviceConnector;
use link::DeviceLink;
use outlet::{DeviceOutlet, DeviceStream, DeviceWriter};
pub(crate) use rules::StreamRules;
use rules::WrittenCommand;
use std::pin::pin;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf};
use tokio::time::{sleep, timeout};

/// A connection that lasted this long was a good one: the next pause is the shortest again.
const GOOD_CONNECTION: Duration = Duration::from_secs(10);
const READ_CHUNK: usize = 4_096;

struct Stream<'a> {
    config: &'a InterfaceConfig,
    options: &'a StreamOptions,
    rules: StreamRules,
    events: EventSender,
    stop: StopSignal,
}

/// Why a connection, or the attempt at one, is over.
enum End {
    /// We were asked to stop, or nobody listens any more.
    Stopped,
    /// The device is gone.
    Lost(LinkError),
}

pub(crate) async fn run(
    config: &InterfaceConfig,
    options: &StreamOptions,
    connector: DeviceConnector<'_>,
    port: DriverPort,
) -> Result<(), DriverError> {
    let DriverPort { commands, events, stop, frames } = port;
    let rules = StreamRules::compile(&options.receive, &options.send, options.frame.encoding)?;
    let mut framer = FrameBuffer::new(&options.frame)?;
    let mut stream = Stream { config, options, rules, events: EventSender::new(events, frames), stop };
    let mut commands = commands.lock().await;
    stream.keep_connected(&connector, &mut framer, &mut commands).await;
    Ok(())
}

impl Stream<'_> {
    /// Connects again and again; returns when it was asked to stop or nobody listens any more.
    async fn keep_connected(
        &mut self,
        connector: &DeviceConnector<'_>,
        framer: &mut FrameBuffer,
        commands: &mut PendingCommands,
    ) {
        let mut pause = self.options.reconnect.min;
        let mut reported = false;
        loop {
            let lost = match self.connect(connector, commands).await {
                Ok(link) => {
                    let since = Instant::now();
                    if self.events.send(DriverEvent::Online).await.is_err() {
                        return;
                    }
                    reported = false;
                    let end = self.serve(link, framer, commands).await;
                    if since.elapsed() >= GOOD_CONNECTION {
                        pause = self.options.reconnect.min;
                    }
                    end
                }
                Err(end) => end,
            };
            let End::Lost(error) = lost else { return };
            let reason = error.to_string();
            let half = framer.reset();
            if half.is_some() && self.events.count(DriverCount::FrameIncomplete).await.is_err() {
                return;
            }
            // Reported once, not at every attempt.
            if !std::mem::replace(&mut reported, true)
                && self.events.send(DriverEvent::Offline { reason: reason.clone() }).await.is_err()
            {
                return;
            }
            let jittered = pause.mul_f64(1.0 - 0.5 * fastrand::f64());
            if self.refuse_until(sleep(jittered), commands, &reason).await.is_err() {
                return;
            }
            pause = pause.saturating_mul(2).min(self.options.reconnect.max);
        }
    }

    /// Commands wait for the connection, as long as they may.
    async fn connect(
        &mut self,
        connector: &DeviceConnector<'_>,
        commands: &mut PendingCommands,
    ) -> Result<DeviceLink, End> {
        let mut open = pin!(connector.open());
        loop {
            tokio::select! {
                biased;
                () = self.stop.asked() => return Err(End::Stopped),
                opened = &mut open => return opened.map_err(End::Lost),
                late = commands.next_expired(self.config.max_command_age) => {
                    let refused = self.events.refuse_late(self.config, &late.message, "not executed: the device was being connected for too long").await;
                    refused.map_err(|_| End::Stopped)?;
                }
            }
        }
    }

    /// Answers a command that did not get out, and gives the reason back.
    async fn refuse(&self, command: &DeviceCommand, error: LinkError) -> Result<LinkError, End> {
        let refused = self.events.refuse(self.config, &command.message, &error.to_string()).await;
        refused.map(|()| error).map_err(|_| End::Stopped)
    }

    /// Waits for something while the device is out of reach, answering commands meanwhile.
    async fn refuse_until<T>(
        &mut self,
        wait: impl Future<Output = T>,
        commands: &mut PendingCommands,
        why: &str,
    ) -> Result<T, End> {
        let mut wait = pin!(wait);
        loop {
            tokio::select! {
                biased;
                () = self.stop.asked() => return Err(End::Stopped),
                done = &mut wait => return Ok(done),
                command = commands.begin() => {
                    let Some(command) = command else { return Err(End::Stopped) };
                    let refused = self.events.refuse(self.config, &command.message, &format!("the device is offline: {why}")).await;
                    commands.finish();
                    refused.map_err(|_| End::Stopped)?;
                }
            }
        }
    }

    async fn serve(
        &mut self,
        DeviceLink { stream: device, mut outlet }: DeviceLink,
        framer: &mut FrameBuffer,
        commands: &mut PendingCommands,
    ) -> End {
        let (reader, mut writer) = tokio::io::split(device);
        let stop = self.stop.clone();
        let stream = &*self;
        let reads = Reading { stream };
        let writes = Writing { stream, stop, outlet: &mut outlet };
        // Neither waits for the other: a device that does not take our bytes is still heard.
        let end = tokio::select! {
            end = reads.run(reader, framer) => end,
            end = writes.run(&mut writer, commands) => end,
        };
        if let End::Lost(error) = &end {
            let reason = format!("it may not have reached the device: {error}");
            for command in outlet.abandon(&mut writer, error).await {
                if self.events.refuse(self.config, &command, &reason).await.is_err() {
                    return End::Stopped;
                }
            }
        }
        end
    }
}

struct Reading<'a> {
    stream: &'a Stream<'a>,
}

impl Reading<'_> {
    async fn run(self, mut reader: ReadHalf<Box<dyn DeviceStream>>, framer: &mut FrameBuffer) -> End {
        let mut chunk = vec![0; READ_CHUNK];
        let mut heard_at = Instant::now();
        loop {
            let frames = match self.read(&mut reader, &mut chunk, framer, heard_at).await {
                Ok(0) => framer.silence().into_iter().collect(),
                Ok(length) => {
                    heard_at = Instant::now();
                    framer.push(&chunk[..length])
                }
                Err(error) => return End::Lost(error),
            };
            for frame in frames {
                if self.handle(frame).await.is_err() {
                    return End::Stopped;
                }
            }
        }
    }

    /// The length of what was read, or 0 for a silence that matters to the framing.
    async fn read(
        &self,
        reader: &mut ReadHalf<Box<dyn DeviceStream>>,
        chunk: &mut [u8],
        framer: &FrameBuffer,
        heard_at: Instant,
    ) -> Result<usize, LinkError> {
        let framing = framer.silence_due();
        let patience = self.stream.options.silence_timeout.map(|most| most.saturating_sub(heard_at.elapsed()));
        let wait = match (framing, patience) {
            (Some(framing), Some(patience)) => framing.min(patience),
            (Some(wait), None) | (None, Some(wait)) => wait,
            (None, None) => Duration::MAX,
        };
        match timeout(wait, reader.read(chunk)).await {
            Ok(Ok(0)) => Err(LinkError::Closed),
            Ok(Ok(length)) => Ok(length),
            Ok(Err(error)) => Err(LinkError::Read(error)),
            Err(_) if framing.is_some_and(|framing| framing <= wait) => Ok(0),
            Err(_) => Err(LinkError::Silent),
        }
    }

    async fn handle(&self, frame: NextFrame) -> Result<(), crate::events::HostGone> {
        let frame = match frame {
            NextFrame::Frame(frame) => frame,
            NextFrame::Broken(what) => {
                self.stream.events.count(what).await?;
                return self
                    .stream
                    .events
                    .log(DriverLogLevel::Warn, || format!("bytes from the device dropped: {}", what.describe()))
                    .await;
            }
        };
        match self.stream.rules.received(&frame) {
            Some(emissions) => {
                let meaning =
                    || emissions.iter().map(|emission| json(&emission.message)).collect::<Vec<_>>().join("\n");
                self.stream.events.show_frame(FrameDirection::FromDevice, &frame, meaning);
                for emission in emissions {
                    self.stream.events.send(DriverEvent::Emit(emission)).await?;
                }
                Ok(())
            }
            None => {
                let meaning = || DriverCount::FrameUnmatched.describe().to_owned();
                self.stream.events.show_frame(FrameDirection::FromDevice, &frame, meaning);
                self.stream.events.count(DriverCount::FrameUnmatched).await?;
                let shown = || show(&frame, self.stream.options.frame.encoding);
                self.stream.events.log(DriverLogLevel::Warn, || format!("no rule knows the frame {}", shown())).await
            }
        }
    }
}

/// A message for those who look on.
fn json(message: &InternalMsg) -> String {
    serde_json::json!(message).to_string()
}

/// A frame for the log: bounded, without control characters.
fn show(frame: &[u8], encoding: FrameEncoding) -> String {
    const MOST: usize = 64;
    let shown = &frame[..frame.len().min(MOST)];
    let text = match encoding {
        FrameEncoding::Text => format!("{:?}", String::from_utf8_lossy(shown)),
        FrameEncoding::Hex => value::show_hex(shown),
    };
    if frame.len() > MOST { format!("{text}… ({} bytes)", frame.len()) } else { text }
}

struct Writing<'a> {
    stream: &'a Stream<'a>,
    stop: StopSignal,
    outlet: &'a mut DeviceOutlet,
}

impl Writing<'_> {
    async fn run(mut self, writer: &mut DeviceWriter, commands: &mut PendingCommands) -> End {
        loop {
            // A command in hand is carried out before the stop is heard.
            let command = tokio::select! {
                biased;
                () = self.stop.asked() => return End::Stopped,
                error = self.outlet.stalled(writer) => return End::Lost(error),
                command = commands.begin() => command,
            };
            let Some(command) = command else { return End::Stopped };
            let end = self.execute(writer, &command).await;
            commands.finish();
            if let Err(end) = end {
                return end;
            }
        }
    }

    async fn execute(&mut self, writer: &mut DeviceWriter, command: &DeviceCommand) -> Result<(), End> {
        let config = self.stream.config;
        if !command.message.iscmd {
            return Ok(()); // what others report is nothing to write to a device
        }
        if let Some(reason) = replies::too_old(command, Instant::now(), config.max_command_age) {
            return self.stream.events.refuse_late(config, &command.message, &reason).await.map_err(|_| End::Stopped);
        }
        let WrittenCommand { bytes, emissions } = match self.stream.rules.written(&command.message) {
            Ok(written) => written,
            Err(refusal) => {
                let reason = refusal.to_string();
                return self.stream.events.refuse(config, &command.message, &reason).await.map_err(|_| End::Stopped);
            }
        };
        let life = config.max_command_age.saturating_sub(command.received_at.elapsed());
        if let Err(error) = self.outlet.make_way(writer, life).await {
            return Err(End::Lost(self.stream.refuse(command, error).await?));
        }
        let write = async {
            writer.write_all(&bytes).await?;
            writer.flush().await
        };
        let error = match timeout(self.stream.options.write_timeout, write).await {
            Ok(Ok(())) => {
                self.outlet.note(&command.message, life);
                self.stream.events.show_frame(FrameDirection::ToDevice, &bytes, || json(&command.message));
                for emission in emissions {
                    self.stream.events.send(DriverEvent::Emit(emission)).await.map_err(|_| End::Stopped)?;
                }
                return Ok(());
            }
            Ok(Err(error)) => LinkError::Write(error),
            Err(_) => LinkError::WriteTimeout,
        };
        Err(End::Lost(self.stream.refuse(command, error).await?))
    }
}
