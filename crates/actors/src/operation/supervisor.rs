//! SupervisorActor: watches all actors and tells the world, as retained messages, how the gateway and its interfaces are.
//!
//! Restarting is the guards' work, not this actor's: when it is down itself, nobody else notices.

use crate::lock::lock;
use crate::mapping::interface::DeviceState;
use crate::messages::{PublishMessages, RestartGateway};
use crate::mqtt::LinkStatus;
use crate::operation::announced::AnnouncedMemory;
use crate::operation::discovery::RestartTarget;
use crate::retained::{is_taken, retained};
use actix::prelude::*;
use hearthgate_domain::delivery::OutboundMessage;
use hearthgate_supervision::{ActorExit, ActorFailure, ActorHealth, ActorRegistry, ActorStatus};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tracing::{debug, info, warn};

/// Changes that come close together are told together.
const SETTLE: Duration = Duration::from_millis(20);

/// What the topic ends with on which the connection tells whether it stands.
const STATUS: &str = "/status";

/// What the topic of the health of all parts ends with.
const HEALTH: &str = "/health";

/// One interface as the supervisor sees it.
#[derive(Clone)]
pub struct SupervisedInterface {
    /// The interface's name.
    pub interface: Arc<str>,
    /// The name of its actor.
    pub actor: Arc<str>,
    /// What is known of its device.
    pub device: watch::Receiver<DeviceState>,
}

/// What the actor works with.
#[derive(Clone)]
pub struct SupervisorDeps {
    /// All actors.
    pub registry: ActorRegistry,
    /// The interfaces.
    pub interfaces: Vec<SupervisedInterface>,
    /// First levels of our own topics, such as `hearthgate/home`; nothing is told without.
    pub prefix: Option<String>,
    /// The topics that were ever told something: what this run has no use for is cleared.
    pub announced: Arc<Mutex<dyn AnnouncedMemory + Send>>,
    /// Where messages are published; absent when MQTT is off.
    pub publish: Option<Recipient<PublishMessages>>,
    /// Whether there is a connection: after a new one everything is told again.
    pub link: watch::Receiver<LinkStatus>,
    /// How often the health is told when nothing changes.
    pub health_interval: Duration,
    /// Where the wish to restart the whole gateway goes.
    pub restart_wanted: Arc<Notify>,
}

/// See the module.
pub struct SupervisorActor {
    deps: SupervisorDeps,
    exit: ActorExit,
}

impl SupervisorActor {
    /// An actor that watches as soon as it is started.
    #[must_use]
    pub fn new(deps: SupervisorDeps, exit: ActorExit) -> Self {
        SupervisorActor { deps, exit }
    }
}

impl Actor for SupervisorActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.spawn(watch_over(self.deps.clone()).into_actor(self).map(|(), act, ctx| {
            act.exit.fail(ctx, ActorFailure::bug("the registry of actors is gone"));
        }));
    }
}

impl Supervised for SupervisorActor {}

impl Handler<RestartGateway> for SupervisorActor {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, RestartGateway(target): RestartGateway, _: &mut Self::Context) -> Self::Result {
        let actor = match target {
            RestartTarget::Gateway => {
                self.deps.restart_wanted.notify_one();
                return Box::pin(std::future::ready(()));
            }
            RestartTarget::Actor(actor) => actor,
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

async fn watch_over(mut deps: SupervisorDeps) {
    let mut changes = deps.registry.subscribe();
    let mut told = BTreeMap::new();
    let mut leftovers = Leftovers::of(&deps);
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
            leftovers.clear(&deps).await;
        } else {
            leftovers.cleared_at = None;
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
            // Nobody tells of a connection where there is none.
            changed = deps.link.changed(), if deps.publish.is_some() => if changed.is_err() { return },
            () = any_device => {}
            () = tokio::time::sleep_until(next_health) => {}
        }
        tokio::time::sleep(SETTLE).await;
        changes.mark_unchanged();
    }
}

