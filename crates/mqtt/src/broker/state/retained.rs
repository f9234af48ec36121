//! Retained messages: the last one of each topic.

use super::message::BrokerMessage;
use crate::broker::topic;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use tokio::time::Instant;

/// All retained messages, in the order of their topics.
#[derive(Debug, Default)]
pub(crate) struct RetainedMessages {
    messages: BTreeMap<Arc<str>, Entry>,
    bytes: usize,
    last: u64,
    /// The last one that came from the store.
    restored: u64,
}

#[derive(Debug)]
struct Entry {
    message: Arc<BrokerMessage>,
    /// Rises with each message that is retained.
    sequence: u64,
}

impl RetainedMessages {
    /// Keeps a message as its topic's last one. Returns `false` when there is no room for another.
    pub(crate) fn set(&mut self, message: Arc<BrokerMessage>, max_messages: usize, max_bytes: usize) -> bool {
        let replaced = self.messages.get(&message.topic).map(|known| known.message.weight());
        let bytes = self.bytes - replaced.unwrap_or(0) + message.weight();
        if bytes > max_bytes || (replaced.is_none() && self.messages.len() >= max_messages) {
            return false;
        }
        self.bytes = bytes;
        self.last += 1;
        self.messages.insert(message.topic.clone(), Entry { message, sequence: self.last });
        true
    }

    /// All that is there came from the store.
    pub(crate) fn set_restored(&mut self) {
        self.restored = self.last;
    }

    /// Whether a topic's message came from the store, and nothing since.
    pub(crate) fn is_restored(&self, topic: &str) -> bool {
        self.messages.get(topic).is_some_and(|entry| entry.sequence <= self.restored)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.messages.len()
    }

    /// Forgets a topic's message; returns whether there was one.
    pub(crate) fn remove(&mut self, topic: &str) -> bool {
        let removed = self.messages.remove(topic);
        self.bytes -= removed.as_ref().map_or(0, |entry| entry.message.weight());
        removed.is_some()
    }

    /// The messages that a filter matches and that have not expired.
    pub(crate) fn matching(&self, filter: &str, now: Instant) -> Vec<Arc<BrokerMessage>> {
        self.matching_after(filter, None, now).map(|entry| entry.message.clone()).collect()
    }

    /// The first message behind a topic that a filter matches, if it was retained by `until`.
    pub(crate) fn next(
        &self,
        filter: &str,
        after: Option<&str>,
        until: u64,
        now: Instant,
    ) -> Option<Arc<BrokerMessage>> {
        let mut entries = self.matching_after(filter, after, now);
        entries.find(|entry| entry.sequence <= until).map(|entry| entry.message.clone())
    }

    /// Names what is retained by now, see [`RetainedMessages::next`].
    pub(crate) fn sequence(&self) -> u64 {
        self.last
    }

    fn matching_after<'a>(
        &'a self,
        filter: &'a str,
        after: Option<&'a str>,
        now: Instant,
    ) -> impl Iterator<Item = &'a Entry> {
        // "a/#" matches "a" too, so the slash before the wildcard is not part of the common beginning.
        let wildcard = filter.find(['+', '#']);
        let prefix = wildcard.map_or(filter, |wildcard| filter[..wildcard].trim_end_matches('/'));
        let last = wildcard.is_none().then_some(filter);
        let begin = after.map_or(Bound::Included(prefix), Bound::Excluded);
        self.messages
            .range::<str, _>((begin, Bound::Unbounded))
            .take_while(move |(name, _)| name.starts_with(prefix) && last.is_none_or(|last| ***name <= *last))
            .filter(move |(name, entry)| topic::matches(filter, name) && !entry.message.is_expired(now))
            .map(|(_, entry)| entry)
    }

    /// Whether any message will expire.
    pub(crate) fn has_expiring(&self) -> bool {
        self.messages.values().any(|entry| entry.message.expires.is_some())
    }

    /// Forgets what has expired; returns the topics.
    pub(crate) fn expire(&mut self, now: Instant) -> Vec<Arc<str>> {
        let expired: Vec<Arc<str>> = self
            .messages
            .iter()
            .filter(|(_, entry)| entry.message.is_expired(now))
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

    fn message(topic: &str) -> Arc<BrokerMessage> {
        Arc::new(BrokerMessage {
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
        let mut retained = RetainedMessages::default();
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
    fn what_is_taken_one_by_one_ends_with_what_was_retained_at_the_beginning() {
        let mut retained = RetainedMessages::default();
        for topic in ["a/1", "a/2", "b", "a/3"] {
            retained.set(message(topic), 100, 10_000);
        }
        let until = retained.sequence();
        let take = |retained: &RetainedMessages, after: Option<&str>| {
            retained.next("a/+", after, until, Instant::now()).map(|message| message.topic.to_string())
        };
        assert_eq!(take(&retained, None).as_deref(), Some("a/1"));
        retained.set(message("a/2"), 100, 10_000);
        retained.set(message("a/11"), 100, 10_000);
        assert_eq!(take(&retained, Some("a/1")).as_deref(), Some("a/3"));
        assert_eq!(take(&retained, Some("a/3")), None);
    }

    #[test]
    fn there_is_room_for_a_replacement_when_there_is_none_for_another() {
        let mut retained = RetainedMessages::default();
        assert!(retained.set(message("a"), 1, 10_000));
        assert!(retained.set(message("a"), 1, 10_000));
        assert!(!retained.set(message("b"), 1, 10_000));
        assert!(retained.remove("a"));
        assert!(!retained.remove("a"));
        assert_eq!(retained.bytes, 0);
    }
}
