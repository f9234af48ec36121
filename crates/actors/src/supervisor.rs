//! SupervisorActor: watches all actors and tells the world, as retained messages, how the gateway and its interfaces are.
//!
//! Restarting is the guards' work, not this actor's: when it is down itself, nobody else notices.

use crate::discovery::Target;
use crate::interface::DeviceState;
use crate::messages::{Publish, Restart};
use crate::mqtt::LinkStatus;
use actix::prelude::*;
use hearthgate_domain::delivery::{Outbound, QoS};
use hearthgate_supervision::{Exit, Health, Registry, Status};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tracing::{debug, info, warn};

/// Changes that come close together are told together.
const SETTLE: Duration = Duration::from_millis(20);

/// What the topic of the health of all parts ends with.
const HEALTH: &str = "/health";

/// One interface as the supervisor sees it.
#[derive(Clone)]
pub struct Watched {
    /// The interface's name.
    pub interface: Arc<str>,
    /// The name of its actor.
    pub actor: Arc<str>,
    /// What is known of its device.
    pub device: watch::Receiver<DeviceState>,
}

/// What the actor works with.
#[derive(Clone)]
pub struct Deps {
    /// All actors.
    pub registry: Registry,
    /// The interfaces.
    pub interfaces: Vec<Watched>,
    /// First levels of our own topics, such as `hearthgate/home`; nothing is told without.
    pub prefix: Option<String>,
    /// Where messages are published; absent when MQTT is off.
    pub publish: Option<Recipient<Publish>>,
    /// Whether there is a connection: after a new one everything is told again.
    pub link: watch::Receiver<LinkStatus>,
    /// How often the health is told when nothing changes.
    pub health_interval: Duration,
    /// Where the wish to restart the whole gateway goes.
    pub restart_wanted: Arc<Notify>,
}

/// See the module.
pub struct SupervisorActor {
    deps: Deps,
    exit: Exit,
}

impl SupervisorActor {
    /// An actor that watches as soon as it is started.
    #[must_use]
    pub fn new(deps: Deps, exit: Exit) -> Self {
        SupervisorActor { deps, exit }
    }
}

impl Actor for SupervisorActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.spawn(watch_over(self.deps.clone()).into_actor(self).map(|(), act, ctx| {
            act.exit.fail(ctx, "the registry of actors is gone");
        }));
    }
}

impl Supervised for SupervisorActor {}

impl Handler<Restart> for SupervisorActor {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, Restart(target): Restart, _: &mut Self::Context) -> Self::Result {
        let actor = match target {
            Target::Gateway => {
                self.deps.restart_wanted.notify_one();
                return Box::pin(std::future::ready(()));
            }
            Target::Actor(actor) => actor,
        };
        let entry = self.deps.registry.get(&actor);
        Box::pin(async move {
            let Some(entry) = entry else { return warn!(%actor, "there is no such part to restart") };
            match entry.control.restart().await {
                Ok(_) => info!(%actor, "restarted by order"),
                Err(reason) => warn!(%actor, %reason, "could not be restarted by order"),
            }
        })
    }
}

async fn watch_over(mut deps: Deps) {
    let mut changes = deps.registry.subscribe();
    let mut told = BTreeMap::new();
    let mut was_connected = false;
    let mut next_health = Instant::now() + deps.health_interval;
    loop {
        let is_connected = deps.link.borrow_and_update().connected;
        if is_connected && !was_connected {
            told.clear();
        }
        if next_health <= Instant::now() {
            told.retain(|topic: &String, _| !topic.ends_with(HEALTH));
            next_health = Instant::now() + deps.health_interval;
        }
        was_connected = is_connected;
        if is_connected {
            tell(&deps, &mut told).await;
        }
        let devices: Vec<_> = deps.interfaces.iter_mut().map(|watched| Box::pin(watched.device.changed())).collect();
        let any_device = async {
            if devices.is_empty() {
                std::future::pending::<()>().await;
            }
            // An error says that the interface's actor is gone for good; its health tells.
            let (_, _, _) = futures_util::future::select_all(devices).await;
        };
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            changed = deps.link.changed() => if changed.is_err() { return },
            () = any_device => {}
            () = tokio::time::sleep_until(next_health) => {}
        }
        tokio::time::sleep(SETTLE).await;
        changes.mark_unchanged();
    }
}

/// Publishes what is different from what was told before.
async fn tell(deps: &Deps, told: &mut BTreeMap<String, String>) {
    let (Some(prefix), Some(publish)) = (&deps.prefix, &deps.publish) else { return };
    let actors = deps.registry.list();
    let mut states = BTreeMap::from([(format!("{prefix}{HEALTH}"), health_json(&actors))]);
    for watched in &deps.interfaces {
        let health = actors.iter().find(|health| health.name == watched.actor);
        let state = interface_state(health.map(|health| health.status), &watched.device.borrow());
        states.insert(format!("{prefix}/interface/{}/state", watched.interface), state.to_owned());
    }
    let news: Vec<Outbound> = states
        .iter()
        .filter(|(topic, state)| told.get(*topic) != Some(state))
        .map(|(topic, state)| Outbound {
            topic: topic.as_str().into(),
            payload: state.clone().into(),
            qos: QoS::AtLeastOnce,
            retain: true,
        })
        .collect();
    if news.is_empty() {
        return;
    }
    debug!(count = news.len(), "telling state");
    match publish.send(Publish(news)).await {
        Ok(Ok(())) => *told = states,
        Ok(Err(reason)) => warn!(%reason, "the gateway's state could not be published"),
        Err(reason) => warn!(%reason, "the gateway's state could not be published"),
    }
}

/// The word for a dashboard.
#[must_use]
pub fn interface_state(actor: Option<Status>, device: &DeviceState) -> &'static str {
    match actor {
        None | Some(Status::Stopped) => "offline",
        Some(Status::Parked) => "parked",
        Some(Status::Starting | Status::BackingOff | Status::Unresponsive) => "restarting",
        Some(Status::Running) => match device {
            DeviceState::Online => "online",
            DeviceState::Unknown | DeviceState::Offline(_) => "offline",
        },
    }
}

fn health_json(actors: &[Health]) -> String {
    let actors: serde_json::Map<String, serde_json::Value> = actors
        .iter()
        .map(|health| {
            let since = health.since.duration_since(UNIX_EPOCH).map_or(0, |age| age.as_secs());
            let value = json!({
                "status": health.status.as_str(),
                "restarts": health.restarts,
                "last_error": health.last_error.as_deref(),
                "since": since,
            });
            (health.name.to_string(), value)
        })
        .collect();
    let is_well = actors.values().all(|actor| actor["status"] == Status::Running.as_str());
    json!({ "ok": is_well, "actors": actors }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_is_online_only_while_actor_and_device_are() {
        assert_eq!(interface_state(Some(Status::Running), &DeviceState::Online), "online");
        assert_eq!(interface_state(Some(Status::Running), &DeviceState::Offline("unplugged".into())), "offline");
        assert_eq!(interface_state(Some(Status::BackingOff), &DeviceState::Online), "restarting");
        assert_eq!(interface_state(Some(Status::Parked), &DeviceState::Online), "parked");
        assert_eq!(interface_state(None, &DeviceState::Online), "offline");
    }
}
