//! From a shape to a flow.

use super::shape::SeenShape;
use crate::flow::{Flow, FlowRow, FlowTopic};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// The limit of the column, in characters.
const MAX_CODE: usize = 100;
/// Room behind a code for what tells it from others.
const MAX_SUFFIX: usize = 6;
/// How long rows are kept, if nobody says otherwise.
const RETENTION: &str = "2y";

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
    /// Payloads are a bare value each.
    pub is_value: bool,
    /// Where fields stand, if some of them stand in nested objects.
    pub fields: Option<Value>,
    /// An expression that tells the devices of the one topic apart.
    pub key: Option<String>,
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
            schema: if shape.is_value { shape.fields.value_schema() } else { shape.fields.schema() },
            left_open: shape.fields.left_open(),
            event_time: shape.fields.event_time(),
            is_value: shape.is_value,
            fields: shape.fields.nested().filter(|_| !shape.is_value),
            key: shape.fields.device_key().filter(|_| shape.topics.len() == 1),
            messages: shape.fields.messages(),
            topics: shape.topics.len(),
            others: 0,
        }
    }

    /// As a row to review: with a table of its own, unless its fields can't be columns.
    #[must_use]
    pub fn row(&self, code: Option<String>) -> FlowRow {
        let code = code.unwrap_or_else(|| self.code.clone());
        let mut options = json!({});
        let given = [
            ("payload", self.is_value.then(|| "value".into())),
            ("fields", self.fields.clone()),
            ("key", self.key.clone().map(|key| vec![key].into())),
        ];
        for (name, value) in given.into_iter().filter_map(|(name, value)| Some((name, value?))) {
            options[name] = value;
        }
        let row = |options: &Value| FlowRow {
            description: format!("learned from {} messages", self.messages),
            topic: self.topic.clone(),
            action: "STORE_DB".into(),
            payload_schema: self.schema.to_string(),
            enabled: true,
            options: options.as_object().filter(|options| !options.is_empty()).map(|_| options.to_string()),
            code: code.clone(),
            ..FlowRow::default()
        };
        let plain = row(&options);
        options["table"] = code.to_lowercase().into();
        options["retention"] = RETENTION.into();
        if let Some(field) = &self.event_time {
            options["event_time"] = field.as_str().into();
        }
        let with_table = row(&options);
        if Flow::compile(with_table.clone()).is_ok() { with_table } else { plain }
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
