//! The `dummy` kind: logs what it receives and emits a fixed message every `period`. Shows that an installation works.

use crate::DriverError;
use crate::config::{DummyConfig, InterfaceConfig};
use crate::events::{EventSender, HostGone};
use crate::port::{DeviceMessage, DriverEvent, DriverLogLevel, DriverPort};
use crate::queue::DeviceCommand;
use crate::replies;
use hearthgate_domain::mapping::internal_msg::InternalMsg;
use std::fmt::Write as _;
use std::time::{Duration, Instant};
use tokio::time::{MissedTickBehavior, interval_at};

/// The first message comes early, so that somebody who tries it out does not wait a whole period.
const FIRST_AFTER: Duration = Duration::from_secs(5);

pub(crate) async fn run(config: &InterfaceConfig, dummy: &DummyConfig, port: DriverPort) -> Result<(), DriverError> {
    let DriverPort { commands, events, mut stop, frames } = port;
    let events = EventSender::new(events, frames);
    let mut commands = commands.lock().await;
    let first = tokio::time::Instant::now() + FIRST_AFTER.min(dummy.period);
    let mut ticks = interval_at(first, dummy.period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut listened = events.send(DriverEvent::Online).await;
    while listened.is_ok() {
        tokio::select! {
            () = stop.asked() => break,
            command = commands.begin() => {
                let Some(command) = command else { break };
                listened = received(&events, config, &command).await;
                commands.finish();
            }
            _ = ticks.tick() => listened = events.send(DriverEvent::Emit(DeviceMessage::from(fixed_message()))).await,
        }
    }
    Ok(())
}

async fn received(events: &EventSender, config: &InterfaceConfig, command: &DeviceCommand) -> Result<(), HostGone> {
    if let Some(reason) = replies::too_old(command, Instant::now(), config.max_command_age) {
        return events.refuse_late(config, &command.message, &reason).await;
    }
    events.log(DriverLogLevel::Info, || format!("received {}", describe(&command.message))).await
}

fn describe(message: &InternalMsg) -> String {
    let mut text = String::from(if message.iscmd { "command" } else { "status" });
    let fields = [
        ("function", &message.function),
        ("gateway", &message.gateway),
        ("location", &message.location),
        ("device", &message.device),
        ("sender", &message.sender),
        ("action", &message.action),
    ];
    // Writing into a String can't fail.
    for (field, value) in fields.into_iter().filter(|(_, value)| !value.is_empty()) {
        let _ = write!(text, " {field}={}", value.escape_debug());
    }
    for (key, value) in &message.arguments {
        let _ = write!(text, " {}={value}", key.escape_debug());
    }
    text
}

/// The message that the Python library's dummy interface sends.
fn fixed_message() -> InternalMsg {
    InternalMsg {
        iscmd: true,
        function: "DummyFunction".into(),
        location: "Office".into(),
        action: "MUTE_ON".into(),
        ..InternalMsg::default()
    }
}
