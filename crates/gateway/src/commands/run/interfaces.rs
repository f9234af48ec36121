//! The device interfaces: their options and keyword maps, read when the gateway starts and again on a reload.

use crate::exit::Failure;
use crate::settings::{DUMMY_MAP, Loaded};
use anyhow::Context;
use hearthgate_domain::mapping::{Codec, KeywordMaps};
use hearthgate_domain::topic::TopicFilter;
use hearthgate_interfaces::InterfaceConfig;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The map that is built in.
const BUILTIN_DUMMY: &str = "builtin:dummy";

/// An interface that is switched on.
#[derive(Clone)]
pub(crate) struct Interface {
    /// The key of its section.
    pub(crate) name: Arc<str>,
    /// Its options.
    pub(crate) config: Arc<InterfaceConfig>,
    /// Its map, under its own name.
    pub(crate) codec: Arc<Codec>,
    /// The map's file, if it has one.
    pub(crate) map_file: Option<PathBuf>,
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
        codec(&self.name, &self.config, self.map_file.as_deref())
    }
}

/// All interfaces that are switched on, in the order of their names.
///
/// # Errors
/// The first whose options or map can not be used.
pub(crate) fn load(loaded: &Loaded) -> anyhow::Result<Vec<Interface>> {
    let enabled = loaded.settings.interfaces.iter().filter(|(_, section)| section.enabled);
    enabled.map(|(name, section)| read(loaded, name, section)).collect()
}

fn read(loaded: &Loaded, name: &str, section: &crate::settings::Interface) -> anyhow::Result<Interface> {
    let mut table = section.options.clone();
    table.insert("kind".into(), section.kind.clone().into());
    let config = InterfaceConfig::from_table(table)
        .map_err(|reason| Failure::Config(format!("[interfaces.{name}]: {reason}")))?;
    let is_builtin = config.map.as_deref() == Some(Path::new(BUILTIN_DUMMY));
    let map_file = config.map.as_ref().filter(|_| !is_builtin).map(|path| loaded.base.join(path));
    let config = Arc::new(config);
    let codec = codec(name, &config, map_file.as_deref())?;
    Ok(Interface { name: name.into(), config, codec, map_file })
}

fn codec(name: &str, config: &InterfaceConfig, map_file: Option<&Path>) -> anyhow::Result<Arc<Codec>> {
    let maps = match (map_file, &config.map) {
        (Some(file), _) => {
            let text = std::fs::read_to_string(file).map_err(|error| {
                Failure::Config(format!("[interfaces.{name}]: reading the map {}: {error}", file.display()))
            })?;
            KeywordMaps::from_json(&text)
                .map_err(|error| Failure::Config(format!("[interfaces.{name}]: map {}: {error}", file.display())))?
        }
        (None, Some(_)) => KeywordMaps::from_json(DUMMY_MAP).context("reading the built-in map")?,
        (None, None) => {
            let filters: Result<Vec<TopicFilter>, _> =
                config.topics.iter().map(|topic| TopicFilter::parse(topic)).collect();
            let filters = filters.map_err(|error| Failure::Config(format!("interfaces.{name}.topics: {error}")))?;
            KeywordMaps::none(config.root.as_deref().unwrap_or_default(), filters)
                .map_err(|error| Failure::Config(format!("interfaces.{name}.root: {error}")))?
        }
    };
    Ok(Arc::new(Codec::new(Arc::new(maps), config.name.as_deref().unwrap_or(name))))
}
