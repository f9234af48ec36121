//! Who talks to whom: the only place that knows the graph of actors. A subsystem that is off is absent here.

mod flows;
pub(crate) mod homeassistant;
pub(crate) mod interfaces;
mod mapping;
mod notify;
pub(crate) mod options;
mod private;
mod running;
pub(crate) mod secrets;
mod session;
mod slots;
pub(crate) mod source;
mod spawner;
pub(crate) mod state_files;

pub(crate) use running::{Conditions, FlowCommands, RunningGateway};
pub(crate) use slots::BrokerPlace;

use crate::exit::CommandFailure;

use crate::wiring::slots::IntakeSlots;
use crate::wiring::spawner::ActorSpawner;
use crate::wiring::state_files::AnnouncedFile;
use anyhow::Context as _;
use hearthgate_actors::mqtt::LinkStatus;
use hearthgate_actors::operation::homeassistant::HomeAssistantDeps;
use hearthgate_actors::operation::notices::{NoticeActor, NoticeDeps, NoticeSource};
use hearthgate_actors::operation::supervisor;
use hearthgate_actors::operation::supervisor::SupervisedInterface;
use hearthgate_actors::traffic::{FateKeeper, TrafficTap};
use hearthgate_settings::{BrokerUrl, GatewaySettings, LoadedSettings};
use std::fs;
use std::sync::{Arc, Mutex};
use tokio::sync::{Notify, watch};
use tracing::warn;

/// Starts everything that is switched on. What is started later is ended first, except that the intake is closed before all.
///
/// # Errors
/// What only the user can mend.
pub(crate) async fn start(loaded: &LoadedSettings, notices: &NoticeSource) -> anyhow::Result<RunningGateway> {
    let settings = &loaded.settings;
    let state = &settings.gateway.state_dir;
    fs::create_dir_all(state).map_err(|error| {
        CommandFailure::Unavailable(format!("making the state folder {} (gateway.state_dir): {error}", state.display()))
    })?;
    private::tighten(state);
    let interfaces = if settings.mapper.enabled { interfaces::load(loaded)? } else { Vec::new() };
    let mut starter = ActorSpawner::new(settings);
    let broker = crate::wiring::slots::start_broker(&mut starter, loaded)?;
    let intake = IntakeSlots::start(&mut starter, settings, &interfaces)?;
    let (broker, broker_place) = broker.unzip();

    let (status, link) = watch::channel(LinkStatus::default());
    let (mut flows, mut mapping) = (None, None);
    if let Some(intake) = &intake {
        let (server, servers) = watch::channel(None);
        let server = (settings.mqtt.server == BrokerUrl::Database).then_some(server);
        if let Some(router) = &intake.router {
            flows = Some(flows::wire(&mut starter, settings, intake, router, server, link.clone()).await?);
            let notifier = starter.start("notifier", NoticeActor::new)?;
            notifier.fill(NoticeDeps { source: Arc::clone(notices), router: router.addr.clone().recipient() })?;
        }
        if let Some(mapper) = &intake.mapper {
            mapping = Some(mapping::wire(&mut starter, loaded, intake, mapper, &interfaces)?);
        }
        session::wire(settings, intake, source::BrokerChoice::new(settings, broker, servers), status)?;
    }
    let mqtt = intake.as_ref().map(|intake| intake.mqtt.addr.clone());
    let traffic = intake.as_ref().map(|intake| intake.traffic.clone());
    let fates = traffic.as_ref().and_then(|traffic| keep_fates(settings, traffic));
    let commands = mapping.as_ref().map(|mapping| mapping.mapper.clone());
    let (watched, maps) = mapping.map(|mapping| (mapping.watched, mapping.maps)).unzip();
    let watched = watched.unwrap_or_default();
    let restart_wanted = supervise(&mut starter, settings, intake, watched.clone(), &link)?;

    let (flows, troubles) = flows.unzip();
    starter.order.reverse();
    Ok(RunningGateway {
        registry: starter.registry,
        order: starter.order,
        interfaces,
        broker: broker_place,
        traffic,
        fates,
        watched,
        troubles: troubles.unwrap_or_default(),
        link,
        restart_wanted,
        mqtt,
        maps,
        mapper: commands,
        flows,
    })
}

/// A gateway goes on without them.
fn keep_fates(settings: &GatewaySettings, traffic: &TrafficTap) -> Option<FateKeeper> {
    let path = crate::fates::file(&settings.gateway.state_dir);
    let kept = FateKeeper::start(traffic, &path);
    kept.inspect_err(|error| warn!(%error, file = %path.display(), "fates of messages are not kept")).ok()
}

/// The supervisor, and who shows what it knows in Home Assistant. Answers where the wish comes to start everything again.
fn supervise(
    starter: &mut ActorSpawner<'_>,
    settings: &GatewaySettings,
    intake: Option<IntakeSlots>,
    interfaces: Vec<SupervisedInterface>,
    link: &watch::Receiver<LinkStatus>,
) -> anyhow::Result<Arc<Notify>> {
    let place = starter.start("supervisor", supervisor::SupervisorActor::new)?;
    let file = settings.gateway.state_dir.join("state-topics.json");
    let announced = AnnouncedFile::open(file.clone()).with_context(|| format!("reading {}", file.display()))?;
    let restart_wanted = Arc::new(Notify::new());
    place.fill(supervisor::SupervisorDeps {
        registry: starter.registry.clone(),
        interfaces,
        prefix: options::status_prefix(settings),
        announced: Arc::new(Mutex::new(announced)),
        publish: intake.as_ref().map(|intake| intake.mqtt.addr.clone().recipient()),
        link: link.clone(),
        health_interval: settings.mqtt.health_interval.0,
        restart_wanted: Arc::clone(&restart_wanted),
    })?;
    if let Some(IntakeSlots { mqtt, announcer: Some((announcer, discovery)), .. }) = intake {
        announcer.fill(HomeAssistantDeps {
            plan: discovery.plan,
            memory: Box::new(discovery.memory),
            publish: mqtt.addr.recipient(),
            restart: place.addr.recipient(),
            link: link.clone(),
        })?;
    }
    Ok(restart_wanted)
}
