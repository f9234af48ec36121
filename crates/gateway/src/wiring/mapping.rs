//! The mapping: the mapper, an actor for each device interface, and the keeper of their maps.

use crate::wiring::interfaces;
use crate::wiring::interfaces::EnabledInterface;
use crate::wiring::slots::IntakeSlots;
use crate::wiring::spawner::{ActorSlot, ActorSpawner};
use actix::Addr;
use anyhow::Context as _;
use hearthgate_actors::mapping::{interface, mapper, maps};
use hearthgate_actors::mqtt::progress::ConsumerProgress;
use hearthgate_actors::operation::supervisor::SupervisedInterface;
use hearthgate_interfaces::DriverHost;
use hearthgate_settings::LoadedSettings;
use std::fs;
use std::sync::Arc;
use tokio::sync::watch;

type MapperPlace = ActorSlot<mapper::MapperActor, mapper::MapperDeps>;

/// Whom the supervisor watches, who keeps the maps, and who takes commands.
pub(super) struct MappingSubsystem {
    pub(super) watched: Vec<SupervisedInterface>,
    pub(super) maps: Addr<maps::MapKeeperActor>,
    pub(super) mapper: Addr<mapper::MapperActor>,
}

/// Starts and wires all of it.
///
/// # Errors
/// The folder for the children of interfaces can't be made.
pub(super) fn wire(
    starter: &mut ActorSpawner<'_>,
    loaded: &LoadedSettings,
    IntakeSlots { mqtt, interests, traffic, .. }: &IntakeSlots,
    mapper: &MapperPlace,
    interfaces: &[EnabledInterface],
) -> anyhow::Result<MappingSubsystem> {
    let host = host(loaded)?;
    let (mut watched, mut mapped) = (Vec::new(), Vec::new());
    for (place, interface) in interfaces.iter().enumerate() {
        let (watch, map) = start_interface(starter, loaded, mapper, (place, interface), &host)?;
        watched.push(watch);
        mapped.push(map);
    }
    mapper.fill(mapper::MapperDeps {
        interfaces: mapped,
        settled: mqtt.addr.clone().recipient(),
        wanted: mqtt.addr.clone().recipient(),
        publish: mqtt.addr.clone().recipient(),
        progress: Arc::new(ConsumerProgress::default()),
        interests: Arc::clone(interests),
        traffic: traffic.clone(),
    })?;
    let keeper = starter.start("maps", |deps, _| maps::MapKeeperActor::new(deps))?;
    keeper.fill(maps::MapKeeperDeps {
        maps: interfaces.iter().map(EnabledInterface::map_source).collect(),
        watch: loaded.settings.mapper.watch,
        mapper: mapper.addr.clone().recipient(),
    })?;
    Ok(MappingSubsystem { watched, maps: keeper.addr, mapper: mapper.addr.clone() })
}

/// One interface, with its place among the mapper's.
fn start_interface(
    starter: &mut ActorSpawner<'_>,
    loaded: &LoadedSettings,
    mapper: &MapperPlace,
    (place, interface): (usize, &EnabledInterface),
    host: &Arc<DriverHost>,
) -> anyhow::Result<(SupervisedInterface, mapper::MappedInterface)> {
    let name = interfaces::actor_name(&interface.name);
    // Each message brings at least one command: a full mailbox means that as many wait as may wait.
    let queue = loaded.settings.mapper.queue;
    let (stop_time, build) = (interface.config.stop_time(), interface::DeviceInterfaceActor::new);
    let started = starter.start_with_room(&name, &interface.name, queue, stop_time, build)?;
    let (state, device) = watch::channel(interface::DeviceState::default());
    started.fill(interface::InterfaceDeps {
        name: Arc::clone(&interface.name),
        place,
        config: Arc::clone(&interface.config),
        room: queue,
        host: Arc::clone(host),
        emissions: mapper.addr.clone().recipient(),
        state,
        frames: interface.frames.clone(),
    })?;
    let watched = SupervisedInterface { interface: Arc::clone(&interface.name), actor: name.into(), device };
    let mapped = mapper::MappedInterface {
        name: Arc::clone(&interface.name),
        codec: Arc::clone(&interface.codec),
        config: Arc::clone(&interface.config),
        filters: interface.filters(),
        to: started.addr.recipient(),
        health: started.health,
    };
    Ok((watched, mapped))
}

fn host(loaded: &LoadedSettings) -> anyhow::Result<Arc<DriverHost>> {
    let runtime_dir = loaded.settings.gateway.state_dir.join("runtime");
    fs::create_dir_all(&runtime_dir).with_context(|| format!("making {}", runtime_dir.display()))?;
    Ok(Arc::new(DriverHost {
        guard: vec!["/proc/self/exe".into(), "__exec-guard".into()],
        runtime_dir,
        base_dir: loaded.base.clone(),
    }))
}
