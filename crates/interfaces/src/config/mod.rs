//! The options of a device interface: `[interfaces.NAME]` in the configuration file.

pub(crate) mod duration;
mod error;
mod kinds;
mod options;
mod stream;

pub(crate) use error::HexError;
pub use error::{InterfaceConfigError, InterfaceNameError};
pub use kinds::{DriverKind, DummyConfig, ExecConfig, FlowControl, SerialConfig, SerialParity, TcpConfig};
pub use options::{OptionDoc, common_options, kind_options};
pub(crate) use stream::parse_hex;
pub use stream::{
    FrameEncoding, FrameOptions, FramingRule, MessageTemplate, ReceiveRule, ReconnectOptions, SendRule, StreamOptions,
};

use crate::stream::StreamRules;
use error::at_least;
use hearthgate_domain::delivery::QoS;
use kinds::{check_exec, check_serial, check_tcp, five_seconds};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};
use std::path::PathBuf;
use std::time::Duration;

/// One interface: what all kinds have in common, and the driver with its own options.
#[derive(Clone, Debug)]
pub struct InterfaceConfig {
    /// A disabled interface is not started and subscribes to nothing.
    pub enabled: bool,
    /// The keyword map, relative to the configuration file's folder.
    pub map: Option<PathBuf>,
    /// First topic level of what the interface publishes, when there is no map.
    pub root: Option<String>,
    /// Topic filters to subscribe to, when there is no map.
    pub topics: Vec<String>,
    /// Name in topics and messages; the key of the table when absent.
    pub name: Option<String>,
    /// Whether the broker keeps what the interface publishes.
    pub retain: bool,
    /// QoS of what the interface publishes.
    pub qos: QoS,
    /// A command that waited longer is answered with an error instead of being executed.
    pub max_command_age: Duration,
    /// Whether commands that were retained by the broker are executed when we subscribe.
    pub accept_retained: bool,
    /// Whether a refused command is answered on the status topic.
    pub replies: bool,
    /// The kind with its options.
    pub driver: DriverConfig,
}

/// A kind's own options.
#[derive(Clone, Debug)]
pub enum DriverConfig {
    /// See [`DriverKind::Dummy`].
    Dummy(DummyConfig),
    /// See [`DriverKind::Serial`].
    Serial(SerialConfig, StreamOptions),
    /// See [`DriverKind::Tcp`].
    Tcp(TcpConfig, StreamOptions),
    /// See [`DriverKind::Exec`].
    Exec(ExecConfig),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Common {
    #[serde(default = "yes")]
    enabled: bool,
    map: Option<PathBuf>,
    root: Option<String>,
    #[serde(default)]
    topics: Vec<String>,
    name: Option<String>,
    #[serde(default)]
    retain: bool,
    #[serde(default)]
    qos: QoS,
    #[serde(default = "five_seconds", deserialize_with = "duration::required")]
    max_command_age: Duration,
    #[serde(default)]
    accept_retained: bool,
    #[serde(default = "yes")]
    replies: bool,
}

fn yes() -> bool {
    true
}

impl InterfaceConfig {
    /// How long the driver may take to stop in order.
    #[must_use]
    pub fn stop_time(&self) -> Duration {
        match &self.driver {
            DriverConfig::Exec(exec) => exec.stop_timeout,
            _ => Duration::ZERO,
        }
    }

    /// Which driver it is.
    #[must_use]
    pub fn kind(&self) -> DriverKind {
        match self.driver {
            DriverConfig::Dummy(_) => DriverKind::Dummy,
            DriverConfig::Serial(..) => DriverKind::Serial,
            DriverConfig::Tcp(..) => DriverKind::Tcp,
            DriverConfig::Exec(_) => DriverKind::Exec,
        }
    }

