//! Who talks to whom: the only place that knows the graph of actors. A subsystem that is off is absent here.

use super::homeassistant::{self, Discovery};
use super::interfaces::{self, Interface};
use super::memory::{AnnouncedFile, SessionFile, SharedSessionFile};
use super::{options, source};
use crate::exit::Failure;
use crate::settings::{Loaded, Server, Settings, WhenFull};
use actix::prelude::*;
use anyhow::Context as _;
use hearthgate_actors::homeassistant::{Deps as HomeAssistantDeps, HomeAssistantActor};
use hearthgate_actors::interests::Interests;
use hearthgate_actors::messages::{Close, Consumer, Reload, ReloadMaps, ReplayLetter};
use hearthgate_actors::mqtt::{LinkStatus, Listener};
use hearthgate_actors::progress::Progress;
use hearthgate_actors::trouble::Trouble;
use hearthgate_actors::{
    broker, catalog, desk, interface, letters, mapper, maps, mqtt, poster, router, supervisor, writer,
};
use hearthgate_admin::{FlowOrders, Readiness};
use hearthgate_domain::delivery::{Outbound, QoS};
use hearthgate_domain::routing::RoutingTable;
use hearthgate_mqtt::broker::Broker;
use hearthgate_mqtt::link::Subscription;
use hearthgate_storage::dead_letters::DeadLetters;
use hearthgate_storage::journal::{self, Journal, Start};
use hearthgate_storage::sql::MqttServer;
use hearthgate_supervision::{Exit, Guarded, Health, Registry};
use std::fs;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use tokio::sync::{Notify, watch};
use tracing::{error, info, warn};

/// Messages that an actor's mailbox holds; senders see when it is full.
const MAILBOX: usize = 256;

/// The gateway as it runs.
pub(crate) struct Running {
    /// All actors.
    pub(crate) registry: Registry,
    /// Their names in the order in which they are ended.
    pub(crate) order: Vec<String>,
    /// The interfaces that run.
    pub(crate) interfaces: Vec<Interface>,
    /// Where the broker listens, if it does.
    pub(crate) broker: Vec<std::net::SocketAddr>,
    /// What can go wrong without anything being restarted, by the part's name.
    pub(crate) troubles: Vec<(&'static str, watch::Receiver<String>)>,
    /// The connection to the broker.
    pub(crate) link: watch::Receiver<LinkStatus>,
    /// Somebody wants the whole gateway to be restarted.
    pub(crate) restart_wanted: Arc<Notify>,
    mqtt: Option<Addr<mqtt::MqttActor>>,
    maps: Option<Addr<maps::MapKeeperActor>>,
    flows: Option<Flows>,
}

impl Running {
    /// Whether messages get through each part that is no actor, for `/readyz`.
    pub(crate) fn readiness(&self) -> Readiness {
        let (has_mqtt, link, troubles) = (self.mqtt.is_some(), self.link.clone(), self.troubles.clone());
        Arc::new(move || {
            let mut parts = Vec::new();
            let link = link.borrow();
            let state = match (has_mqtt, link.connected, link.refused.first()) {
                (false, _, _) => Err("switched off (mqtt.enabled)".to_owned()),
                (true, false, _) => Err(link.reason.clone()),
                (true, true, Some((filter, reason))) => Err(format!("the broker refuses {filter}: {reason}")),
                (true, true, None) if !link.subscribed => Err("the subscriptions are being made".to_owned()),
                (true, true, None) => Ok(()),
            };
            parts.push(("broker connection".to_owned(), state));
            for (part, trouble) in &troubles {
                let trouble = trouble.borrow().clone();
                parts.push(((*part).to_owned(), if trouble.is_empty() { Ok(()) } else { Err(trouble) }));
            }
            parts
        })
    }

    /// How orders from outside reach the flows.
    pub(crate) fn flow_orders(&self) -> Option<FlowOrders> {
        let Flows { catalog, letters, .. } = self.flows.as_ref()?;
        let (catalog, letters) = (catalog.clone(), letters.clone());
        Some(FlowOrders {
            reload: Arc::new(move || {
                let catalog = catalog.clone();
                Box::pin(async move { catalog.send(Reload).await.map_err(|reason| reason.to_string())? })
            }),
            replay: Arc::new(move |id, again| {
                let letters = letters.clone();
                Box::pin(
                    async move { letters.send(ReplayLetter { id, again }).await.map_err(|reason| reason.to_string())? },
                )
            }),
        })
    }

