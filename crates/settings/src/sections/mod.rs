//! The sections of the configuration. `config/hearthgate.default.toml` says what each key means and holds its default,
//! so no field has a default here; what is absent there is an `Option`.

mod flows;
mod mapper;
mod mqtt;
mod notify;
mod operation;

pub use flows::{
    CircuitBreakerSettings, DatabaseSettings, DatabaseTls, DatabaseTlsMode, DeadLetterSettings, EndpointSettings,
    FlowSettings, JournalSettings, SecretSettings, StoreSettings, ValueFormatSetting, WhenFullSetting,
};
pub use mapper::MapperSettings;
pub use mqtt::{
    BrokerLimits, BrokerSettings, BrokerTls, BrokerUser, BrokerWebSocket, MqttLimits, MqttSettings, MqttTls,
    ProtocolSetting, ReconnectSettings,
};
pub use notify::{NotifyKind, NotifySettings};
pub use operation::{
    GeneralSettings, HomeAssistant, HttpSettings, LogFormat, LogRotation, LogSettings, PolicyOverride,
    SupervisionSettings,
};

use hearthgate_interfaces::InterfaceConfig;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The whole configuration, validated.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GatewaySettings {
    /// The installation as a whole.
    pub gateway: GeneralSettings,
    /// Logging.
    pub log: LogSettings,
    /// The embedded broker.
    pub broker: BrokerSettings,
    /// The session with a broker.
    pub mqtt: MqttSettings,
    /// Mapping between topics and device interfaces.
    pub mapper: MapperSettings,
    /// Device interfaces by name, as they stand.
    #[serde(default, rename = "interfaces")]
    pub(super) interface_tables: BTreeMap<String, Map<String, Value>>,
    /// Device interfaces by name, disabled ones too. A map's path is absolute, or [`BUILTIN_DUMMY`].
    ///
    /// [`BUILTIN_DUMMY`]: super::BUILTIN_DUMMY
    #[serde(skip)]
    pub interfaces: BTreeMap<String, InterfaceConfig>,
    /// Routing.
    pub flows: FlowSettings,
    /// The durable queue between acknowledgement and action.
    pub journal: JournalSettings,
    /// Writing records.
    pub store: StoreSettings,
    /// Calling HTTP endpoints.
    pub endpoints: EndpointSettings,
    /// What flows may name as secrets.
    pub secrets: SecretSettings,
    /// What could not be delivered.
    pub dead_letters: DeadLetterSettings,
    /// The database of flows and records.
    pub database: DatabaseSettings,
    /// The API.
    pub http: HttpSettings,
    /// How failed parts are restarted.
    pub supervision: SupervisionSettings,
    /// Home Assistant discovery.
    pub homeassistant: HomeAssistant,
    /// Who is told of what, by name.
    #[serde(default)]
    pub notify: BTreeMap<String, NotifySettings>,
}
