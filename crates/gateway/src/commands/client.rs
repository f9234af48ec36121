//! `sub`, `pub`: the broker of the gateway, as one of its clients.

use super::guest::guest_session;
use crate::cli::{PubArgs, SubArgs};
use crate::database::block_on;
use crate::exit::{CommandFailure, ExitStatus};
use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, SecondsFormat};
use hearthgate_domain::delivery::{InboundMessage, OutboundMessage, QoS};
use hearthgate_domain::topic::{TopicFilter, validate_topic_name};
use hearthgate_mqtt::link::{self, LinkEvent, LinkSubscription, PublishOutcome};
use hearthgate_mqtt::session::{self, SessionOptions};
use hearthgate_settings::GatewaySettings;
use serde_json::json;
use std::io::{self, Read as _, Write};
use tokio::sync::mpsc;

/// Room in the link; what comes while it is full waits at the broker.
const LINK: usize = 16;
/// Greatest payload that MQTT carries.
const LARGEST: u64 = 256 << 20;

/// Prints what comes until there is enough, or a signal.
///
/// # Errors
/// A filter is none, or the broker can't be reached or refuses.
pub fn subscribe(settings: &GatewaySettings, args: &SubArgs, out: &mut dyn Write) -> anyhow::Result<ExitStatus> {
    for filter in &args.filters {
        TopicFilter::parse(filter).map_err(|error| CommandFailure::Usage(format!("{filter}: {error}")))?;
    }
    let options = guest_session(settings, &args.login, "sub")?;
    let is_plain = !args.json && args.filters.len() == 1 && !args.filters[0].contains(['+', '#']);
    let print = |message: &InboundMessage, out: &mut dyn Write| match (args.json, is_plain) {
        (true, _) => writeln!(out, "{}", as_json(message)),
        (false, true) => writeln!(out, "{}", String::from_utf8_lossy(&message.payload)),
        (false, false) => writeln!(out, "{} {}", message.topic, String::from_utf8_lossy(&message.payload)),
    };
    block_on(async {
        let (handle, port, mut events) = link::link(LINK, LINK);
        let wanted = |filter: &String| LinkSubscription { filter: filter.clone(), qos: QoS::AtLeastOnce };
        handle.subscribe_exactly(args.filters.iter().map(wanted).collect());
        let mut left = args.count.unwrap_or(u64::MAX);
        let printing = async {
            while left > 0 {
                let batch = match next(&mut events).await? {
                    LinkEvent::Messages(batch) => batch,
                    _ => continue,
                };
                for (_, message) in batch.arrivals(0).take(usize::try_from(left).unwrap_or(usize::MAX)) {
                    print(message, out)?;
                    left -= 1;
                }
                out.flush()?;
                handle.acknowledge(batch.last());
            }
            anyhow::Ok(())
        };
        tokio::select! {
            end = session::run(options, port) => Err(CommandFailure::Unavailable(format!("the session has ended: {end:?}")).into()),
            printed = printing => printed,
            _ = tokio::signal::ctrl_c() => Ok(()),
        }
    })?;
    Ok(ExitStatus::Ok)
}

/// Publishes one message, and waits until the broker has it.
///
/// # Errors
/// The topic is none, or the broker can't be reached or refuses.
pub fn publish(settings: &GatewaySettings, args: &PubArgs) -> anyhow::Result<ExitStatus> {
    validate_topic_name(&args.topic).map_err(|error| CommandFailure::Usage(error.to_string()))?;
    let payload = payload_of(&args.payload)?;
    let qos = QoS::try_from(args.qos).map_err(|_| CommandFailure::Usage("--qos is 0, 1 or 2".into()))?;
    let message =
        OutboundMessage { topic: args.topic.as_str().into(), payload: payload.into(), qos, retain: args.retain };
    let options = guest_session(settings, &args.login, "pub")?;
    block_on(deliver(options, message))?;
    Ok(ExitStatus::Ok)
}

async fn deliver(options: SessionOptions, message: OutboundMessage) -> anyhow::Result<()> {
    let (handle, port, mut events) = link::link(LINK, LINK);
    let session = session::run(options, port);
    let publishing = async {
        while !matches!(next(&mut events).await?, LinkEvent::Connected { .. }) {}
        let receipt = handle.publish_with_receipt(message).await?;
        let outcome = async {
            loop {
                if let Err(error) = next(&mut events).await {
                    return error;
                }
            }
        };
        let told = tokio::select! {
            told = receipt.outcome() => told,
            error = outcome => return Err(error),
        };
        handle.close();
        match told {
            PublishOutcome::Acknowledged => Ok(()),
            PublishOutcome::Refused(reason) => Err(CommandFailure::Refused(reason).into()),
            PublishOutcome::GivenUp => {
                Err(CommandFailure::Unavailable("the broker did not acknowledge it".into()).into())
            }
        }
    };
    tokio::pin!(session);
    tokio::select! {
        end = &mut session => return Err(CommandFailure::Unavailable(format!("the session has ended: {end:?}")).into()),
        published = publishing => published?,
    }
    // With DISCONNECT, after what was published.
    session.await;
    Ok(())
}

/// The next event; a connection that does not come about, or a filter that is refused, is the end.
async fn next(events: &mut mpsc::Receiver<LinkEvent>) -> anyhow::Result<LinkEvent> {
    match events.recv().await {
        Some(LinkEvent::Disconnected { reason, .. }) => Err(CommandFailure::Unavailable(reason).into()),
        Some(LinkEvent::Refused(refused)) if !refused.is_empty() => {
            let refused: Vec<String> = refused.iter().map(|(filter, reason)| format!("{filter}: {reason}")).collect();
            Err(CommandFailure::Refused(refused.join("; ")).into())
        }
        Some(LinkEvent::Dropped { topic, reason, .. }) => {
            Err(CommandFailure::Refused(format!("{topic}: {reason}")).into())
        }
        Some(event) => Ok(event),
        None => Err(CommandFailure::Unavailable("the session has ended".into()).into()),
    }
}

fn payload_of(text: &str) -> anyhow::Result<Vec<u8>> {
    let mut payload = Vec::new();
    match text.strip_prefix('@') {
        Some(file) => {
            let opened = std::fs::File::open(file).with_context(|| format!("reading {file}"))?;
            opened.take(LARGEST).read_to_end(&mut payload)?;
        }
        None if text == "-" => drop(io::stdin().lock().take(LARGEST).read_to_end(&mut payload)?),
        None => payload.extend_from_slice(text.as_bytes()),
    }
    Ok(payload)
}

fn as_json(message: &InboundMessage) -> serde_json::Value {
    let time = DateTime::from_timestamp_micros(message.received_at).unwrap_or_default();
    let time = time.to_rfc3339_opts(SecondsFormat::Millis, true);
    let mut shown =
        json!({"topic": &*message.topic, "qos": u8::from(message.qos), "retain": message.retain, "time": time});
    match std::str::from_utf8(&message.payload) {
        Ok(text) => shown["payload"] = text.into(),
        Err(_) => shown["payload_base64"] = STANDARD.encode(&message.payload).into(),
    }
    shown
}
