//! `[gateway]`, `[log]`, `[http]`, `[supervision]`, `[homeassistant]`.

use crate::types::{ByteSize, DurationText, ListenAddress};
use hearthgate_supervision::RestartPolicy;
use schemars::JsonSchema;
use secrecy::SecretString;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// `[gateway]`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GeneralSettings {
    /// Name of the installation: one topic level.
    pub name: String,
    /// Folder of what must survive a restart; after loading absolute.
    pub state_dir: PathBuf,
    /// Time for an orderly shutdown.
    pub shutdown_timeout: DurationText,
}

/// `[log]`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LogSettings {
    /// Level or directives.
    pub level: String,
    /// Form on standard error.
    pub format: LogFormat,
    /// Log file.
    pub file: Option<PathBuf>,
    /// What begins a new file.
    pub rotate: LogRotation,
    /// Size at which the file is rotated, whatever the day.
    pub max_size: ByteSize,
    /// Old files kept, or days.
    pub keep: usize,
    /// An error that has not come again for so long has ended; until then it is counted instead of logged.
    pub fold_repeats: DurationText,
}

/// What begins a new log file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogRotation {
    /// Its size.
    Size,
    /// Each day; the file's name is the day's.
    Day,
}

/// Form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Pretty on a terminal, plain otherwise.
    Auto,
    /// Short time, colours.
    Pretty,
    /// Full time, no colours.
    Plain,
    /// One JSON object a line.
    Json,
    /// As the log files of the Python library mqttgateway.
    MqttGateway,
}

/// `[http]`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpSettings {
    /// Whether the API is served.
    pub enabled: bool,
    /// Where.
    pub listen: ListenAddress,
    /// What a caller who changes something must show; after loading also what `token_file` holds.
    #[schemars(with = "Option<String>")]
    pub token: Option<SecretString>,
    /// File with the token.
    pub token_file: Option<PathBuf>,
    /// Host names, without port, under which a proxy passes requests on.
    pub names: Vec<String>,
    /// Origins whose pages may show ours in a frame, or `'self'`.
    pub frame_ancestors: Vec<String>,
}

/// `[homeassistant]`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HomeAssistant {
    /// Whether discovery messages are published.
    pub enabled: bool,
    /// First topic level of discovery.
    pub discovery_prefix: String,
}

/// `[supervision]` with its `[supervision.NAME]`.
#[derive(Clone, Debug, JsonSchema)]
pub struct SupervisionSettings {
    /// First pause before a restart.
    pub backoff: DurationText,
    /// Longest pause.
    pub max_backoff: DurationText,
    /// Part of a pause by which it varies, 0 to 1.
    pub jitter: f64,
    /// Restarts allowed in the window.
    pub max_restarts: u32,
    /// The window.
    pub window: DurationText,
    /// How long a component stays parked; zero: until an operator resumes it.
    pub cool_down: DurationText,
    /// Silence after which a component counts as hung.
    pub stall_timeout: DurationText,
    /// What differs for one component.
    #[schemars(flatten)]
    pub components: BTreeMap<String, PolicyOverride>,
}

/// `[supervision.NAME]`: what differs from `[supervision]` for one component.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyOverride {
    /// First pause before a restart.
    pub backoff: Option<DurationText>,
    /// Longest pause.
    pub max_backoff: Option<DurationText>,
    /// Part of a pause by which it varies.
    pub jitter: Option<f64>,
    /// Restarts allowed in the window.
    pub max_restarts: Option<u32>,
    /// The window.
    pub window: Option<DurationText>,
    /// How long the component stays parked.
    pub cool_down: Option<DurationText>,
    /// Silence after which the component counts as hung.
    pub stall_timeout: Option<DurationText>,
    /// Whether the program ends when this component is parked.
    pub essential: Option<bool>,
}

impl SupervisionSettings {
    /// The gateway's own components, each an actor of that name. The others are interfaces.
    pub const COMPONENTS: [&'static str; 14] = [
        "broker",
        "mqtt",
        "mapper",
        "maps",
        "router",
        "catalog",
        "writer",
        "poster",
        "dead_letters",
        "historian",
        "silence",
        "homeassistant",
        "supervisor",
        "notifier",
    ];

