//! How actors are started so that they can refer to each other: first all of them, each on a thread of its own, then what
//! each works with.

use actix::prelude::*;
use hearthgate_settings::GatewaySettings;
use hearthgate_supervision::{ActorExit, ActorHealth, ActorRegistry, GuardedActor};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;
use tokio::sync::watch;

/// Messages that an actor's mailbox holds, unless said otherwise; senders see when it is full.
const MAILBOX: usize = 256;

/// An actor that is started and waits for what it works with, so that actors can refer to each other.
pub(super) struct ActorSlot<A: Actor, D> {
    pub(super) addr: Addr<A>,
    pub(super) health: watch::Receiver<ActorHealth>,
    deps: SyncSender<D>,
}

impl<A: Actor, D> ActorSlot<A, D> {
    pub(super) fn fill(&self, deps: D) -> anyhow::Result<()> {
        self.deps.send(deps).map_err(|_| anyhow::anyhow!("an actor ended before it was wired"))
    }
}

/// Starts actors.
pub(super) struct ActorSpawner<'a> {
    settings: &'a GatewaySettings,
    pub(super) registry: ActorRegistry,
    /// Their names as they were started.
    pub(super) order: Vec<String>,
}

impl<'a> ActorSpawner<'a> {
    pub(super) fn new(settings: &'a GatewaySettings) -> Self {
        ActorSpawner { settings, registry: ActorRegistry::new(), order: Vec::new() }
    }

    /// `part` names the section of the supervision policy, `name` the actor.
    pub(super) fn start<A, D>(
        &mut self,
        name: &str,
        part: &str,
        build: impl FnOnce(D, ActorExit) -> A + Send + 'static,
    ) -> anyhow::Result<ActorSlot<A, D>>
    where
        A: Supervised + Actor<Context = Context<A>>,
        D: Send + 'static,
    {
        self.start_with_room(name, part, MAILBOX, Duration::ZERO, build)
    }

    /// The same with a mailbox for at least so many messages, and so much more time to stop in order.
    pub(super) fn start_with_room<A, D>(
        &mut self,
        name: &str,
        part: &str,
        room: usize,
        stop_time: Duration,
        build: impl FnOnce(D, ActorExit) -> A + Send + 'static,
    ) -> anyhow::Result<ActorSlot<A, D>>
    where
        A: Supervised + Actor<Context = Context<A>>,
        D: Send + 'static,
    {
        let (deps, taken): (SyncSender<D>, Receiver<D>) = sync_channel(1);
        let arbiter = Arbiter::new();
        let mut policy = self.settings.supervision.of(part);
        policy.stop_timeout += stop_time;
        // Without what it works with, the gateway has given up starting and is about to say why and to end.
        let make = move |exit| match taken.recv() {
            Ok(deps) => build(deps, exit),
            Err(_) => loop {
                std::thread::park();
            },
        };
        let guarded: GuardedActor<A> = self.registry.start(name, &arbiter.handle(), room.max(MAILBOX), policy, make)?;
        self.order.push(name.to_owned());
        Ok(ActorSlot { addr: guarded.addr, health: guarded.health, deps })
    }
}
