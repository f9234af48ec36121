//! Carries one actor from life to life.

use crate::control::{
    ActorCommand, CommandEnvelope, CommandReceiver, ControlError, ControlHandle, OperatorAnswer, OperatorCommand,
};
use crate::exit::ActorExit;
use crate::failure::ActorFailure;
use crate::health::{ActorHealth, HealthReporter, LastWord};
use crate::incarnation::{ActorBody, IncarnationEnd};
use crate::mailbox::MailboxTurn;
use crate::policy::{FailureWindow, RestartDecision, RestartPolicy};
use crate::pulse::ActorHeartbeat;
use actix::dev::channel::AddressReceiver;
use actix::prelude::*;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// A guarded actor, from outside.
#[derive(Debug)]
pub struct GuardedActor<A: Actor> {
    /// Valid for as long as the process lives, whatever happens to the actor.
    pub addr: Addr<A>,
    /// Where the actor stands, also while it is down.
    pub health: watch::Receiver<ActorHealth>,
    /// Orders to it.
    pub control: ControlHandle,
}

/// What a guard is made of, ready to be sent to the actor's thread.
pub(crate) struct ActorGuard {
    pub(crate) name: Arc<str>,
    pub(crate) policy: RestartPolicy,
    pub(crate) reporter: Arc<HealthReporter>,
    pub(crate) pulse: Arc<ActorHeartbeat>,
    pub(crate) orders: CommandReceiver,
    /// Speaks when this is dropped, wherever that happens.
    #[expect(dead_code, reason = "held for its drop")]
    pub(crate) last_word: LastWord,
}

impl ActorGuard {
    /// Makes the actor and guards it; to be called on the actor's thread.
    pub(crate) fn begin<A, F>(self, front: AddressReceiver<A>, build: F)
    where
        A: Supervised + Actor<Context = Context<A>>,
        F: FnOnce(ActorExit) -> A,
    {
        let exit = ActorExit::default();
        let made = catch_unwind(AssertUnwindSafe(|| build(exit.clone())));
        match made {
            Ok(actor) => {
                let body = ActorBody::new(actor, front, exit, MailboxTurn::new(Arc::clone(&self.pulse)));
                own(Warden { body, guard: self, failures: FailureWindow::default(), restarts: false }.watch_over());
            }
            Err(panic) => own(self.mourn(front, ActorFailure::panicked(&*panic))),
        }
    }

