//! SilenceActor: tells of devices from which nothing that counts came for as long as their flow's option `silence` says, and
//! of those that are back.
//!
//! The router writes down who is heard; here all are gone through once in a while. Time in which the gateway hears nobody,
//! because it does not run or has no broker, is nobody's silence. Who is silent is kept in a file once the flow's
//! `silent_actions` are done, so that after a crash they are done again rather than not at all.

mod board;
mod kept;
mod notice;
mod shown;

pub use board::{SilenceBoard, SilentDevice};

use crate::flows::dead_letters::now;
use crate::flows::poster::{DeliveryJob, DeliveryOptions, DueActions, FinishedDelivery, MessageDeliverer};
use crate::lock::lock;
use crate::messages::PublishMessages;
use crate::metrics::show_silent_devices;
use crate::mqtt::LinkStatus;
use crate::operation::discovery::{DiscoveryMessage, TopicSite};
use crate::poison::PoisonMessages;
use crate::retained::{is_taken, retained};
use actix::prelude::*;
use futures_util::StreamExt;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesUnordered;
use hearthgate_domain::flow::{Flow, PromisedActions, SilenceRule};
use hearthgate_domain::routing::RoutingTable;
use hearthgate_domain::silence::SilenceWatch;
use hearthgate_storage::journal::{JournalHandle, Seq};
use hearthgate_supervision::{ActorExit, ActorFailure};
use kept::{KeptFlow, SilenceFile};
use notice::SilenceNotice;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tracing::{info, warn};

/// How often all devices are gone through: a quarter of the shortest silence, within these bounds.
const SHORTEST_TICK: Duration = Duration::from_millis(250);
const LONGEST_TICK: Duration = Duration::from_secs(5);
/// New devices are written down at most this often; the file has all of them.
const KEEP_NEW_EVERY: Duration = Duration::from_secs(10);
/// Notices of one flow that wait for its `silent_actions`; the oldest go first.
const MOST_WAITING: usize = 100;

/// What the actor works with.
#[derive(Clone)]
pub struct SilenceDeps {
    /// The flows.
    pub table: watch::Receiver<Arc<RoutingTable>>,
    /// Who is heard.
    pub board: Arc<SilenceBoard>,
    /// For the identity of what is delivered.
    pub journal: JournalHandle,
    /// How notices are delivered.
    pub endpoints: DeliveryOptions,
    /// First levels of our own topics, such as `hearthgate/home`; no state is told without.
    pub prefix: Option<String>,
    /// Where the flows are shown in Home Assistant, if they are.
    pub site: Option<TopicSite>,
    /// Where states are published.
    pub publish: Recipient<PublishMessages>,
    /// Whether anybody can be heard.
    pub link: watch::Receiver<LinkStatus>,
    /// What outlives the process.
    pub file: PathBuf,
}

/// See the module.
pub struct SilenceActor {
    deps: SilenceDeps,
    exit: ActorExit,
}

impl SilenceActor {
    /// An actor that works as soon as it is started.
    #[must_use]
    pub fn new(deps: SilenceDeps, exit: ActorExit) -> Self {
        SilenceActor { deps, exit }
    }
}

impl Actor for SilenceActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let deps = self.deps.clone();
        ctx.spawn(Work::begin(deps).run().into_actor(self).map(|end, act, ctx| {
            if let Err(reason) = end {
                act.exit.fail(ctx, reason);
            }
        }));
    }
}

impl Supervised for SilenceActor {}

struct Work {
    deps: SilenceDeps,
    file: SilenceFile,
    /// Those with the option `silence`.
    flows: Vec<Arc<Flow>>,
    /// Since when nobody can be heard; none while somebody can.
    deaf_since: Option<Instant>,
    /// What the broker has of us, by topic.
    told: BTreeMap<String, String>,
    waiting: HashMap<i64, VecDeque<SilenceNotice>>,
    busy: HashSet<i64>,
    /// Made when the first notice is to be delivered.
    deliverer: Option<Rc<MessageDeliverer>>,
    under_way: FuturesUnordered<LocalBoxFuture<'static, FinishedDelivery>>,
    last_number: Seq,
    is_changed: bool,
    new_kept: Instant,
}

impl Work {
    fn begin(deps: SilenceDeps) -> Self {
        Work {
            file: SilenceFile::open(&deps.file),
            flows: Vec::new(),
            deaf_since: Some(Instant::now()),
            told: BTreeMap::new(),
            waiting: HashMap::new(),
            busy: HashSet::new(),
            deliverer: None,
            under_way: FuturesUnordered::new(),
            last_number: 0,
            is_changed: false,
            new_kept: Instant::now(),
            deps,
        }
    }

    /// Goes on until the gateway ends.
    async fn run(mut self) -> Result<(), ActorFailure> {
        // Whose devices are in the file is known when the flows are.
        if self.deps.table.changed().await.is_err() {
            return Ok(());
        }
        let board = Arc::clone(&self.deps.board);
        loop {
            self.follow_flows();
            self.follow_link();
            self.find_changes()?;
            self.tell().await;
            self.keep();
            let tick = tokio::time::sleep(self.tick());
            tokio::select! {
                changed = self.deps.table.changed() => if changed.is_err() { return Ok(()) },
                changed = self.deps.link.changed() => if changed.is_err() { return Ok(()) },
                () = board.returned.notified() => {}
                Some(done) = self.under_way.next() => self.on_carried_out(done.flow_id)?,
                () = tick => {}
            }
        }
    }

