//! Topic names and topic filters: MQTT 3.1.1 and 5.0, sections 1.5.3 (UTF-8 strings), 4.7 (names and filters) and
//! 4.8.2 (shared subscriptions, MQTT 5).

use std::fmt;
use std::sync::Arc;
use thiserror::Error;

/// A name or a filter has at most this many bytes: its length is two bytes on the wire.
pub const MAX_TOPIC_BYTES: usize = 65_535;

/// Why a text is no topic name (section 4.7.3).
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TopicNameError {
    /// Zero characters.
    #[error("a topic name needs at least one character")]
    Empty,
    /// More than [`MAX_TOPIC_BYTES`].
    #[error("a topic name has at most 65535 bytes, this one has {bytes}")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// `+` or `#`, which only filters may hold.
    #[error("topic name {topic:?} holds the wildcard {wildcard:?}; wildcards belong into filters only")]
    Wildcard {
        /// The text.
        topic: Box<str>,
        /// The first wildcard.
        wildcard: char,
    },
    /// U+0000.
    #[error("topic name {topic:?} holds a NUL character")]
    Nul {
        /// The text.
        topic: Box<str>,
    },
}

/// Checks that `topic` can be published to.
///
/// # Errors
/// It is empty, longer than [`MAX_TOPIC_BYTES`], or holds a wildcard or NUL.
pub fn validate_topic_name(topic: &str) -> Result<(), TopicNameError> {
    if topic.is_empty() {
        return Err(TopicNameError::Empty);
    }
    if topic.len() > MAX_TOPIC_BYTES {
        return Err(TopicNameError::TooLong { bytes: topic.len() });
    }
    match topic.bytes().find(|byte| matches!(byte, b'+' | b'#' | 0)) {
        None => Ok(()),
        Some(0) => Err(TopicNameError::Nul { topic: topic.into() }),
        Some(wildcard) => Err(TopicNameError::Wildcard { topic: topic.into(), wildcard: char::from(wildcard) }),
    }
}

/// Why a text is no topic filter (section 4.7.1).
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FilterError {
    /// Zero characters.
    #[error("a topic filter needs at least one character")]
    Empty,
    /// More than [`MAX_TOPIC_BYTES`].
    #[error("a topic filter has at most 65535 bytes, this one has {bytes}")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// U+0000.
    #[error("topic filter {filter:?} holds a NUL character")]
    Nul {
        /// The text.
        filter: Box<str>,
    },
    /// `a/#/b`.
    #[error("topic filter {filter:?}: `#` must be the last level")]
    HashNotLast {
        /// The text.
        filter: Box<str>,
    },
    /// `a+/b`, `a/b#`.
    #[error("topic filter {filter:?}: a wildcard must stand alone in its level, not in {level:?}")]
    WildcardInLevel {
        /// The text.
        filter: Box<str>,
        /// The level that mixes.
        level: Box<str>,
    },
    /// `$share/…` where a plain filter is needed.
    #[error("topic filter {filter:?} is a shared subscription, which is not possible here; leave out `$share/GROUP/`")]
    Shared {
        /// The text.
        filter: Box<str>,
    },
    /// `$share` without a group or a filter.
    #[error("shared subscription {filter:?} must read `$share/GROUP/FILTER`, with a group without wildcards")]
    MalformedShare {
        /// The text.
        filter: Box<str>,
    },
}

/// A valid topic filter without `$share`. Cloning is cheap.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicFilter(Arc<str>);

impl TopicFilter {
    /// Checks and keeps a filter.
    ///
    /// # Errors
    /// The rules of section 4.7.1, and `$share/…`, for which there is [`TopicSubscription`].
    pub fn parse(filter: &str) -> Result<Self, FilterError> {
        if is_shared(filter) {
            return Err(FilterError::Shared { filter: filter.into() });
        }
        check_levels(filter)?;
        Ok(Self(filter.into()))
    }

    /// The filter as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its levels; an empty level is one too (section 4.7.3).
    pub fn levels(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }

