//! EndpointPosterActor: carries accepted messages from the journal to HTTP endpoints, to MQTT and to the log.
//!
//! Each flow is a lane of its own: its messages go out in order, one after the other unless the flow's `concurrency` says
//! otherwise, and a lane that hangs holds up nobody else. One reader follows the journal's end and hands out; a lane that
//! falls behind reads the journal for itself until it has caught up. How far each lane is done is kept in the journal's positions, so after a crash only calls whose
//! outcome was not noted yet are made again, with the same `webhook-id`.

mod attempts;
mod delivery;
mod endpoints;
mod flow_queue;
mod hops;
mod notifying;
mod parked;
mod parking;
mod posting;
mod publishing;
mod receiver;
mod rendering;
mod turn;
mod waiting;

pub use crate::flows::poster::attempts::{AttemptBoard, AttemptEnd, DeliveryAttempt, FlowAttempts};
pub use crate::flows::poster::endpoints::{DeliveryOptions, FindSecret, NotifierChoice, SecretFailure};
pub(in crate::flows) use delivery::{FinishedDelivery, MessageDeliverer};
pub(in crate::flows) use flow_queue::{DeliveryJob, DueActions};
pub use rendering::{RenderFailure, RenderedCall, body_purpose};
pub use waiting::WaitingFlows;

use crate::backoff::RestartDelay;
use crate::flows::dead_letters;
use crate::flows::poster::flow_queue::ActionDelivery;
use crate::flows::poster::flow_queue::FlowQueue;
use crate::flows::poster::flow_queue::PARTS;
use crate::flows::poster::parked::ParkedMessages;
use crate::flows::poster::posting::EndpointCaller;
use crate::in_hand::{InHand, MarkHolder};
use crate::messages::TryEndpoint;
use crate::poison::PoisonMessages;
use actix::prelude::*;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use hearthgate_domain::flow::{ActionKind, Flow, FlowAction};
use hearthgate_domain::routing::RoutingTable;
use hearthgate_storage::dead_letters::{NewDeadLetter, ParkedFlow};
use hearthgate_storage::journal::{self, ConsumerStart, JournalReader, Seq, StoredEntry};
use hearthgate_supervision::{ActorExit, ActorFailure};
use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tracing::{error, info};

/// The name under which the journal keeps what was not handed out yet.
pub const CONSUMER: &str = "deliveries";
/// Before a lane's flow number in its own name.
const LANE_PREFIX: &str = "deliveries of flow ";
/// Entries looked at in one turn.
const BATCH: usize = 256;
const BATCH_BYTES: usize = 256 << 10;
/// Outcomes are noted on disk at most this often.
const NOTE_EVERY: Duration = Duration::from_millis(50);

/// What the actor works with.
#[derive(Clone)]
pub struct PosterDeps {
    /// The journal.
    pub journal: journal::JournalHandle,
    /// The flows by number.
    pub table: watch::Receiver<Arc<RoutingTable>>,
    /// How a message is delivered.
    pub endpoints: DeliveryOptions,
    /// What ended the process before.
    pub in_hand: Arc<InHand>,
    /// Bytes that are set aside of flows whose deliveries hang.
    pub set_aside: u64,
}

/// See the module.
pub struct EndpointPosterActor {
    deps: PosterDeps,
    exit: ActorExit,
    deaths: Arc<PoisonMessages<ActionDelivery>>,
}

impl EndpointPosterActor {
    /// An actor that delivers as soon as it is started.
    #[must_use]
    pub fn new(deps: PosterDeps, exit: ActorExit) -> Self {
        let deaths = PoisonMessages::<ActionDelivery>::of_process(Arc::clone(&deps.in_hand), MarkHolder::Poster);
        // Those of another journal have nothing to do with ours.
        let newest = *deps.journal.synced().borrow();
        deaths.acquit(|delivery| delivery.seq > newest);
        let deaths = Arc::new(deaths);
        EndpointPosterActor { deps, exit, deaths }
    }
}

impl Actor for EndpointPosterActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let (mut deps, deaths) = (self.deps.clone(), Arc::clone(&self.deaths));
        let work = async move {
            // What the journal holds from the last run is for flows that must be loaded first, be there any or not.
            if deps.table.changed().await.is_err() {
                return Ok(());
            }
            let parked = deps.endpoints.letters.parked_flows().await.map_err(ActorFailure::resource)?;
            let newest = *deps.journal.synced().borrow();
            let work = Work::begin(deps, deaths, &parked, newest)?;
            work.keep_foreign(&parked, newest).await?;
            work.run().await
        };
        ctx.spawn(work.into_actor(self).map(|end, act, ctx| match end {
            Ok(()) => info!("the poster is done"),
            Err(reason) => act.exit.fail(ctx, reason),
        }));
    }
}

impl Supervised for EndpointPosterActor {}

impl Handler<TryEndpoint> for EndpointPosterActor {
    type Result = ResponseFuture<Result<DeliveryAttempt, String>>;

