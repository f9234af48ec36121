//! What passes, for whoever looks on: fates of messages, and the topics that came by.
//!
//! Nothing here is ever waited for. Where nobody looks on and none are kept, a fate costs one load of an atomic number; else
//! so many are told a second and the others are counted. Topics are noticed on a thread of their own, out of batches that are shared with
//! those who work on them; when it is behind, batches go unnoticed.

mod keeper;
mod topics;

pub use keeper::FateKeeper;
pub use topics::{TopicBranch, TrafficLevel};

use crate::flows::commit::{CommitGroup, RouteDecision};
use crate::flows::dead_letters::now;
use crate::lock::lock;
use crate::traffic::topics::excerpt;
use hearthgate_domain::delivery::{InboundMessage, UnixMicros};
use hearthgate_domain::fate::{EXCERPT, FateOutcome, FateStep, MessageFate};
use hearthgate_domain::flow::Flow;
use hearthgate_mqtt::link::MessageBatch;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};
use tokio::sync::broadcast;
use topics::TopicTree;

/// Fates that a viewer may be behind.
const RING: usize = 1_024;
/// Fates that are told a second, and as many again of those that somebody should look at.
const FATES_A_SECOND: u32 = 500;
/// Good fates that are told a second to the file alone, where nobody looks on.
const KEPT_A_SECOND: u32 = 20;
/// Batches that may wait for being noticed.
const BATCHES: usize = 32;
/// Flows whose last message is known.
const MOST_FLOWS: usize = 10_000;

/// Clones are the same.
#[derive(Clone, Debug)]
pub struct TrafficTap(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    fates: broadcast::Sender<Arc<MessageFate>>,
    budget: Mutex<Budget>,
    /// One of those that look on is the file.
    is_kept: AtomicBool,
    arrived: AtomicU64,
    unnoticed: AtomicU64,
    batches: SyncSender<Arc<MessageBatch>>,
    topics: Mutex<TopicTree>,
    last: Mutex<HashMap<Arc<str>, UnixMicros>>,
}

impl Default for TrafficTap {
    fn default() -> Self {
        Self::new()
    }
}

impl TrafficTap {
    /// Of a gateway that begins; its thread ends with the last clone.
    #[must_use]
    pub fn new() -> Self {
        let (batches, waiting) = sync_channel(BATCHES);
        let inner = Arc::new(Inner {
            fates: broadcast::channel(RING).0,
            budget: Mutex::default(),
            is_kept: AtomicBool::new(false),
            arrived: AtomicU64::new(0),
            unnoticed: AtomicU64::new(0),
            batches,
            topics: Mutex::default(),
            last: Mutex::default(),
        });
        let weak = Arc::downgrade(&inner);
        let notice = move |batch: &MessageBatch| match weak.upgrade() {
            Some(inner) => inner.notice(batch),
            None => 0,
        };
        let spawned = thread::Builder::new().name("topics".into()).spawn(move || notice_all(&waiting, notice));
        if let Err(error) = spawned {
            tracing::warn!(%error, "topics go unnoticed: no thread for them");
        }
        TrafficTap(inner)
    }

    /// What is told from now on.
    #[must_use]
    pub fn watch(&self) -> broadcast::Receiver<Arc<MessageFate>> {
        self.0.fates.subscribe()
    }

    /// The same for the file of fates.
    fn keep(&self) -> broadcast::Receiver<Arc<MessageFate>> {
        self.0.is_kept.store(true, Ordering::Relaxed);
        self.watch()
    }

    /// Messages that came in.
    #[must_use]
    pub fn arrived(&self) -> u64 {
        self.0.arrived.load(Ordering::Relaxed)
    }

    /// When the last message of a flow that was done came in.
    #[must_use]
    pub fn last_of(&self, flow: &str) -> Option<UnixMicros> {
        lock(&self.0.last).get(flow).copied()
    }

    /// The topics one level below a prefix, in their order; at most so many. An empty prefix is the top.
    #[must_use]
    pub fn level(&self, under: &str, most: usize) -> TrafficLevel {
        let mut level = lock(&self.0.topics).level(under, most);
        level.unnoticed = self.0.unnoticed.load(Ordering::Relaxed);
        level
    }

