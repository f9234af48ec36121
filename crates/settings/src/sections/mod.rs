//! The sections of the configuration. `config/hearthgate.default.toml` says what each key means and holds its default,
//! so no field has a default here; what is absent there is an `Option`.

mod flows;
mod mapper;
mod mqtt;
mod operation;

pub use flows::{Breaker, Database, DeadLetters, Endpoints, Flows, Journal, Store, ValueFormat, WhenFull};
pub use mapper::Mapper;
pub use mqtt::{Broker, BrokerLimits, BrokerTls, BrokerUser, Mqtt, MqttLimits, MqttTls, Protocol, Reconnect};
pub use operation::{Gateway, HomeAssistant, Http, Log, LogFormat, PolicyOverride, Supervision};

use hearthgate_interfaces::InterfaceConfig;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The whole configuration, validated.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The installation as a whole.
    pub gateway: Gateway,
    /// Logging.
    pub log: Log,
    /// The embedded broker.
    pub broker: Broker,
    /// The session with a broker.
    pub mqtt: Mqtt,
    /// Mapping between topics and device interfaces.
    pub mapper: Mapper,
    /// Device interfaces by name, as they stand.
    #[serde(default, rename = "interfaces")]
    pub(super) interface_tables: BTreeMap<String, Map<String, Value>>,
    /// Device interfaces by name, disabled ones too. A map's path is absolute, or [`BUILTIN_DUMMY`].
    ///
    /// [`BUILTIN_DUMMY`]: super::BUILTIN_DUMMY
    #[serde(skip)]
    pub interfaces: BTreeMap<String, InterfaceConfig>,
    /// Routing.
    pub flows: Flows,
    /// The durable queue between acknowledgement and action.
    pub journal: Journal,
    /// Writing records.
    pub store: Store,
    /// Calling HTTP endpoints.
    pub endpoints: Endpoints,
    /// What could not be delivered.
    pub dead_letters: DeadLetters,
    /// The database of flows and records.
    pub database: Database,
    /// The API.
    pub http: Http,
    /// How failed parts are restarted.
    pub supervision: Supervision,
    /// Home Assistant discovery.
    pub homeassistant: HomeAssistant,
}
