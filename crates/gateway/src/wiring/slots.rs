//! The actors that others refer to, started before any of them is wired.

use crate::exit::CommandFailure;
use crate::requirements::closed_listener;
use crate::wiring::homeassistant;
use crate::wiring::homeassistant::DiscoveryState;
use crate::wiring::interfaces::EnabledInterface;
use crate::wiring::options;
use crate::wiring::spawner::{ActorSlot, ActorSpawner};
use actix::Addr;
use hearthgate_actors::flows::router;
use hearthgate_actors::mapping::mapper;
use hearthgate_actors::mqtt;
use hearthgate_actors::mqtt::broker::BrokerActor;
use hearthgate_actors::mqtt::subscription_ids::SubscriptionRegistry;
use hearthgate_actors::operation::homeassistant::{HomeAssistantActor, HomeAssistantDeps};
use hearthgate_actors::traffic::TrafficTap;
use hearthgate_mqtt::broker::{BrokerError, BrokerInspector, EmbeddedBroker};
use hearthgate_settings::{BrokerUrl, GatewaySettings, LoadedSettings};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tracing::warn;

/// Made on the actor's own thread, where its session will be.
pub(super) type MakeMqtt = Box<dyn FnOnce() -> mqtt::MqttDeps + Send>;

/// Who shows us in Home Assistant, and what there is to show.
pub(super) type AnnouncerSlots = (ActorSlot<HomeAssistantActor, HomeAssistantDeps>, DiscoveryState);

/// The connection to the broker and those who get what comes in there.
pub(super) struct IntakeSlots {
    pub(super) mqtt: ActorSlot<mqtt::MqttActor, MakeMqtt>,
    pub(super) mapper: Option<ActorSlot<mapper::MapperActor, mapper::MapperDeps>>,
    pub(super) announcer: Option<AnnouncerSlots>,
    pub(super) router: Option<ActorSlot<router::FlowRouterActor, router::RouterDeps>>,
    /// The filters of all of them.
    pub(super) interests: Arc<SubscriptionRegistry>,
    /// What passes, for those who look on.
    pub(super) traffic: TrafficTap,
}

impl IntakeSlots {
    /// Starts those that are wanted; none is without MQTT.
    ///
    /// # Errors
    /// What is announced to Home Assistant can not be read.
    pub(super) fn start(
        starter: &mut ActorSpawner<'_>,
        settings: &GatewaySettings,
        interfaces: &[EnabledInterface],
    ) -> anyhow::Result<Option<Self>> {
        if settings.flows.enabled && !settings.database.enabled {
            warn!("flows need [database], which is off: no flow runs");
        }
        if !settings.mqtt.enabled {
            return Ok(None);
        }
        let mqtt = starter.start("mqtt", |make: MakeMqtt, exit| mqtt::MqttActor::new(make(), exit))?;
        let mapper = match settings.mapper.enabled && !interfaces.is_empty() {
            true => Some(starter.start("mapper", |deps, _| mapper::MapperActor::new(deps))?),
            false => None,
        };
        let announcer = match homeassistant::discovery(settings, interfaces)? {
            Some(discovery) => Some((starter.start("homeassistant", HomeAssistantActor::new)?, discovery)),
            None => None,
        };
        let router = match settings.flows.enabled && settings.database.enabled {
            true => Some(starter.start("router", router::FlowRouterActor::new)?),
            false => None,
        };
        Ok(Some(IntakeSlots { mqtt, mapper, announcer, router, interests: Arc::default(), traffic: TrafficTap::new() }))
    }
}

/// Where the embedded broker listens, and who may look into it.
#[derive(Clone, Default)]
pub(crate) struct BrokerPlace {
    pub(crate) listens: Vec<SocketAddr>,
    pub(crate) inspector: BrokerInspector,
}

/// The embedded broker, if it is wanted, and its place.
///
/// # Errors
/// It can't listen there.
pub(super) fn start_broker(
    starter: &mut ActorSpawner<'_>,
    loaded: &LoadedSettings,
) -> anyhow::Result<Option<(Addr<BrokerActor>, BrokerPlace)>> {
    let settings = &loaded.settings;
    if !settings.broker.is_enabled() {
        return Ok(None);
    }
    let options = options::broker(&settings.broker, &settings.gateway.state_dir);
    let refused = |error: BrokerError| match &error {
        BrokerError::PortInUse { address, key } => {
            closed_listener(loaded, &format!("broker.{key}"), address, &io::ErrorKind::AddrInUse.into()).to_string()
        }
        _ => error.to_string(),
    };
    let bound = EmbeddedBroker::bind(options.clone()).map_err(|error| CommandFailure::Unavailable(refused(error)))?;
    let listens = bound.addresses();
    let expects_port = settings.mqtt.enabled && settings.mqtt.server == BrokerUrl::Embedded;
    let inspector = BrokerInspector::default();
    let asked = inspector.clone();
    let place = starter
        .start("broker", move |(options, bound), exit| BrokerActor::new(options, bound, expects_port, asked, exit))?;
    place.fill((options, bound))?;
    Ok(Some((place.addr, BrokerPlace { listens, inspector })))
}
