//! The lines of the `exec` protocol, version 1.

use crate::config::{ExecConfig, InterfaceConfig};
use crate::port::{DeviceMessage, DriverLogLevel};
use hearthgate_domain::delivery::QoS;
use hearthgate_domain::mapping::internal_msg::InternalMsg;
use serde::Deserialize;
use serde_json::{Value, json};

/// The first line to a child. Beyond what the protocol asks for it tells the rules for late commands, for runners that
/// keep commands in a queue of their own.
pub(crate) fn hello(name: &str, config: &InterfaceConfig, exec: &ExecConfig) -> Vec<u8> {
    line(&json!({
        "type": "hello",
        "protocol": 1,
        "name": config.name.as_deref().unwrap_or(name),
        "params": exec.params,
        "max_command_age": config.max_command_age.as_secs_f64(),
        "replies": config.replies,
    }))
}

pub(crate) fn message(message: &InternalMsg) -> Vec<u8> {
    line(&json!({ "type": "message", "message": message }))
}

pub(crate) fn ping(id: u64) -> Vec<u8> {
    line(&json!({ "type": "ping", "id": id }))
}

pub(crate) fn stop() -> Vec<u8> {
    line(&json!({ "type": "stop" }))
}

fn line(value: &Value) -> Vec<u8> {
    let mut line = value.to_string().into_bytes();
    line.push(b'\n');
    line
}

/// A line from a child.
#[derive(Debug, PartialEq)]
pub(crate) enum FromChild {
    Ready,
    Message(Box<DeviceMessage>),
    Pong(u64),
    Log(DriverLogLevel, String),
}

#[derive(Deserialize)]
struct Said {
    #[serde(rename = "type")]
    kind: Word,
    message: Option<InternalMsg>,
    retain: Option<bool>,
    qos: Option<QoS>,
    topic: Option<String>,
    id: Option<u64>,
    level: Option<String>,
    text: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Word {
    Ready,
    Message,
    Pong,
    Log,
}

/// Why a line is none of the protocol.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LineError {
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    #[error("`{key}` is missing")]
    Missing { key: &'static str },
    #[error("{word:?} is no level; use debug, info, warn or error")]
    Level { word: String },
}

/// Understands a line.
pub(crate) fn understand(line: &[u8]) -> Result<FromChild, LineError> {
    let said: Said = serde_json::from_slice(line)?;
    let missing = |key| LineError::Missing { key };
    match said.kind {
        Word::Ready => Ok(FromChild::Ready),
        Word::Pong => said.id.map(FromChild::Pong).ok_or_else(|| missing("id")),
        Word::Log => {
            let text = said.text.ok_or_else(|| missing("text"))?;
            Ok(FromChild::Log(level(said.level.as_deref().unwrap_or("info"))?, text))
        }
        Word::Message => {
            let message = said.message.ok_or_else(|| missing("message"))?;
            Ok(FromChild::Message(Box::new(DeviceMessage {
                message,
                retain: said.retain,
                qos: said.qos,
                topic: said.topic,
            })))
        }
    }
}

fn level(word: &str) -> Result<DriverLogLevel, LineError> {
    match word.to_ascii_lowercase().as_str() {
        "trace" | "debug" => Ok(DriverLogLevel::Debug),
        "info" => Ok(DriverLogLevel::Info),
        "warn" | "warning" => Ok(DriverLogLevel::Warn),
        "error" | "critical" => Ok(DriverLogLevel::Error),
        _ => Err(LineError::Level { word: word.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_protocol_is_understood() {
        let said = |line: &str| understand(line.as_bytes()).unwrap();
        assert_eq!(said(r#"{"type":"ready"}"#), FromChild::Ready);
        assert_eq!(said(r#"{"type":"pong","id":7}"#), FromChild::Pong(7));
        assert_eq!(
            said(r#"{"type":"log","level":"WARNING","text":"x"}"#),
            FromChild::Log(DriverLogLevel::Warn, "x".into())
        );
        let message =
            said(r#"{"type":"message","message":{"action":"ON","arguments":{"b":1,"a":"é"}},"retain":true,"qos":2}"#);
        let FromChild::Message(emission) = message else { panic!("{message:?}") };
        assert_eq!(emission.message.action, "ON");
        assert_eq!(emission.message.arguments.keys().collect::<Vec<_>>(), ["b", "a"]);
        assert_eq!((emission.retain, emission.qos, emission.topic), (Some(true), Some(QoS::ExactlyOnce), None));
    }

    #[test]
    fn a_line_that_is_not_of_the_protocol_is_refused_with_a_reason() {
        for (line, words) in [
            (&b"hello"[..], "expected value"),
            (b"{\"type\":\"dance\"}", "unknown variant `dance`"),
            (b"{\"type\":\"message\"}", "`message` is missing"),
            (b"{\"type\":\"message\",\"message\":{\"acton\":\"ON\"}}", "unknown field `acton`"),
            (b"{\"type\":\"pong\"}", "`id` is missing"),
            (b"{\"type\":\"log\",\"level\":\"loud\",\"text\":\"x\"}", "no level"),
            (b"\xff\xfe", "expected value"),
        ] {
            let error = understand(line).unwrap_err().to_string();
            assert!(error.contains(words), "{}: {error}", String::from_utf8_lossy(line));
        }
        assert!(understand("[".repeat(100_000).as_bytes()).is_err(), "deep nesting is refused");
    }
}