    /// Reads flows and maps anew; what can not be used is told, and the old goes on.
    pub(crate) fn reload(&self) {
        if let Some(flows) = &self.flows
            && let Err(reason) = flows.catalog.try_send(Reload)
        {
            error!(%reason, "the flows could not be reloaded");
        }
        if let Some(maps) = &self.maps
            && let Err(reason) = maps.try_send(ReloadMaps)
        {
            error!(%reason, "the maps could not be reloaded");
        }
    }

    /// Ends the connection to the broker, after the acknowledgements that are due.
    pub(crate) async fn close_intake(&self) {
        if let Some(mqtt) = &self.mqtt
            && mqtt.send(Close).await.is_err()
        {
            warn!("the connection to the broker was not closed in order");
        }
    }

    /// Waits until the database has all that the journal holds for it.
    pub(crate) async fn drained(&self) {
        let Some(Flows { journal, .. }) = &self.flows else { return };
        loop {
            let usage = journal.usage();
            if usage.consumers.iter().filter(|consumer| consumer.name == writer::CONSUMER).all(|c| c.lag == 0) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }
}

/// An actor that is started and waits for what it works with, so that actors can refer to each other.
struct Place<A: Actor, D> {
    addr: Addr<A>,
    health: watch::Receiver<Health>,
    deps: SyncSender<D>,
}

impl<A: Actor, D> Place<A, D> {
    fn fill(&self, deps: D) -> anyhow::Result<()> {
        self.deps.send(deps).map_err(|_| anyhow::anyhow!("an actor ended before it was wired"))
    }
}

/// Starts actors, each on a thread of its own.
struct Starter<'a> {
    settings: &'a Settings,
    registry: Registry,
    order: Vec<String>,
}

impl Starter<'_> {
    /// `part` names the section of the supervision policy, `name` the actor.
    fn start<A, D>(
        &mut self,
        name: &str,
        part: &str,
        build: impl FnOnce(D, Exit) -> A + Send + 'static,
    ) -> anyhow::Result<Place<A, D>>
    where
        A: Supervised + Actor<Context = Context<A>>,
        D: Send + 'static,
    {
        let (deps, taken): (SyncSender<D>, Receiver<D>) = sync_channel(1);
        let arbiter = Arbiter::new();
        let policy = self.settings.supervision.of(part);
        // Without what it works with, the gateway has given up starting and is about to say why and to end.
        let make = move |exit| match taken.recv() {
            Ok(deps) => build(deps, exit),
            Err(_) => loop {
                std::thread::park();
            },
        };
        let guarded: Guarded<A> = self.registry.start(name, &arbiter.handle(), MAILBOX, policy, make)?;
        self.order.push(name.to_owned());
        Ok(Place { addr: guarded.addr, health: guarded.health, deps })
    }
}

