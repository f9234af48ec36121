//! Hands an actor its messages, a bounded number in one turn.
//!
//! actix's own mailbox goes on as long as there are messages: an actor under steady load would never give its thread back,
//! its timers would starve, and it could not be told from a frozen one. The receiver belongs to the guard instead; each
//! incarnation draws from it through a [`MailboxPump`] in its context.

use crate::exit::ActorExit;
use crate::pulse::ActorHeartbeat;
use actix::dev::{EnvelopeProxy, channel::AddressReceiver};
use actix::prelude::*;
use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{self, Poll};

/// Messages handed over before the thread is given back once: makes the price of that a few nanoseconds a message.
const MESSAGES_A_TURN: u32 = 64;

/// What guard and pump know of the turn they are in.
pub(crate) struct MailboxTurn {
    left: Cell<u32>,
    served: Cell<bool>,
    #[cfg(feature = "fault-injection")]
    fault: Cell<Option<crate::InjectedFault>>,
    pub(crate) pulse: Arc<ActorHeartbeat>,
}

impl MailboxTurn {
    pub(crate) fn new(pulse: Arc<ActorHeartbeat>) -> Self {
        MailboxTurn {
            left: Cell::new(0),
            served: Cell::new(false),
            #[cfg(feature = "fault-injection")]
            fault: Cell::new(None),
            pulse,
        }
    }

    pub(crate) fn begin(&self) {
        self.left.set(MESSAGES_A_TURN);
        self.served.set(false);
        self.pulse.thread_answers();
    }

    /// The pump had its chance in this turn: the actor takes messages.
    pub(crate) fn served(&self) -> bool {
        self.served.get()
    }

    #[cfg(feature = "fault-injection")]
    pub(crate) fn inject(&self, fault: crate::InjectedFault) {
        self.fault.set(Some(fault));
    }

    fn spend(&self) -> bool {
        let left = self.left.get();
        self.left.set(left.saturating_sub(1));
        left > 0
    }
}

/// Lives in an actor's context as its first future, never ends by itself, and is dropped with the incarnation; what is queued
/// stays in the receiver for the next one.
pub(crate) struct MailboxPump<A: Actor> {
    pub(crate) front: Rc<RefCell<AddressReceiver<A>>>,
    pub(crate) turn: Rc<MailboxTurn>,
    #[cfg_attr(not(feature = "fault-injection"), expect(dead_code, reason = "an injected error goes through it"))]
    pub(crate) exit: ActorExit,
}

impl<A> ActorFuture<A> for MailboxPump<A>
where
    A: Actor<Context = Context<A>>,
{
    type Output = ();

    fn poll(self: Pin<&mut Self>, act: &mut A, ctx: &mut Context<A>, task: &mut task::Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        this.turn.served.set(true);
        this.turn.pulse.mailbox_answers();
        #[cfg(feature = "fault-injection")]
        this.suffer(ctx);
        while !ctx.waiting() {
            if !this.turn.spend() {
                task.waker().wake_by_ref();
                break;
            }
            // Not in the `match`: a handler must not find the receiver borrowed.
            let next = Pin::new(&mut *this.front.borrow_mut()).poll_next(task);
            match next {
                Poll::Ready(Some(mut envelope)) => envelope.handle(act, ctx),
                Poll::Ready(None) | Poll::Pending => break,
            }
        }
        Poll::Pending
    }
}

#[cfg(feature = "fault-injection")]
impl<A: Actor<Context = Context<A>>> MailboxPump<A> {
    #[expect(clippy::panic, reason = "a test asked for it")]
    fn suffer(&self, ctx: &mut Context<A>) {
        match self.turn.fault.take() {
            None => {}
            Some(crate::InjectedFault::Panic) => panic!("injected panic"),
            Some(crate::InjectedFault::Error) => self.exit.fail(ctx, crate::ActorFailure::bug("injected error")),
            Some(crate::InjectedFault::Freeze(time)) => std::thread::sleep(time),
        }
    }
}
