//! NoticeActor: what goes wrong in the gateway itself, on its way to the people who are to know of it.
//!
//! It hands each notice to the router, which makes it durable in the journal; from there the poster tells it as it tells what
//! flows notify of. While the journal takes nothing, a bounded number of them waits here.

use crate::backoff::RestartDelay;
use crate::messages::{GatewayNotice, KeepNotices};
use actix::prelude::*;
use hearthgate_supervision::{ActorExit, ActorFailure};
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::{Mutex, mpsc};
use tracing::{debug, info};

/// Notices that wait for the journal; the oldest go first.
const MOST_WAITING: usize = 200;
/// Notices made durable together.
const AT_ONCE: usize = 32;

/// Where notices come from; each incarnation of the actor takes them up again.
pub type NoticeSource = Arc<Mutex<mpsc::Receiver<GatewayNotice>>>;

/// What the actor works with.
#[derive(Clone)]
pub struct NoticeDeps {
    /// Where they come from.
    pub source: NoticeSource,
    /// Who makes them durable.
    pub router: Recipient<KeepNotices>,
}

/// See the module.
pub struct NoticeActor {
    deps: NoticeDeps,
    exit: ActorExit,
}

impl NoticeActor {
    /// An actor that works as soon as it is started.
    #[must_use]
    pub fn new(deps: NoticeDeps, exit: ActorExit) -> Self {
        NoticeActor { deps, exit }
    }
}

impl Actor for NoticeActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let work = pass_on(self.deps.clone());
        ctx.spawn(work.into_actor(self).map(|end, act, ctx| match end {
            Ok(()) => info!("the notifier is done"),
            Err(reason) => act.exit.fail(ctx, reason),
        }));
    }
}

impl Supervised for NoticeActor {}

async fn pass_on(deps: NoticeDeps) -> Result<(), ActorFailure> {
    let mut source = deps.source.lock().await;
    let mut waiting = VecDeque::new();
    let mut pace = RestartDelay::new();
    loop {
        if waiting.is_empty() {
            let Some(notice) = source.recv().await else { return Ok(()) };
            waiting.push_back(notice);
        }
        while let Ok(notice) = source.try_recv() {
            waiting.push_back(notice);
            if waiting.len() > MOST_WAITING {
                waiting.pop_front();
            }
        }
        let count = waiting.len().min(AT_ONCE);
        let batch: Vec<GatewayNotice> = waiting.range(..count).cloned().collect();
        match deps.router.send(KeepNotices(batch)).await {
            Ok(Ok(())) => {
                waiting.drain(..count);
                pace.reset();
            }
            // Both are told elsewhere; an error here would be a notice again.
            Ok(Err(reason)) => {
                debug!(%reason, "notices wait for the journal");
                pace.pause().await;
            }
            Err(reason) => {
                debug!(%reason, "notices wait for the router");
                pace.pause().await;
            }
        }
    }
}
