//! All guarded actors by name: what the Supervisor actor and the admin API read, and what the watchdog watches.

use crate::control::{self, ControlHandle};
use crate::exit::ActorExit;
use crate::guard::{ActorGuard, GuardedActor};
use crate::health::{ActorHealth, Escalation, HealthBoard, HealthReporter};
use crate::policy::RestartPolicy;
use crate::pulse::ActorHeartbeat;
use crate::watchdog::{self, WatchedActor};
use actix::dev::channel;
use actix::prelude::*;
use std::collections::BTreeMap;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::watch;

/// Starts guarded actors and knows them by name. Clones are the same registry.
#[derive(Clone, Debug, Default)]
pub struct ActorRegistry(Arc<Inner>);

/// One actor in the registry.
#[derive(Clone, Debug)]
pub struct RegistryEntry {
    /// Where it stands.
    pub health: watch::Receiver<ActorHealth>,
    /// Orders to it.
    pub control: ControlHandle,
}

/// An actor could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The name is in use by an actor that lives.
    #[error("starting actor {0:?}: an actor of that name exists; names must be unique")]
    NameTaken(Arc<str>),
    /// The thread that watches for stalls could not be started.
    #[error("starting the watchdog thread")]
    Watchdog(#[source] std::io::Error),
}

impl ActorRegistry {
    /// An empty registry.
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts an actor under guard on `arbiter`, which should be its own: actors on one thread stall together.
    ///
    /// `capacity` bounds the mailbox in messages (actix adds one slot for each sender; 0 is unbounded and never wanted).
    /// `build` runs on the arbiter. It should only store what it was given; a panic in it parks the actor for good.
    ///
    /// The actor's `started()` runs at the beginning of each life and makes what that life needs; `restarting()` runs as
    /// soon as a life has ended, whatever follows, and lets go of it. `stopping()` and `stopped()` run only when a life
    /// ends without a panic. The actor lives until it is told to stop, or its arbiter ends, also with no address left.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn start<A, F>(
        &self,
        name: impl Into<Arc<str>>,
        arbiter: &ArbiterHandle,
        capacity: usize,
        policy: RestartPolicy,
        build: F,
    ) -> Result<GuardedActor<A>, StartError>
    where
        A: Supervised + Actor<Context = Context<A>>,
        F: FnOnce(ActorExit) -> A + Send + 'static,
    {
        let name = name.into();
        let mut actors = self.0.actors();
        if actors.get(&name).is_some_and(|known| !known.control.is_gone()) {
            return Err(StartError::NameTaken(name));
        }
        self.watch()?;
        let pulse = Arc::new(ActorHeartbeat::default());
        let reporter =
            HealthReporter::new(Arc::clone(&name), policy.essential, Arc::clone(&self.0.board), Arc::clone(&pulse));
        let reporter = Arc::new(reporter);
        let (control, orders) = control::line(Arc::clone(&name), policy.stop_timeout);
        let watched = WatchedActor::new(Arc::clone(&pulse), Arc::clone(&reporter), policy.stall_timeout);
        let guarded = reporter.subscribe();
        actors.insert(Arc::clone(&name), Known { watched, control: control.clone() });
        drop(actors);

        let (sender, front) = channel::channel(capacity);
        let last_word = crate::health::LastWord(Arc::clone(&reporter));
        let guard = ActorGuard { name, policy, reporter, pulse, orders, last_word };
        // On an arbiter that has ended, the guard is dropped here and its last word is "stopped".
        arbiter.spawn_fn(move || guard.begin(front, build));
        self.0.board.revision.send_modify(|n| *n += 1);
        Ok(GuardedActor { addr: Addr::new(sender), health: guarded, control })
    }

    /// The health of all actors, by name.
    pub fn list(&self) -> Vec<ActorHealth> {
        self.0.actors().values().map(|known| known.watched.reporter.subscribe().borrow().clone()).collect()
    }

    /// One actor.
    pub fn get(&self, name: &str) -> Option<RegistryEntry> {
        let actors = self.0.actors();
        let known = actors.get(name)?;
        Some(RegistryEntry { health: known.watched.reporter.subscribe(), control: known.control.clone() })
    }

    /// A number that grows with every change of any actor's health; wait for `changed()`, then read [`list`](Self::list).
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.0.board.revision.subscribe()
    }

    /// Resolves when an essential actor has parked, also if that was before the call. The process is then to end in order,
    /// with a non-zero exit status, for its service manager to start it again.
    pub async fn essential_failure(&self) -> Escalation {
        let mut escalation = self.0.board.escalation.subscribe();
        loop {
            if let Some(escalation) = escalation.borrow_and_update().clone() {
                return escalation;
            }
            if escalation.changed().await.is_err() {
                // Not while `self` holds the sender; but if it were so, nothing could ever come.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Starts the watchdog, or tells it of a new actor, whose `stall_timeout` may be shorter than the others'.
    fn watch(&self) -> Result<(), StartError> {
        let mut watchdog = self.0.watchdog.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bell) = &*watchdog {
            match bell.try_send(()) {
                // Full: it is about to look anyway.
                Ok(()) | Err(TrySendError::Full(())) => return Ok(()),
                Err(TrySendError::Disconnected(())) => {}
            }
        }
        let (bell, rings) = sync_channel(1);
        let registry = Arc::downgrade(&self.0);
        std::thread::Builder::new()
            .name("watchdog".into())
            .spawn(move || {
                let mut period = Duration::from_secs(1);
                loop {
                    match rings.recv_timeout(period) {
                        Err(RecvTimeoutError::Disconnected) => return,
                        Ok(()) => {}
                        Err(RecvTimeoutError::Timeout) => look_around(&registry, period),
                    }
                    let Some(next) = next_period(&registry) else { return };
                    period = next;
                }
            })
            .map_err(StartError::Watchdog)?;
        *watchdog = Some(bell);
        Ok(())
    }
}

fn look_around(registry: &Weak<Inner>, period: Duration) {
    if let Some(inner) = registry.upgrade() {
        inner.actors().values_mut().for_each(|known| known.watched.look(period));
    }
}

fn next_period(registry: &Weak<Inner>) -> Option<Duration> {
    let inner = registry.upgrade()?;
    let period = watchdog::period(inner.actors().values().map(|known| known.watched.stall_timeout));
    Some(period.unwrap_or(Duration::from_secs(60)))
}

#[derive(Debug, Default)]
struct Inner {
    actors: Mutex<BTreeMap<Arc<str>, Known>>,
    board: Arc<HealthBoard>,
    /// Dropped with the registry, which ends the watchdog.
    watchdog: Mutex<Option<SyncSender<()>>>,
}

impl Inner {
    fn actors(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Known>> {
        // No entry is ever half written; a panic elsewhere must not spread through the lock.
        self.actors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
struct Known {
    watched: WatchedActor,
    control: ControlHandle,
}
