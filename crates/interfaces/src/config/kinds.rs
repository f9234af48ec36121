//! The options that only one kind has.

use super::error::{InterfaceConfigError, at_least};
use crate::config::duration;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// Options of the `dummy` kind.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DummyConfig {
    /// Time between two messages, at least 10 ms.
    #[serde(default = "thirty_seconds", deserialize_with = "duration::required")]
    pub period: Duration,
}

/// Options of the line of the `serial` kind; what is said on it is in [`StreamOptions`](super::StreamOptions).
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
    pub parity: SerialParity,
    /// Stop bits, 1 or 2.
    #[serde(default = "one")]
    pub stop_bits: u8,
    /// Flow control.
    #[serde(default)]
    pub flow_control: FlowControl,
}

/// Parity of a serial line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SerialParity {
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

/// Options of the connection of the `tcp` kind; what is said on it is in [`StreamOptions`](super::StreamOptions).
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TcpConfig {
    /// `host:port` to connect to.
    pub address: String,
    /// Longest time to connect.
    #[serde(default = "five_seconds", deserialize_with = "duration::required")]
    pub connect_timeout: Duration,
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
pub(super) fn five_seconds() -> Duration {
    Duration::from_secs(5)
}
fn ten_seconds() -> Duration {
    Duration::from_secs(10)
}
fn thirty_seconds() -> Duration {
    Duration::from_secs(30)
}

pub(super) fn check_serial(serial: &SerialConfig) -> Result<(), InterfaceConfigError> {
    if serial.baud == 0 {
        return Err(InterfaceConfigError::new("baud", "must be above 0"));
    }
    if !(5..=8).contains(&serial.data_bits) {
        return Err(InterfaceConfigError::new("data_bits", "must be 5 to 8"));
    }
    if !(1..=2).contains(&serial.stop_bits) {
        return Err(InterfaceConfigError::new("stop_bits", "must be 1 or 2"));
    }
    Ok(())
}

pub(super) fn check_tcp(tcp: &TcpConfig) -> Result<(), InterfaceConfigError> {
    let port = tcp
        .address
        .rsplit_once(':')
        .filter(|(host, _)| !host.is_empty())
        .and_then(|(_, port)| port.parse::<u16>().ok());
    if port.is_none_or(|port| port == 0) {
        return Err(InterfaceConfigError::new(
            "address",
            format!("{:?} is not of the form \"host:port\"", tcp.address),
        ));
    }
    at_least("connect_timeout", tcp.connect_timeout, Duration::from_millis(10))
}

pub(super) fn check_exec(exec: &ExecConfig) -> Result<(), InterfaceConfigError> {
    if exec.command.first().is_none_or(String::is_empty) {
        return Err(InterfaceConfigError::new("command", "names no program; write [\"program\", \"argument\", …]"));
    }
    if exec.command.iter().any(|word| word.contains('\0')) {
        return Err(InterfaceConfigError::new("command", "can not hold a NUL character"));
    }
    if let Some(key) = exec.environment.keys().find(|key| key.is_empty() || key.contains(['=', '\0'])) {
        return Err(InterfaceConfigError::new("environment", format!("{key:?} can not be the name of a variable")));
    }
    let least = Duration::from_millis(10);
    at_least("start_timeout", exec.start_timeout, least)?;
    at_least("stop_timeout", exec.stop_timeout, least)?;
    at_least("ping_interval", exec.ping_interval, least)?;
    at_least("ping_timeout", exec.ping_timeout, least)
}

/// The kinds of drivers. Closed: each is one module of this crate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DriverKind {
    /// Logs what it receives, emits a fixed message now and then.
    Dummy,
    /// A serial line with declared rules.
    Serial,
    /// A TCP connection with declared rules.
    Tcp,
    /// A child process that speaks the `exec` protocol.
    Exec,
}

impl DriverKind {
    /// Every kind, in the order of the documentation.
    pub const ALL: [DriverKind; 4] = [DriverKind::Dummy, DriverKind::Serial, DriverKind::Tcp, DriverKind::Exec];

    /// The word in the configuration file.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            DriverKind::Dummy => "dummy",
            DriverKind::Serial => "serial",
            DriverKind::Tcp => "tcp",
            DriverKind::Exec => "exec",
        }
    }
}

impl fmt::Display for DriverKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