    fn handle(&mut self, TryEndpoint { code, topic, payload }: TryEndpoint, _: &mut Self::Context) -> Self::Result {
        let flow = self.deps.table.borrow().flows().iter().find(|flow| *flow.code == *code).cloned();
        let (options, deaths) = (self.deps.endpoints.clone(), Arc::clone(&self.deaths));
        Box::pin(async move {
            let flow = flow.ok_or_else(|| format!("the flow {code} is not in force; switch it on first"))?;
            let endpoint = flow.endpoint.as_ref().ok_or_else(|| format!("the flow {code} calls no endpoint"))?;
            let caller = EndpointCaller::new(&options, deaths).map_err(|error| error.to_string())?;
            let received_at = dead_letters::now();
            let (due, payload) = (DueActions::Only(ActionKind::Post), payload.into());
            let job = DeliveryJob { seq: 0, topic: topic.into(), payload, received_at, due };
            caller.try_out(&flow, endpoint, &job).await.map_err(|failure| failure.to_string())
        })
    }
}

struct Work {
    deps: PosterDeps,
    deaths: Arc<PoisonMessages<ActionDelivery>>,
    reader: JournalReader,
    lanes: HashMap<i64, FlowQueue>,
    deliverer: Rc<MessageDeliverer>,
    /// The flows as they were seen last.
    table: Arc<RoutingTable>,
    under_way: FuturesUnordered<LocalBoxFuture<'static, FinishedDelivery>>,
    /// Lanes that have got something to do, or room to do it.
    stirred: BTreeSet<i64>,
    /// What damage in the journal has left of messages to deliver.
    lost: Vec<NewDeadLetter>,
    parking: ParkedMessages,
    has_news: bool,
}

impl Work {
    /// Takes up where the positions say.
    fn begin(
        deps: PosterDeps,
        deaths: Arc<PoisonMessages<ActionDelivery>>,
        parked: &[ParkedFlow],
        newest: Seq,
    ) -> Result<Self, ActorFailure> {
        let head = deps.journal.register(CONSUMER, ConsumerStart::Newest).map_err(ActorFailure::resource)?;
        let mut lanes = HashMap::new();
        let mut from = head;
        let lane_of = |name: String| {
            let flow_id = flow_of_lane(&name)?;
            Some((flow_id, name))
        };
        let mut names: HashMap<i64, String> = deps.journal.consumers().into_iter().filter_map(lane_of).collect();
        for flow in parked {
            names.entry(flow.flow_id).or_insert_with(|| format!("{LANE_PREFIX}{}", flow.flow_id));
        }
        for (flow_id, name) in names {
            let done = deps.journal.register(&name, ConsumerStart::After(head)).map_err(ActorFailure::resource)?;
            from = from.min(done);
            let lane = match parked.iter().find(|flow| flow.flow_id == flow_id && flow.first <= newest) {
                Some(flow) => FlowQueue::with_parked(name, done, newest, flow),
                None => FlowQueue::new(name, flow_id, done),
            };
            lanes.insert(flow_id, lane);
        }
        // Those of which something was set aside need not wait for something new.
        let stirred = lanes.keys().copied().collect();
        let parking = ParkedMessages::new(parked);
        let reader = deps.journal.reader_after(from);
        let deliverer = MessageDeliverer::new(&deps.endpoints, deps.journal.clone(), Arc::clone(&deaths));
        let deliverer = Rc::new(deliverer.map_err(ActorFailure::resource)?);
        let (under_way, lost) = (FuturesUnordered::new(), Vec::new());
        let table = Arc::clone(&deps.table.borrow());
        Ok(Work { deps, deaths, reader, lanes, deliverer, table, under_way, stirred, lost, parking, has_news: false })
    }

