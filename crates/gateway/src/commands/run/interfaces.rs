//! The device interfaces: their options and keyword maps, read when the gateway starts and again on a reload.

use crate::exit::Failure;
use crate::maps;
use crate::settings::Loaded;
use hearthgate_domain::mapping::Codec;
use hearthgate_domain::topic::TopicFilter;
use hearthgate_interfaces::InterfaceConfig;
use std::sync::Arc;

/// An interface that is switched on.
#[derive(Clone)]
pub(crate) struct Interface {
    /// The key of its section.
    pub(crate) name: Arc<str>,
    /// Its options.
    pub(crate) config: Arc<InterfaceConfig>,
    /// Its map, under its own name.
    pub(crate) codec: Arc<Codec>,
}

impl Interface {
    /// What it subscribes to.
    pub(crate) fn filters(&self) -> Vec<TopicFilter> {
        self.codec.maps().topics().to_vec()
    }

    /// Reads its map anew.
    ///
    /// # Errors
    /// In words that name the file and the line.
    pub(crate) fn reread(&self) -> anyhow::Result<Arc<Codec>> {
        codec(&self.name, &self.config)
    }
}

/// The name of an interface's actor.
pub(crate) fn actor_name(interface: &str) -> String {
    format!("interface {interface}")
}

/// All interfaces that are switched on, in the order of their names.
///
/// # Errors
/// The first whose options or map can not be used.
pub(crate) fn load(loaded: &Loaded) -> anyhow::Result<Vec<Interface>> {
    let enabled = loaded.settings.interfaces.iter().filter(|(_, config)| config.enabled);
    enabled.map(|(name, config)| read(name, config)).collect()
}

fn read(name: &str, config: &InterfaceConfig) -> anyhow::Result<Interface> {
    let codec = codec(name, config)?;
    Ok(Interface { name: name.into(), config: Arc::new(config.clone()), codec })
}

fn codec(name: &str, config: &InterfaceConfig) -> anyhow::Result<Arc<Codec>> {
    let maps = maps::of(config).map_err(|problem| Failure::Config(format!("[interfaces.{name}]: {problem}")))?;
    Ok(Arc::new(Codec::new(Arc::new(maps), config.name.as_deref().unwrap_or(name))))
}
