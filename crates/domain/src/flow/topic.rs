//! A flow's topic: a filter, some of whose single levels may have names.

use crate::topic::{FilterError, TopicFilter};
use thiserror::Error;

/// A filter with named captures: `sensors/{room}/{kind}` matches what `sensors/+/+` matches, `zigbee2mqtt/{device#}` what
/// `zigbee2mqtt/#` matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowTopic {
    filter: TopicFilter,
    /// Level, counted from 0, and name.
    captures: Vec<(usize, Box<str>)>,
    /// The level from which on the rest has a name, and that name.
    rest: Option<(usize, Box<str>)>,
}

/// Why a text is no topic of a flow.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CaptureError {
    /// The filter itself is wrong.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// `{}`, `{a b}`, `{1}`.
    #[error("{{{name}}} has no name that a template can use; take letters, digits and _, and begin with a letter")]
    Name {
        /// What stands between the braces.
        name: Box<str>,
    },
    /// The same name twice.
    #[error("the name {{{name}}} stands for two levels")]
    Repeated {
        /// The name.
        name: Box<str>,
    },
}

impl FlowTopic {
    /// Reads a topic. A level `{name}` stands for any one level and names it; `{name#}`, the last one, names the rest.
    ///
    /// # Errors
    /// The filter is not valid, or a name is not a word or stands there twice.
    pub fn parse(text: &str) -> Result<Self, CaptureError> {
        let mut captures: Vec<(usize, Box<str>)> = Vec::new();
        let mut rest = None;
        let mut levels = Vec::new();
        for (index, level) in text.split('/').enumerate() {
            let Some(name) = level.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) else {
                levels.push(level);
                continue;
            };
            let (name, wildcard) = name.strip_suffix('#').map_or((name, "+"), |name| (name, "#"));
            if !is_word(name) {
                return Err(CaptureError::Name { name: name.into() });
            }
            if captures.iter().chain(&rest).any(|(_, known)| **known == *name) {
                return Err(CaptureError::Repeated { name: name.into() });
            }
            levels.push(wildcard);
            match wildcard {
                // The filter is refused unless this is the last level.
                "#" => rest = Some((index, name.into())),
                _ => captures.push((index, name.into())),
            }
        }
        Ok(Self { filter: TopicFilter::parse(&levels.join("/"))?, captures, rest })
    }

    /// The filter to subscribe to.
    #[must_use]
    pub fn filter(&self) -> &TopicFilter {
        &self.filter
    }

    /// The names, in the order of the topic.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.captures.iter().chain(&self.rest).map(|(_, name)| &**name)
    }

    /// Names and levels of a topic that the filter matches. A rest that is not there, as in `a` for `a/{rest#}`, is left
    /// out.
    pub fn captures<'a>(&'a self, topic: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        let mut levels = topic.split('/').enumerate();
        let single = self.captures.iter().filter_map(move |(index, name)| {
            let (_, level) = levels.find(|(at, _)| at == index)?;
            Some((&**name, level))
        });
        let rest = self.rest.iter().filter_map(move |(index, name)| Some((&**name, skip_levels(topic, *index)?)));
        single.chain(rest)
    }
}

/// What follows that many levels.
fn skip_levels(topic: &str, count: usize) -> Option<&str> {
    match count.checked_sub(1) {
        None => Some(topic),
        Some(before) => topic.match_indices('/').nth(before).map(|(at, slash)| &topic[at + slash.len()..]),
    }
}

fn is_word(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn named_levels_are_captured() {
        let topic = FlowTopic::parse("sensors/{room}/x/{kind}/#").unwrap();
        assert_eq!(topic.filter().as_str(), "sensors/+/x/+/#");
        assert_eq!(topic.captures("sensors/kitchen/x/t/1").collect::<Vec<_>>(), [("room", "kitchen"), ("kind", "t")]);
        assert_eq!(topic.names().collect::<Vec<_>>(), ["room", "kind"]);
        assert_eq!(FlowTopic::parse("a/+").unwrap().captures("a/b").count(), 0);
    }

    #[test]
    fn the_rest_of_a_topic_has_a_name() {
        let topic = FlowTopic::parse("z2m/{site}/{device#}").unwrap();
        assert_eq!(topic.filter().as_str(), "z2m/+/#");
        assert_eq!(topic.names().collect::<Vec<_>>(), ["site", "device"]);
        let captured = |name| topic.captures(name).collect::<Vec<_>>();
        assert_eq!(captured("z2m/home/living/lamp"), [("site", "home"), ("device", "living/lamp")]);
        assert_eq!(captured("z2m/home/"), [("site", "home"), ("device", "")]);
        assert_eq!(captured("z2m/home"), [("site", "home")], "# stands for no level too");
        let all = FlowTopic::parse("{all#}").unwrap();
        assert_eq!(all.captures("/a/ü").collect::<Vec<_>>(), [("all", "/a/ü")]);
        assert!(matches!(FlowTopic::parse("{a#}/b"), Err(CaptureError::Filter(_))));
        assert!(matches!(FlowTopic::parse("{a}/{a#}"), Err(CaptureError::Repeated { .. })));
        assert!(matches!(FlowTopic::parse("a/{#}"), Err(CaptureError::Name { .. })));
        assert!(matches!(FlowTopic::parse("a/{b##}"), Err(CaptureError::Name { .. })));
    }

    #[test]
    fn braces_that_are_no_whole_level_stand_for_themselves() {
        assert_eq!(FlowTopic::parse("a/x{b}/{c").unwrap().filter().as_str(), "a/x{b}/{c");
    }

    #[test]
    fn names_must_be_words_and_differ() {
        assert!(matches!(FlowTopic::parse("a/{}"), Err(CaptureError::Name { .. })));
        assert!(matches!(FlowTopic::parse("a/{1b}"), Err(CaptureError::Name { .. })));
        assert!(matches!(FlowTopic::parse("{a}/{a}"), Err(CaptureError::Repeated { .. })));
        assert!(matches!(FlowTopic::parse("a/#/b"), Err(CaptureError::Filter(_))));
    }
}
