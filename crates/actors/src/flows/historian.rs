//! HistorianActor: keeps what is stored usable for years. It computes the windows of rollups, removes rows that are older
//! than their flow wants them, and makes the index that reading needs.
//!
//! It works in small pieces and rests nine times as long as each took, so that it takes at most a tenth of the database's
//! time from those who write. Whatever it does can be cut off anywhere and is taken up again; several gateways on one
//! database may do it at once.

use crate::backoff::RestartDelay;
use crate::condition::Condition;
use actix::prelude::*;
use hearthgate_domain::flow::Flow;
use hearthgate_domain::routing::RoutingTable;
use hearthgate_storage::sql::{Database, DatabaseError, FlowHistory, RollupStep};
use hearthgate_supervision::{ActorExit, ActorFailure};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::watch;
use tracing::{debug, info, warn};

/// How long to rest when there is nothing to do.
const IDLE: Duration = Duration::from_secs(15);
/// Rest after a piece of work, as a multiple of the time that it took.
const REST: u32 = 9;
/// The longest rest after a piece of work.
const LONGEST_REST: Duration = Duration::from_secs(30);
/// A wall clock that differs by more from the time that passed was set: nothing is removed by it for a while.
const CLOCK_STEP: Duration = Duration::from_secs(60);
/// For how long nothing is removed then: time to set the clock right.
const CLOCK_DOUBT: Duration = Duration::from_secs(3_600);

/// What the actor works with.
#[derive(Clone)]
pub struct HistorianDeps {
    /// The database, once there is one.
    pub database: watch::Receiver<Option<Database>>,
    /// The flows.
    pub table: watch::Receiver<Arc<RoutingTable>>,
    /// What keeps it from its work, for readiness; empty when all is well.
    pub trouble: Condition,
}

/// See the module.
pub struct HistorianActor {
    deps: HistorianDeps,
    exit: ActorExit,
}

impl HistorianActor {
    /// An actor that works as soon as it is started.
    #[must_use]
    pub fn new(deps: HistorianDeps, exit: ActorExit) -> Self {
        HistorianActor { deps, exit }
    }
}

impl Actor for HistorianActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let work = Work { deps: self.deps.clone(), clock: Clock::new(), has_index: false };
        ctx.spawn(work.run().into_actor(self).map(|end, act, ctx| {
            if let Err(reason) = end {
                act.exit.fail(ctx, reason);
            }
        }));
    }
}

impl Supervised for HistorianActor {}

struct Work {
    deps: HistorianDeps,
    clock: Clock,
    /// Nobody has to look for the index any more.
    has_index: bool,
}

impl Work {
    /// Goes on until the gateway ends.
    async fn run(mut self) -> Result<(), ActorFailure> {
        let mut pace = RestartDelay::new();
        loop {
            let database = match self.deps.database.wait_for(Option::is_some).await {
                Ok(database) => database.clone(),
                Err(_) => return Ok(()),
            };
            let Some(database) = database else { continue };
            match self.round(&database).await {
                Ok(()) => {
                    if let Some(lasted) = self.deps.trouble.clear() {
                        info!("the history is kept again after {lasted}");
                    }
                    pace.reset();
                    tokio::time::sleep(IDLE).await;
                }
                // The writer tells of a database that is away.
                Err(reason) if reason.is_temporary() => {
                    debug!(%reason, "the history waits for the database");
                    pace.pause().await;
                }
                Err(reason) => {
                    let reason = format!("the history is not kept: {reason}");
                    if self.deps.trouble.is_news(&reason) {
                        warn!(%reason, "trying again");
                    }
                    pace.pause().await;
                }
            }
        }
    }

    /// Everything that is due, flow by flow.
    async fn round(&mut self, database: &Database) -> Result<(), DatabaseError> {
        if !self.has_index {
            if database.make_own_index().await? {
                info!("made the index of data that reading needs");
            }
            self.has_index = true;
        }
        let flows: Vec<Arc<Flow>> = self.deps.table.borrow().flows().to_vec();
        for flow in flows {
            // One that can't be was refused when it was loaded.
            let Ok(Some(history)) = FlowHistory::of(&flow) else { continue };
            if !history.is_kept() || !database.capabilities().own_tables.is_available() {
                continue;
            }
            // Rows that outlive their windows go last.
            while self.paced(async |now| database.roll_up(&history, now).await).await? == RollupStep::Done {}
            if self.clock.is_trusted() {
                while self.paced(async |now| database.prune(&history, now).await).await? == RollupStep::Done {}
            }
        }
        Ok(())
    }

    /// One piece of work, and the rest after it.
    async fn paced(
        &mut self,
        piece: impl AsyncFnOnce(i64) -> Result<RollupStep, DatabaseError>,
    ) -> Result<RollupStep, DatabaseError> {
        let now = self.clock.now();
        let begun = Instant::now();
        let step = piece(now).await?;
        if step == RollupStep::Done {
            tokio::time::sleep((begun.elapsed() * REST).min(LONGEST_REST)).await;
        }
        Ok(step)
    }
}

/// The wall clock, watched: one that was set may be wrong, and what is removed by it does not come back.
struct Clock {
    wall: SystemTime,
    steady: Instant,
    doubted: Option<Instant>,
}

impl Clock {
    fn new() -> Self {
        Clock { wall: SystemTime::now(), steady: Instant::now(), doubted: None }
    }

    /// Microseconds since 1970.
    fn now(&mut self) -> i64 {
        let (wall, steady) = (SystemTime::now(), Instant::now());
        self.compare(wall, steady);
        let since = wall.duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
    }

    fn compare(&mut self, wall: SystemTime, steady: Instant) {
        let expected = self.wall + steady.duration_since(self.steady);
        let step = wall.duration_since(expected).unwrap_or_else(|error| error.duration());
        if step > CLOCK_STEP {
            warn!(seconds = step.as_secs(), "the clock was set; nothing is removed for its age for an hour");
            self.doubted = Some(steady);
        }
        (self.wall, self.steady) = (wall, steady);
        if self.doubted.is_some_and(|since| steady.duration_since(since) > CLOCK_DOUBT) {
            self.doubted = None;
        }
    }

    fn is_trusted(&self) -> bool {
        self.doubted.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_set_is_not_trusted_for_a_while() {
        let mut clock = Clock::new();
        let (wall, steady) = (clock.wall, clock.steady);
        let second = Duration::from_secs(1);
        clock.compare(wall + second, steady + second);
        assert!(clock.is_trusted());
        clock.compare(wall + second * 86_400, steady + second * 2);
        assert!(!clock.is_trusted());
        clock.compare(wall + second * 86_410, steady + second * 12);
        assert!(!clock.is_trusted());
        clock.compare(wall + second * 90_010, steady + second * 3_612);
        assert!(clock.is_trusted());
    }
}
