//! The topics that came by: a tree of bounded size with the last values.

use hearthgate_domain::delivery::{InboundMessage, UnixMicros};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Topics that are known at a time, and what they may take in bytes.
const MOST_TOPICS: usize = 100_000;
const MOST_BYTES: usize = 48 << 20;
/// Bytes of a topic's last payload, and numbers of it, that are kept.
const LAST: usize = 128;
const NUMBERS: usize = 16;
/// What an entry takes beyond its texts.
const OVERHEAD: usize = 200;
/// All topics that were noticed.
#[derive(Debug, Default)]
pub(super) struct TopicTree {
    known: BTreeMap<Arc<str>, Topic>,
    bytes: usize,
}

#[derive(Debug)]
struct Topic {
    messages: u64,
    last_at: UnixMicros,
    last: Vec<u8>,
    is_retained: bool,
    numbers: Vec<f32>,
}

/// One level of the tree.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TrafficLevel {
    /// In the order of their names.
    pub branches: Vec<TopicBranch>,
    /// How many more there are.
    pub left_out: u64,
    /// Topics that are known in all.
    pub known: u64,
    /// Messages that were not noticed.
    pub unnoticed: u64,
}

/// A topic, a prefix of topics, or both.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TopicBranch {
    /// The level's name.
    pub name: String,
    /// Topics below it.
    pub children: u64,
    /// Messages on it and below.
    pub messages: u64,
    /// When the last of them came in.
    pub last_at: UnixMicros,
    /// The first bytes of the last payload on exactly this topic.
    pub last: Option<Vec<u8>>,
    /// That was a retained message.
    pub is_retained: bool,
    /// The last numbers on exactly this topic.
    pub numbers: Vec<f32>,
}

impl TopicTree {
    /// Whether there was room for its topic.
    pub(super) fn note(&mut self, message: &InboundMessage) -> bool {
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

    pub(super) fn level(&self, under: &str, most: usize) -> TrafficLevel {
        let prefix = if under.is_empty() { String::new() } else { format!("{under}/") };
        let mut level = TrafficLevel { known: self.known.len() as u64, ..TrafficLevel::default() };
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
                    level.branches.push(TopicBranch { name: name.to_owned(), ..TopicBranch::default() });
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

/// The first bytes; of text, whole characters.
pub(super) fn excerpt(payload: &[u8], most: usize) -> &[u8] {
    if payload.len() <= most {
        return payload;
    }
    let cut = &payload[..most];
    match std::str::from_utf8(cut) {
        Err(error) if error.error_len().is_none() => &cut[..error.valid_up_to()],
        _ => cut,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn message(topic: &str, payload: &str) -> InboundMessage {
        InboundMessage::unsent(topic.into(), payload.to_owned().into(), 1)
    }

    #[test]
    fn topics_are_a_tree_with_last_values_and_there_are_never_too_many() {
        let mut topics = TopicTree::default();
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
}