    /// Whether it holds a wildcard.
    #[must_use]
    pub fn has_wildcard(&self) -> bool {
        self.levels().any(|level| matches!(level, "+" | "#"))
    }

    /// Whether `topic`, a valid topic name, matches. A filter that begins with a wildcard matches no topic that begins
    /// with `$` (section 4.7.2); `a/#` matches `a` as well (section 4.7.1.2).
    #[must_use]
    pub fn matches(&self, topic: &str) -> bool {
        if topic.starts_with('$') && self.0.starts_with(['+', '#']) {
            return false;
        }
        let mut names = topic.split('/');
        for level in self.levels() {
            match level {
                "#" => return true,
                "+" if names.next().is_some() => {}
                literal if names.next() == Some(literal) => {}
                _ => return false,
            }
        }
        names.next().is_none()
    }

    /// Whether some topic matches both filters.
    #[must_use]
    pub fn overlaps(&self, other: &TopicFilter) -> bool {
        let is_hidden = |one: &str, other: &str| one.starts_with(['+', '#']) && other.starts_with('$');
        if is_hidden(&self.0, &other.0) || is_hidden(&other.0, &self.0) {
            return false;
        }
        let (mut ours, mut theirs) = (self.levels(), other.levels());
        loop {
            match (ours.next(), theirs.next()) {
                (Some("#"), _) | (_, Some("#")) | (None, None) => return true,
                (Some(one), Some(other)) if one == other || one == "+" || other == "+" => {}
                _ => return false,
            }
        }
    }
}

impl fmt::Display for TopicFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TopicFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl AsRef<str> for TopicFilter {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// What a SUBSCRIBE names: a filter, perhaps shared among a group of subscribers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TopicSubscription {
    /// The group of `$share/GROUP/FILTER`, each message of which goes to one member.
    pub group: Option<Arc<str>>,
    /// The filter itself.
    pub filter: TopicFilter,
}

impl TopicSubscription {
    /// Reads `FILTER` or `$share/GROUP/FILTER`.
    ///
    /// # Errors
    /// The rules of sections 4.7.1 and 4.8.2 (MQTT 5).
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        if !is_shared(text) {
            return Ok(Self { group: None, filter: TopicFilter::parse(text)? });
        }
        let malformed = || FilterError::MalformedShare { filter: text.into() };
        let (group, filter) =
            text.strip_prefix("$share/").and_then(|rest| rest.split_once('/')).ok_or_else(malformed)?;
        if group.is_empty() || group.contains(['+', '#', '\0']) || filter.is_empty() {
            return Err(malformed());
        }
        // The limit on the wire counts the prefix too.
        if text.len() > MAX_TOPIC_BYTES {
            return Err(FilterError::TooLong { bytes: text.len() });
        }
        Ok(Self { group: Some(group.into()), filter: TopicFilter::parse(filter)? })
    }
}

