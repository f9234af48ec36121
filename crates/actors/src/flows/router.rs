//! FlowRouterActor: finds each message's flows, checks it against their schemas, and makes it durable before it is settled.
//!
//! While one group of messages is being written by a blocking job at the [`JournalCommitter`], the next is prepared: no linger, and
//! the busier it gets the larger the groups are.

use crate::condition::Condition;
use crate::flows::commit::JournalCommitter;
use crate::flows::commit::{CommitGroup, CommitOutcome, RouteDecision};
use crate::flows::decision::decide;
use crate::flows::refusal::ReplayRefusal;
use crate::flows::silence::SilenceBoard;
use crate::flows::{dead_letters, poster, unsent};
use crate::in_hand::{HARMLESS, InHand, MarkHolder, MessageMark};
use crate::lock::lock;
use crate::messages::{
    AcknowledgementsSent, ArrivalConsumer, ConsumerStarted, KeepNotices, MessagesArrived, MessagesSettled,
    ReplaceFlows, RouteAgain,
};
use crate::metrics::{CountedOutcome, MetricCounter};
use crate::mqtt::progress::{BatchAdmission, ConsumerProgress};
use crate::mqtt::subscription_ids::SubscriptionRegistry;
use crate::poison::{PoisonKey, PoisonMessages};
use crate::traffic::{self, TrafficTap};
use actix::prelude::*;
use hearthgate_domain::delivery::{InboundMessage, QoS, SubscriptionIds};
use hearthgate_domain::flow::Flow;
use hearthgate_domain::routing::RoutingTable;
use hearthgate_domain::topic::TopicFilter;
use hearthgate_mqtt::link::{DeliveryTag, LinkSubscription, MessageBatch, subscription_identifier};
use hearthgate_storage::dead_letters::{DeadLetters, NewDeadLetter};
use hearthgate_storage::journal::{JournalError, content_hash};
use hearthgate_supervision::{ActorExit, ActorFailure};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;
use tracing::{error, info, warn};

/// Time between attempts to write to a journal that is full or has no room on its disk.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// What a message is known by, whoever sends it and however often.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Content(u64);

impl PoisonKey for Content {
    fn mark(&self) -> MessageMark {
        (self.0, 0)
    }

    fn of_mark((hash, _): MessageMark) -> Option<Self> {
        Some(Content(hash))
    }
}

/// What the actor works with.
pub struct RouterDeps {
    /// Where messages become durable.
    pub desk: Arc<Mutex<JournalCommitter>>,
    /// The flows, shared with those who act on them.
    pub table: watch::Sender<Arc<RoutingTable>>,
    /// Where progress is reported.
    pub settled: Recipient<MessagesSettled>,
    /// Where filters are announced.
    pub wanted: Recipient<ConsumerStarted>,
    /// What has been taken in; shared by the incarnations.
    pub progress: Arc<ConsumerProgress>,
    /// Why nothing can be written, for readiness; empty when all is well.
    pub trouble: Condition,
    /// Where messages go for which the journal has no room.
    pub letters: DeadLetters,
    /// Whether these are all new ones while it is full.
    pub rejects: bool,
    /// The filters of the interfaces.
    pub interests: Arc<SubscriptionRegistry>,
    /// Our place among several gateways.
    pub sharing: FlowSharing,
    /// Where it is told what became of messages.
    pub traffic: TrafficTap,
    /// Where it is written down who is heard.
    pub silence: Arc<SilenceBoard>,
    /// What ended the process before.
    pub in_hand: Arc<InHand>,
}

/// Whether several gateways share the flows' messages.
#[derive(Clone, Debug, Default)]
pub struct FlowSharing {
    /// The group of the shared subscriptions (MQTT 5, section 4.8.2).
    pub group: Option<String>,
    /// Nothing more is subscribed to; what the broker still holds for us is taken in.
    pub is_leaving: bool,
}

impl FlowSharing {
    /// The filter to subscribe to, for a flow's.
    fn filter(&self, filter: &TopicFilter) -> String {
        match &self.group {
            Some(group) => format!("$share/{group}/{filter}"),
            None => filter.as_str().to_owned(),
        }
    }
}

/// See the module.
pub struct FlowRouterActor {
    deps: RouterDeps,
    exit: ActorExit,
    /// What is prepared while a job writes.
    group: CommitGroup,
    writing: bool,
    /// Whether the flows are known. Before that nothing is taken: a message would find no flow and be let go.
    has_flows: bool,
    confirmed: Option<DeliveryTag>,
    found: Vec<Arc<Flow>>,
    /// By which subscription each flow gets its messages, by its number.
    identifiers: HashMap<i64, u32>,
    /// All of these.
    wanted: HashSet<u32>,
    counters: Counters,
    /// Messages with which processes have ended.
    deaths: PoisonMessages<Content>,
}

