//! One actor with its mailbox, and its lives one after another.
//!
//! `ContextFut` owns the actor, and its `restart()` is the one way to drop what an ended life left in its context.

use crate::exit::ActorExit;
use crate::failure::ActorFailure;
use crate::health::HealthReporter;
use crate::mailbox::{MailboxPump, MailboxTurn};
use actix::dev::channel::{self, AddressReceiver};
use actix::dev::{AsyncContextParts, ContextFut, ContextParts};
use actix::prelude::*;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{self, Poll, Waker};

/// How a life ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum IncarnationEnd {
    /// `ctx.stop()` or `ctx.terminate()`.
    Clean,
    /// A panic, or [`ActorExit::fail`].
    Failed(ActorFailure),
}

pub(crate) struct ActorBody<A: Actor<Context = Context<A>>> {
    fut: ContextFut<A, Context<A>>,
    front: Rc<RefCell<AddressReceiver<A>>>,
    turn: Rc<MailboxTurn>,
    exit: ActorExit,
    /// Between `begin` and the end of that life.
    live: bool,
    /// Nothing of an earlier life is left in the context.
    clean: bool,
    /// Keeps the front mailbox open when nobody holds an address for a while: only an order ends an actor.
    _open: Addr<A>,
    /// `ContextFut` wants a mailbox of its own. It stays empty; as long as this lives, actix counts it as connected.
    _inner: Addr<A>,
}

impl<A: Supervised + Actor<Context = Context<A>>> ActorBody<A> {
    pub(crate) fn new(actor: A, front: AddressReceiver<A>, exit: ActorExit, turn: MailboxTurn) -> Self {
        let (inner, inner_rx) = channel::channel(1);
        let mut ctx = Context::with_receiver(inner_rx);
        // `ctx.address()` gives out the address that outlives this life.
        *ctx.parts() = ContextParts::new(front.sender_producer());
        let mut body = ActorBody {
            fut: ctx.into_future(actor),
            _open: Addr::new(front.sender()),
            front: Rc::new(RefCell::new(front)),
            turn: Rc::new(turn),
            exit,
            live: false,
            clean: true,
            _inner: Addr::new(inner),
        };
        body.install_pump();
        body
    }

    /// Starts a life; its `started()` runs in the first turn. Fails when the remains of the last one can't be cleared away.
    pub(crate) fn begin(&mut self) -> Result<(), ActorFailure> {
        if !self.clean {
            self.clear()?;
        }
        self.clean = false;
        self.live = true;
        Ok(())
    }

    /// Lets the actor work until it has nothing to do, or its share of the thread is used up.
    pub(crate) fn poll_turn(
        &mut self,
        task: &mut task::Context<'_>,
        reporter: &HealthReporter,
    ) -> Poll<IncarnationEnd> {
        self.turn.begin();
        // Unwind safety: after a panic nothing but `restart()` touches the context, and `restarting()` is where the actor
        // puts its own state right.
        let polled = catch_unwind(AssertUnwindSafe(|| Pin::new(&mut self.fut).poll(task)));
        let failed = self.exit.take();
        let end = match (polled, failed) {
            (Ok(Poll::Pending), None) => {
                if self.turn.served() {
                    reporter.serving();
                }
                return Poll::Pending;
            }
            (Ok(Poll::Ready(())), None) => IncarnationEnd::Clean,
            (Ok(_), Some(failure)) => IncarnationEnd::Failed(failure),
            (Err(panic), None) => IncarnationEnd::Failed(ActorFailure::panicked(&*panic)),
            (Err(panic), Some(failure)) => {
                let panic = ActorFailure::panicked(&*panic);
                IncarnationEnd::Failed(ActorFailure::bug(format_args!("{failure}; then {panic}")))
            }
        };
        self.live = false;
        Poll::Ready(end)
    }

    /// Asks the actor to end; the next turns tell whether it did.
    pub(crate) fn stop(&mut self) {
        self.fut.ctx().stop();
    }

    /// Drops the futures and timers of the life that ended and lets the actor put its state right (`restarting()`).
    pub(crate) fn clear(&mut self) -> Result<(), ActorFailure> {
        self.live = false;
        self.clean = false;
        let producer = self.front.borrow().sender_producer();
        let cleared = catch_unwind(AssertUnwindSafe(|| {
            // Fresh parts: actix would keep handles that were cancelled in the last turn and apply them to the next life.
            *self.fut.ctx().parts() = ContextParts::new(producer);
            self.fut.restart();
        }));
        let failed = self.exit.take();
        match (cleared, failed) {
            (Err(panic), _) => Err(ActorFailure::panicked(&*panic).while_doing("in restarting()")),
            (Ok(()), Some(failure)) => Err(failure.while_doing("in restarting()")),
            (Ok(()), None) => {
                self.install_pump();
                self.clean = true;
                Ok(())
            }
        }
    }

    #[cfg(feature = "fault-injection")]
    pub(crate) fn turn(&self) -> &MailboxTurn {
        &self.turn
    }

    pub(crate) fn pulse(&self) -> Arc<crate::pulse::ActorHeartbeat> {
        Arc::clone(&self.turn.pulse)
    }

    fn install_pump(&mut self) {
        let pump = MailboxPump { front: Rc::clone(&self.front), turn: Rc::clone(&self.turn), exit: self.exit.clone() };
        self.fut.ctx().spawn(pump);
    }
}

impl<A: Actor<Context = Context<A>>> Drop for ActorBody<A> {
    /// `ContextFut`'s own drop runs the actor once more, outside any guard, and would even start one that is down.
    fn drop(&mut self) {
        if self.live {
            self.fut.ctx().stop();
            let mut task = task::Context::from_waker(Waker::noop());
            let ended = catch_unwind(AssertUnwindSafe(|| Pin::new(&mut self.fut).poll(&mut task)));
            if let Err(panic) = ended {
                tracing::error!(error = %ActorFailure::panicked(&*panic), "actor failed while it was ended with its thread");
            }
        }
        self.fut.ctx().terminate();
    }
}
