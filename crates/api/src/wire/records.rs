//! What flows stored.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A field that a flow stores.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AttributeView {
    /// Its name.
    pub name: String,
    /// The newest value.
    pub value: String,
    /// When it came in.
    pub at: DateTime<Utc>,
}

/// `GET /api/v1/data/{flow}`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AttributeList {
    /// By name.
    pub attributes: Vec<AttributeView>,
}

/// Which values.
#[derive(Clone, Debug, PartialEq)]
pub struct SeriesQuestion {
    /// The flow's code.
    pub flow: String,
    /// The attribute's name.
    pub attribute: String,
    /// From then on.
    pub from: DateTime<Utc>,
    /// Before then.
    pub to: DateTime<Utc>,
    /// At most so many windows.
    pub points: u32,
}

/// The values of a window of time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SeriesPoint {
    /// When the window begins.
    pub at: DateTime<Utc>,
    /// How many values.
    pub count: u64,
    /// The least; absent when none is a number.
    pub min: Option<f64>,
    /// Their mean.
    pub mean: Option<f64>,
    /// The greatest.
    pub max: Option<f64>,
    /// The last one, as it was stored.
    pub last: String,
}

/// `GET /api/v1/data/{flow}/{attribute}`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RecordSeries {
    /// From then on.
    pub from: DateTime<Utc>,
    /// Before then.
    pub to: DateTime<Utc>,
    /// Seconds of a window.
    pub window: f64,
    /// The windows that have values, the oldest first.
    pub points: Vec<SeriesPoint>,
}
