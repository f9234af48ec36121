//! From a shape to a flow.

use super::shape::SeenShape;
use crate::flow::FlowTopic;
use serde_json::Value;
use std::collections::BTreeSet;

/// The limit of the column, in characters.
const MAX_CODE: usize = 100;
/// Room behind a code for what tells it from others.
const MAX_SUFFIX: usize = 6;

/// A flow that would take the messages of one shape.
#[derive(Clone, Debug, PartialEq)]
pub struct LearnedFlow {
    /// Unique among the proposals.
    pub code: String,
    /// Levels that differ have names.
    pub topic: String,
    /// In the short form.
    pub schema: Value,
    /// Fields that the schema leaves open, each with the reason.
    pub left_open: Vec<String>,
    /// The field with the time of the reading, if there is one.
    pub event_time: Option<String>,
    /// Messages of this shape.
    pub messages: u64,
    /// Topics of this shape, counted up to 1,000.
    pub topics: usize,
    /// Messages of other shapes on topics that the flow would listen to as well.
    pub others: u64,
}

impl LearnedFlow {
    pub(super) fn of(shape: &SeenShape, filter: &str) -> Self {
        let topic = topic_of(shape, filter);
        LearnedFlow {
            code: code_for(&topic),
            topic,
            schema: shape.fields.schema(),
            left_open: shape.fields.left_open(),
            event_time: shape.fields.event_time().map(str::to_owned),
            messages: shape.fields.messages(),
            topics: shape.topics.len(),
            others: 0,
        }
    }

    pub(super) fn count_others(&mut self, shapes: &[SeenShape]) {
        let Ok(topic) = FlowTopic::parse(&self.topic) else { return };
        let topics = shapes.iter().flat_map(|shape| &shape.topics);
        let all: u64 = topics.filter(|(name, _)| topic.filter().matches(name)).map(|(_, count)| count).sum();
        self.others = all.saturating_sub(self.messages);
    }

    /// Two flows can't have one code.
    pub(super) fn distinguish(&mut self, others: &[LearnedFlow]) {
        let is_taken = |code: &str| others.iter().any(|other| other.code == code);
        let wanted: String = self.code.chars().take(MAX_CODE - MAX_SUFFIX).collect();
        let mut number = 2;
        while is_taken(&self.code) {
            self.code = format!("{wanted}_{number}");
            number += 1;
        }
    }
}

/// The topics' common form: a level that is the same in all stands for itself, others have a name.
fn topic_of(shape: &SeenShape, filter: &str) -> String {
    let levels = shape.topics.keys().next().map_or(0, |topic| topic.split('/').count());
    let watched: Vec<&str> = filter.split('/').collect();
    let mut differing: Vec<BTreeSet<&str>> = vec![BTreeSet::new(); levels];
    for topic in shape.topics.keys() {
        for (seen, level) in differing.iter_mut().zip(topic.split('/')) {
            seen.insert(level);
        }
    }
    let given = |index: usize| watched.get(index).filter(|level| level.starts_with('{') && !level.ends_with("#}"));
    let is_named = |index: usize, seen: &BTreeSet<&str>| seen.len() > 1 || given(index).is_some();
    let named = differing.iter().enumerate().filter(|(index, seen)| is_named(*index, seen)).count();
    let level = |(index, seen): (usize, &BTreeSet<&str>)| match (given(index), seen.first()) {
        (Some(name), _) => (*name).to_owned(),
        (None, Some(level)) if seen.len() == 1 => (*level).to_owned(),
        (None, _) if named == 1 => "{device}".to_owned(),
        (None, _) => format!("{{level{}}}", index + 1),
    };
    differing.iter().enumerate().map(level).collect::<Vec<_>>().join("/")
}

/// A flow's code after its topic: `sensors/+/aht10` becomes `SENSORS_AHT10`.
#[must_use]
pub fn code_for(filter: &str) -> String {
    let level = |level: &str| {
        level.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect::<String>()
    };
    let named = filter.split('/').filter(|name| !matches!(*name, "+" | "#" | "") && !name.starts_with('{'));
    let code = named.map(level).collect::<Vec<_>>().join("_");
    if code.is_empty() { "LEARNED".into() } else { code.chars().take(MAX_CODE).collect() }
}
