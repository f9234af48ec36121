//! The sections of the configuration. `config/hearthgate.default.toml` says what each key means and holds its default,
//! so no field has a default here; what is absent there is an `Option`.

mod flows;
mod interfaces;
mod mqtt;
mod operation;

pub use flows::{Breaker, Database, DeadLetters, Endpoints, Flows, Journal, Store, ValueFormat, WhenFull};
pub use interfaces::{Interface, Mapper};
pub use mqtt::{Broker, BrokerLimits, BrokerTls, BrokerUser, Mqtt, MqttLimits, MqttTls, Protocol, Reconnect};
pub use operation::{Gateway, HomeAssistant, Http, Log, LogFormat, PolicyOverride, Supervision};

use schemars::JsonSchema;
use serde::Deserialize;
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
    /// Device interfaces by name.
    #[serde(default)]
    pub interfaces: BTreeMap<String, Interface>,
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
