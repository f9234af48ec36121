//! A flow's topic: a filter, some of whose single levels may have names.

use crate::topic::{FilterError, TopicFilter};
use thiserror::Error;

/// A filter with named captures: `sensors/{room}/{kind}` matches what `sensors/+/+` matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowTopic {
    filter: TopicFilter,
    /// Level, counted from 0, and name.
    captures: Vec<(usize, Box<str>)>,
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
    /// Reads a topic. A level `{name}` stands for any one level and names it.
    ///
    /// # Errors
    /// The filter is not valid, or a name is not a word or stands there twice.
    pub fn parse(text: &str) -> Result<Self, CaptureError> {
        let mut captures: Vec<(usize, Box<str>)> = Vec::new();
        let mut levels = Vec::new();
        for (index, level) in text.split('/').enumerate() {
            let Some(name) = level.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) else {
                levels.push(level);
                continue;
            };
            if !is_word(name) {
                return Err(CaptureError::Name { name: name.into() });
            }
            if captures.iter().any(|(_, known)| **known == *name) {
                return Err(CaptureError::Repeated { name: name.into() });
            }
            captures.push((index, name.into()));
            levels.push("+");
        }
        Ok(Self { filter: TopicFilter::parse(&levels.join("/"))?, captures })
    }

    /// The filter to subscribe to.
    #[must_use]
    pub fn filter(&self) -> &TopicFilter {
        &self.filter
    }

    /// The names, in the order of the topic.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.captures.iter().map(|(_, name)| &**name)
    }

    /// Names and levels of a topic that the filter matches.
    pub fn captures<'a>(&'a self, topic: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        let mut levels = topic.split('/').enumerate();
        self.captures.iter().filter_map(move |(index, name)| {
            let (_, level) = levels.find(|(at, _)| at == index)?;
            Some((&**name, level))
        })
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