fn is_shared(filter: &str) -> bool {
    filter.strip_prefix("$share").is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn check_levels(filter: &str) -> Result<(), FilterError> {
    if filter.is_empty() {
        return Err(FilterError::Empty);
    }
    if filter.len() > MAX_TOPIC_BYTES {
        return Err(FilterError::TooLong { bytes: filter.len() });
    }
    if filter.contains('\0') {
        return Err(FilterError::Nul { filter: filter.into() });
    }
    let mut hash_seen = false;
    for level in filter.split('/') {
        if hash_seen {
            return Err(FilterError::HashNotLast { filter: filter.into() });
        }
        match level {
            "#" => hash_seen = true,
            "+" => {}
            mixed if mixed.contains(['+', '#']) => {
                return Err(FilterError::WildcardInLevel { filter: filter.into(), level: mixed.into() });
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(filter: &str, topic: &str) -> bool {
        TopicFilter::parse(filter).unwrap().matches(topic)
    }

    #[test]
    fn a_hash_matches_its_parent_and_everything_below() {
        assert!(matches("sport/#", "sport"));
        assert!(matches("sport/#", "sport/tennis/player1"));
        assert!(!matches("sport/#", "sports"));
        assert!(matches("#", "/"));
    }

    #[test]
    fn a_plus_matches_exactly_one_level_even_an_empty_one() {
        assert!(matches("sport/+", "sport/"));
        assert!(!matches("sport/+", "sport"));
        assert!(matches("+/+", "/finance"));
        assert!(!matches("+", "/finance"));
    }

    #[test]
    fn a_leading_wildcard_matches_no_topic_with_a_leading_dollar() {
        assert!(!matches("#", "$SYS/uptime"));
        assert!(!matches("+/uptime", "$SYS/uptime"));
        assert!(matches("$SYS/#", "$SYS/uptime"));
        assert!(matches("a/+", "a/$b"));
    }

    #[test]
    fn wrong_filters_are_refused_with_what_is_wrong() {
        let error = |filter: &str| TopicFilter::parse(filter).unwrap_err();
        assert_eq!(error(""), FilterError::Empty);
        assert_eq!(error("a/#/b"), FilterError::HashNotLast { filter: "a/#/b".into() });
        assert_eq!(error("a/b+"), FilterError::WildcardInLevel { filter: "a/b+".into(), level: "b+".into() });
        assert_eq!(error("a/##"), FilterError::WildcardInLevel { filter: "a/##".into(), level: "##".into() });
        assert_eq!(error("a\0"), FilterError::Nul { filter: "a\0".into() });
        assert_eq!(error(&"a".repeat(65_536)), FilterError::TooLong { bytes: 65_536 });
        assert!(TopicFilter::parse(&"a".repeat(65_535)).is_ok());
        assert!(matches!(error("$share/g/a"), FilterError::Shared { .. }));
        assert!(TopicFilter::parse("$shared/a").is_ok());
    }

    #[test]
    fn a_shared_subscription_is_taken_apart() {
        let shared = TopicSubscription::parse("$share/pool/a/+").unwrap();
        assert_eq!(shared.group.as_deref(), Some("pool"));
        assert_eq!(shared.filter.as_str(), "a/+");
        assert_eq!(TopicSubscription::parse("a/+").unwrap().group, None);
        for wrong in ["$share", "$share/", "$share/pool", "$share/pool/", "$share//a", "$share/p+/a"] {
            assert!(matches!(TopicSubscription::parse(wrong), Err(FilterError::MalformedShare { .. })), "{wrong}");
        }
        assert!(TopicSubscription::parse("$share/pool/a/#/b").is_err());
    }

    #[test]
    fn a_topic_name_holds_no_wildcard_and_no_nul() {
        assert_eq!(validate_topic_name("a//b"), Ok(()));
        assert_eq!(validate_topic_name(""), Err(TopicNameError::Empty));
        assert_eq!(validate_topic_name("a/#"), Err(TopicNameError::Wildcard { topic: "a/#".into(), wildcard: '#' }));
        assert_eq!(validate_topic_name("a\0"), Err(TopicNameError::Nul { topic: "a\0".into() }));
        assert_eq!(validate_topic_name(&"x".repeat(65_536)), Err(TopicNameError::TooLong { bytes: 65_536 }));
    }

    #[test]
    fn filters_overlap_when_a_topic_matches_both() {
        let overlap = |one: &str, other: &str| {
            let (one, other) = (TopicFilter::parse(one).unwrap(), TopicFilter::parse(other).unwrap());
            assert_eq!(one.overlaps(&other), other.overlaps(&one));
            one.overlaps(&other)
        };
        for (one, other) in [("a/b", "a/b"), ("a/#", "a"), ("#", "+/x"), ("a/+/c", "a/b/#"), ("+/b", "a/+")] {
            assert!(overlap(one, other), "{one} {other}");
        }
        for (one, other) in [("a/b", "a/c"), ("a/+", "a"), ("a/+/c", "a/b"), ("#", "$SYS/#"), ("+/x", "$a/x")] {
            assert!(!overlap(one, other), "{one} {other}");
        }
    }
}