/// Starts everything that is switched on.
///
/// # Errors
/// What only the user can mend.
pub(crate) async fn start(loaded: &Loaded) -> anyhow::Result<Running> {
    let settings = &loaded.settings;
    let state = &settings.gateway.state_dir;
    fs::create_dir_all(state).map_err(|error| {
        Failure::Unavailable(format!("making the state folder {} (gateway.state_dir): {error}", state.display()))
    })?;
    let interfaces = if settings.mapper.enabled { interfaces::load(loaded)? } else { Vec::new() };
    let has_flows = settings.flows.enabled && settings.database.enabled;
    if settings.flows.enabled && !settings.database.enabled {
        warn!("flows need [database], which is off: no flow runs");
    }
    let mut starter = Starter { settings, registry: Registry::new(), order: Vec::new() };
    let (link_tx, link) = watch::channel(LinkStatus::default());

    // Started first, wired below: later ones are ended first, except that intake is closed before all of them.
    let mut broker_place = None;
    let mut listens = Vec::new();
    if settings.broker.is_enabled() {
        let options = options::broker(&settings.broker, state);
        let bound = Broker::bind(options.clone()).map_err(|error| Failure::Unavailable(error.to_string()))?;
        listens = bound.addresses();
        let expects_port = settings.mqtt.enabled && settings.mqtt.server == Server::Embedded;
        let place = starter.start("broker", "broker", move |(options, bound), exit| {
            broker::BrokerActor::new(options, bound, expects_port, exit)
        })?;
        place.fill((options, bound))?;
        broker_place = Some(place.addr);
    }
    let mqtt_place = match settings.mqtt.enabled {
        true => Some(starter.start("mqtt", "mqtt", |make: Box<dyn FnOnce() -> mqtt::Deps + Send>, exit| {
            mqtt::MqttActor::new(make(), exit)
        })?),
        false => None,
    };
    let mapper_place = match &mqtt_place {
        Some(_) if settings.mapper.enabled && !interfaces.is_empty() => {
            Some(starter.start("mapper", "mapper", |deps, _| mapper::MapperActor::new(deps))?)
        }
        _ => None,
    };
    let discovery = match &mqtt_place {
        Some(_) => homeassistant::discovery(settings, &interfaces)?,
        None => None,
    };
    let discovery_place = match discovery {
        Some(discovery) => Some((starter.start("homeassistant", "homeassistant", HomeAssistantActor::new)?, discovery)),
        None => None,
    };
    let router_place = match &mqtt_place {
        Some(_) if has_flows => Some(starter.start("router", "router", router::FlowRouterActor::new)?),
        _ => None,
    };

    let mut troubles = Vec::new();
    let interests = Arc::new(Interests::default());
    let (server, servers) = watch::channel(None);
    let server = (settings.mqtt.server == Server::Database).then_some(server);
    let mut flows = None;
    let mut confirmed = None;
    if let (Some(mqtt), Some(router)) = (&mqtt_place, &router_place) {
        flows = Some(wire_flows(&mut starter, loaded, mqtt, router, &interests, server, &mut troubles).await?);
        confirmed = Some(router.addr.clone().recipient());
    }

    let mut watched = Vec::new();
    let mut map_keeper = None;
    if let (Some(mqtt), Some(mapper)) = (&mqtt_place, &mapper_place) {
        let host = host(loaded)?;
        let mut mapped = Vec::new();
        for (place, interface) in interfaces.iter().enumerate() {
            let actor_name = interfaces::actor_name(&interface.name);
            let started = starter.start(&actor_name, &interface.name, interface::DeviceInterfaceActor::new)?;
            let (state, device) = watch::channel(interface::DeviceState::default());
            started.fill(interface::Deps {
                name: Arc::clone(&interface.name),
                place,
                config: Arc::clone(&interface.config),
                room: settings.mapper.queue,
                host: Arc::clone(&host),
                emissions: mapper.addr.clone().recipient(),
                state,
            })?;
            watched.push(supervisor::Watched {
                interface: Arc::clone(&interface.name),
                actor: actor_name.into(),
                device,
            });
            mapped.push(mapper::Mapped {
                name: Arc::clone(&interface.name),
                codec: Arc::clone(&interface.codec),
                config: Arc::clone(&interface.config),
                filters: interface.filters(),
                to: started.addr.recipient(),
                health: started.health,
            });
        }
        mapper.fill(mapper::Deps {
            interfaces: mapped,
            settled: mqtt.addr.clone().recipient(),
            wanted: mqtt.addr.clone().recipient(),
            publish: mqtt.addr.clone().recipient(),
            progress: Arc::new(Progress::default()),
            interests: Arc::clone(&interests),
        })?;
        let keeper = starter.start("maps", "mapper", |deps, _| maps::MapKeeperActor::new(deps))?;
        keeper.fill(maps::Deps {
            maps: interfaces.iter().map(Interface::map_source).collect(),
            watch: settings.mapper.watch,
            mapper: mapper.addr.clone().recipient(),
        })?;
        map_keeper = Some(keeper.addr);
    }

    let prefix = options::status_prefix(settings);
    if let Some(mqtt) = &mqtt_place {
        let mut consumers = Vec::new();
        consumers.extend(mapper_place.as_ref().map(|place| (Consumer::Mapper, place.addr.clone().recipient())));
        consumers.extend(router_place.as_ref().map(|place| (Consumer::Router, place.addr.clone().recipient())));
        let memory = SessionFile::open(&state.join("mqtt-session.json"))
            .with_context(|| format!("reading {}", state.join("mqtt-session.json").display()))?;
        let greeting = prefix.iter().map(|prefix| online(prefix)).collect();
        let from = source::From::new(settings, broker_place, servers);
        let settings = settings.clone();
        let listener = |(place, discovery): &(Place<HomeAssistantActor, HomeAssistantDeps>, Discovery)| Listener {
            filters: discovery.plan.subscriptions(),
            to: place.addr.clone().recipient(),
        };
        let listeners: Vec<Listener> = discovery_place.iter().map(listener).collect();
        let overheard: Vec<Subscription> = listeners.iter().flat_map(|listener| listener.filters.clone()).collect();
        interests.set("listeners", &overheard);
        mqtt.fill(Box::new(move || {
            let memory = SharedSessionFile::new(memory);
            mqtt::Deps {
                source: source::source(settings, from, memory.clone()),
                memory: Box::new(memory),
                consumers,
                listeners,
                confirmed,
                greeting,
                status: link_tx,
            }
        }))?;
    }
    let supervisor = starter.start("supervisor", "supervisor", supervisor::SupervisorActor::new)?;
    if let (Some(mqtt), Some((place, discovery))) = (&mqtt_place, discovery_place) {
        place.fill(HomeAssistantDeps {
            plan: discovery.plan,
            memory: Box::new(discovery.memory),
            publish: mqtt.addr.clone().recipient(),
            restart: supervisor.addr.clone().recipient(),
            link: link.clone(),
        })?;
    }
    let restart_wanted = Arc::new(Notify::new());
    let announced = AnnouncedFile::open(state.join("state-topics.json"))
        .with_context(|| format!("reading {}", state.join("state-topics.json").display()))?;
    supervisor.fill(supervisor::Deps {
        registry: starter.registry.clone(),
        interfaces: watched,
        prefix,
        announced: Arc::new(Mutex::new(announced)),
        publish: mqtt_place.as_ref().map(|place| place.addr.clone().recipient()),
        link: link.clone(),
        health_interval: settings.mqtt.health_interval.0,
        restart_wanted: Arc::clone(&restart_wanted),
    })?;

    starter.order.reverse();
    Ok(Running {
        registry: starter.registry,
        order: starter.order,
        interfaces,
        broker: listens,
        troubles,
        link,
        restart_wanted,
        mqtt: mqtt_place.map(|place| place.addr),
        maps: map_keeper,
        flows,
    })
}

