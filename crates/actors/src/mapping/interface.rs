//! DeviceInterfaceActor: runs one device driver, hands it commands and passes on what it says.
//!
//! The driver's end with an error is this actor's failure: the guard restarts it under its policy. The queue of commands
//! outlives that; what has waited too long by then is answered instead of executed.

use crate::condition::Condition;
use crate::messages::{DeviceEmissions, SendCommands};
use crate::metrics::MetricCounter;
use actix::prelude::*;
use hearthgate_interfaces::{
    CommandQueue, CommandSender, DeviceMessage, DriverEvent, DriverHost, DriverLogLevel, DriverPort, FrameRing,
    InterfaceConfig, StopSender, replies,
};
use hearthgate_supervision::{ActorExit, ActorFailure};
use std::sync::Arc;
use tokio::sync::{mpsc, watch};
use tracing::{debug, error, info, warn};

/// Events of the driver that are taken at once. The next are taken when these have passed mapper and session, which takes
/// a few changes of threads: with few at once, those would be the bound.
const EVENTS_AT_ONCE: usize = 1_024;

/// What is known of the device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum DeviceState {
    /// The driver has not said anything yet.
    #[default]
    Unknown,
    /// The device can be reached.
    Online,
    /// It can not, for this reason.
    Offline(String),
}

/// What the actor works with.
pub struct InterfaceDeps {
    /// For logs.
    pub name: Arc<str>,
    /// Its place among the interfaces.
    pub place: usize,
    /// Its options.
    pub config: Arc<InterfaceConfig>,
    /// Commands that may wait for the device.
    pub room: usize,
    /// What the process provides.
    pub host: Arc<DriverHost>,
    /// Where its messages go.
    pub emissions: Recipient<DeviceEmissions>,
    /// What is known of the device.
    pub state: watch::Sender<DeviceState>,
    /// Where the last frames of its line are kept.
    pub frames: FrameRing,
}

/// See the module.
pub struct DeviceInterfaceActor {
    deps: InterfaceDeps,
    exit: ActorExit,
    commands: CommandSender,
    queue: CommandQueue,
    stop: Option<StopSender>,
    /// The driver has not ended yet.
    is_running: bool,
}

impl DeviceInterfaceActor {
    /// An actor that runs its driver when it is started.
    #[must_use]
    pub fn new(deps: InterfaceDeps, exit: ActorExit) -> Self {
        let (commands, queue) = CommandQueue::new(deps.room);
        DeviceInterfaceActor { deps, exit, commands, queue, stop: None, is_running: false }
    }

    fn relay(&self, events: mpsc::Receiver<DriverEvent>) -> Relay {
        Relay {
            events,
            name: Arc::clone(&self.deps.name),
            place: self.deps.place,
            emissions: self.deps.emissions.clone(),
            state: self.deps.state.clone(),
            trouble: Condition::new().0,
        }
    }
}

impl Actor for DeviceInterfaceActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let (events, events_rx) = mpsc::channel(EVENTS_AT_ONCE);
        let (stop, signal) = StopSender::new();
        self.stop = Some(stop);
        self.is_running = true;
        let port = DriverPort { commands: self.queue.clone(), events, stop: signal, frames: self.deps.frames.clone() };
        let driver = hearthgate_interfaces::run(
            Arc::clone(&self.deps.name),
            Arc::clone(&self.deps.config),
            Arc::clone(&self.deps.host),
            port,
        );
        let relay = self.relay(events_rx);
        // Together, so that the driver's last words are passed on before its end is reported.
        let both = async move { futures_util::join!(driver, relay.run()).0 };
        ctx.spawn(both.into_actor(self).map(|end, act, ctx| {
            act.is_running = false;
            match end {
                Ok(()) => {
                    info!(interface = %act.deps.name, "driver stopped");
                    if act.stop.is_none() {
                        ctx.stop(); // it was what the end waited for
                    }
                }
                Err(reason) => act.exit.fail(ctx, ActorFailure::dependency(reason)),
            }
        }));
    }

    /// The driver is asked to stop and gets its time; a device must not be cut off in the middle of something. The guard
    /// bounds how long.
    fn stopping(&mut self, _: &mut Self::Context) -> Running {
        self.stop = None;
        if self.is_running { Running::Continue } else { Running::Stop }
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        self.stop = None;
        self.is_running = false;
        self.deps.state.send_replace(DeviceState::Offline("stopped".into()));
    }
}

