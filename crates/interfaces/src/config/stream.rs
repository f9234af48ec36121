//! The rules of a byte stream: how its frames end, what they mean, what commands write.

use super::error::{HexError, InterfaceConfigError, at_least};
use super::kinds::five_seconds;
use crate::config::duration;
use hearthgate_domain::delivery::QoS;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::time::Duration;

/// How frames end. Exactly one of `length`, `delimiter` and `idle` is given.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FrameOptions {
    /// Every frame has so many bytes.
    pub length: Option<usize>,
    /// A frame ends where this text (or these hex bytes) stands; it is no part of the frame.
    pub delimiter: Option<String>,
    /// A frame ends when nothing came for so long.
    #[serde(default, deserialize_with = "duration::optional")]
    pub idle: Option<Duration>,
    /// Whether patterns and writes are text or hex bytes.
    #[serde(default)]
    pub encoding: FrameEncoding,
    /// A longer frame is refused, in bytes, 1 to 1 MiB.
    #[serde(default = "four_kib")]
    pub max_length: usize,
    /// The rest of a begun frame must come within this time, else what came is dropped.
    #[serde(default = "one_second", deserialize_with = "duration::required")]
    pub incomplete_after: Duration,
    /// Blanks and line ends around a text frame do not count; `false` for `length` frames, else `true`.
    pub trim: Option<bool>,
}

fn four_kib() -> usize {
    4_096
}
fn one_second() -> Duration {
    Duration::from_secs(1)
}

/// Text or bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FrameEncoding {
    /// UTF-8.
    #[default]
    Text,
    /// Bytes, written as pairs of hex digits, blanks allowed between them.
    Hex,
}

/// How frames end, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FramingRule {
    /// After so many bytes.
    Length(usize),
    /// Where these bytes stand.
    Delimiter(Vec<u8>),
    /// After so long a silence.
    Idle(Duration),
}

/// What a frame means.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReceiveRule {
    /// The pattern of the whole frame.
    #[serde(rename = "match")]
    pub pattern: String,
    /// The message that it becomes; absent: the frame is known and means nothing.
    pub message: Option<MessageTemplate>,
    /// Further messages.
    #[serde(default)]
    pub also: Vec<MessageTemplate>,
}

/// What a command writes. The first rule whose patterns all match is taken.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SendRule {
    /// Pattern of the action.
    pub action: String,
    /// Pattern of the function; absent: any.
    pub function: Option<String>,
    /// Pattern of the gateway; absent: any.
    pub gateway: Option<String>,
    /// Pattern of the location; absent: any.
    pub location: Option<String>,
    /// Pattern of the device; absent: any.
    pub device: Option<String>,
    /// The bytes, with `{name}` for captured values and arguments.
    pub write: String,
    /// Messages to emit once it is written.
    #[serde(default)]
    pub also: Vec<MessageTemplate>,
}

/// A message with `{name}` for captured values in its texts.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MessageTemplate {
    /// `true` for a command to another device, `false` for a status.
    pub iscmd: bool,
    /// See [`hearthgate_domain::mapping::internal_msg::InternalMsg`], also for the following ones.
    pub function: String,
    /// The gateway.
    pub gateway: String,
    /// The location.
    pub location: String,
    /// The device.
    pub device: String,
    /// The sender; empty: the interface's own name.
    pub sender: String,
    /// The action.
    pub action: String,
    /// The arguments; texts may hold `{name}`.
    pub arguments: Map<String, Value>,
    /// Overrides the interface's `retain`.
    pub retain: Option<bool>,
    /// Overrides the interface's `qos`.
    pub qos: Option<QoS>,
    /// A whole topic name in place of the mapped one.
    pub topic: Option<String>,
}

/// Pauses between attempts to reach a device: doubling from `min` to `max`, each shortened by up to half at random.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReconnectOptions {
    /// The first pause, at least 1 ms.
    #[serde(deserialize_with = "duration::required")]
    pub min: Duration,
    /// The longest pause.
    #[serde(deserialize_with = "duration::required")]
    pub max: Duration,
}

