//! An actor that does what it is told, and writes down what happens to it.

use actix::prelude::*;
use hearthgate_supervision::{ActorExit, ActorFailure, ActorHealth, ActorRegistry, GuardedActor, RestartPolicy};
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;

pub(crate) const CAPACITY: usize = 300;

/// Quick enough for tests, and without chance.
pub(crate) fn policy() -> RestartPolicy {
    RestartPolicy {
        initial_backoff: Duration::from_millis(2),
        max_backoff: Duration::from_millis(10),
        jitter: 0.0,
        max_restarts: 20,
        cool_down: None,
        stall_timeout: Duration::from_secs(600),
        ..RestartPolicy::default()
    }
}

/// Waits for a condition; a test that waits in vain is ended by the harness, with its name.
pub(crate) async fn until(health: &watch::Receiver<ActorHealth>, wanted: impl FnMut(&ActorHealth) -> bool) {
    health.clone().wait_for(wanted).await.expect("the reporter outlives the actor");
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    pub(crate) fn write(&self, line: impl Into<String>) {
        self.0.lock().expect("nobody panics while writing").push(line.into());
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.0.lock().expect("nobody panics while writing").clone()
    }
}

pub(crate) struct Probe {
    exit: ActorExit,
    log: Log,
    pub(crate) fail_starts: u32,
    pub(crate) panic_restarts: u32,
    pub(crate) panic_in_stopped: bool,
    pub(crate) timer_at_restart: bool,
    refuse_to_stop: u32,
}

impl Probe {
    pub(crate) fn new(exit: ActorExit, log: Log) -> Self {
        Probe {
            exit,
            log,
            fail_starts: 0,
            panic_restarts: 0,
            panic_in_stopped: false,
            timer_at_restart: false,
            refuse_to_stop: 0,
        }
    }
}

impl Actor for Probe {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.log.write("started");
        if self.fail_starts > 0 {
            self.fail_starts -= 1;
            self.exit.fail(ctx, ActorFailure::resource("nothing to start with"));
        }
        if self.timer_at_restart && self.log.lines().iter().any(|line| line == "restarting") {
            ctx.run_later(Duration::from_millis(5), |probe, _| probe.log.write("timer"));
        }
    }

    fn stopping(&mut self, _: &mut Self::Context) -> Running {
        if self.refuse_to_stop > 0 {
            self.refuse_to_stop -= 1;
            return Running::Continue;
        }
        self.log.write("stopping");
        Running::Stop
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        self.log.write("stopped");
        assert!(!self.panic_in_stopped, "in stopped()");
    }
}

impl Supervised for Probe {
    fn restarting(&mut self, _: &mut Self::Context) {
        if self.panic_restarts > 0 {
            self.panic_restarts -= 1;
            panic!("in restarting()");
        }
        self.log.write("restarting");
    }
}

#[derive(Message, Clone, Copy, Debug)]
#[rtype(result = "()")]
pub(crate) struct Note(pub(crate) u64);

impl Handler<Note> for Probe {
    type Result = ();

    fn handle(&mut self, note: Note, _: &mut Self::Context) {
        self.log.write(format!("note {}", note.0));
    }
}

#[derive(Message)]
#[rtype(result = "Addr<Probe>")]
pub(crate) struct OwnAddress;

impl Handler<OwnAddress> for Probe {
    type Result = MessageResult<OwnAddress>;

    fn handle(&mut self, _: OwnAddress, ctx: &mut Self::Context) -> Self::Result {
        MessageResult(ctx.address())
    }
}

/// Makes the actor hold something in a future of its own; answers with a look at it.
#[derive(Message)]
#[rtype(result = "std::sync::Weak<()>")]
pub(crate) struct Hold;

impl Handler<Hold> for Probe {
    type Result = MessageResult<Hold>;

    fn handle(&mut self, _: Hold, ctx: &mut Self::Context) -> Self::Result {
        let held = Arc::new(());
        let look = Arc::downgrade(&held);
        let hold = async move {
            std::future::pending::<()>().await;
            drop(held);
        };
        ctx.spawn(hold.into_actor(self));
        MessageResult(look)
    }
}

#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Flood;

impl Handler<Flood> for Probe {
    type Result = ();

    fn handle(&mut self, _: Flood, ctx: &mut Self::Context) {
        let _ = ctx.address().try_send(Flood);
    }
}