    /// A batch came in.
    pub(crate) fn note_arrival(&self, batch: &Arc<MessageBatch>) {
        let count = batch.arrivals(0).count() as u64;
        self.0.arrived.fetch_add(count, Ordering::Relaxed);
        if self.0.batches.try_send(Arc::clone(batch)).is_err() {
            self.0.unnoticed.fetch_add(count, Ordering::Relaxed);
        }
    }

    pub(crate) fn note_done(&self, flow: &Arc<str>, received_at: UnixMicros) {
        let mut last = lock(&self.0.last);
        if last.len() < MOST_FLOWS || last.contains_key(flow) {
            last.insert(Arc::clone(flow), received_at);
        }
    }

    /// Whether anybody looks on, the file of fates included.
    pub(crate) fn is_watched(&self) -> bool {
        self.0.fates.receiver_count() > 0
    }

    /// What became of a group that is safe.
    pub(crate) fn tell_group(&self, group: &CommitGroup, code: impl Fn(i64) -> Option<Arc<str>>) {
        if !self.is_watched() {
            return;
        }
        for settled in group.settled() {
            let steps = || match (settled.is_repeated, settled.decisions) {
                (true, _) => vec![step(None, FateOutcome::Repeated, "", "")],
                (false, []) => vec![step(None, FateOutcome::Unwanted, "", "")],
                (false, decisions) => decisions.iter().map(|decision| decided(decision, &code)).collect(),
            };
            let is_bad = settled.decisions.iter().any(RouteDecision::is_refused);
            self.tell(is_bad, |missed| fate(settled.message, settled.seq, steps(), missed));
        }
    }

    /// What became of a message that is not in the journal.
    pub(crate) fn tell_message(&self, message: &InboundMessage, by: &str, outcome: FateOutcome, reason: &str) {
        if self.is_watched() {
            let steps = || vec![step(Some(by.into()), outcome, reason, "")];
            self.tell(outcome.is_bad(), |missed| fate(message, None, steps(), missed));
        }
    }

    /// What became later of a message in the journal.
    pub(crate) fn tell_later(&self, seq: u64, received_at: UnixMicros, flow: &str, outcome: FateOutcome, reason: &str) {
        if !self.is_watched() {
            return;
        }
        self.tell(outcome.is_bad(), |missed| MessageFate {
            seq: Some(seq),
            topic: "".into(),
            payload: Vec::new(),
            size: 0,
            qos: hearthgate_domain::delivery::QoS::AtMostOnce,
            retain: false,
            received_at,
            at: now(),
            is_later: true,
            missed,
            steps: vec![step(Some(Arc::from(flow)), outcome, reason, "")],
        });
    }

    fn tell(&self, is_bad: bool, make: impl FnOnce(u64) -> MessageFate) {
        let watchers = self.0.fates.receiver_count();
        let is_for_file_alone = watchers == 1 && self.0.is_kept.load(Ordering::Relaxed);
        let most = if is_for_file_alone && !is_bad { KEPT_A_SECOND } else { FATES_A_SECOND };
        let mut budget = lock(&self.0.budget);
        let told = budget.take(is_bad, most, Instant::now());
        if is_for_file_alone {
            // Nobody was there to miss them.
            budget.missed = 0;
        }
        drop(budget);
        let Some(missed) = told else { return };
        // Nobody there any more is no fault.
        let _ = self.0.fates.send(Arc::new(make(missed)));
    }
}

/// How many fates may be told in this second.
#[derive(Debug, Default)]
struct Budget {
    since: Option<Instant>,
    good: u32,
    bad: u32,
    missed: u64,
}

impl Budget {
    /// How many were missed before this one, if this one may be told. The many good ones never push out the few bad ones.
    fn take(&mut self, is_bad: bool, most: u32, now: Instant) -> Option<u64> {
        if self.since.is_none_or(|since| now - since >= Duration::from_secs(1)) {
            (self.since, self.good, self.bad) = (Some(now), 0, 0);
        }
        let spent = if is_bad { &mut self.bad } else { &mut self.good };
        if *spent >= most {
            self.missed += 1;
            return None;
        }
        *spent += 1;
        Some(std::mem::take(&mut self.missed))
    }
}

/// Fates are kept by number, and a topic may have 64 KiB.
fn short_topic(topic: &Arc<str>) -> Arc<str> {
    match topic.len() > EXCERPT {
        true => format!("{}…", &topic[..topic.floor_char_boundary(EXCERPT)]).into(),
        false => Arc::clone(topic),
    }
}

