//! Topics, and what became of messages.

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

/// What one flow made of one message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FateView {
    /// When it was decided.
    pub at: DateTime<Utc>,
    /// When the message came in.
    pub received_at: DateTime<Utc>,
    /// Its number in the journal, if it is in there.
    pub seq: Option<u64>,
    /// Its topic; empty where only a later step was noticed.
    pub topic: String,
    /// The first 2,048 bytes of the payload, if they are text.
    pub text: Option<String>,
    /// The same in hexadecimal digits, if they are not.
    pub hex: Option<String>,
    /// Bytes of the whole payload.
    pub bytes: usize,
    /// The flow; absent: it concerns every flow.
    pub flow: Option<String>,
    /// `accepted`, `kept_back`, `refused`, `repeated`, `unwanted`, `stored`, `delivered`, `retried` or `dead`.
    pub outcome: String,
    /// Whether somebody should look at it.
    pub is_bad: bool,
    /// Why, if it failed.
    pub reason: String,
    /// JSON pointer to the field at fault, or empty.
    pub pointer: String,
}

/// `GET /api/v1/fates`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FateList {
    /// The newest first.
    pub fates: Vec<FateView>,
}

/// Which of them.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FateQuestion {
    /// Messages whose topic this filter matches.
    pub topic: Option<String>,
    /// Of this flow only.
    pub flow: Option<String>,
    /// Of these outcomes only, with commas; `bad` for all that failed.
    pub outcome: Option<String>,
    /// At most so many, 1 to 500.
    pub limit: Option<u32>,
}
