//! The wiring of Home Assistant's discovery. Nothing of it is there when it is off and nothing is left to take back.

use super::interfaces::{self, EnabledInterface};
use super::options;
use crate::wiring::state_files::AnnouncedFile;
use anyhow::Context as _;
use hearthgate_actors::operation::announced::AnnouncedMemory as _;
use hearthgate_actors::operation::discovery::{DiscoveryPlan, ShownInterface, TopicSite};
use hearthgate_settings::GatewaySettings;

/// What is to be announced or taken back, and where that is remembered.
pub(crate) struct DiscoveryState {
    pub(crate) plan: DiscoveryPlan,
    pub(crate) memory: AnnouncedFile,
}

/// What there is to do for Home Assistant, if anything.
///
/// # Errors
/// The file of an earlier run can not be read.
pub(crate) fn discovery(
    settings: &GatewaySettings,
    interfaces: &[EnabledInterface],
) -> anyhow::Result<Option<DiscoveryState>> {
    let file = settings.gateway.state_dir.join("homeassistant.json");
    let memory = AnnouncedFile::open(file.clone()).with_context(|| format!("reading {}", file.display()))?;
    let plan = match site(settings) {
        Some(site) => DiscoveryPlan::of(&site, &shown(interfaces), memory.topics()),
        None if memory.topics().is_empty() => return Ok(None),
        None => DiscoveryPlan::of_nothing(memory.topics()),
    };
    Ok(Some(DiscoveryState { plan, memory }))
}

/// Where things are shown, if they are.
pub(super) fn site(settings: &GatewaySettings) -> Option<TopicSite> {
    let base = options::status_prefix(settings).filter(|_| settings.homeassistant.enabled)?;
    Some(TopicSite {
        discovery_prefix: settings.homeassistant.discovery_prefix.clone(),
        base,
        name: settings.gateway.name.clone(),
        version: env!("CARGO_PKG_VERSION"),
    })
}

fn shown(interfaces: &[EnabledInterface]) -> Vec<ShownInterface> {
    let shown = |interface: &EnabledInterface| ShownInterface {
        interface: interface.name.clone(),
        actor: interfaces::actor_name(&interface.name).into(),
        kind: interface.config.kind().as_str(),
    };
    interfaces.iter().map(shown).collect()
}
