//! `map decode|encode` and `topic match`: lines through the very code that the gateway runs.

use super::lines;
use crate::cli::{MapArgs, MapCommand};
use crate::exit::{CommandFailure, ExitStatus};
use crate::maps;
use hearthgate_domain::mapping::MessageCodec;
use hearthgate_domain::mapping::internal_msg::InternalMsg;
use hearthgate_domain::topic::{TopicFilter, validate_topic_name};
use serde::Deserialize;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::sync::Arc;

#[derive(Deserialize)]
struct OnTheWire {
    topic: String,
    payload: String,
}

#[derive(Deserialize)]
struct FilterAndTopic {
    filter: String,
    topic: String,
}

/// Answers lines through a map.
///
/// # Errors
/// The map is missing or refused; reading or writing fails.
pub fn run(command: &MapCommand, input: impl Read, output: impl Write) -> anyhow::Result<ExitStatus> {
    match command {
        MapCommand::Decode(args) => {
            let codec = codec(args)?;
            lines::answer(input, output, |OnTheWire { topic, payload }| {
                match codec.decode(&topic, payload.as_bytes()) {
                    Ok(message) => json!({"ok": message}),
                    Err(error) => json!({"error": error.to_string()}),
                }
            })
        }
        MapCommand::Encode(args) => {
            let codec = codec(args)?;
            lines::answer(input, output, |message: InternalMsg| match codec.encode(&message) {
                Ok(encoded) => json!({"ok": {"topic": encoded.topic, "payload": encoded.payload}}),
                Err(error) => json!({"error": error.to_string()}),
            })
        }
    }
}

fn codec(args: &MapArgs) -> anyhow::Result<MessageCodec> {
    let maps = maps::read(&args.map).map_err(|error| CommandFailure::Config(error.to_string()))?;
    Ok(MessageCodec::new(Arc::new(maps), &args.name))
}

/// Answers whether filters match topics.
///
/// # Errors
/// Reading or writing fails.
pub fn topic_match(input: impl Read, output: impl Write) -> anyhow::Result<ExitStatus> {
    lines::answer(input, output, |FilterAndTopic { filter, topic }| match matches(&filter, &topic) {
        Ok(matches) => json!({"match": matches}),
        Err(error) => error,
    })
}

fn matches(filter: &str, topic: &str) -> Result<bool, Value> {
    let filter = TopicFilter::parse(filter).map_err(|error| json!({"error": error.to_string()}))?;
    validate_topic_name(topic).map_err(|error| json!({"error": error.to_string()}))?;
    Ok(filter.matches(topic))
}
