//! Messages of devices and messages on the wire, and the keyword maps between them.
//!
//! On the wire a message is the topic `root/function/gateway/location/device/sender/type` and a payload that is the bare
//! action, or a JSON object of the action and its arguments. A map says for each field what an internal keyword is
//! called there. Files and answers are those of the Python library `mqttgateway`.

mod codec;
mod error;
mod field;
mod file;
pub mod internal_msg;
mod keywords;

pub use crate::mapping::field::MapField;
pub use codec::{DecodeError, DecodeReason, EncodeError, EncodedMessage, MessageCodec};
pub use error::{MapError, MapProblem};
pub use keywords::KeywordMaps;