    /// Reads and checks a table.
    ///
    /// # Errors
    /// The first option that is unknown, of the wrong type, or makes no sense together with another one.
    pub fn from_table(mut table: Map<String, Value>) -> Result<Self, InterfaceConfigError> {
        let kinds = "use one of dummy, serial, tcp, exec";
        let kind =
            table.remove("kind").ok_or_else(|| InterfaceConfigError::new("kind", format!("is missing; {kinds}")))?;
        let kind = DriverKind::deserialize(&kind)
            .map_err(|_| InterfaceConfigError::new("kind", format!("{kind} is unknown; {kinds}")))?;
        options::refuse_unknown(kind, &table)?;
        let (common, own): (Map<_, _>, Map<_, _>) =
            table.into_iter().partition(|(key, _)| common_options().iter().any(|option| option.key == key.as_str()));
        let common: Common = read(common)?;
        let driver = match kind {
            DriverKind::Dummy => DriverConfig::Dummy(read(own)?),
            DriverKind::Serial => {
                let (stream, line) = own.into_iter().partition(|(key, _)| options::is_of_stream(key));
                DriverConfig::Serial(read(line)?, read(stream)?)
            }
            DriverKind::Tcp => {
                let (stream, connection) = own.into_iter().partition(|(key, _)| options::is_of_stream(key));
                DriverConfig::Tcp(read(connection)?, read(stream)?)
            }
            DriverKind::Exec => DriverConfig::Exec(read(own)?),
        };
        let config = InterfaceConfig {
            enabled: common.enabled,
            map: common.map,
            root: common.root,
            topics: common.topics,
            name: common.name,
            retain: common.retain,
            qos: common.qos,
            max_command_age: common.max_command_age,
            accept_retained: common.accept_retained,
            replies: common.replies,
            driver,
        };
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), InterfaceConfigError> {
        match (&self.map, &self.root) {
            (Some(_), Some(_)) => {
                return Err(InterfaceConfigError::new(
                    "root",
                    "the map has its own root; give `map`, or `root` and `topics`",
                ));
            }
            (None, None) => {
                return Err(InterfaceConfigError::new(
                    "map",
                    "is missing; give `map`, or `root` and `topics` for an interface without one",
                ));
            }
            (Some(_), None) if !self.topics.is_empty() => {
                return Err(InterfaceConfigError::new(
                    "topics",
                    "the map has its own topics; give `map`, or `root` and `topics`",
                ));
            }
            (Some(_), None) | (None, Some(_)) => {}
        }
        if let Some(name) = &self.name {
            check_name(name).map_err(|problem| InterfaceConfigError::new("name", problem))?;
        }
        match &self.driver {
            DriverConfig::Dummy(dummy) => at_least("period", dummy.period, Duration::from_millis(10)),
            DriverConfig::Serial(serial, stream) => check_serial(serial).and_then(|()| check_stream(stream)),
            DriverConfig::Tcp(tcp, stream) => check_tcp(tcp).and_then(|()| check_stream(stream)),
            DriverConfig::Exec(exec) => check_exec(exec),
        }
    }
}

impl<'de> Deserialize<'de> for InterfaceConfig {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        InterfaceConfig::from_table(Map::deserialize(from)?).map_err(serde::de::Error::custom)
    }
}

fn check_stream(stream: &StreamOptions) -> Result<(), InterfaceConfigError> {
    stream.check()?;
    StreamRules::compile(&stream.receive, &stream.send, stream.frame.encoding).map(drop)
}

/// Checks the name of an interface: it becomes a topic level and the sender of messages.
///
/// # Errors
/// It is empty, or holds what no topic level may hold.
pub fn check_name(name: &str) -> Result<(), InterfaceNameError> {
    if name.is_empty() {
        return Err(InterfaceNameError::Empty);
    }
    match name.chars().find(|c| matches!(c, '/' | '+' | '#') || c.is_control()) {
        Some(character) => Err(InterfaceNameError::TopicLevel { name: name.to_owned(), character }),
        None => Ok(()),
    }
}

fn read<T: serde::de::DeserializeOwned>(table: Map<String, Value>) -> Result<T, InterfaceConfigError> {
    serde_path_to_error::deserialize(Value::Object(table)).map_err(|error| {
        let path = error.path().to_string();
        // In the words of the file.
        let problem = error.into_inner().to_string().replace("expected a sequence", "expected a list in brackets");
        InterfaceConfigError::new(if path == "." { String::new() } else { path }, problem)
    })
}

#[cfg(test)]
mod tests;
