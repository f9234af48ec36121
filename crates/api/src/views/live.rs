//! The stream of events: the overview each second, messages as they pass.
//!
//! Nobody waits for a viewer: a message that it is too slow for is missed, and it is told how many.

use crate::keys::{AccessKeys, GrantOrigin};
use crate::page;
use crate::problem::RequestRefusal;
use crate::state::ServerDeps;
use crate::wire::TopicLevel;
use actix_web::HttpResponse;
use actix_web::web::{Bytes, Data, Json, Query, ReqData};
use chrono::DateTime;
use futures_util::stream;
use hearthgate_domain::fate::{FateStep, MessageFate};
use hearthgate_domain::topic::TopicFilter;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

/// Streams at a time.
const MOST_STREAMS: usize = 100;
static STREAMS: AtomicUsize = AtomicUsize::new(0);

const OVERVIEW_EVERY: Duration = Duration::from_secs(1);
/// Proxies and browsers give up streams that say nothing.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(10);
/// Messages that are collected for one piece of the stream.
const BURST: usize = 200;
/// So many later steps wait for their message at most.
const MOST_EARLY: usize = 64;
/// Messages whose later steps are shown.
const REMEMBERED: usize = 500;
/// So long, messages are collected before they are sent.
const COLLECT: Duration = Duration::from_millis(100);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LiveQuery {
    #[serde(default)]
    watch: String,
    topic: Option<String>,
    flow: Option<String>,
    outcome: Option<String>,
    text: Option<String>,
}

/// Which messages a viewer wants.
struct Sieve {
    topic: Option<TopicFilter>,
    flow: Option<String>,
    outcomes: Vec<String>,
    text: Option<String>,
    /// Numbers of the last messages that passed: their later steps pass as well.
    passed: VecDeque<u64>,
    /// Later steps of messages that were not told yet, by their number in the journal.
    early: VecDeque<(u64, String)>,
}

impl Sieve {
    fn new(wanted: LiveQuery) -> Result<Self, RequestRefusal> {
        let given = |text: Option<String>| text.filter(|text| !text.is_empty());
        let topic = given(wanted.topic).map(|text| TopicFilter::parse(&text)).transpose();
        Ok(Sieve {
            topic: topic.map_err(|error| RequestRefusal::Invalid(format!("topic: {error}")))?,
            flow: given(wanted.flow),
            outcomes: given(wanted.outcome)
                .map(|text| text.split(',').map(str::to_owned).collect())
                .unwrap_or_default(),
            text: given(wanted.text).map(|text| text.to_lowercase()),
            passed: VecDeque::new(),
            early: VecDeque::new(),
        })
    }

    /// Later steps that came before the message itself, which another actor tells.
    fn keep_early(&mut self, seq: u64, told: String) {
        if self.early.len() >= MOST_EARLY {
            self.early.pop_front();
        }
        self.early.push_back((seq, told));
    }

    /// What was kept for this message.
    fn take_early(&mut self, fate: &MessageFate) -> Option<String> {
        let at = self.early.iter().position(|(seq, _)| fate.seq == Some(*seq))?;
        self.early.remove(at).map(|(_, told)| told)
    }

    fn takes(&mut self, fate: &MessageFate) -> bool {
        if fate.is_later {
            return fate.seq.is_some_and(|seq| self.passed.contains(&seq));
        }
        let passes = self.passes(fate);
        if let Some(seq) = fate.seq.filter(|_| passes) {
            if self.passed.len() >= REMEMBERED {
                self.passed.pop_front();
            }
            self.passed.push_back(seq);
        }
        passes
    }

    fn passes(&self, fate: &MessageFate) -> bool {
        self.topic.as_ref().is_none_or(|filter| filter.matches(&fate.topic))
            && self.flow.as_deref().is_none_or(|code| fate.steps.iter().any(|step| step.flow.as_deref() == Some(code)))
            && (self.outcomes.is_empty() || fate.steps.iter().any(|step| self.wants(step)))
            && self.text.as_deref().is_none_or(|text| contains(fate, text))
    }

    fn wants(&self, step: &FateStep) -> bool {
        self.outcomes.iter().any(|wanted| wanted == step.outcome.as_str() || (wanted == "bad" && step.outcome.is_bad()))
    }
}

fn contains(fate: &MessageFate, text: &str) -> bool {
    fate.topic.to_lowercase().contains(text)
        || String::from_utf8_lossy(&fate.payload).to_lowercase().contains(text)
        || fate.steps.iter().any(|step| step.reason.to_lowercase().contains(text))
}

/// One viewer. Counted as long as it is there.
struct Viewer {
    parts: Data<ServerDeps>,
    keys: Data<AccessKeys>,
    /// By what it may look on.
    origin: GrantOrigin,
    messages: Option<Receiver<Arc<MessageFate>>>,
    sieve: Sieve,
    overview: Option<Interval>,
    is_greeted: bool,
}

impl Drop for Viewer {
    fn drop(&mut self) {
        STREAMS.fetch_sub(1, Ordering::Relaxed);
    }
}

