//! Topic names of incoming messages.

use crate::stable_hash::stable_hash;
use std::sync::Arc;

/// Topics come again and again: the last one seen in each slot is shared instead of allocated and checked anew.
#[derive(Default)]
pub(crate) struct TopicCache {
    slots: Vec<Option<Arc<str>>>,
}

const TOPIC_SLOTS: usize = 512;
const LONGEST_CACHED_TOPIC: usize = 256;

impl TopicCache {
    /// The topic as text; `None` when it is no valid topic name (MQTT 3.1.1, section 4.7).
    pub(crate) fn get(&mut self, bytes: &[u8]) -> Option<Arc<str>> {
        if bytes.len() > LONGEST_CACHED_TOPIC {
            return valid_topic(bytes).map(Arc::from);
        }
        if self.slots.is_empty() {
            self.slots.resize(TOPIC_SLOTS, None);
        }
        let slot = &mut self.slots[slot_of(bytes)];
        match slot {
            Some(topic) if topic.as_bytes() == bytes => Some(Arc::clone(topic)),
            _ => {
                let topic: Arc<str> = Arc::from(valid_topic(bytes)?);
                *slot = Some(Arc::clone(&topic));
                Some(topic)
            }
        }
    }
}

fn slot_of(bytes: &[u8]) -> usize {
    let hash = stable_hash(bytes.iter().copied());
    usize::try_from((hash ^ (hash >> 32)) % TOPIC_SLOTS as u64).unwrap_or(0)
}

fn valid_topic(bytes: &[u8]) -> Option<&str> {
    let topic = std::str::from_utf8(bytes).ok()?;
    (!topic.is_empty() && !topic.contains(['+', '#', '\0'])).then_some(topic)
}