/// What orders to the flows go to.
struct Flows {
    journal: journal::Handle,
    catalog: Addr<catalog::CatalogActor>,
    letters: Addr<letters::DeadLetterActor>,
}

type MakeMqtt = Box<dyn FnOnce() -> mqtt::Deps + Send>;

/// The journal and everyone around it.
async fn wire_flows(
    starter: &mut Starter<'_>,
    loaded: &Loaded,
    mqtt: &Place<mqtt::MqttActor, MakeMqtt>,
    router: &Place<router::FlowRouterActor, router::Deps>,
    interests: &Arc<Interests>,
    server: Option<watch::Sender<Option<MqttServer>>>,
    troubles: &mut Vec<(&'static str, watch::Receiver<String>)>,
) -> anyhow::Result<Flows> {
    let settings = &loaded.settings;
    let state = &settings.gateway.state_dir;
    let journal = open_journal(settings, &state.join("journal"))?;
    let handle = journal.handle();
    // Before the first message comes in: who registers later would begin behind it.
    for consumer in [writer::CONSUMER, letters::CONSUMER, poster::CONSUMER] {
        handle.register(consumer, Start::Oldest).context("registering with the journal")?;
    }
    let dead_letters = DeadLetters::open(&crate::database::dead_letter_options(settings))
        .await
        .map_err(|error| Failure::Unavailable(error.to_string()))?;
    let (table_tx, table) = watch::channel(Arc::new(RoutingTable::new(Vec::new())));
    let (database_tx, database) = watch::channel(None);
    let mut trouble = |part| {
        let (trouble, seen) = Trouble::new();
        troubles.push((part, seen));
        trouble
    };

    router.fill(router::Deps {
        desk: Arc::new(Mutex::new(desk::Desk::new(journal))),
        table: table_tx,
        settled: mqtt.addr.clone().recipient(),
        wanted: mqtt.addr.clone().recipient(),
        progress: Arc::new(Progress::default()),
        trouble: trouble("journal"),
        interests: Arc::clone(interests),
        sharing: router::Sharing { group: settings.mqtt.group.clone(), is_leaving: settings.mqtt.leave_group },
        letters: dead_letters.clone(),
        rejects: settings.journal.when_full == WhenFull::Reject,
    })?;
    let writer = starter.start("writer", "writer", writer::RecordWriterActor::new)?;
    writer.fill(writer::Deps {
        journal: handle.clone(),
        database: database.clone(),
        table: table.clone(),
        letters: dead_letters.clone(),
        batch: settings.store.batch,
        linger: settings.store.linger.0,
        value_format: options::value_format(settings),
        trouble: trouble("writer"),
    })?;
    let letters = starter.start("letters", "writer", letters::DeadLetterActor::new)?;
    letters.fill(letters::Deps {
        journal: handle.clone(),
        table: table.clone(),
        letters: dead_letters.clone(),
        router: router.addr.clone().recipient(),
    })?;
    let catalog = starter.start("catalog", "router", catalog::CatalogActor::new)?;
    let poster = starter.start("poster", "poster", poster::EndpointPosterActor::new)?;
    poster.fill(poster::Deps {
        journal: handle.clone(),
        table,
        endpoints: poster::Endpoints {
            timeout: settings.endpoints.http_timeout.0,
            allowed_hosts: settings.endpoints.allow_hosts.clone(),
            retry: options::retry(settings)?,
            breaker: options::breaker(settings),
            parallel: settings.endpoints.parallel,
            reload: catalog.addr.clone().recipient(),
            letters: dead_letters,
            database,
            publish: mqtt.addr.clone().recipient(),
            secrets: Arc::new(options::secret),
        },
    })?;
    catalog.fill(catalog::Deps {
        options: crate::database::options(settings),
        database: database_tx,
        router: router.addr.clone().recipient(),
        reload_interval: settings.flows.reload_interval.0,
        cache: state.join("flows.json"),
        unloadable: watch::channel(Vec::new()).0,
        trouble: trouble("database"),
        server,
    })?;
    Ok(Flows { journal: handle, catalog: catalog.addr, letters: letters.addr })
}

fn open_journal(settings: &Settings, folder: &Path) -> anyhow::Result<Journal> {
    let opened = Journal::open(folder, options::journal(settings));
    let (mut journal, recovery) = opened.map_err(|error| Failure::Unavailable(error.to_string()))?;
    for damage in &recovery.damaged {
        error!(%damage, "the journal was damaged");
    }
    let messages = journal.owed().len();
    if messages > 0 {
        info!(messages, "messages of the last run may be delivered again; they will be recognised");
    }
    Ok(journal)
}

fn online(prefix: &str) -> Outbound {
    Outbound { topic: format!("{prefix}/status").into(), payload: "online".into(), qos: QoS::AtLeastOnce, retain: true }
}

fn host(loaded: &Loaded) -> anyhow::Result<Arc<hearthgate_interfaces::Host>> {
    let runtime_dir = loaded.settings.gateway.state_dir.join("runtime");
    fs::create_dir_all(&runtime_dir).with_context(|| format!("making {}", runtime_dir.display()))?;
    Ok(Arc::new(hearthgate_interfaces::Host {
        guard: vec!["/proc/self/exe".into(), "__exec-guard".into()],
        runtime_dir,
        base_dir: loaded.base.clone(),
    }))
}
