//! The options of a device interface: `[interfaces.NAME]` in the configuration file.

mod options;
mod stream;

pub use options::{OptionDoc, common_options, kind_options};
pub use stream::{Encoding, FrameOptions, FramingRule, MessageTemplate, ReceiveRule, ReconnectOptions, SendRule};
pub(crate) use stream::{StreamOptions, parse_hex};

use crate::duration;
use hearthgate_domain::delivery::QoS;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fmt;
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

/// The kinds of drivers. Closed: each is one module of this crate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Logs what it receives, emits a fixed message now and then.
    Dummy,
    /// A serial line with declared rules.
    Serial,
    /// A TCP connection with declared rules.
    Tcp,
    /// A child process that speaks the `exec` protocol.
    Exec,
}

impl Kind {
    /// Every kind, in the order of the documentation.
    pub const ALL: [Kind; 4] = [Kind::Dummy, Kind::Serial, Kind::Tcp, Kind::Exec];

    /// The word in the configuration file.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Dummy => "dummy",
            Kind::Serial => "serial",
            Kind::Tcp => "tcp",
            Kind::Exec => "exec",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A kind's own options.
#[derive(Clone, Debug)]
pub enum DriverConfig {
    /// See [`Kind::Dummy`].
    Dummy(DummyConfig),
    /// See [`Kind::Serial`].
    Serial(SerialConfig),
    /// See [`Kind::Tcp`].
    Tcp(TcpConfig),
    /// See [`Kind::Exec`].
    Exec(ExecConfig),
}

/// Options of the `dummy` kind.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DummyConfig {
    /// Time between two messages, at least 10 ms.
    #[serde(default = "thirty_seconds", deserialize_with = "duration::required")]
    pub period: Duration,
}

/// Options of the `serial` kind.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SerialConfig {
    /// The device file, for example `/dev/serial/by-id/usb-…`.
    pub port: PathBuf,
    /// Speed of the line, in bits a second.
    #[serde(default = "baud_9600")]
    pub baud: u32,
    /// Data bits in a character, 5 to 8.
    #[serde(default = "eight")]
    pub data_bits: u8,
    /// Parity bit.
    #[serde(default)]
    pub parity: Parity,
    /// Stop bits, 1 or 2.
    #[serde(default = "one")]
    pub stop_bits: u8,
    /// Flow control.
    #[serde(default)]
    pub flow_control: FlowControl,
    /// How frames end.
    pub frame: FrameOptions,
    /// What frames mean, first match first.
    #[serde(default)]
    pub receive: Vec<ReceiveRule>,
    /// What commands write, first match first.
    #[serde(default)]
    pub send: Vec<SendRule>,
    /// Pauses between attempts to open the port.
    #[serde(default)]
    pub reconnect: ReconnectOptions,
    /// A write that takes longer means that the device is gone.
    #[serde(default = "five_seconds", deserialize_with = "duration::required")]
    pub write_timeout: Duration,
    /// Silence that means that the device is gone; absent: silence is fine.
    #[serde(default, deserialize_with = "duration::optional")]
    pub silence_timeout: Option<Duration>,
}

/// Parity of a serial line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Parity {
    /// No parity bit.
    #[default]
    None,
    /// Even parity.
    Even,
    /// Odd parity.
    Odd,
}

/// Flow control of a serial line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FlowControl {
    /// None.
    #[default]
    None,
    /// XON and XOFF.
    Software,
    /// RTS and CTS.
    Hardware,
}

/// Options of the `tcp` kind.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TcpConfig {
    /// `host:port` to connect to.
    pub address: String,
    /// Longest time to connect.
    #[serde(default = "five_seconds", deserialize_with = "duration::required")]
    pub connect_timeout: Duration,
    /// How frames end.
    pub frame: FrameOptions,
    /// What frames mean, first match first.
    #[serde(default)]
    pub receive: Vec<ReceiveRule>,
    /// What commands write, first match first.
    #[serde(default)]
    pub send: Vec<SendRule>,
    /// Pauses between attempts to connect.
    #[serde(default)]
    pub reconnect: ReconnectOptions,
    /// A write that takes longer means that the device is gone.
    #[serde(default = "five_seconds", deserialize_with = "duration::required")]
    pub write_timeout: Duration,
    /// Silence that means that the device is gone; absent: silence is fine.
    #[serde(default, deserialize_with = "duration::optional")]
    pub silence_timeout: Option<Duration>,
}