/// Publishes what is different from what was told before.
async fn tell(deps: &SupervisorDeps, told: &mut BTreeMap<String, String>) {
    let (Some(prefix), Some(publish)) = (&deps.prefix, &deps.publish) else { return };
    let actors = deps.registry.list();
    let mut states = BTreeMap::from([(format!("{prefix}{HEALTH}"), health_json(&actors))]);
    for watched in &deps.interfaces {
        let health = actors.iter().find(|health| health.name == watched.actor);
        let state = interface_state(health.map(|health| health.status), &watched.device.borrow());
        states.insert(state_topic(prefix, &watched.interface), state.to_owned());
    }
    let news = states.iter().filter(|(topic, state)| told.get(*topic) != Some(state));
    let news: Vec<OutboundMessage> = news.map(|(topic, state)| retained(topic, state)).collect();
    if news.is_empty() {
        return;
    }
    debug!(count = news.len(), "telling state");
    if is_taken(publish, news).await {
        *told = states;
    }
}

fn state_topic(prefix: &str, interface: &str) -> String {
    format!("{prefix}/interface/{interface}/state")
}

/// Topics on which an earlier run has left a retained message and this one tells nothing: an interface was removed, the
/// gateway got another name, or the prefix was taken away.
struct Leftovers {
    topics: BTreeSet<String>,
    /// When empty messages were sent on the connection that stands.
    cleared_at: Option<Instant>,
}

impl Leftovers {
    fn of(deps: &SupervisorDeps) -> Self {
        let current = current_topics(deps);
        let known = lock(&deps.announced).topics().to_vec();
        let topics = known.into_iter().filter(|topic| !current.contains(topic)).collect();
        let leftovers = Leftovers { topics, cleared_at: None };
        leftovers.remember(deps);
        leftovers
    }

    /// Clears them once on each connection. When one has stood for a while after that, the broker has it, and they are
    /// forgotten; until then the next run will do it again.
    async fn clear(&mut self, deps: &SupervisorDeps) {
        let Some(publish) = deps.publish.as_ref().filter(|_| !self.topics.is_empty()) else { return };
        match self.cleared_at {
            None => {
                info!(topics = ?self.topics, "clearing retained states of an earlier configuration");
                let empty = self.topics.iter().map(|topic| retained(topic, "")).collect();
                self.cleared_at = is_taken(publish, empty).await.then(Instant::now);
            }
            Some(at) if at.elapsed() >= deps.health_interval => {
                self.topics.clear();
                self.remember(deps);
            }
            Some(_) => {}
        }
    }

    fn remember(&self, deps: &SupervisorDeps) {
        let topics: Vec<Arc<str>> =
            current_topics(deps).iter().chain(&self.topics).map(|it| it.as_str().into()).collect();
        let mut announced = lock(&deps.announced);
        if let Err(reason) = announced.announced(&topics) {
            warn!(%reason, "could not remember which states are retained at the broker; they can't be cleared later");
        }
    }
}

/// Where this run tells something.
fn current_topics(deps: &SupervisorDeps) -> BTreeSet<String> {
    let Some(prefix) = deps.prefix.as_deref().filter(|_| deps.publish.is_some()) else { return BTreeSet::new() };
    let states = deps.interfaces.iter().map(|watched| state_topic(prefix, &watched.interface));
    states.chain([format!("{prefix}{STATUS}"), format!("{prefix}{HEALTH}")]).collect()
}

/// The word for a dashboard.
#[must_use]
pub fn interface_state(actor: Option<ActorStatus>, device: &DeviceState) -> &'static str {
    match actor {
        None | Some(ActorStatus::Stopped) => "offline",
        Some(ActorStatus::Parked) => "parked",
        Some(ActorStatus::Starting | ActorStatus::BackingOff | ActorStatus::Unresponsive) => "restarting",
        Some(ActorStatus::Running) => match device {
            DeviceState::Online => "online",
            DeviceState::Unknown | DeviceState::Offline(_) => "offline",
        },
    }
}

fn health_json(actors: &[ActorHealth]) -> String {
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
    let is_well = actors.values().all(|actor| actor["status"] == ActorStatus::Running.as_str());
    json!({ "ok": is_well, "actors": actors }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_is_online_only_while_actor_and_device_are() {
        assert_eq!(interface_state(Some(ActorStatus::Running), &DeviceState::Online), "online");
        assert_eq!(interface_state(Some(ActorStatus::Running), &DeviceState::Offline("unplugged".into())), "offline");
        assert_eq!(interface_state(Some(ActorStatus::BackingOff), &DeviceState::Online), "restarting");
        assert_eq!(interface_state(Some(ActorStatus::Parked), &DeviceState::Online), "parked");
        assert_eq!(interface_state(None, &DeviceState::Online), "offline");
    }
}