struct Counters {
    journaled: MetricCounter,
    redelivered: MetricCounter,
    kept_back: MetricCounter,
    empty: MetricCounter,
    refused: MetricCounter,
    skipped: MetricCounter,
    dropped: MetricCounter,
}

impl FlowRouterActor {
    /// An actor that routes by the table in `deps`.
    #[must_use]
    pub fn new(deps: RouterDeps, exit: ActorExit) -> Self {
        let counters = Counters {
            journaled: MetricCounter::journal(CountedOutcome::Ok),
            redelivered: MetricCounter::journal(CountedOutcome::Redelivered),
            kept_back: MetricCounter::journal(CountedOutcome::KeptBack),
            empty: MetricCounter::journal(CountedOutcome::Empty),
            refused: MetricCounter::journal(CountedOutcome::Refused),
            skipped: MetricCounter::journal(CountedOutcome::Skipped),
            dropped: MetricCounter::journal(CountedOutcome::Dropped),
        };
        let found = Vec::new();
        let deaths = PoisonMessages::of_process(Arc::clone(&deps.in_hand), MarkHolder::Router);
        FlowRouterActor {
            deps,
            exit,
            group: CommitGroup::default(),
            writing: false,
            has_flows: false,
            confirmed: None,
            found,
            identifiers: HashMap::new(),
            wanted: HashSet::new(),
            counters,
            deaths,
        }
    }

    /// What the found flows make of a message; it may be the one with which processes end.
    fn decide(&self, message: &InboundMessage) -> Vec<RouteDecision> {
        if message.payload.len() <= HARMLESS {
            return decide(message, &self.found);
        }
        let content = Content(content_hash(&message.topic, &message.payload));
        if self.deaths.is_deadly(content) {
            let reason = "the gateway has ended twice while it read this message".to_owned();
            error!(topic = %message.topic, reason, "dead letter");
            return vec![RouteDecision::Refused { flow_id: None, reason, pointer: String::new() }];
        }
        let decisions = self.deaths.hold(content, || decide(message, &self.found));
        self.deaths.acquit(|suspect| *suspect == content);
        decisions
    }

    /// Keeps those of the found flows that this copy of the message is for.
    fn keep_addressed(&mut self, via: &SubscriptionIds) {
        if *via == SubscriptionIds::Any {
            return;
        }
        let identifiers = &self.identifiers;
        let is_for = |flow: &Arc<Flow>| identifiers.get(&flow.id).is_some_and(|identifier| via.includes(*identifier));
        if self.found.iter().any(is_for) {
            self.found.retain(is_for);
        } else if !self.found.is_empty() {
            // Another flow's, an interface's, or of a filter that is no longer wanted: only the last is for all of them.
            let is_flows = via.identifiers().iter().any(|identifier| self.wanted.contains(identifier));
            if is_flows || self.deps.interests.include(via) {
                self.found.clear();
            }
        }
    }

    fn route(&mut self, batch: &Arc<MessageBatch>, from: usize) {
        let table = Arc::clone(&self.deps.table.borrow());
        for (index, message) in batch.messages.iter().enumerate().skip(from) {
            if let Some(reason) = &message.unusable {
                warn!(topic = %message.topic, %reason, "dead letter");
                self.counters.refused.add(1);
                let reason = reason.to_string();
                self.group.push(index, [RouteDecision::Refused { flow_id: None, reason, pointer: String::new() }]);
                continue;
            }
            if message.is_release {
                self.group.push_release(index);
                continue;
            }
            table.matching(&message.topic, &mut self.found);
            self.keep_addressed(&message.via);
            // A retained message was removed (MQTT 3.1.1, section 3.3.1.3): nothing to store, and nothing is wrong.
            if message.payload.is_empty() && !self.found.is_empty() {
                self.counters.empty.add(1);
                self.found.clear();
            }
            if self.found.is_empty() {
                if message.origin.is_some() {
                    self.group.push(index, []);
                }
                continue;
            }
            let ticket = DeliveryTag { connection: batch.first.connection, number: batch.first.number + index as u64 };
            if self.deps.progress.is_deadly(ticket) {
                let reason = "this message has stopped the router twice".to_owned();
                error!(topic = %message.topic, reason, "dead letter");
                self.group.push(index, [RouteDecision::Refused { flow_id: None, reason, pointer: String::new() }]);
                continue;
            }
            self.deps.progress.taking(ticket.number);
            #[cfg(feature = "fault-injection")]
            assert!(!message.topic.ends_with("/fault/router"), "injected by the topic");
            let decisions = self.decide(message);
            let count = |is_it: fn(&RouteDecision) -> bool| decisions.iter().filter(|one| is_it(one)).count() as u64;
            self.counters.refused.add(count(RouteDecision::is_refused));
            self.counters.skipped.add(count(|decision| matches!(decision, RouteDecision::Skipped { .. })));
            self.deps.silence.hear(message, &decisions);
            self.group.push(index, decisions);
        }
    }