    /// The constructor panicked: there is nothing to start, but the mailbox stays open and the failure visible.
    async fn mourn<A: Actor>(mut self, _front: AddressReceiver<A>, failure: ActorFailure) {
        self.reporter.parked(&failure.while_doing("while it was made"), None);
        while let Some(order) = self.orders.next().await {
            order.answer(Err(ControlError::NotMade(Arc::clone(&self.name))));
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the guard is the owner that other tasks lack; LastWord reports its end")]
fn own(guard: impl Future<Output = ()> + 'static) {
    actix::spawn(guard);
}

enum Phase {
    Live,
    BackOff(Duration),
    Parked,
    Stopped,
    Over,
}

struct Warden<A: Supervised + Actor<Context = Context<A>>> {
    body: ActorBody<A>,
    guard: ActorGuard,
    failures: FailureWindow,
    restarts: bool,
}

impl<A: Supervised + Actor<Context = Context<A>>> Warden<A> {
    async fn watch_over(mut self) {
        let mut phase = Phase::Live;
        loop {
            phase = match phase {
                Phase::Live => self.live().await,
                Phase::BackOff(delay) => self.down(Some(delay), true).await,
                Phase::Parked => self.down(self.guard.policy.cool_down, true).await,
                Phase::Stopped => self.down(None, false).await,
                Phase::Over => return,
            }
        }
    }

    /// One life, from `started()` to its end.
    async fn live(&mut self) -> Phase {
        self.guard.reporter.starting(!std::mem::replace(&mut self.restarts, true));
        if let Err(failure) = self.body.begin() {
            return self.failed(&failure);
        }
        let pulse = self.body.pulse();
        loop {
            let (body, guard) = (&mut self.body, &mut self.guard);
            let end = tokio::select! {
                biased;
                Some(order) = guard.orders.next() => Err(order),
                () = pulse.asked() => continue,
                end = poll_fn(|task| body.poll_turn(task, &guard.reporter)) => Ok(end),
            };
            match end {
                Ok(IncarnationEnd::Failed(failure)) => return self.failed(&failure),
                Ok(IncarnationEnd::Clean) => {
                    self.clear();
                    self.guard.reporter.stopped();
                    return Phase::Stopped;
                }
                Err(order) => {
                    if let Some(next) = self.obey(order).await {
                        return next;
                    }
                }
            }
        }
    }

    /// An order to a living actor.
    async fn obey(&mut self, order: CommandEnvelope) -> Option<Phase> {
        match order.wish {
            ActorCommand::Command(OperatorCommand::Start | OperatorCommand::Resume) => {
                order.answer(Ok(OperatorAnswer::Already));
                None
            }
            ActorCommand::Command(OperatorCommand::Stop) => {
                self.end_in_order().await;
                self.guard.reporter.stopped();
                order.answer(Ok(OperatorAnswer::Done));
                Some(Phase::Stopped)
            }
            ActorCommand::Command(OperatorCommand::Restart) => {
                self.end_in_order().await;
                self.failures.clear();
                order.answer(Ok(OperatorAnswer::Done));
                Some(Phase::Live)
            }
            #[cfg(feature = "fault-injection")]
            ActorCommand::Fault(fault) => {
                self.body.turn().inject(fault);
                order.answer(Ok(OperatorAnswer::Done));
                None
            }
        }
    }

    /// Lets the actor end by itself (`stopping()`, `stopped()`), for at most `stop_timeout`.
    async fn end_in_order(&mut self) {
        self.body.stop();
        let (body, guard) = (&mut self.body, &self.guard);
        let end = tokio::select! {
            biased;
            end = poll_fn(|task| body.poll_turn(task, &guard.reporter)) => end,
            () = tokio::time::sleep(guard.policy.stop_timeout) => {
                let timeout = guard.policy.stop_timeout;
                IncarnationEnd::Failed(ActorFailure::bug(format_args!("did not stop within {timeout:?} and was cut off")))
            }
        };
        if let IncarnationEnd::Failed(failure) = end {
            self.guard.reporter.note(&failure);
        }
        self.clear();
    }

    /// What an ended life held is let go of at once, not when the next one begins.
    fn clear(&mut self) {
        if let Err(failure) = self.body.clear() {
            self.guard.reporter.note(&failure);
        }
    }

    fn failed(&mut self, failure: &ActorFailure) -> Phase {
        self.clear();
        let policy = &self.guard.policy;
        let nth = self.failures.record(Instant::now(), policy.window);
        match policy.decide(nth, fastrand::f64()) {
            RestartDecision::RestartAfter(delay) => {
                self.guard.reporter.backing_off(failure, delay);
                Phase::BackOff(delay)
            }
            RestartDecision::Park => {
                self.failures.clear();
                self.guard.reporter.parked(failure, policy.cool_down);
                Phase::Parked
            }
        }
    }

    /// Between two lives: until `wait` is over, or an order. Without either there is no way back, and the guard ends.
    async fn down(&mut self, wait: Option<Duration>, resumable: bool) -> Phase {
        let timer = async {
            match wait {
                Some(wait) => tokio::time::sleep(wait).await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(timer);
        loop {
            let order = tokio::select! {
                biased;
                order = self.guard.orders.next() => order,
                () = &mut timer => return Phase::Live,
            };
            let Some(order) = order else {
                if wait.is_none() {
                    return Phase::Over;
                }
                timer.await;
                return Phase::Live;
            };
            match order.wish {
                ActorCommand::Command(OperatorCommand::Resume) if !resumable => {
                    order.answer(Err(ControlError::Stopped(Arc::clone(&self.guard.name))));
                }
                ActorCommand::Command(OperatorCommand::Stop) if !resumable => order.answer(Ok(OperatorAnswer::Already)),
                ActorCommand::Command(OperatorCommand::Stop) => {
                    self.guard.reporter.stopped();
                    order.answer(Ok(OperatorAnswer::Done));
                    return Phase::Stopped;
                }
                ActorCommand::Command(OperatorCommand::Start | OperatorCommand::Resume | OperatorCommand::Restart) => {
                    self.failures.clear();
                    order.answer(Ok(OperatorAnswer::Done));
                    return Phase::Live;
                }
                #[cfg(feature = "fault-injection")]
                ActorCommand::Fault(_) => order.answer(Err(ControlError::Stopped(Arc::clone(&self.guard.name)))),
            }
        }
    }
}
