//! Keyword maps: what an internal keyword is called on the wire, and back.

use crate::mapping::error::{MapError, check_root};
use crate::mapping::field::MapField;
use crate::topic::TopicFilter;

/// The maps of one interface, with its root and the topics it subscribes to.
#[derive(Clone, Debug, PartialEq)]
pub struct KeywordMaps {
    pub(super) root: Box<str>,
    pub(super) topics: Vec<TopicFilter>,
    pub(super) tables: [KeywordTable; 8],
}

impl KeywordMaps {
    /// No map: every keyword is the same on both sides.
    ///
    /// # Errors
    /// `root` holds a wildcard or NUL.
    pub fn none(root: &str, topics: Vec<TopicFilter>) -> Result<Self, MapError> {
        check_root(root)?;
        Ok(Self { root: root.into(), topics, tables: Default::default() })
    }

    /// The first level or levels of every topic that is published.
    #[must_use]
    pub fn root(&self) -> &str {
        &self.root
    }

    /// What to subscribe to.
    #[must_use]
    pub fn topics(&self) -> &[TopicFilter] {
        &self.topics
    }

    /// What is allowed, but will hardly be meant.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.root.contains('/') {
            warnings.push(format!(
                "root {:?} has several levels: what is published under it has more than seven levels, which no gateway \
                 of this kind reads",
                self.root
            ));
        }
        for filter in self.topics.iter().filter(|filter| !can_have_seven_levels(filter)) {
            warnings.push(format!("topic {filter} matches no topic of seven levels, so nothing it brings can be read"));
        }
        warnings
    }

    pub(super) fn table(&self, field: MapField) -> &KeywordTable {
        &self.tables[field as usize]
    }
}

fn can_have_seven_levels(filter: &TopicFilter) -> bool {
    match filter.as_str().strip_suffix('#') {
        // `a/#` matches `a` and all below.
        Some(above) => above.split('/').count() <= 8,
        None => filter.levels().count() == 7,
    }
}

/// The keywords of one field.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct KeywordTable {
    pub(super) rule: KeywordRule,
    pub(super) to_mqtt: KeywordLookup,
    pub(super) to_internal: KeywordLookup,
}

/// What happens to a keyword.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum KeywordRule {
    /// It stays.
    #[default]
    None,
    /// It is translated if it is known, else stays.
    Loose,
    /// It is translated if it is known, else refused.
    Strict,
}

/// A keyword that a strict map does not hold.
pub(super) struct UnknownKeyword;

impl KeywordTable {
    pub(super) fn to_mqtt<'a>(&'a self, keyword: &'a str) -> Result<&'a str, UnknownKeyword> {
        self.translate(&self.to_mqtt, keyword)
    }

    pub(super) fn to_internal<'a>(&'a self, keyword: &'a str) -> Result<&'a str, UnknownKeyword> {
        self.translate(&self.to_internal, keyword)
    }

    fn translate<'a>(&'a self, lookup: &'a KeywordLookup, keyword: &'a str) -> Result<&'a str, UnknownKeyword> {
        match (self.rule, lookup) {
            (KeywordRule::None, _) => Ok(keyword),
            (KeywordRule::Loose, lookup) => Ok(lookup.get(keyword).unwrap_or(keyword)),
            // An empty field stays empty under every map that does not say otherwise.
            (KeywordRule::Strict, lookup) => {
                lookup.get(keyword).or(keyword.is_empty().then_some("")).ok_or(UnknownKeyword)
            }
        }
    }
}

/// Pairs of keywords, sorted by length and then by bytes: with a few dozen of them a binary search that compares mostly
/// lengths is quicker than hashing.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct KeywordLookup(Vec<(Box<str>, Box<str>)>);

impl KeywordLookup {
    pub(super) fn new(mut pairs: Vec<(Box<str>, Box<str>)>) -> Self {
        pairs.sort_by(|(one, _), (other, _)| Self::order(one, other));
        Self(pairs)
    }

    pub(super) fn get(&self, keyword: &str) -> Option<&str> {
        let found = self.0.binary_search_by(|(known, _)| Self::order(known, keyword)).ok()?;
        Some(&self.0[found].1)
    }

    fn order(one: &str, other: &str) -> std::cmp::Ordering {
        one.len().cmp(&other.len()).then_with(|| one.as_bytes().cmp(other.as_bytes()))
    }
}
