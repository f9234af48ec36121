//! How an actor ends its incarnation with an error.

use crate::failure::ActorFailure;
use actix::prelude::*;
use std::sync::{Arc, Mutex, PoisonError};

/// Given to the actor's constructor; the way to say "I cannot go on". Clones speak for the same actor.
#[derive(Clone, Debug, Default)]
pub struct ActorExit(Arc<Mutex<Option<ActorFailure>>>);

impl ActorExit {
    /// Ends this incarnation: no further message is handled, spawned futures are dropped, and the policy decides when the
    /// next one starts. Of several failures the first is reported.
    pub fn fail<A>(&self, ctx: &mut Context<A>, failure: ActorFailure)
    where
        A: Actor<Context = Context<A>>,
    {
        self.slot().get_or_insert(failure);
        ctx.stop();
    }

    pub(crate) fn take(&self) -> Option<ActorFailure> {
        self.slot().take()
    }

    fn slot(&self) -> std::sync::MutexGuard<'_, Option<ActorFailure>> {
        // An `Option` cannot be half written; a panic elsewhere must not spread through the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