    /// Starts a job for what is prepared, unless one runs.
    fn write(&mut self, ctx: &mut Context<Self>) {
        if self.writing || (self.group.is_empty() && self.confirmed.is_none()) {
            return;
        }
        self.writing = true;
        let mut group = std::mem::take(&mut self.group);
        // Nothing of it goes to the journal: that takes no time, and another thread would take some.
        let desk = Arc::clone(&self.deps.desk);
        if self.confirmed.is_none()
            && !group.needs_journal()
            && let Ok(mut free) = desk.try_lock()
        {
            let end = free.write(&mut group);
            drop(free);
            return match end {
                Ok(written) => self.on_written(&group, &written, ctx),
                Err(reason) => self.on_trouble(group, &reason, ctx),
            };
        }
        self.write_group(group, ctx);
    }

    fn write_group(&mut self, mut group: CommitGroup, ctx: &mut Context<Self>) {
        let desk = Arc::clone(&self.deps.desk);
        let confirmed = self.confirmed.take();
        let job = tokio::task::spawn_blocking(move || {
            let mut desk = lock(&desk);
            if let Some(ticket) = confirmed {
                desk.confirm(ticket);
            }
            if group.is_empty() {
                let kept = desk.keep_settled();
                return (group, kept.map(|()| CommitOutcome::default()));
            }
            let written = desk.write(&mut group);
            (group, written)
        });
        ctx.spawn(job.into_actor(self).map(|end, act, ctx| match end {
            Ok((group, Ok(written))) => act.on_written(&group, &written, ctx),
            Ok((group, Err(reason))) => act.on_trouble(group, &reason, ctx),
            Err(panicked) => act.exit.fail(ctx, ActorFailure::bug(format_args!("writing to the journal: {panicked}"))),
        }));
    }

    fn on_written(&mut self, group: &CommitGroup, written: &CommitOutcome, ctx: &mut Context<Self>) {
        if let Some(lasted) = self.deps.trouble.clear() {
            info!("the journal takes messages again after {lasted}");
        }
        self.counters.journaled.add(written.appended as u64);
        self.counters.redelivered.add(written.redelivered as u64);
        self.counters.kept_back.add(written.kept_back as u64);
        for dropped in &written.dropped {
            let count = dropped.seqs.end - dropped.seqs.start;
            self.counters.dropped.add(count);
            error!(count, consumers = ?dropped.unreleased, "the journal is full: its oldest messages were dropped");
        }
        self.writing = false;
        let table = Arc::clone(&self.deps.table.borrow());
        self.deps.traffic.tell_group(group, |id| traffic::code_of(&table, id));
        if !group.is_empty() {
            self.settle(ctx);
        }
        self.write(ctx);
    }

    /// Nothing is settled meanwhile, so the broker keeps what comes, and nothing is lost.
    fn on_trouble(&mut self, group: CommitGroup, reason: &JournalError, ctx: &mut Context<Self>) {
        let is_full = matches!(reason, JournalError::Full { .. });
        let text = match is_full {
            true => format!("{reason}; {}", self.holders()),
            false => reason.to_string(),
        };
        let was_well = self.deps.trouble.reason().is_empty();
        // How much each holds changes with each attempt.
        if self.deps.trouble.is_news(&text) && (was_well || !is_full) {
            error!(reason = %text, "messages wait: they can not be written to the journal");
        }
        match reason {
            JournalError::Full { .. } if self.deps.rejects => self.refuse(group, usize::MAX, &text, ctx),
            // It never can be written, whoever waits.
            JournalError::TooLarge { .. } => self.refuse(group, 1, &text, ctx),
            JournalError::Full { .. }
            | JournalError::NoSpace { .. }
            | JournalError::SyncFailed { .. }
            | JournalError::Io { .. } => {
                ctx.run_later(RETRY_PAUSE, move |act, ctx| act.write_group(group, ctx));
            }
            _ => self.exit.fail(ctx, ActorFailure::resource(text)),
        }
    }

