//! What passes, for whoever looks on: fates of messages, and the topics that came by.
//!
//! Nothing here is ever waited for. Without a viewer a fate costs one load of an atomic number; with one, so many are told
//! a second and the others are counted. Topics are noticed on a thread of their own, out of batches that are shared with
//! those who work on them; when it is behind, batches go unnoticed.

use crate::flows::commit::{Decision, Group};
use crate::flows::dead_letters::now;
use hearthgate_domain::delivery::{Inbound, Micros};
use hearthgate_domain::fate::{EXCERPT, Fate, Outcome, Step};
use hearthgate_domain::flow::Flow;
use hearthgate_mqtt::link::Batch;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use tokio::sync::broadcast;

/// Fates that a viewer may be behind.
const RING: usize = 1_024;
/// Fates that are told a second, and as many again of those that somebody should look at.
const FATES_A_SECOND: u32 = 500;
/// Batches that may wait for being noticed.
const BATCHES: usize = 32;
/// Topics that are known at a time, and what they may take in bytes.
const MOST_TOPICS: usize = 100_000;
const MOST_BYTES: usize = 48 << 20;
/// Bytes of a topic's last payload, and numbers of it, that are kept.
const LAST: usize = 128;
const NUMBERS: usize = 16;
/// What an entry takes beyond its texts.
const OVERHEAD: usize = 200;
/// Flows whose last message is known.
const MOST_FLOWS: usize = 10_000;

/// Clones are the same.
#[derive(Clone, Debug)]
pub struct Traffic(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    fates: broadcast::Sender<Arc<Fate>>,
    budget: Mutex<Budget>,
    arrived: AtomicU64,
    unnoticed: AtomicU64,
    batches: SyncSender<Arc<Batch>>,
    topics: Mutex<Topics>,
    last: Mutex<HashMap<Arc<str>, Micros>>,
}

impl Default for Traffic {
    fn default() -> Self {
        Self::new()
    }
}

impl Traffic {
    /// Of a gateway that begins; its thread ends with the last clone.
    #[must_use]
    pub fn new() -> Self {
        let (batches, waiting) = sync_channel(BATCHES);
        let inner = Arc::new(Inner {
            fates: broadcast::channel(RING).0,
            budget: Mutex::default(),
            arrived: AtomicU64::new(0),
            unnoticed: AtomicU64::new(0),
            batches,
            topics: Mutex::default(),
            last: Mutex::default(),
        });
        let weak = Arc::downgrade(&inner);
        let notice = move |batch: &Batch| match weak.upgrade() {
            Some(inner) => inner.notice(batch),
            None => 0,
        };
        let spawned = thread::Builder::new().name("topics".into()).spawn(move || notice_all(&waiting, notice));
        if let Err(error) = spawned {
            tracing::warn!(%error, "topics go unnoticed: no thread for them");
        }
        Traffic(inner)
    }

    /// What is told from now on.
    #[must_use]
    pub fn watch(&self) -> broadcast::Receiver<Arc<Fate>> {
        self.0.fates.subscribe()
    }

    /// Messages that came in.
    #[must_use]
    pub fn arrived(&self) -> u64 {
        self.0.arrived.load(Ordering::Relaxed)
    }

    /// When the last message of a flow that was done came in.
    #[must_use]
    pub fn last_of(&self, flow: &str) -> Option<Micros> {
        lock(&self.0.last).get(flow).copied()
    }

    /// The topics one level below a prefix, in their order; at most so many. An empty prefix is the top.
    #[must_use]
    pub fn level(&self, under: &str, most: usize) -> Level {
        let mut level = lock(&self.0.topics).level(under, most);
        level.unnoticed = self.0.unnoticed.load(Ordering::Relaxed);
        level
    }

    /// A batch came in.
    pub(crate) fn note_arrival(&self, batch: &Arc<Batch>) {
        let count = batch.messages.len() as u64;
        self.0.arrived.fetch_add(count, Ordering::Relaxed);
        if self.0.batches.try_send(Arc::clone(batch)).is_err() {
            self.0.unnoticed.fetch_add(count, Ordering::Relaxed);
        }
    }

    pub(crate) fn note_done(&self, flow: &Arc<str>, received_at: Micros) {
        let mut last = lock(&self.0.last);
        if last.len() < MOST_FLOWS || last.contains_key(flow) {
            last.insert(Arc::clone(flow), received_at);
        }
    }

    /// Whether anybody looks on.
    pub(crate) fn is_watched(&self) -> bool {
        self.0.fates.receiver_count() > 0
    }

    /// What became of a group that is safe.
    pub(crate) fn tell_group(&self, group: &Group, code: impl Fn(i64) -> Option<Arc<str>>) {
        if !self.is_watched() {
            return;
        }
        for settled in group.settled() {
            let steps = || match (settled.is_repeated, settled.decisions) {
                (true, _) => vec![step(None, Outcome::Repeated, "", "")],
                (false, []) => vec![step(None, Outcome::Unwanted, "", "")],
                (false, decisions) => decisions.iter().map(|decision| decided(decision, &code)).collect(),
            };
            let is_bad = settled.decisions.iter().any(|decision| matches!(decision, Decision::Refused { .. }));
            self.tell(is_bad, |missed| fate(settled.message, settled.seq, steps(), missed));
        }
    }

