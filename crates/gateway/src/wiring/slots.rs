//! The actors that others refer to, started before any of them is wired.

use crate::exit::Failure;
use crate::wiring::homeassistant;
use crate::wiring::homeassistant::Discovery;
use crate::wiring::interfaces::Interface;
use crate::wiring::options;
use crate::wiring::spawner::{Place, Starter};
use actix::Addr;
use hearthgate_actors::flows::router;
use hearthgate_actors::mapping::mapper;
use hearthgate_actors::mqtt;
use hearthgate_actors::mqtt::broker::BrokerActor;
use hearthgate_actors::mqtt::subscription_ids::Interests;
use hearthgate_actors::operation::homeassistant::{Deps as HomeAssistantDeps, HomeAssistantActor};
use hearthgate_mqtt::broker::Broker;
use hearthgate_settings::{Server, Settings};
use std::net::SocketAddr;
use std::sync::Arc;
use tracing::warn;

/// Made on the actor's own thread, where its session will be.
pub(super) type MakeMqtt = Box<dyn FnOnce() -> mqtt::Deps + Send>;

/// Who shows us in Home Assistant, and what there is to show.
pub(super) type Announcer = (Place<HomeAssistantActor, HomeAssistantDeps>, Discovery);

/// The connection to the broker and those who get what comes in there.
pub(super) struct Intake {
    pub(super) mqtt: Place<mqtt::MqttActor, MakeMqtt>,
    pub(super) mapper: Option<Place<mapper::MapperActor, mapper::Deps>>,
    pub(super) announcer: Option<Announcer>,
    pub(super) router: Option<Place<router::FlowRouterActor, router::Deps>>,
    /// The filters of all of them.
    pub(super) interests: Arc<Interests>,
}

impl Intake {
    /// Starts those that are wanted; none is without MQTT.
    ///
    /// # Errors
    /// What is announced to Home Assistant can not be read.
    pub(super) fn start(
        starter: &mut Starter<'_>,
        settings: &Settings,
        interfaces: &[Interface],
    ) -> anyhow::Result<Option<Self>> {
        if settings.flows.enabled && !settings.database.enabled {
            warn!("flows need [database], which is off: no flow runs");
        }
        if !settings.mqtt.enabled {
            return Ok(None);
        }
        let mqtt = starter.start("mqtt", "mqtt", |make: MakeMqtt, exit| mqtt::MqttActor::new(make(), exit))?;
        let mapper = match settings.mapper.enabled && !interfaces.is_empty() {
            true => Some(starter.start("mapper", "mapper", |deps, _| mapper::MapperActor::new(deps))?),
            false => None,
        };
        let announcer = match homeassistant::discovery(settings, interfaces)? {
            Some(discovery) => {
                Some((starter.start("homeassistant", "homeassistant", HomeAssistantActor::new)?, discovery))
            }
            None => None,
        };
        let router = match settings.flows.enabled && settings.database.enabled {
            true => Some(starter.start("router", "router", router::FlowRouterActor::new)?),
            false => None,
        };
        Ok(Some(Intake { mqtt, mapper, announcer, router, interests: Arc::default() }))
    }
}

/// The embedded broker, if it is wanted, and where it listens.
///
/// # Errors
/// It can't listen there.
pub(super) fn start_broker(
    starter: &mut Starter<'_>,
    settings: &Settings,
) -> anyhow::Result<Option<(Addr<BrokerActor>, Vec<SocketAddr>)>> {
    if !settings.broker.is_enabled() {
        return Ok(None);
    }
    let options = options::broker(&settings.broker, &settings.gateway.state_dir);
    let bound = Broker::bind(options.clone()).map_err(|error| Failure::Unavailable(error.to_string()))?;
    let listens = bound.addresses();
    let expects_port = settings.mqtt.enabled && settings.mqtt.server == Server::Embedded;
    let place = starter.start("broker", "broker", move |(options, bound), exit| {
        BrokerActor::new(options, bound, expects_port, exit)
    })?;
    place.fill((options, bound))?;
    Ok(Some((place.addr, listens)))
}