pub(crate) async fn events(
    parts: Data<ServerDeps>,
    keys: Data<AccessKeys>,
    origin: ReqData<GrantOrigin>,
    wanted: Query<LiveQuery>,
) -> Result<HttpResponse, RequestRefusal> {
    let wanted = wanted.into_inner();
    let watches = |what: &str| wanted.watch.split(',').any(|one| one == what);
    let mut overview = watches("overview").then(|| interval(OVERVIEW_EVERY));
    if let Some(interval) = &mut overview {
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    }
    let messages = match watches("messages") {
        true => Some(parts.subjects.traffic.as_ref().ok_or(RequestRefusal::NotHere("the mqtt connection"))?.watch()),
        false => None,
    };
    let sieve = Sieve::new(wanted)?;
    if STREAMS.fetch_add(1, Ordering::Relaxed) >= MOST_STREAMS {
        STREAMS.fetch_sub(1, Ordering::Relaxed);
        return Err(RequestRefusal::TooManyStreams);
    }
    let viewer = Viewer { parts, keys, origin: origin.into_inner(), messages, sieve, overview, is_greeted: false };
    let pieces = stream::unfold(viewer, |mut viewer| async move {
        let piece = viewer.next().await?;
        Some((Ok::<_, actix_web::Error>(Bytes::from(piece)), viewer))
    });
    Ok(HttpResponse::Ok()
        .content_type("text/event-stream")
        .insert_header(("Cache-Control", "no-store"))
        // nginx would collect the stream otherwise.
        .insert_header(("X-Accel-Buffering", "no"))
        .streaming(pieces))
}

impl Viewer {
    /// The next piece of the stream; none when the gateway ends, or the viewer may look on no longer.
    async fn next(&mut self) -> Option<String> {
        self.keys.scope_of(&self.origin)?;
        if !std::mem::replace(&mut self.is_greeted, true) {
            let hello = json!({"version": self.parts.version, "page": page::version()});
            return Some(format!("retry: 2000\n{}", event("hello", &hello)));
        }
        let Viewer { parts, messages, sieve, overview, .. } = self;
        let silent_at = Instant::now() + HEARTBEAT_EVERY;
        loop {
            tokio::select! {
                _ = tick(overview) => return Some(event("overview", &state(parts).await)),
                received = receive(messages) => match received {
                    Ok(fate) => {
                        if let Some(piece) = burst(messages, sieve, Some(fate), 0).await {
                            return Some(piece);
                        }
                    }
                    Err(RecvError::Lagged(missed)) => return burst(messages, sieve, None, missed).await,
                    Err(RecvError::Closed) => return None,
                },
                () = tokio::time::sleep_until(silent_at) => return Some(":\n\n".to_owned()),
            }
        }
    }
}

/// What there is within a moment, so that a busy stream has few pieces. None when the viewer wants nothing of it.
async fn burst(
    messages: &mut Option<Receiver<Arc<MessageFate>>>,
    sieve: &mut Sieve,
    first: Option<Arc<MessageFate>>,
    mut missed: u64,
) -> Option<String> {
    let messages = messages.as_mut()?;
    let mut text = String::new();
    let mut left_out = 0;
    let mut add = |fate: &MessageFate| {
        left_out += fate.missed;
        if sieve.takes(fate) {
            text.push_str(&event("message", &shown(fate)));
            text.extend(sieve.take_early(fate));
        } else if let Some(seq) = fate.seq.filter(|_| fate.is_later) {
            sieve.keep_early(seq, event("message", &shown(fate)));
        }
    };
    if let Some(fate) = first {
        add(&fate);
    }
    tokio::time::sleep(COLLECT).await;
    for _ in 0..BURST {
        match messages.try_recv() {
            Ok(fate) => add(&fate),
            Err(TryRecvError::Lagged(more)) => missed += more,
            Err(TryRecvError::Empty | TryRecvError::Closed) => break,
        }
    }
    missed += left_out;
    if missed > 0 {
        text.push_str(&event("missed", &json!({"count": missed})));
    }
    (!text.is_empty()).then_some(text)
}

async fn tick(interval: &mut Option<Interval>) {
    match interval {
        Some(interval) => drop(interval.tick().await),
        None => std::future::pending().await,
    }
}

async fn receive(messages: &mut Option<Receiver<Arc<MessageFate>>>) -> Result<Arc<MessageFate>, RecvError> {
    match messages {
        Some(messages) => messages.recv().await,
        None => std::future::pending().await,
    }
}

async fn state(parts: &ServerDeps) -> Value {
    match &parts.subjects.wiring {
        Some(wiring) => match wiring.graph().await {
            Ok(graph) => json!(graph),
            Err(error) => json!({"error": error.to_string()}),
        },
        None => Value::Null,
    }
}

/// One event of the stream. JSON has no line breaks of its own.
fn event(name: &str, data: &Value) -> String {
    let mut text = String::new();
    let _ = write!(text, "event: {name}\ndata: {data}\n\n");
    text
}

fn shown(fate: &MessageFate) -> Value {
    let payload = std::str::from_utf8(&fate.payload).ok();
    let hex = payload.is_none().then(|| {
        fate.payload.iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    });
    let step = |step: &FateStep| {
        json!({"flow": step.flow.as_deref(), "outcome": step.outcome.as_str(), "bad": step.outcome.is_bad(), "reason": step.reason,
            "pointer": step.pointer})
    };
    json!({
        "seq": fate.seq, "topic": &*fate.topic, "text": payload, "hex": hex, "bytes": fate.size, "qos": u8::from(fate.qos),
        "retain": fate.retain, "later": fate.is_later,
        "received_at": DateTime::from_timestamp_micros(fate.received_at),
        "millis": (fate.at - fate.received_at).max(0) as f64 / 1000.0,
        "steps": fate.steps.iter().map(step).collect::<Vec<_>>(),
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StreamSlot {
    #[serde(default)]
    under: String,
}

pub(crate) async fn topics(
    parts: Data<ServerDeps>,
    place: Query<StreamSlot>,
) -> Result<Json<TopicLevel>, RequestRefusal> {
    let traffic = parts.subjects.traffic.as_ref().ok_or(RequestRefusal::NotHere("the mqtt connection"))?;
    Ok(Json(traffic.topics(&place.under)))
}