    /// Listens for the devices of the flows that want it, and of no others.
    fn follow_flows(&mut self) {
        let table = Arc::clone(&self.deps.table.borrow_and_update());
        let wanted: Vec<Arc<Flow>> = table.flows().iter().filter(|flow| flow.silence.is_some()).cloned().collect();
        if wanted.len() == self.flows.len() && wanted.iter().zip(&self.flows).all(|(new, old)| Arc::ptr_eq(new, old)) {
            return;
        }
        let mut watches = lock(&self.deps.board.watches);
        let is_wanted = |id: &i64| wanted.iter().any(|flow| flow.id == *id);
        watches.retain(|id, _| is_wanted(id));
        self.waiting.retain(|id, _| is_wanted(id));
        for gone in self.flows.iter().filter(|flow| !is_wanted(&flow.id)) {
            show_silent_devices(&gone.code, 0);
        }
        for flow in &wanted {
            let Some(rule) = &flow.silence else { continue };
            let after = rule.after.duration();
            match watches.get_mut(&flow.id) {
                Some(watch) => watch.set_after(after),
                None => drop(watches.insert(flow.id, self.known_devices(flow, after))),
            }
        }
        drop(watches);
        self.file.kept.flows.retain(|id, _| is_wanted(id));
        self.flows = wanted;
        self.is_changed = true;
    }

    /// Those of the last run, and the one topic of a flow that listens to no other.
    fn known_devices(&self, flow: &Flow, after: Duration) -> SilenceWatch {
        let (mut watch, start) = (SilenceWatch::new(after), Instant::now());
        let kept = self.file.kept.flows.get(&flow.id).filter(|kept| *kept.code == *flow.code);
        for (key, silent_since) in kept.into_iter().flat_map(|kept| &kept.devices) {
            watch.expect(key, start, *silent_since);
        }
        let has_key = flow.reading.as_ref().is_some_and(|reading| reading.has_key());
        if !has_key && !flow.topic.filter().has_wildcard() {
            watch.expect(flow.topic.filter().as_str(), start, None);
        }
        watch
    }

    fn follow_link(&mut self) {
        let is_listening = {
            let link = self.deps.link.borrow_and_update();
            link.connected && link.subscribed
        };
        match (is_listening, self.deaf_since) {
            (true, Some(since)) => {
                lock(&self.deps.board.watches).values_mut().for_each(|watch| watch.leave_out(since.elapsed()));
                self.deaf_since = None;
                self.told.clear();
            }
            (false, None) => self.deaf_since = Some(Instant::now()),
            (true, None) | (false, Some(_)) => {}
        }
    }

    /// Who has fallen silent or is back.
    fn find_changes(&mut self) -> Result<(), ActorFailure> {
        for flow in self.flows.clone() {
            let Some(rule) = &flow.silence else { continue };
            let (returned, silent, count) = {
                let mut watches = lock(&self.deps.board.watches);
                let Some(watch) = watches.get_mut(&flow.id) else { continue };
                let returned = watch.take_returned();
                let silent = match self.deaf_since {
                    None => watch.find_silent(Instant::now(), now()),
                    Some(_) => Vec::new(),
                };
                (returned, silent, watch.count_silent())
            };
            show_silent_devices(&flow.code, count);
            for (is_silent, keys) in [(false, returned), (true, silent)] {
                if !keys.is_empty() {
                    self.notice(&flow, rule, SilenceNotice { is_silent, keys })?;
                }
            }
        }
        Ok(())
    }

    fn notice(&mut self, flow: &Flow, rule: &SilenceRule, notice: SilenceNotice) -> Result<(), ActorFailure> {
        let (count, devices) = (notice.keys.len(), notice.named());
        match notice.is_silent {
            true => warn!(flow = %flow.code, count, devices, "silent: nothing came for {}", rule.after),
            false => info!(flow = %flow.code, count, devices, "heard again after a silence"),
        }
        self.is_changed = true;
        if rule.notices.is_some() {
            let waiting = self.waiting.entry(flow.id).or_default();
            if waiting.len() >= MOST_WAITING {
                warn!(flow = %flow.code, "its silent_actions take too long: the oldest notice is dropped");
                waiting.pop_front();
            }
            waiting.push_back(notice);
            self.carry_out_next(flow, rule)?;
        }
        Ok(())
    }

