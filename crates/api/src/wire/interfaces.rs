//! What goes to a device and comes from it.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A command in the words of the interface's map, as it would come in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CommandWanted {
    /// A topic that the interface listens to, without wildcards.
    pub topic: String,
    /// The payload, as text.
    pub payload: String,
}

/// `POST /api/v1/interfaces/{name}/commands`: it was handed over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CommandTaken {
    /// What the map made of it, in internal keywords.
    pub message: Value,
}

/// A frame between a driver and its device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FrameView {
    /// When.
    pub at: DateTime<Utc>,
    /// To the device; else from it.
    pub to_device: bool,
    /// Its first 512 bytes, if they are text.
    pub text: Option<String>,
    /// The same in hexadecimal digits.
    pub hex: String,
    /// How many bytes it has.
    pub bytes: u64,
    /// The message that it stands for, as JSON, or why there is none.
    pub meaning: String,
}

/// `GET /api/v1/interfaces/{name}/frames`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FrameList {
    /// The newest first; at most 60.
    pub frames: Vec<FrameView>,
    /// Frames that were not kept because too many came at once.
    pub left_out: u64,
}
