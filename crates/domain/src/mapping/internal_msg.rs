//! The internal message that device interfaces send and receive.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Arguments of a message, in the order in which they were given. String values by convention; other JSON scalars are
/// carried unchanged.
pub type MessageArguments = Map<String, Value>;

/// A message in internal keywords. Absent and empty mean the same for every text field.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct InternalMsg {
    /// `true` for a command, `false` for a status.
    pub iscmd: bool,
    /// What kind of thing is meant: lighting, security, …
    #[serde(deserialize_with = "empty_when_null")]
    pub function: String,
    /// The gateway it is addressed to, if any.
    #[serde(deserialize_with = "empty_when_null")]
    pub gateway: String,
    /// Where the device is.
    #[serde(deserialize_with = "empty_when_null")]
    pub location: String,
    /// The device.
    #[serde(deserialize_with = "empty_when_null")]
    pub device: String,
    /// Who sent it; an empty sender becomes the interface's own name when the message is published.
    #[serde(deserialize_with = "empty_when_null")]
    pub sender: String,
    /// What to do, or what happened.
    #[serde(deserialize_with = "empty_when_null")]
    pub action: String,
    /// Further details of the action.
    pub arguments: MessageArguments,
}

impl InternalMsg {
    /// Turns a command into the status that answers it: `iscmd` false, `response` and `reason` among the arguments.
    #[must_use]
    pub fn reply(mut self, response: &str, reason: &str) -> Self {
        self.iscmd = false;
        self.arguments.insert("response".into(), response.into());
        self.arguments.insert("reason".into(), reason.into());
        self
    }
}

fn empty_when_null<'de, D: serde::Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    Ok(Option::<String>::deserialize(from)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_a_status_with_response_and_reason() {
        let command = InternalMsg { iscmd: true, action: "GATE_OPEN".into(), ..Default::default() };
        let reply = command.reply("ERROR", "device is offline");
        assert!(!reply.iscmd);
        assert_eq!(reply.arguments["response"], "ERROR");
        assert_eq!(reply.arguments["reason"], "device is offline");
    }

    #[test]
    fn a_null_field_is_an_empty_one() {
        let message: InternalMsg = serde_json::from_str(r#"{"device":null,"action":"ON"}"#).unwrap();
        assert_eq!(message.device, "");
    }
}