#[derive(Message, Clone, Copy, Debug)]
#[rtype(result = "()")]
pub(crate) enum Act {
    Panic,
    PanicInSpawn,
    PanicInTimer,
    PanicInWait,
    Fail,
    FailButContinue,
    Stop,
    RefuseToStop,
    Block(Duration),
    WaitFor(Duration),
    Timer,
    CancelTimersAndPanic,
}

impl Handler<Act> for Probe {
    type Result = ();

    fn handle(&mut self, act: Act, ctx: &mut Self::Context) {
        match act {
            Act::Panic => panic!("told to"),
            Act::PanicInSpawn => drop(ctx.spawn(async { panic!("in a spawned future") }.into_actor(self))),
            Act::PanicInTimer => drop(ctx.run_later(Duration::from_millis(1), |_, _| panic!("in a timer"))),
            Act::PanicInWait => ctx.wait(async { panic!("in a wait") }.into_actor(self)),
            Act::Fail => self.exit.fail(ctx, ActorFailure::dependency("the line is gone")),
            Act::FailButContinue => {
                self.refuse_to_stop = 1;
                self.exit.fail(ctx, ActorFailure::dependency("the line is gone"));
            }
            Act::Stop => ctx.stop(),
            Act::RefuseToStop => self.refuse_to_stop = u32::MAX,
            Act::Block(time) => std::thread::sleep(time),
            Act::WaitFor(time) => ctx.wait(tokio::time::sleep(time).into_actor(self)),
            Act::Timer => drop(ctx.run_later(Duration::from_millis(5), |probe, _| probe.log.write("timer"))),
            Act::CancelTimersAndPanic => {
                // Handles are small numbers, the same ones in every life.
                let handles: Vec<_> = (0..8).map(|_| ctx.run_later(Duration::from_secs(600), |_, _| {})).collect();
                #[expect(clippy::disallowed_methods, reason = "shows that the trap it is banned for is gone")]
                handles.into_iter().for_each(|handle| assert!(ctx.cancel_future(handle)));
                panic!("told to");
            }
        }
    }
}

pub(crate) struct Started {
    pub(crate) guarded: GuardedActor<Probe>,
    pub(crate) log: Log,
}

impl std::ops::Deref for Started {
    type Target = GuardedActor<Probe>;

    fn deref(&self) -> &GuardedActor<Probe> {
        &self.guarded
    }
}

impl Started {
    pub(crate) fn seen(&self) -> Vec<String> {
        self.log.lines()
    }

    pub(crate) fn notes(&self) -> Vec<String> {
        self.seen().into_iter().filter(|line| line.starts_with("note")).collect()
    }
}

/// A registry whose actors have an arbiter each, ended with it.
#[derive(Default)]
pub(crate) struct Rig {
    pub(crate) registry: ActorRegistry,
    arbiters: RefCell<Vec<Arbiter>>,
    started: RefCell<HashMap<String, std::rc::Rc<Started>>>,
}

impl Rig {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn arbiter(&self) -> ArbiterHandle {
        let arbiter = Arbiter::new();
        let handle = arbiter.handle();
        self.arbiters.borrow_mut().push(arbiter);
        handle
    }

    pub(crate) fn start(&self, name: &str, policy: RestartPolicy) -> Started {
        self.start_with(name, policy, |_| {})
    }

    pub(crate) fn get_or_start(&self, name: &str) -> std::rc::Rc<Started> {
        let mut started = self.started.borrow_mut();
        let new = || std::rc::Rc::new(self.start(name, policy()));
        std::rc::Rc::clone(started.entry(name.into()).or_insert_with(new))
    }

    pub(crate) fn start_with(
        &self,
        name: &str,
        policy: RestartPolicy,
        set: impl FnOnce(&mut Probe) + Send + 'static,
    ) -> Started {
        self.start_on(name, &self.arbiter(), policy, Log::default(), set)
    }

    pub(crate) fn start_on(
        &self,
        name: &str,
        arbiter: &ArbiterHandle,
        policy: RestartPolicy,
        log: Log,
        set: impl FnOnce(&mut Probe) + Send + 'static,
    ) -> Started {
        let theirs = log.clone();
        let build = move |exit: ActorExit| {
            let mut probe = Probe::new(exit, theirs);
            set(&mut probe);
            probe
        };
        let guarded = self.registry.start(name, arbiter, CAPACITY, policy, build).expect("names are unique in a test");
        Started { guarded, log }
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.arbiters.borrow().iter().for_each(|arbiter| {
            arbiter.stop();
        });
    }
}