impl Default for ReconnectOptions {
    fn default() -> Self {
        ReconnectOptions { min: Duration::from_secs(1), max: Duration::from_secs(60) }
    }
}

/// What `serial` and `tcp` have in common: a stream of bytes, and what they mean.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StreamOptions {
    /// How frames end.
    pub frame: FrameOptions,
    /// What frames mean, first match first.
    #[serde(default)]
    pub receive: Vec<ReceiveRule>,
    /// What commands write, first match first.
    #[serde(default)]
    pub send: Vec<SendRule>,
    /// Pauses between attempts to reach the device.
    #[serde(default)]
    pub reconnect: ReconnectOptions,
    /// A write that takes longer means that the device is gone.
    #[serde(default = "five_seconds", deserialize_with = "duration::required")]
    pub write_timeout: Duration,
    /// Silence that means that the device is gone; absent: silence is fine.
    #[serde(default, deserialize_with = "duration::optional")]
    pub silence_timeout: Option<Duration>,
}

impl StreamOptions {
    pub(super) fn check(&self) -> Result<(), InterfaceConfigError> {
        self.frame.rule()?;
        let least = Duration::from_millis(1);
        at_least("reconnect.min", self.reconnect.min, least)?;
        if self.reconnect.max < self.reconnect.min {
            return Err(InterfaceConfigError::new("reconnect.max", "is shorter than `reconnect.min`"));
        }
        at_least("write_timeout", self.write_timeout, least)?;
        if let Some(silence) = self.silence_timeout {
            at_least("silence_timeout", silence, least)?;
        }
        Ok(())
    }
}

const LARGEST_FRAME: usize = 1 << 20;

impl FrameOptions {
    /// The one framing that is given.
    ///
    /// # Errors
    /// None or several are given, or the values make no sense.
    pub fn rule(&self) -> Result<FramingRule, InterfaceConfigError> {
        if !(1..=LARGEST_FRAME).contains(&self.max_length) {
            return Err(InterfaceConfigError::new("frame.max_length", "must be 1 to 1048576 bytes"));
        }
        at_least("frame.incomplete_after", self.incomplete_after, Duration::from_millis(1))?;
        match (self.length, &self.delimiter, self.idle) {
            (Some(length), None, None) => {
                if length == 0 || length > self.max_length {
                    return Err(InterfaceConfigError::new(
                        "frame.length",
                        format!("must be 1 to {} (max_length)", self.max_length),
                    ));
                }
                Ok(FramingRule::Length(length))
            }
            (None, Some(delimiter), None) => {
                let bytes = match self.encoding {
                    FrameEncoding::Text => delimiter.as_bytes().to_vec(),
                    FrameEncoding::Hex => {
                        parse_hex(delimiter).map_err(|problem| InterfaceConfigError::new("frame.delimiter", problem))?
                    }
                };
                if bytes.is_empty() {
                    return Err(InterfaceConfigError::new("frame.delimiter", "is empty; write for example \"\\n\""));
                }
                Ok(FramingRule::Delimiter(bytes))
            }
            (None, None, Some(idle)) => {
                at_least("frame.idle", idle, Duration::from_millis(1))?;
                Ok(FramingRule::Idle(idle))
            }
            _ => Err(InterfaceConfigError::new("frame", "give exactly one of `length`, `delimiter` and `idle`")),
        }
    }

    /// Whether blanks around a frame are taken away.
    #[must_use]
    pub fn trims(&self) -> bool {
        self.encoding == FrameEncoding::Text && self.trim.unwrap_or(self.length.is_none())
    }
}

/// Pairs of hex digits, with blanks between them or not.
pub(crate) fn parse_hex(text: &str) -> Result<Vec<u8>, HexError> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let refused = || HexError::new(text);
    let value =
        |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok()).ok_or_else(refused);
    if !digits.len().is_multiple_of(2) {
        return Err(refused());
    }
    digits.chunks_exact(2).map(|pair| Ok(value(pair[0])? << 4 | value(pair[1])?)).collect()
}