/// Options of the `exec` kind.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExecConfig {
    /// Program and arguments; no shell in between.
    pub command: Vec<String>,
    /// Working directory, relative to the configuration file's folder; that folder when absent.
    #[serde(default)]
    pub directory: Option<PathBuf>,
    /// Variables added to the child's environment.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// Handed to the child in its `hello`.
    #[serde(default)]
    pub params: Map<String, Value>,
    /// Longest time until `ready`.
    #[serde(default = "ten_seconds", deserialize_with = "duration::required")]
    pub start_timeout: Duration,
    /// Longest time from `stop` to the child's end; then it is killed with all its descendants.
    #[serde(default = "five_seconds", deserialize_with = "duration::required")]
    pub stop_timeout: Duration,
    /// Time between two pings.
    #[serde(default = "ten_seconds", deserialize_with = "duration::required")]
    pub ping_interval: Duration,
    /// A child that does not answer a ping for so long is killed and the interface restarted.
    #[serde(default = "thirty_seconds", deserialize_with = "duration::required")]
    pub ping_timeout: Duration,
}

fn baud_9600() -> u32 {
    9_600
}
fn eight() -> u8 {
    8
}
fn one() -> u8 {
    1
}
fn five_seconds() -> Duration {
    Duration::from_secs(5)
}
fn ten_seconds() -> Duration {
    Duration::from_secs(10)
}
fn thirty_seconds() -> Duration {
    Duration::from_secs(30)
}

/// What is wrong with an interface's options, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{problem}", if path.is_empty() { String::new() } else { format!("`{path}`: ") })]
pub struct ConfigError {
    /// The option, relative to the interface's table (`receive[2].match`); empty when the table as a whole is meant.
    pub path: String,
    /// What is wrong with it and what helps.
    pub problem: String,
}

impl ConfigError {
    pub(crate) fn new(path: impl Into<String>, problem: impl Into<String>) -> Self {
        ConfigError { path: path.into(), problem: problem.into() }
    }
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
    /// Which driver it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self.driver {
            DriverConfig::Dummy(_) => Kind::Dummy,
            DriverConfig::Serial(_) => Kind::Serial,
            DriverConfig::Tcp(_) => Kind::Tcp,
            DriverConfig::Exec(_) => Kind::Exec,
        }
    }

    /// Reads and checks a table.
    ///
    /// # Errors
    /// The first option that is unknown, of the wrong type, or makes no sense together with another one.
    pub fn from_table(mut table: Map<String, Value>) -> Result<Self, ConfigError> {
        let kinds = "use one of dummy, serial, tcp, exec";
        let kind = table.remove("kind").ok_or_else(|| ConfigError::new("kind", format!("is missing; {kinds}")))?;
        let kind =
            Kind::deserialize(&kind).map_err(|_| ConfigError::new("kind", format!("{kind} is unknown; {kinds}")))?;
        options::refuse_unknown(kind, &table)?;
        let (common, own): (Map<_, _>, Map<_, _>) =
            table.into_iter().partition(|(key, _)| common_options().iter().any(|option| option.key == key.as_str()));
        let common: Common = read(common)?;
        let driver = match kind {
            Kind::Dummy => DriverConfig::Dummy(read(own)?),
            Kind::Serial => DriverConfig::Serial(read(own)?),
            Kind::Tcp => DriverConfig::Tcp(read(own)?),
            Kind::Exec => DriverConfig::Exec(read(own)?),
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

    fn check(&self) -> Result<(), ConfigError> {
        match (&self.map, &self.root) {
            (Some(_), Some(_)) => {
                return Err(ConfigError::new("root", "the map has its own root; give `map`, or `root` and `topics`"));
            }
            (None, None) => {
                return Err(ConfigError::new(
                    "map",
                    "is missing; give `map`, or `root` and `topics` for an interface without one",
                ));
            }
            (Some(_), None) if !self.topics.is_empty() => {
                return Err(ConfigError::new(
                    "topics",
                    "the map has its own topics; give `map`, or `root` and `topics`",
                ));
            }
            (Some(_), None) | (None, Some(_)) => {}
        }
        if let Some(name) = &self.name {
            check_name(name).map_err(|problem| ConfigError::new("name", problem))?;
        }
        match &self.driver {
            DriverConfig::Dummy(dummy) => at_least("period", dummy.period, Duration::from_millis(10)),
            DriverConfig::Serial(serial) => check_serial(serial),
            DriverConfig::Tcp(tcp) => check_tcp(tcp),
            DriverConfig::Exec(exec) => check_exec(exec),
        }
    }
}

impl<'de> Deserialize<'de> for InterfaceConfig {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        InterfaceConfig::from_table(Map::deserialize(from)?).map_err(serde::de::Error::custom)
    }
}

