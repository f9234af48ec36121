//! Topics.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A level of the topic tree.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TopicView {
    /// The last level's name.
    pub name: String,
    /// The whole topic, or the prefix down to here.
    pub topic: String,
    /// How many topics are below it.
    pub children: u64,
    /// Messages on it and below it, since it was noticed.
    pub messages: u64,
    /// When the last of these came in.
    pub last_at: Option<DateTime<Utc>>,
    /// The last message on exactly this topic, its first 256 bytes, as text.
    pub value: Option<String>,
    /// It was a retained one.
    pub retained: bool,
    /// The last numbers, the oldest first, if they were numbers.
    pub numbers: Vec<f64>,
}

/// `GET /api/v1/topics`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TopicLevel {
    /// By name; at most 1,000.
    pub topics: Vec<TopicView>,
    /// How many more are here.
    pub left_out: u64,
    /// How many topics are known in all.
    pub known: u64,
    /// Messages whose topics were not noticed, because there were too many topics or too much came.
    pub unnoticed: u64,
}