impl Supervised for DeviceInterfaceActor {}

impl Handler<SendCommands> for DeviceInterfaceActor {
    type Result = ();

    fn handle(&mut self, SendCommands(commands): SendCommands, ctx: &mut Self::Context) {
        let mut answers = Vec::new();
        for command in commands {
            if let Err(command) = self.commands.try_send(command) {
                let reason = "the interface's queue is full: its device does not keep up";
                answers.extend(replies::refusal(&self.deps.config, &command.message, reason).map(DeviceMessage::from));
            }
        }
        if answers.is_empty() {
            return;
        }
        warn!(interface = %self.deps.name, count = answers.len(), "commands refused: the queue is full");
        let answer = DeviceEmissions { interface: self.deps.place, messages: answers };
        let sent = self.deps.emissions.send(answer).into_actor(self);
        ctx.spawn(sent.map(|end, act, _| {
            if !matches!(end, Ok(Ok(()))) {
                warn!(interface = %act.deps.name, "answers to refused commands could not be published");
            }
        }));
    }
}

/// Passes on what a driver says, batch by batch; waits for the broker's side, and so holds the driver back.
struct Relay {
    events: mpsc::Receiver<DriverEvent>,
    name: Arc<str>,
    place: usize,
    emissions: Recipient<DeviceEmissions>,
    state: watch::Sender<DeviceState>,
    /// Why the device can't be reached.
    trouble: Condition,
}

impl Relay {
    async fn run(mut self) {
        let mut events = Vec::with_capacity(EVENTS_AT_ONCE);
        while self.events.recv_many(&mut events, EVENTS_AT_ONCE).await > 0 {
            let mut messages = Vec::new();
            for event in events.drain(..) {
                match event {
                    DriverEvent::Emit(emission) => messages.push(emission),
                    other => self.note(other),
                }
            }
            if !messages.is_empty() {
                self.emit(messages).await;
            }
        }
    }

    async fn emit(&self, messages: Vec<DeviceMessage>) {
        let emissions = DeviceEmissions { interface: self.place, messages };
        match self.emissions.send(emissions).await {
            Ok(Ok(())) => {}
            Ok(Err(reason)) => warn!(interface = %self.name, %reason, "messages of the interface are lost"),
            // The mapper died with them in hand or was stopped: the outcome is unknown, and sending again could repeat them.
            Err(_) => warn!(interface = %self.name, "the mapper is gone; messages of the interface may be lost"),
        }
    }

    fn note(&self, event: DriverEvent) {
        let interface = &self.name;
        match event {
            DriverEvent::Emit(_) => {}
            DriverEvent::Online => {
                match self.trouble.clear() {
                    Some(lasted) => info!(%interface, "online again after {lasted}"),
                    None => info!(%interface, "online"),
                }
                self.state.send_replace(DeviceState::Online);
            }
            DriverEvent::Offline { reason } => {
                if self.trouble.is_news(&reason) {
                    warn!(%interface, %reason, "offline");
                }
                self.state.send_replace(DeviceState::Offline(reason));
            }
            DriverEvent::Log { level, text } => match level {
                DriverLogLevel::Debug => debug!(%interface, "{text}"),
                DriverLogLevel::Info => info!(%interface, "{text}"),
                DriverLogLevel::Warn => warn!(%interface, "{text}"),
                DriverLogLevel::Error => error!(%interface, "{text}"),
            },
            DriverEvent::Counted { what, by } => MetricCounter::driver(interface, what.name()).add(by),
        }
    }
}
