//! Retained messages: the last one of each topic.

use super::message::Message;
use crate::broker::topic;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use tokio::time::Instant;

/// All retained messages, in the order of their topics.
#[derive(Debug, Default)]
pub(crate) struct Retained {
    messages: BTreeMap<Arc<str>, Arc<Message>>,
    bytes: usize,
}

impl Retained {
    /// Keeps a message as its topic's last one. Returns `false` when there is no room for another.
    pub(crate) fn set(&mut self, message: Arc<Message>, max_messages: usize, max_bytes: usize) -> bool {
        let replaced = self.messages.get(&message.topic).map(|known| known.weight());
        let bytes = self.bytes - replaced.unwrap_or(0) + message.weight();
        if bytes > max_bytes || (replaced.is_none() && self.messages.len() >= max_messages) {
            return false;
        }
        self.bytes = bytes;
        self.messages.insert(message.topic.clone(), message);
        true
    }

    /// Forgets a topic's message; returns whether there was one.
    pub(crate) fn remove(&mut self, topic: &str) -> bool {
        let removed = self.messages.remove(topic);
        self.bytes -= removed.as_ref().map_or(0, |message| message.weight());
        removed.is_some()
    }

    /// The messages that a filter matches and that have not expired.
    pub(crate) fn matching(&self, filter: &str, now: Instant) -> Vec<Arc<Message>> {
        let wildcard = filter.find(['+', '#']);
        let Some(wildcard) = wildcard else {
            return self.messages.get(filter).filter(|message| !message.is_expired(now)).cloned().into_iter().collect();
        };
        // "a/#" matches "a" too, so the slash before the wildcard is not part of the common beginning.
        let prefix = filter[..wildcard].trim_end_matches('/');
        self.messages
            .range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
            .take_while(|(name, _)| name.starts_with(prefix))
            .filter(|(name, message)| topic::matches(filter, name) && !message.is_expired(now))
            .map(|(_, message)| message.clone())
            .collect()
    }

    /// Whether any message will expire.
    pub(crate) fn has_expiring(&self) -> bool {
        self.messages.values().any(|message| message.expires.is_some())
    }

    /// Forgets what has expired; returns the topics.
    pub(crate) fn expire(&mut self, now: Instant) -> Vec<Arc<str>> {
        let expired: Vec<Arc<str>> = self
            .messages
            .iter()
            .filter(|(_, message)| message.is_expired(now))
            .map(|(topic, _)| topic.clone())
            .collect();
        for topic in &expired {
            self.remove(topic);
        }
        expired
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use hearthgate_domain::delivery::QoS;

    fn message(topic: &str) -> Arc<Message> {
        Arc::new(Message {
            topic: topic.into(),
            payload: Bytes::from_static(b"x"),
            qos: QoS::AtMostOnce,
            retain: true,
            properties: Bytes::new(),
            expires: None,
        })
    }

    #[test]
    fn matching_finds_what_matching_one_by_one_finds() {
        let topics = ["a", "a/b", "a/b/c", "a0", "ab/c", "/a", "$SYS/a", "b"];
        let mut retained = Retained::default();
        for topic in topics {
            assert!(retained.set(message(topic), 100, 10_000));
        }
        for filter in ["#", "a/#", "a/+", "+/+", "a", "/#", "$SYS/#", "+", "a/b/#", "x"] {
            let mut found: Vec<String> =
                retained.matching(filter, Instant::now()).iter().map(|message| message.topic.to_string()).collect();
            let mut expected: Vec<&str> =
                topics.into_iter().filter(|name| crate::broker::topic::matches(filter, name)).collect();
            found.sort_unstable();
            expected.sort_unstable();
            assert_eq!(found, expected, "{filter}");
        }
    }

    #[test]
    fn there_is_room_for_a_replacement_when_there_is_none_for_another() {
        let mut retained = Retained::default();
        assert!(retained.set(message("a"), 1, 10_000));
        assert!(retained.set(message("a"), 1, 10_000));
        assert!(!retained.set(message("b"), 1, 10_000));
        assert!(retained.remove("a"));
        assert!(!retained.remove("a"));
        assert_eq!(retained.bytes, 0);
    }
}
