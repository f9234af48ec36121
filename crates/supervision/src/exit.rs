//! How an actor ends its incarnation with an error.

use actix::prelude::*;
use std::fmt::Display;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::task::JoinHandle;

/// Given to the actor's constructor; the way to say "I cannot go on". Clones speak for the same actor.
///
/// For a lost resource, not for bad data: a message that is refused is the actor's everyday business.
#[derive(Clone, Debug, Default)]
pub struct ActorExit(Arc<Mutex<Option<String>>>);

impl ActorExit {
    /// Ends this incarnation with `error`: no further message is handled, spawned futures are dropped, and the policy
    /// decides when the next one starts. Of several errors the first is reported.
    pub fn fail<A>(&self, ctx: &mut Context<A>, error: impl Display)
    where
        A: Actor<Context = Context<A>>,
    {
        self.slot().get_or_insert_with(|| error.to_string());
        ctx.stop();
    }

    /// Links a job outside the actor (`spawn_blocking`, a task of its own): its error or panic ends this incarnation.
    ///
    /// Async work needs no link: `ctx.spawn(future.into_actor(self))` is polled under the guard and dropped at the end of
    /// the incarnation. A linked task is aborted then; a blocking job that already runs cannot be, and its end is no longer
    /// waited for: it must find out by itself, from a closed channel for instance.
    pub fn link<A, E>(&self, ctx: &mut Context<A>, act: &A, job: JoinHandle<Result<(), E>>)
    where
        A: Actor<Context = Context<A>>,
        E: Display + 'static,
    {
        let exit = self.clone();
        let ended = Linked(job).into_actor(act).map(move |end, _, ctx| match end {
            Ok(Ok(())) => {}
            Ok(Err(error)) => exit.fail(ctx, error),
            Err(join) if join.is_panic() => exit.fail(ctx, panic_message(&*join.into_panic())),
            Err(_cancelled) => exit.fail(ctx, "a linked job was cancelled"),
        });
        ctx.spawn(ended);
    }

    pub(crate) fn take(&self) -> Option<String> {
        self.slot().take()
    }

    fn slot(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        // An `Option<String>` cannot be half written; a panic elsewhere must not spread through the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A job that is aborted when nobody waits for it any more.
struct Linked<T>(JoinHandle<T>);

impl<T> Future for Linked<T> {
    type Output = Result<T, tokio::task::JoinError>;

    fn poll(mut self: std::pin::Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> std::task::Poll<Self::Output> {
        std::pin::Pin::new(&mut self.0).poll(cx)
    }
}

impl<T> Drop for Linked<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What a panic said, as far as it can be told from its payload.
pub(crate) fn panic_message(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("(payload is no text)");
    format!("panicked: {text}")
}
