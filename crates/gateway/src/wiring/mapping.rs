//! The mapping: the mapper, an actor for each device interface, and the keeper of their maps.

use crate::wiring::interfaces;
use crate::wiring::interfaces::Interface;
use crate::wiring::slots::Intake;
use crate::wiring::spawner::{Place, Starter};
use actix::Addr;
use anyhow::Context as _;
use hearthgate_actors::mapping::{interface, mapper, maps};
use hearthgate_actors::mqtt::progress::Progress;
use hearthgate_actors::operation::supervisor::Watched;
use hearthgate_interfaces::Host;
use hearthgate_settings::Loaded;
use std::fs;
use std::sync::Arc;
use tokio::sync::watch;

type MapperPlace = Place<mapper::MapperActor, mapper::Deps>;

/// Whom the supervisor watches, and who keeps the maps.
pub(super) struct Mapping {
    pub(super) watched: Vec<Watched>,
    pub(super) maps: Addr<maps::MapKeeperActor>,
}

/// Starts and wires all of it.
///
/// # Errors
/// The folder for the children of interfaces can't be made.
pub(super) fn wire(
    starter: &mut Starter<'_>,
    loaded: &Loaded,
    Intake { mqtt, interests, .. }: &Intake,
    mapper: &MapperPlace,
    interfaces: &[Interface],
) -> anyhow::Result<Mapping> {
    let host = host(loaded)?;
    let (mut watched, mut mapped) = (Vec::new(), Vec::new());
    for (place, interface) in interfaces.iter().enumerate() {
        let (watch, map) = start_interface(starter, loaded, mapper, (place, interface), &host)?;
        watched.push(watch);
        mapped.push(map);
    }
    mapper.fill(mapper::Deps {
        interfaces: mapped,
        settled: mqtt.addr.clone().recipient(),
        wanted: mqtt.addr.clone().recipient(),
        publish: mqtt.addr.clone().recipient(),
        progress: Arc::new(Progress::default()),
        interests: Arc::clone(interests),
    })?;
    let keeper = starter.start("maps", "mapper", |deps, _| maps::MapKeeperActor::new(deps))?;
    keeper.fill(maps::Deps {
        maps: interfaces.iter().map(Interface::map_source).collect(),
        watch: loaded.settings.mapper.watch,
        mapper: mapper.addr.clone().recipient(),
    })?;
    Ok(Mapping { watched, maps: keeper.addr })
}

/// One interface, with its place among the mapper's.
fn start_interface(
    starter: &mut Starter<'_>,
    loaded: &Loaded,
    mapper: &MapperPlace,
    (place, interface): (usize, &Interface),
    host: &Arc<Host>,
) -> anyhow::Result<(Watched, mapper::Mapped)> {
    let name = interfaces::actor_name(&interface.name);
    // Each message brings at least one command: a full mailbox means that as many wait as may wait.
    let queue = loaded.settings.mapper.queue;
    let (stop_time, build) = (interface.config.stop_time(), interface::DeviceInterfaceActor::new);
    let started = starter.start_with_room(&name, &interface.name, queue, stop_time, build)?;
    let (state, device) = watch::channel(interface::DeviceState::default());
    started.fill(interface::Deps {
        name: Arc::clone(&interface.name),
        place,
        config: Arc::clone(&interface.config),
        room: queue,
        host: Arc::clone(host),
        emissions: mapper.addr.clone().recipient(),
        state,
    })?;
    let watched = Watched { interface: Arc::clone(&interface.name), actor: name.into(), device };
    let mapped = mapper::Mapped {
        name: Arc::clone(&interface.name),
        codec: Arc::clone(&interface.codec),
        config: Arc::clone(&interface.config),
        filters: interface.filters(),
        to: started.addr.recipient(),
        health: started.health,
    };
    Ok((watched, mapped))
}

fn host(loaded: &Loaded) -> anyhow::Result<Arc<Host>> {
    let runtime_dir = loaded.settings.gateway.state_dir.join("runtime");
    fs::create_dir_all(&runtime_dir).with_context(|| format!("making {}", runtime_dir.display()))?;
    Ok(Arc::new(Host {
        guard: vec!["/proc/self/exe".into(), "__exec-guard".into()],
        runtime_dir,
        base_dir: loaded.base.clone(),
    }))
}