    /// The policy of one component.
    #[must_use]
    pub fn of(&self, component: &str) -> RestartPolicy {
        let own = self.components.get(component).cloned().unwrap_or_default();
        let cool_down = own.cool_down.unwrap_or(self.cool_down).0;
        RestartPolicy {
            initial_backoff: own.backoff.unwrap_or(self.backoff).0,
            max_backoff: own.max_backoff.unwrap_or(self.max_backoff).0,
            jitter: own.jitter.unwrap_or(self.jitter),
            max_restarts: own.max_restarts.unwrap_or(self.max_restarts),
            window: own.window.unwrap_or(self.window).0,
            cool_down: (!cool_down.is_zero()).then_some(cool_down),
            stall_timeout: own.stall_timeout.unwrap_or(self.stall_timeout).0,
            essential: own.essential.unwrap_or(false),
            ..RestartPolicy::default()
        }
    }
}

const SUPERVISION_KEYS: [&str; 7] =
    ["backoff", "max_backoff", "jitter", "max_restarts", "window", "cool_down", "stall_timeout"];

// By hand, since every other key is the name of a component, and its content must be a section.
impl<'de> Deserialize<'de> for SupervisionSettings {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Keys;
        impl<'de> Visitor<'de> for Keys {
            type Value = SupervisionSettings;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a section")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<SupervisionSettings, A::Error> {
                let mut own = PolicyOverride::default();
                let mut components = BTreeMap::new();
                while let Some(key) = map.next_key::<String>()? {
                    match key.as_str() {
                        "backoff" => own.backoff = map.next_value()?,
                        "max_backoff" => own.max_backoff = map.next_value()?,
                        "jitter" => own.jitter = map.next_value()?,
                        "max_restarts" => own.max_restarts = map.next_value()?,
                        "window" => own.window = map.next_value()?,
                        "cool_down" => own.cool_down = map.next_value()?,
                        "stall_timeout" => own.stall_timeout = map.next_value()?,
                        _ => {
                            let ComponentOrUnknown(component) = map.next_value()?;
                            components.insert(key, component);
                        }
                    }
                }
                complete(&own, components)
            }
        }
        from.deserialize_map(Keys)
    }
}

fn complete<E: serde::de::Error>(
    own: &PolicyOverride,
    components: BTreeMap<String, PolicyOverride>,
) -> Result<SupervisionSettings, E> {
    Ok(SupervisionSettings {
        backoff: own.backoff.ok_or_else(|| E::missing_field("backoff"))?,
        max_backoff: own.max_backoff.ok_or_else(|| E::missing_field("max_backoff"))?,
        jitter: own.jitter.ok_or_else(|| E::missing_field("jitter"))?,
        max_restarts: own.max_restarts.ok_or_else(|| E::missing_field("max_restarts"))?,
        window: own.window.ok_or_else(|| E::missing_field("window"))?,
        cool_down: own.cool_down.ok_or_else(|| E::missing_field("cool_down"))?,
        stall_timeout: own.stall_timeout.ok_or_else(|| E::missing_field("stall_timeout"))?,
        components,
    })
}

/// A section, or else the key is not one that `[supervision]` knows.
struct ComponentOrUnknown(PolicyOverride);

impl<'de> Deserialize<'de> for ComponentOrUnknown {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Section;
        impl<'de> Visitor<'de> for Section {
            type Value = ComponentOrUnknown;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a section")
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ComponentOrUnknown, A::Error> {
                PolicyOverride::deserialize(serde::de::value::MapAccessDeserializer::new(map)).map(ComponentOrUnknown)
            }
            fn visit_bool<E: serde::de::Error>(self, _: bool) -> Result<ComponentOrUnknown, E> {
                Err(E::unknown_field("", &SUPERVISION_KEYS))
            }
            fn visit_i64<E: serde::de::Error>(self, _: i64) -> Result<ComponentOrUnknown, E> {
                Err(E::unknown_field("", &SUPERVISION_KEYS))
            }
            fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<ComponentOrUnknown, E> {
                Err(E::unknown_field("", &SUPERVISION_KEYS))
            }
            fn visit_str<E: serde::de::Error>(self, _: &str) -> Result<ComponentOrUnknown, E> {
                Err(E::unknown_field("", &SUPERVISION_KEYS))
            }
        }
        from.deserialize_any(Section)
    }
}