    async fn run(mut self) -> Result<(), ActorFailure> {
        let (mut note_at, mut is_at_end) = (None, false);
        loop {
            if !is_at_end {
                is_at_end = self.hand_out()?;
            }
            self.start_stirred_lanes().await?;
            self.keep_lost().await;
            if self.has_news && note_at.is_none() {
                note_at = Some(tokio::time::Instant::now() + NOTE_EVERY);
            }
            let note = async {
                match note_at {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Some(done) = self.under_way.next() => {
                    self.on_done(&done);
                    while let Some(Some(done)) = self.under_way.next().now_or_never() {
                        self.on_done(&done);
                    }
                }
                open = self.reader.ready(), if is_at_end => match open {
                    Ok(()) => is_at_end = false,
                    Err(_) => return Ok(()),
                },
                () = note => {
                    note_at = None;
                    self.note().await?;
                }
                () = tokio::task::yield_now(), if !is_at_end => {}
            }
        }
    }

    /// Hands the next entries to their lanes; tells whether the journal's end is reached.
    fn hand_out(&mut self) -> Result<bool, ActorFailure> {
        let table = Arc::clone(&self.deps.table.borrow());
        let read = self.reader.next_batch(BATCH, BATCH_BYTES).map_err(ActorFailure::resource)?;
        let lanes = &self.lanes;
        let is_done = |flow_id: i64, seq| lanes.get(&flow_id).is_some_and(|lane| lane.is_done(seq));
        let lost = dead_letters::salvaged(&self.deps.journal, &table, &read.skipped, &PARTS, is_done);
        self.lost.extend(lost);
        for entry in &read.entries {
            for (flow_id, is_promised) in deliveries(entry) {
                let flow = table.flow(flow_id);
                let only_stores =
                    |flow: &Arc<Flow>| flow.actions.iter().all(|action| matches!(action, FlowAction::StoreDb {}));
                let known = flow.or_else(|| table.resting(flow_id)?.flow.as_ref());
                if !is_promised && known.is_some_and(only_stores) {
                    continue;
                }
                let lane = match self.lanes.entry(flow_id) {
                    std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
                    // A flow of which nothing is known and that never had a lane: the record writer makes it a dead letter.
                    std::collections::hash_map::Entry::Vacant(_) if known.is_none() && !is_promised => continue,
                    std::collections::hash_map::Entry::Vacant(new) => {
                        let name = format!("{LANE_PREFIX}{flow_id}");
                        let before = ConsumerStart::After(entry.seq - 1);
                        let done = self.deps.journal.register(&name, before).map_err(ActorFailure::resource)?;
                        new.insert(FlowQueue::new(name, flow_id, done))
                    }
                };
                lane.offer(entry);
                self.stirred.insert(flow_id);
            }
        }
        self.has_news |= read.through > 0 && !read.entries.is_empty();
        Ok(read.caught_up)
    }

    /// Sets lanes going that have something to do, and less under way than their flows allow at once.
    async fn start_stirred_lanes(&mut self) -> Result<(), ActorFailure> {
        let table = Arc::clone(&self.deps.table.borrow_and_update());
        if !Arc::ptr_eq(&table, &self.table) {
            self.deliverer.forget_hops();
            self.table = Arc::clone(&table);
        }
        let head = self.reader.next_seq();
        for flow_id in std::mem::take(&mut self.stirred) {
            self.refill(flow_id).await;
            let Some(lane) = self.lanes.get_mut(&flow_id) else { continue };
            let lost = lane.catch_up(head, &self.deps.journal, &table).map_err(ActorFailure::resource)?;
            self.lost.extend(lost);
            let flow = table.flow(flow_id);
            let at_once = flow.map_or(1, |flow| at_once(flow));
            while let Some(job) = lane.next(at_once) {
                let (deliverer, table) = (Rc::clone(&self.deliverer), Arc::clone(&table));
                self.under_way.push(Box::pin(async move { deliverer.deliver(flow_id, &table, job).await }));
            }
        }
        Ok(())
    }

    /// Before anything of that is noted as done.
    async fn keep_lost(&mut self) {
        let mut pace = RestartDelay::new();
        while let Err(reason) = dead_letters::keep(&self.deps.endpoints.letters, &self.lost).await {
            error!(%reason, "dead letters can not be kept yet; deliveries wait");
            pace.pause().await;
        }
        self.lost.clear();
    }

    fn on_done(&mut self, done: &FinishedDelivery) {
        if let Some(lane) = self.lanes.get_mut(&done.flow_id) {
            lane.finish(done.seq);
            self.stirred.insert(done.flow_id);
            self.has_news = true;
        }
    }

    /// Keeps on disk how far each lane is, so that the journal can delete what nobody needs.
    async fn note(&mut self) -> Result<(), ActorFailure> {
        self.has_news = false;
        self.set_aside().await?;
        let head = self.reader.next_seq();
        let journal = self.deps.journal.clone();
        journal.release(CONSUMER, head.saturating_sub(1)).map_err(ActorFailure::resource)?;
        for lane in self.lanes.values() {
            journal.release(&lane.name, lane.released(head)).map_err(ActorFailure::resource)?;
        }
        let flushed = tokio::task::spawn_blocking(move || journal.flush()).await;
        flushed.map_err(ActorFailure::bug)?.map_err(ActorFailure::resource)?;
        self.remove_done().await;
        let lanes = &self.lanes;
        self.deaths.acquit(|message| lanes.get(&message.flow_id).is_none_or(|lane| message.seq <= lane.done(head)));
        Ok(())
    }
}

/// The flow whose lane has this name among the journal's consumers.
#[must_use]
pub fn flow_of_lane(name: &str) -> Option<i64> {
    name.strip_prefix(LANE_PREFIX)?.parse().ok()
}

/// How many messages of a flow may be under way. What is only published is handed over in order, however many wait for the
/// broker's acknowledgement.
fn at_once(flow: &Flow) -> usize {
    match &flow.endpoint {
        Some(endpoint) => usize::from(endpoint.concurrency),
        // People read them in order.
        None if flow.does(ActionKind::Notify) => 1,
        None => crate::flows::poster::flow_queue::ROOM,
    }
}

/// The flows that have an entry to deliver, and whether a delivery was promised, whatever the flow does now.
fn deliveries<'a>(entry: &StoredEntry<'a>) -> impl Iterator<Item = (i64, bool)> + use<'a> {
    let targets = entry.targets.iter().filter(crate::flows::poster::flow_queue::is_delivery);
    targets.filter_map(|target| Some((target.flow_id?, PARTS.iter().any(|part| target.verdict.promises(*part)))))
}