fn fate(message: &InboundMessage, seq: Option<u64>, steps: Vec<FateStep>, missed: u64) -> MessageFate {
    MessageFate {
        seq,
        topic: short_topic(&message.topic),
        payload: excerpt(&message.payload, EXCERPT).to_vec(),
        size: message.payload.len(),
        qos: message.qos,
        retain: message.retain,
        received_at: message.received_at,
        at: now(),
        is_later: false,
        missed,
        steps,
    }
}

fn decided(decision: &RouteDecision, code: &impl Fn(i64) -> Option<Arc<str>>) -> FateStep {
    match decision {
        RouteDecision::Accepted(flow) => step(Some(Arc::clone(&flow.code)), FateOutcome::Accepted, "", ""),
        RouteDecision::KeptBack => step(None, FateOutcome::KeptBack, "", ""),
        RouteDecision::Skipped { flow_id, reason } => step(code(*flow_id), FateOutcome::KeptBack, reason, ""),
        RouteDecision::Element { decision, .. } => decided(decision, code),
        RouteDecision::Refused { flow_id, reason, pointer } => {
            step(flow_id.and_then(code), FateOutcome::Refused, reason, pointer)
        }
    }
}

fn step(flow: Option<Arc<str>>, outcome: FateOutcome, reason: &str, pointer: &str) -> FateStep {
    FateStep { flow, outcome, reason: reason.to_owned(), pointer: pointer.to_owned() }
}

/// The code of a flow out of the flows as they are.
pub(crate) fn code_of(flows: &hearthgate_domain::routing::RoutingTable, id: i64) -> Option<Arc<str>> {
    flows.flow(id).map(|flow: &Arc<Flow>| Arc::clone(&flow.code))
}

fn notice_all(batches: &Receiver<Arc<MessageBatch>>, notice: impl Fn(&MessageBatch) -> u64) {
    for batch in batches {
        notice(&batch);
    }
}

impl Inner {
    fn notice(&self, batch: &MessageBatch) -> u64 {
        let mut topics = lock(&self.topics);
        let unnoticed = batch.arrivals(0).filter(|(_, message)| !topics.note(message)).count() as u64;
        self.unnoticed.fetch_add(unnoticed, Ordering::Relaxed);
        unnoticed
    }
}

#[cfg(test)]
mod tests {
    use super::topics::tests::message;
    use super::*;

    #[test]
    fn the_many_good_do_not_push_out_the_few_bad_and_what_is_left_out_is_counted() {
        let mut budget = Budget::default();
        let now = Instant::now();
        let told = (0..2_000).filter(|_| budget.take(false, FATES_A_SECOND, now).is_some()).count();
        assert_eq!(told, FATES_A_SECOND as usize);
        assert_eq!(budget.take(true, FATES_A_SECOND, now), Some(2_000 - u64::from(FATES_A_SECOND)));
        assert_eq!(budget.take(false, FATES_A_SECOND, now + Duration::from_secs(1)), Some(0));
    }

    #[test]
    fn a_slow_viewer_is_not_waited_for_and_without_one_nothing_is_made() {
        let traffic = TrafficTap::new();
        assert!(!traffic.is_watched());
        let mut viewer = traffic.watch();
        for _ in 0..400 {
            traffic.tell_message(&message("a", "b"), "mapper", FateOutcome::Accepted, "");
        }
        let first = viewer.try_recv().expect("it is told");
        assert_eq!((&*first.topic, first.size), ("a", 1));
        drop(viewer);
        assert!(!traffic.is_watched());
    }

    #[test]
    fn an_excerpt_of_text_ends_with_a_whole_character() {
        assert_eq!(excerpt("aé".as_bytes(), 2), b"a");
        assert_eq!(excerpt(&[0xff, 0xfe, 0xfd], 2), &[0xff, 0xfe]);
    }

    #[test]
    fn what_the_file_alone_left_out_no_later_viewer_has_missed() {
        let traffic = TrafficTap::new();
        let mut file = traffic.keep();
        let tell = || traffic.tell_message(&message("a", "b"), "mapper", FateOutcome::Accepted, "");
        (0..100).for_each(|_| tell());
        assert!(file.len() <= 2 * KEPT_A_SECOND as usize, "{}", file.len());
        let mut viewer = traffic.watch();
        tell();
        assert_eq!(viewer.try_recv().expect("it is told").missed, 0);
        assert!(file.try_recv().is_ok());
    }
}