    /// Sets the next notice of a flow going; one after the other.
    fn carry_out_next(&mut self, flow: &Flow, rule: &SilenceRule) -> Result<(), ActorFailure> {
        if self.busy.contains(&flow.id) {
            return Ok(());
        }
        let Some(actions) = rule.notices.clone() else { return Ok(()) };
        let Some(notice) = self.waiting.get_mut(&flow.id).and_then(VecDeque::pop_front) else { return Ok(()) };
        let received_at = now();
        // Far beyond the numbers of the journal: no receiver takes it for another message.
        self.last_number = u64::try_from(received_at).unwrap_or_default().max(self.last_number + 1);
        let job = DeliveryJob {
            seq: self.last_number,
            topic: notice::state_topic(self.deps.prefix.as_deref().unwrap_or("hearthgate"), &flow.code).into(),
            payload: notice.json(&flow.code, rule.after).into(),
            received_at,
            due: DueActions::All(PromisedActions::UNKNOWN),
        };
        let (id, deliverer) = (flow.id, self.deliverer()?);
        self.busy.insert(id);
        self.under_way.push(Box::pin(async move {
            let table = RoutingTable::new(vec![actions]);
            deliverer.deliver(id, &table, job).await
        }));
        Ok(())
    }

    fn deliverer(&mut self) -> Result<Rc<MessageDeliverer>, ActorFailure> {
        if let Some(deliverer) = &self.deliverer {
            return Ok(Rc::clone(deliverer));
        }
        let (SilenceDeps { endpoints, journal, .. }, deaths) = (&self.deps, Arc::new(PoisonMessages::default()));
        let made = MessageDeliverer::new(endpoints, journal.clone(), deaths).map_err(ActorFailure::resource)?;
        Ok(Rc::clone(self.deliverer.insert(Rc::new(made))))
    }

    fn on_carried_out(&mut self, flow_id: i64) -> Result<(), ActorFailure> {
        self.busy.remove(&flow_id);
        self.is_changed = true;
        let flow = self.flows.iter().find(|flow| flow.id == flow_id).cloned();
        if let Some(flow) = flow
            && let Some(rule) = &flow.silence
        {
            self.carry_out_next(&flow, rule)?;
        }
        Ok(())
    }

    /// Publishes what is different from what was told before.
    async fn tell(&mut self) {
        let Some(prefix) = self.deps.prefix.as_deref().filter(|_| self.deaf_since.is_none()) else { return };
        if !self.is_changed && !self.told.is_empty() {
            return;
        }
        let mut states: BTreeMap<String, String> =
            self.file.kept.topics.iter().map(|topic| (topic.clone(), String::new())).collect();
        for flow in &self.flows {
            let Some((topic, state)) = self.state_of(flow, prefix) else { continue };
            if let Some(site) = &self.deps.site {
                let DiscoveryMessage { topic, payload } = shown::announcement(site, &flow.code, &topic);
                states.insert(topic.to_string(), String::from_utf8_lossy(&payload).into_owned());
            }
            states.insert(topic, state);
        }
        // Before they are told: whoever comes after us is to clear them.
        if states.keys().any(|topic| !self.file.kept.topics.contains(topic)) {
            self.file.kept.topics = states.keys().cloned().collect();
            self.file.store();
        }
        let news = states.iter().filter(|(topic, state)| self.told.get(*topic) != Some(state));
        let news: Vec<_> = news.map(|(topic, state)| retained(topic, state)).collect();
        // What is not taken is told again.
        self.told = match news.is_empty() || is_taken(&self.deps.publish, news).await {
            true => states,
            false => BTreeMap::new(),
        };
    }

    fn state_of(&self, flow: &Flow, prefix: &str) -> Option<(String, String)> {
        let rule = flow.silence.as_ref()?;
        let watches = lock(&self.deps.board.watches);
        let silent = watches.get(&flow.id)?.silent_devices();
        Some((notice::state_topic(prefix, &flow.code), notice::state_json(&flow.code, rule.after, &silent)))
    }

    /// Writes down who is known and who is silent. While a flow's actions are not done, its devices stay as they were
    /// written down before: after a crash the actions are done again.
    fn keep(&mut self) {
        let is_new_due = self.new_kept.elapsed() >= KEEP_NEW_EVERY && self.deps.board.take_new();
        if !self.is_changed && !is_new_due {
            return;
        }
        (self.is_changed, self.new_kept) = (false, Instant::now());
        let watches = lock(&self.deps.board.watches);
        for flow in &self.flows {
            let is_done = !self.busy.contains(&flow.id) && self.waiting.get(&flow.id).is_none_or(VecDeque::is_empty);
            let before = self.file.kept.flows.remove(&flow.id).unwrap_or_default().devices;
            let devices = watches.get(&flow.id).into_iter().flat_map(SilenceWatch::devices);
            let as_before = |key: &str| before.get(key).copied().flatten();
            let devices =
                devices.map(|(key, since)| (key.into(), if is_done { since } else { as_before(key) })).collect();
            self.file.kept.flows.insert(flow.id, KeptFlow { code: flow.code.to_string(), devices });
        }
        drop(watches);
        self.file.store();
    }

    fn tick(&self) -> Duration {
        let shortest = self.flows.iter().filter_map(|flow| Some(flow.silence.as_ref()?.after.duration())).min();
        // Without such a flow there is only the table to wait for.
        shortest.map_or(LONGEST_TICK * 720, |after| (after / 4).clamp(SHORTEST_TICK, LONGEST_TICK))
    }
}
