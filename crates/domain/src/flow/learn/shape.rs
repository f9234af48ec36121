//! The messages of one shape.

use super::fields::SeenFields;
use crate::payload::{JsonKind, RawJson};
use crate::reading::value_text;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Topics beyond these are counted, not kept.
pub(super) const MAX_TOPICS: usize = 1_000;

/// A payload as a flow would read it.
#[derive(Debug)]
pub(super) enum SeenPayload<'a> {
    Object(RawJson<'a>),
    /// `21.5`, `ON`: one value without a name.
    Value(RawJson<'a>),
}

impl<'a> SeenPayload<'a> {
    /// The payload as a JSON text; none for a list, of which each element may be a record.
    pub(super) fn text(payload: &'a [u8]) -> Option<Cow<'a, str>> {
        let text = std::str::from_utf8(payload).ok()?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text).trim();
        match RawJson::parse(text).map(|value| value.kind()) {
            _ if text.is_empty() => None,
            Ok(JsonKind::Array) => None,
            Ok(JsonKind::Object) => Some(Cow::Borrowed(text)),
            Ok(_) | Err(_) => Some(value_text(text)),
        }
    }

    /// What a text of [`Self::text`] holds.
    pub(super) fn of(text: &'a str) -> Option<Self> {
        let value = RawJson::parse(text).ok()?;
        match value.kind() == JsonKind::Object {
            true => Some(SeenPayload::Object(value)),
            false => Some(SeenPayload::Value(value)),
        }
    }
}

/// What was seen of one shape.
#[derive(Debug, Default)]
pub(super) struct SeenShape {
    /// Each with its messages; all have as many levels, and the same first one, or the same others.
    pub(super) topics: BTreeMap<Box<str>, u64>,
    /// With bare values the one field `value`.
    pub(super) fields: SeenFields,
    pub(super) is_value: bool,
}

impl SeenShape {
    /// Whether a message is of this shape.
    pub(super) fn fits(&self, topic: &str, payload: &SeenPayload<'_>) -> bool {
        if !self.is_related(topic) {
            return false;
        }
        match payload {
            SeenPayload::Object(object) => !self.is_value && self.fields.resemble(*object),
            SeenPayload::Value(value) => {
                let last = |topic: &str| topic.rsplit('/').next().map(str::to_owned);
                let ends_alike = || self.topics.keys().next().is_some_and(|known| last(known) == last(topic));
                let is_alike = || ends_alike() && self.fields.is_like_value(*value);
                self.is_value && (self.topics.contains_key(topic) || is_alike())
            }
        }
    }

    /// Whether a topic has as many levels as the others, and either the first of them or all but the first: some families begin
    /// their topics with the device.
    fn is_related(&self, topic: &str) -> bool {
        let (Some((least, _)), Some((greatest, _))) = (self.topics.first_key_value(), self.topics.last_key_value())
        else {
            return false;
        };
        let parts = |topic: &str| topic.split_once('/').map(|(first, rest)| (first.to_owned(), rest.to_owned()));
        let levels = |topic: &str| topic.split('/').count();
        let (Some((first, rest)), Some((known_first, known_rest))) = (parts(topic), parts(least)) else {
            return **least == *topic;
        };
        let begins_alike = parts(greatest).is_some_and(|(first, _)| first == known_first);
        let is_one = self.topics.len() == 1;
        levels(topic) == levels(least)
            && ((first == known_first && begins_alike)
                || (rest == known_rest && levels(topic) > 2 && (is_one || !begins_alike)))
    }

    pub(super) fn observe(&mut self, topic: &str, payload: &SeenPayload<'_>) {
        let is_full = self.topics.len() >= MAX_TOPICS;
        match self.topics.get_mut(topic) {
            Some(count) => *count += 1,
            None if !is_full => drop(self.topics.insert(topic.into(), 1)),
            None => {}
        }
        match payload {
            SeenPayload::Object(object) => self.fields.observe(*object),
            SeenPayload::Value(value) => {
                self.is_value = true;
                self.fields.observe_value(*value);
            }
        }
    }
}