    /// What became of a message that is not in the journal.
    pub(crate) fn tell_message(&self, message: &Inbound, by: &str, outcome: Outcome, reason: &str) {
        if self.is_watched() {
            let steps = || vec![step(Some(by.into()), outcome, reason, "")];
            self.tell(outcome.is_bad(), |missed| fate(message, None, steps(), missed));
        }
    }

    /// What became later of a message in the journal.
    pub(crate) fn tell_later(&self, seq: u64, received_at: Micros, flow: &str, outcome: Outcome, reason: &str) {
        if !self.is_watched() {
            return;
        }
        self.tell(outcome.is_bad(), |missed| Fate {
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

    fn tell(&self, is_bad: bool, make: impl FnOnce(u64) -> Fate) {
        let Some(missed) = lock(&self.0.budget).take(is_bad, Instant::now()) else { return };
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
    fn take(&mut self, is_bad: bool, now: Instant) -> Option<u64> {
        if self.since.is_none_or(|since| now - since >= Duration::from_secs(1)) {
            (self.since, self.good, self.bad) = (Some(now), 0, 0);
        }
        let spent = if is_bad { &mut self.bad } else { &mut self.good };
        if *spent >= FATES_A_SECOND {
            self.missed += 1;
            return None;
        }
        *spent += 1;
        Some(std::mem::take(&mut self.missed))
    }
}

fn fate(message: &Inbound, seq: Option<u64>, steps: Vec<Step>, missed: u64) -> Fate {
    Fate {
        seq,
        topic: Arc::clone(&message.topic),
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

fn decided(decision: &Decision, code: &impl Fn(i64) -> Option<Arc<str>>) -> Step {
    match decision {
        Decision::Accepted(flow) => step(Some(Arc::clone(&flow.code)), Outcome::Accepted, "", ""),
        Decision::KeptBack => step(None, Outcome::KeptBack, "", ""),
        Decision::Refused { flow_id, reason, pointer } => {
            step(flow_id.and_then(code), Outcome::Refused, reason, pointer)
        }
    }
}

fn step(flow: Option<Arc<str>>, outcome: Outcome, reason: &str, pointer: &str) -> Step {
    Step { flow, outcome, reason: reason.to_owned(), pointer: pointer.to_owned() }
}

/// The code of a flow out of the flows as they are.
pub(crate) fn code_of(flows: &hearthgate_domain::routing::RoutingTable, id: i64) -> Option<Arc<str>> {
    flows.flow(id).map(|flow: &Arc<Flow>| Arc::clone(&flow.code))
}

/// The first bytes; of text, whole characters.
fn excerpt(payload: &[u8], most: usize) -> &[u8] {
    if payload.len() <= most {
        return payload;
    }
    let cut = &payload[..most];
    match std::str::from_utf8(cut) {
        Err(error) if error.error_len().is_none() => &cut[..error.valid_up_to()],
        _ => cut,
    }
}

fn notice_all(batches: &Receiver<Arc<Batch>>, notice: impl Fn(&Batch) -> u64) {
    for batch in batches {
        notice(&batch);
    }
}

impl Inner {
    fn notice(&self, batch: &Batch) -> u64 {
        let mut topics = lock(&self.topics);
        let unnoticed = batch.messages.iter().filter(|message| !topics.note(message)).count() as u64;
        self.unnoticed.fetch_add(unnoticed, Ordering::Relaxed);
        unnoticed
    }
}

#[derive(Debug, Default)]
struct Topics {
    known: BTreeMap<Arc<str>, Topic>,
    bytes: usize,
}

#[derive(Debug)]
struct Topic {
    messages: u64,
    last_at: Micros,
    last: Vec<u8>,
    is_retained: bool,
    numbers: Vec<f32>,
}

/// One level of the tree.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Level {
    /// In the order of their names.
    pub branches: Vec<Branch>,
    /// How many more there are.
    pub left_out: u64,
    /// Topics that are known in all.
    pub known: u64,
    /// Messages that were not noticed.
    pub unnoticed: u64,
}

/// A topic, a prefix of topics, or both.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Branch {
    /// The level's name.
    pub name: String,
    /// Topics below it.
    pub children: u64,
    /// Messages on it and below.
    pub messages: u64,
    /// When the last of them came in.
    pub last_at: Micros,
    /// The first bytes of the last payload on exactly this topic.
    pub last: Option<Vec<u8>>,
    /// That was a retained message.
    pub is_retained: bool,
    /// The last numbers on exactly this topic.
    pub numbers: Vec<f32>,
}

impl Topics {
    /// Whether there was room for its topic.
    fn note(&mut self, message: &Inbound) -> bool {
        let excerpt = excerpt(&message.payload, LAST);
        let topic = match self.known.get_mut(&message.topic) {
            Some(topic) => topic,
            None => {
                let size = message.topic.len() + LAST + NUMBERS * 4 + OVERHEAD;
                if self.known.len() >= MOST_TOPICS || self.bytes + size > MOST_BYTES {
                    return false;
                }
                self.bytes += size;
                let new = Topic { messages: 0, last_at: 0, last: Vec::new(), is_retained: false, numbers: Vec::new() };
                // A text of its own: the message's may be part of something large.
                self.known.entry(Arc::from(&*message.topic)).or_insert(new)
            }
        };
        topic.messages += 1;
        topic.last_at = message.received_at;
        topic.is_retained = message.retain;
        topic.last.clear();
        topic.last.extend_from_slice(excerpt);
        if let Some(number) = std::str::from_utf8(excerpt).ok().and_then(|text| text.trim().parse::<f32>().ok())
            && number.is_finite()
        {
            if topic.numbers.len() >= NUMBERS {
                topic.numbers.remove(0);
            }
            topic.numbers.push(number);
        }
        true
    }

    fn level(&self, under: &str, most: usize) -> Level {
        let prefix = if under.is_empty() { String::new() } else { format!("{under}/") };
        let mut level = Level { known: self.known.len() as u64, ..Level::default() };
        let mut names: HashMap<&str, usize> = HashMap::new();
        for (topic, entry) in self.known.range(Arc::<str>::from(&*prefix)..) {
            let Some(rest) = topic.strip_prefix(&*prefix) else { break };
            let (name, is_below) = rest.split_once('/').map_or((rest, false), |(name, _)| (name, true));
            let place = match names.get(name) {
                Some(place) => *place,
                None if level.branches.len() >= most => {
                    names.insert(name, usize::MAX);
                    level.left_out += 1;
                    continue;
                }
                None => {
                    names.insert(name, level.branches.len());
                    level.branches.push(Branch { name: name.to_owned(), ..Branch::default() });
                    level.branches.len() - 1
                }
            };
            let Some(branch) = level.branches.get_mut(place) else { continue };
            branch.messages += entry.messages;
            branch.last_at = branch.last_at.max(entry.last_at);
            if is_below {
                branch.children += 1;
            } else {
                branch.last = Some(entry.last.clone());
                branch.is_retained = entry.is_retained;
                branch.numbers.clone_from(&entry.numbers);
            }
        }
        level.branches.sort_by(|a, b| a.name.cmp(&b.name));
        level
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hearthgate_domain::delivery::{QoS, Via};

    fn message(topic: &str, payload: &str) -> Inbound {
        Inbound {
            topic: topic.into(),
            payload: payload.to_owned().into(),
            qos: QoS::AtLeastOnce,
            retain: false,
            received_at: 1,
            origin: None,
            via: Via::Any,
            unusable: None,
            kept_since: None,
        }
    }

    #[test]
    fn topics_are_a_tree_with_last_values_and_there_are_never_too_many() {
        let mut topics = Topics::default();
        for (topic, payload) in [("a/b", "1"), ("a/b", "2.5"), ("a", "on"), ("a/b/c", "x"), ("ab", "y")] {
            assert!(topics.note(&message(topic, payload)));
        }
        let top = topics.level("", 10);
        let names: Vec<(&str, u64, u64)> =
            top.branches.iter().map(|branch| (&*branch.name, branch.children, branch.messages)).collect();
        assert_eq!(names, [("a", 2, 4), ("ab", 0, 1)]);
        let below = topics.level("a", 10);
        assert_eq!((below.branches[0].numbers.as_slice(), below.branches[0].children), ([1.0, 2.5].as_slice(), 1));
        assert_eq!(topics.level("", 1).left_out, 1);
        topics.bytes = MOST_BYTES;
        assert!(topics.note(&message("a/b", "3")) && !topics.note(&message("new", "3")));
    }

    #[test]
    fn the_many_good_do_not_push_out_the_few_bad_and_what_is_left_out_is_counted() {
        let mut budget = Budget::default();
        let now = Instant::now();
        let told = (0..2_000).filter(|_| budget.take(false, now).is_some()).count();
        assert_eq!(told, FATES_A_SECOND as usize);
        assert_eq!(budget.take(true, now), Some(2_000 - u64::from(FATES_A_SECOND)));
        assert_eq!(budget.take(false, now + Duration::from_secs(1)), Some(0));
    }

    #[test]
    fn a_slow_viewer_is_not_waited_for_and_without_one_nothing_is_made() {
        let traffic = Traffic::new();
        assert!(!traffic.is_watched());
        let mut viewer = traffic.watch();
        for _ in 0..400 {
            traffic.tell_message(&message("a", "b"), "mapper", Outcome::Accepted, "");
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
}
