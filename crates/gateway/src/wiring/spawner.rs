//! How actors are started so that they can refer to each other: first all of them, each on a thread of its own, then what
//! each works with.

use actix::prelude::*;
use hearthgate_settings::GatewaySettings;
use hearthgate_supervision::{ActorExit, ActorHealth, ActorRegistry, GuardedActor};
use std::ffi::CString;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;
use tokio::sync::watch;
use tracing::debug;

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

    /// Starts a component of the gateway, whose name is the actor's.
    pub(super) fn start<A, D>(
        &mut self,
        name: &str,
        build: impl FnOnce(D, ActorExit) -> A + Send + 'static,
    ) -> anyhow::Result<ActorSlot<A, D>>
    where
        A: Supervised + Actor<Context = Context<A>>,
        D: Send + 'static,
    {
        self.start_with_room(name, name, MAILBOX, Duration::ZERO, build)
    }

    /// The same for an actor whose component has another name, with a mailbox for at least `room` messages and with
    /// `stop_time` more to stop in order.
    pub(super) fn start_with_room<A, D>(
        &mut self,
        name: &str,
        component: &str,
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
        let mut policy = self.settings.supervision.of(component);
        policy.stop_timeout += stop_time;
        // Without what it works with, the gateway has given up starting and is about to say why and to end.
        let thread = name.to_owned();
        let make = move |exit| match taken.recv() {
            Ok(deps) => {
                name_thread(&thread);
                build(deps, exit)
            }
            Err(_) => loop {
                std::thread::park();
            },
        };
        let guarded: GuardedActor<A> = self.registry.start(name, &arbiter.handle(), room.max(MAILBOX), policy, make)?;
        self.order.push(name.to_owned());
        Ok(ActorSlot { addr: guarded.addr, health: guarded.health, deps })
    }
}

/// Shows which actor a thread carries, in `top -H`, in debuggers and in profiles; Linux keeps 15 bytes of it.
fn name_thread(actor: &str) {
    let shown: String = actor.chars().filter(|letter| *letter != '\0').collect();
    let Ok(name) = CString::new(shown) else { return };
    if let Err(reason) = rustix::thread::set_name(&name) {
        debug!(actor, %reason, "the thread keeps its number as its name");
    }
}