/// Checks the name of an interface: it becomes a topic level and the sender of messages.
///
/// # Errors
/// A sentence for the user.
pub fn check_name(name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err("an interface needs a name".into());
    }
    match name.chars().find(|c| matches!(c, '/' | '+' | '#') || c.is_control()) {
        Some(bad) => Err(format!("the name {name:?} becomes a topic level, which can not hold {bad:?}")),
        None => Ok(()),
    }
}

fn read<T: serde::de::DeserializeOwned>(table: Map<String, Value>) -> Result<T, ConfigError> {
    serde_path_to_error::deserialize(Value::Object(table)).map_err(|error| {
        let path = error.path().to_string();
        ConfigError::new(if path == "." { String::new() } else { path }, error.into_inner().to_string())
    })
}

fn at_least(key: &str, value: Duration, least: Duration) -> Result<(), ConfigError> {
    if value >= least {
        return Ok(());
    }
    Err(ConfigError::new(key, format!("must be at least {} ms", least.as_millis())))
}

fn check_serial(serial: &SerialConfig) -> Result<(), ConfigError> {
    if serial.baud == 0 {
        return Err(ConfigError::new("baud", "must be above 0"));
    }
    if !(5..=8).contains(&serial.data_bits) {
        return Err(ConfigError::new("data_bits", "must be 5 to 8"));
    }
    if !(1..=2).contains(&serial.stop_bits) {
        return Err(ConfigError::new("stop_bits", "must be 1 or 2"));
    }
    serial.stream().check()
}

fn check_tcp(tcp: &TcpConfig) -> Result<(), ConfigError> {
    let port = tcp
        .address
        .rsplit_once(':')
        .filter(|(host, _)| !host.is_empty())
        .and_then(|(_, port)| port.parse::<u16>().ok());
    if port.is_none_or(|port| port == 0) {
        return Err(ConfigError::new("address", format!("{:?} is not of the form \"host:port\"", tcp.address)));
    }
    at_least("connect_timeout", tcp.connect_timeout, Duration::from_millis(10))?;
    tcp.stream().check()
}

fn check_exec(exec: &ExecConfig) -> Result<(), ConfigError> {
    if exec.command.first().is_none_or(String::is_empty) {
        return Err(ConfigError::new("command", "names no program; write [\"program\", \"argument\", …]"));
    }
    if exec.command.iter().any(|word| word.contains('\0')) {
        return Err(ConfigError::new("command", "can not hold a NUL character"));
    }
    if let Some(key) = exec.environment.keys().find(|key| key.is_empty() || key.contains(['=', '\0'])) {
        return Err(ConfigError::new("environment", format!("{key:?} can not be the name of a variable")));
    }
    let least = Duration::from_millis(10);
    at_least("start_timeout", exec.start_timeout, least)?;
    at_least("stop_timeout", exec.stop_timeout, least)?;
    at_least("ping_interval", exec.ping_interval, least)?;
    at_least("ping_timeout", exec.ping_timeout, least)
}

#[cfg(test)]
mod tests;