    /// Who has not released how much of a full journal.
    fn holders(&self) -> String {
        let usage = lock(&self.deps.desk).usage();
        let table = self.deps.table.borrow();
        let mut waiting: Vec<_> = usage.consumers.iter().filter(|consumer| consumer.lag > 0).collect();
        waiting.sort_by_key(|consumer| std::cmp::Reverse(consumer.lag));
        let name = |name: &str| match poster::flow_of_lane(name).and_then(|flow_id| table.code(flow_id)) {
            Some(code) => format!("deliveries of {code}"),
            None => name.to_owned(),
        };
        let shown = waiting.iter().take(3).map(|one| format!("{} ({} entries)", name(&one.name), one.lag));
        format!("waiting: {}", shown.collect::<Vec<_>>().join(", "))
    }

    /// The next messages of a group, for which the journal has no room, become dead letters at once, and are settled.
    fn refuse(&mut self, mut group: CommitGroup, count: usize, reason: &str, ctx: &mut Context<Self>) {
        let to = self.deps.letters.clone();
        let journal = lock(&self.deps.desk).journal_id();
        let table = Arc::clone(&self.deps.table.borrow());
        let letter = |message, decision| dead_letters::not_journaled(journal, &table, message, decision, reason);
        let refused: Vec<NewDeadLetter> = group
            .left(count)
            .flat_map(|(message, decisions)| decisions.iter().filter_map(move |decision| letter(message, decision)))
            .collect();
        let keep = async move { dead_letters::keep(&to, &refused).await.map(|()| refused.len()) };
        ctx.spawn(keep.into_actor(self).map(move |kept, act, ctx| match kept {
            Ok(kept) => {
                act.counters.refused.add(kept as u64);
                let is_all = lock(&act.deps.desk).refuse(&mut group, count);
                if !is_all {
                    return act.write_group(group, ctx);
                }
                act.writing = false;
                act.settle(ctx);
                act.write(ctx);
            }
            Err(reason) => {
                error!(%reason, "messages wait: the journal can not take them, nor can they be kept as dead letters");
                ctx.run_later(RETRY_PAUSE, move |act, ctx| act.write_group(group, ctx));
            }
        }));
    }

    fn settle(&self, ctx: &mut Context<Self>) {
        let through = lock(&self.deps.desk).safe();
        if self.deps.settled.try_send(MessagesSettled { by: ArrivalConsumer::Router, through }).is_err() {
            ctx.run_later(Duration::from_millis(5), |act, ctx| act.settle(ctx));
        }
    }

    fn announce(&self, send_again: bool, ctx: &mut Context<Self>) {
        let table = Arc::clone(&self.deps.table.borrow());
        let FlowSharing { is_leaving, .. } = self.deps.sharing;
        let subscription =
            |filter| LinkSubscription { filter: self.deps.sharing.filter(filter), qos: QoS::ExactlyOnce };
        let filters = table.filters().filter(|_| !is_leaving).map(subscription).collect();
        if self.deps.wanted.try_send(ConsumerStarted { by: ArrivalConsumer::Router, filters, send_again }).is_err() {
            ctx.run_later(Duration::from_millis(50), move |act, ctx| act.announce(send_again, ctx));
        }
    }
}

impl Actor for FlowRouterActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.deps.progress.restarted();
        self.group = CommitGroup::default();
        self.writing = false;
        // A job of the incarnation before may still be writing; its end decides from where on we take messages.
        let desk = Arc::clone(&self.deps.desk);
        let safe = tokio::task::spawn_blocking(move || lock(&desk).begin_anew());
        ctx.wait(safe.into_actor(self).map(|safe, act, ctx| match safe {
            Ok(safe) => {
                act.deps.progress.rewind(safe);
                if act.has_flows {
                    act.announce(true, ctx);
                }
            }
            Err(panicked) => act.exit.fail(ctx, ActorFailure::bug(panicked)),
        }));
    }
}

impl Supervised for FlowRouterActor {}

impl Handler<MessagesArrived> for FlowRouterActor {
    type Result = ();

