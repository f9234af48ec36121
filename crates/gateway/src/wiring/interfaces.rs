//! The device interfaces: their options and keyword maps, read when the gateway starts and again on a reload.

use crate::exit::CommandFailure;
use crate::maps::{self, MapLoadError};
use hearthgate_actors::mapping::maps::{MapReload, MapSource};
use hearthgate_domain::mapping::{KeywordMaps, MessageCodec};
use hearthgate_domain::topic::TopicFilter;
use hearthgate_interfaces::{FrameRing, InterfaceConfig};
use hearthgate_settings::{BUILTIN_DUMMY, LoadedSettings};
use std::path::Path;
use std::sync::Arc;

/// An interface that is switched on.
#[derive(Clone)]
pub(crate) struct EnabledInterface {
    /// The key of its section.
    pub(crate) name: Arc<str>,
    /// Its options.
    pub(crate) config: Arc<InterfaceConfig>,
    /// Its map, under its own name.
    pub(crate) codec: Arc<MessageCodec>,
    /// The text of its map's file, if it has one.
    text: Option<String>,
    /// The last frames of its line.
    pub(crate) frames: FrameRing,
}

impl EnabledInterface {
    /// What it subscribes to.
    pub(crate) fn filters(&self) -> Vec<TopicFilter> {
        self.codec.maps().topics().to_vec()
    }

    /// Its map, to be read again.
    pub(crate) fn map_source(&self) -> Box<dyn MapSource> {
        Box::new(MapFile { interface: self.clone(), last: self.text.clone().ok_or_else(String::new) })
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
pub(crate) fn load(loaded: &LoadedSettings) -> anyhow::Result<Vec<EnabledInterface>> {
    let enabled = loaded.settings.interfaces.iter().filter(|(_, config)| config.enabled);
    enabled.map(|(name, config)| load_one(name, config)).collect()
}

fn load_one(name: &str, config: &InterfaceConfig) -> anyhow::Result<EnabledInterface> {
    let wrong = |problem: MapLoadError| CommandFailure::Config(format!("[interfaces.{name}]: {problem}"));
    let text = file_of(config).map(maps::text).transpose().map_err(wrong)?;
    let maps = match (file_of(config), &text) {
        (Some(file), Some(text)) => maps::parse(file, text),
        _ => maps::of(config),
    };
    let codec = codec(name, config, maps.map_err(wrong)?);
    Ok(EnabledInterface {
        name: name.into(),
        config: Arc::new(config.clone()),
        codec,
        text,
        frames: FrameRing::default(),
    })
}

fn file_of(config: &InterfaceConfig) -> Option<&Path> {
    config.map.as_deref().filter(|map| map.as_os_str() != BUILTIN_DUMMY)
}

fn codec(name: &str, config: &InterfaceConfig, maps: KeywordMaps) -> Arc<MessageCodec> {
    Arc::new(MessageCodec::new(Arc::new(maps), config.name.as_deref().unwrap_or(name)))
}

/// An interface's map and what was last read of it: a text, or why there was none.
struct MapFile {
    interface: EnabledInterface,
    last: Result<String, String>,
}

impl MapSource for MapFile {
    fn interface(&self) -> &str {
        &self.interface.name
    }

    fn file(&self) -> Option<&Path> {
        file_of(&self.interface.config)
    }

    fn read(&mut self) -> MapReload {
        let EnabledInterface { name, config, .. } = &self.interface;
        let Some(file) = file_of(config) else { return MapReload::Same };
        let text = maps::text(file).map_err(|error| error.to_string());
        if text == self.last {
            return MapReload::Same;
        }
        let reload = match &text {
            Ok(text) => match maps::parse(file, text) {
                Ok(maps) => MapReload::New(codec(name, config, maps)),
                Err(error) => MapReload::Refused(error.to_string()),
            },
            Err(reason) => MapReload::Refused(reason.clone()),
        };
        self.last = text;
        reload
    }

    fn forget(&mut self) {
        self.last = Err(String::new());
    }
}
