//! Who is heard: told by the router, asked by the silence actor.

use super::notice::key_parts;
use crate::flows::commit::RouteDecision;
use crate::lock::lock;
use hearthgate_domain::delivery::{InboundMessage, UnixMicros};
use hearthgate_domain::flow::Flow;
use hearthgate_domain::silence::{HearingOutcome, SilenceWatch};
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use tokio::sync::Notify;
use tracing::warn;

/// See the module.
#[derive(Debug, Default)]
pub struct SilenceBoard {
    /// By the flows' numbers; only those with the option `silence`.
    pub(super) watches: Mutex<HashMap<i64, SilenceWatch>>,
    /// Somebody who was silent is heard again.
    pub(super) returned: Notify,
    has_new: AtomicBool,
}

/// A device from which nothing comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SilentDevice {
    /// Its topic, or the parts of its key.
    pub key: Vec<String>,
    /// When it was heard last.
    pub since: UnixMicros,
}

impl SilenceBoard {
    /// How many devices of a flow are silent.
    #[must_use]
    pub fn count_silent(&self, flow_id: i64) -> usize {
        lock(&self.watches).get(&flow_id).map_or(0, SilenceWatch::count_silent)
    }

    /// The devices of a flow that are silent, at most so many, the longest silence first.
    #[must_use]
    pub fn silent_devices(&self, flow_id: i64, most: usize) -> Vec<SilentDevice> {
        let watches = lock(&self.watches);
        let silent = watches.get(&flow_id).map(SilenceWatch::silent_devices).unwrap_or_default();
        let device = |(key, since): (&str, UnixMicros)| SilentDevice { key: key_parts(key), since };
        silent.into_iter().take(most).map(device).collect()
    }

    /// A message has come. What the broker had kept tells nothing of its sender.
    pub(crate) fn hear(&self, message: &InboundMessage, decisions: &[RouteDecision]) {
        if message.retain {
            return;
        }
        for decision in decisions {
            match decision {
                RouteDecision::Accepted(flow) => self.hear_device(flow, &message.topic, &message.payload),
                RouteDecision::Element { payload, decision } => {
                    if let RouteDecision::Accepted(flow) = &**decision {
                        self.hear_device(flow, &message.topic, payload);
                    }
                }
                RouteDecision::KeptBack | RouteDecision::Refused { .. } | RouteDecision::Skipped { .. } => {}
            }
        }
    }

    /// Whether there are devices that were not known the last time.
    pub(super) fn take_new(&self) -> bool {
        self.has_new.swap(false, Ordering::Relaxed)
    }

    fn hear_device(&self, flow: &Flow, topic: &str, payload: &[u8]) {
        if flow.silence.is_none() {
            return;
        }
        let key = flow.reading.as_ref().and_then(|reading| reading.key(&flow.source(topic, payload)).ok().flatten());
        let key = key.map_or(Cow::Borrowed(topic), Cow::Owned);
        let outcome = lock(&self.watches).get_mut(&flow.id).map(|watch| watch.hear(&key, Instant::now()));
        match outcome {
            Some(HearingOutcome::New) => self.has_new.store(true, Ordering::Relaxed),
            Some(HearingOutcome::Returned) => self.returned.notify_one(),
            Some(HearingOutcome::Full) => {
                warn!(flow = %flow.code, "silence: there are too many devices to listen for; narrow the topic or the key");
            }
            Some(HearingOutcome::Known) | None => {}
        }
    }
}