    fn handle(&mut self, MessagesArrived(batch): MessagesArrived, ctx: &mut Self::Context) {
        if !self.has_flows {
            return; // it is sent again when we say what we want
        }
        match self.deps.progress.admit(&batch) {
            BatchAdmission::From(index) => {
                self.route(&batch, index);
                self.deps.progress.advance(batch.last());
                self.group.close_batch(batch, index);
                self.write(ctx);
            }
            BatchAdmission::Duplicate | BatchAdmission::Gap => {
                if !self.writing {
                    self.settle(ctx);
                }
            }
        }
    }
}

impl Handler<KeepNotices> for FlowRouterActor {
    type Result = ResponseFuture<Result<(), ReplayRefusal>>;

    fn handle(&mut self, KeepNotices(notices): KeepNotices, _: &mut Self::Context) -> Self::Result {
        let table = Arc::clone(&self.deps.table.borrow());
        let desk = Arc::clone(&self.deps.desk);
        Box::pin(async move {
            let job = tokio::task::spawn_blocking(move || unsent::keep_notices(&desk, &table, &notices));
            job.await.map_err(|panicked| ReplayRefusal::Panicked(panicked.to_string()))?
        })
    }
}

impl Handler<RouteAgain> for FlowRouterActor {
    type Result = ResponseFuture<Result<usize, ReplayRefusal>>;

    fn handle(&mut self, RouteAgain(letter): RouteAgain, _: &mut Self::Context) -> Self::Result {
        let table = Arc::clone(&self.deps.table.borrow());
        let desk = Arc::clone(&self.deps.desk);
        let journaled = self.counters.journaled.clone();
        Box::pin(async move {
            let (message, decisions) = replayed(letter.clone(), &table)?;
            let accepted = decisions.iter().filter(|decision| decision.is_accepted()).count();
            let job = tokio::task::spawn_blocking(move || lock(&desk).write_again(&message, &decisions, letter.part));
            job.await.map_err(|panicked| ReplayRefusal::Panicked(panicked.to_string()))??;
            journaled.add(1);
            Ok(accepted)
        })
    }
}

/// The message of a dead letter, with what its flows, or the one flow that it is of, say to it now.
///
/// # Errors
/// No flow takes it, and why.
fn replayed(
    letter: NewDeadLetter,
    table: &RoutingTable,
) -> Result<(InboundMessage, Vec<RouteDecision>), ReplayRefusal> {
    let mut found = Vec::new();
    table.matching(&letter.topic, &mut found);
    found.extend(table.own().iter().filter(|flow| flow.topic.filter().as_str() == letter.topic).cloned());
    if let Some(code) = &letter.flow_code {
        found.retain(|flow| *flow.code == **code);
    }
    if found.is_empty() {
        return Err(ReplayRefusal::NobodyListens { flow: letter.flow_code, topic: letter.topic });
    }
    if let Some(part) = letter.part
        && let Some(reason) = found.iter().find_map(|flow| dead_letters::lacks(flow, part))
    {
        return Err(ReplayRefusal::ActionRemoved(reason));
    }
    let message = unsent::message(&letter.topic, letter.payload, letter.received_at);
    let decisions = decide(&message, &found);
    if decisions.iter().any(RouteDecision::is_accepted) {
        return Ok((message, decisions));
    }
    let reasons = decisions
        .into_iter()
        .filter_map(|decision| match decision {
            RouteDecision::Refused { reason, .. } | RouteDecision::Skipped { reason, .. } => Some(reason),
            RouteDecision::Accepted(_) | RouteDecision::KeptBack | RouteDecision::Element { .. } => None,
        })
        .collect();
    Err(ReplayRefusal::RefusedAgain(reasons))
}

impl Handler<AcknowledgementsSent> for FlowRouterActor {
    type Result = ();

    fn handle(&mut self, AcknowledgementsSent(ticket): AcknowledgementsSent, ctx: &mut Self::Context) {
        self.confirmed = Some(ticket);
        self.write(ctx);
    }
}

impl Handler<ReplaceFlows> for FlowRouterActor {
    type Result = ();

    fn handle(&mut self, ReplaceFlows(table): ReplaceFlows, ctx: &mut Self::Context) {
        let identifier = |flow: &Arc<Flow>| subscription_identifier(&self.deps.sharing.filter(flow.topic.filter()));
        self.identifiers = table.flows().iter().map(|flow| (flow.id, identifier(flow))).collect();
        self.wanted = self.identifiers.values().copied().collect();
        self.deps.table.send_replace(table);
        let is_first = !std::mem::replace(&mut self.has_flows, true);
        self.announce(is_first, ctx);
    }
}
