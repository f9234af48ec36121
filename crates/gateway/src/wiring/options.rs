//! From the settings to what each part wants to know.

use crate::exit::CommandFailure;
use hearthgate_domain::delivery::QoS;
use hearthgate_domain::duration::BoundedDuration;
use hearthgate_domain::payload;
use hearthgate_domain::redelivery::{BROKER_WINDOW, CLIENT_WINDOW};
use hearthgate_domain::retry::{BreakerSettings, RetrySchedule};
use hearthgate_mqtt::broker::{
    AclOptions, BrokerOptions, BrokerTlsOptions, LimitOptions, UserOptions, WebSocketOptions,
};
use hearthgate_mqtt::session::{
    self, BrokerAddress, BrokerCredentials, BrokerServer, ClientCertificate, ReconnectDelay, SessionOptions,
    TlsOptions, WillMessage,
};
use hearthgate_settings::{
    self, BrokerSettings, BrokerWebSocket, GatewaySettings, ListenAddress, MqttTransport, ProtocolSetting,
    RemoteBroker, ValueFormatSetting, WhenFullSetting,
};
use hearthgate_storage::journal;
use hearthgate_storage::sql::MqttServer;
use secrecy::ExposeSecret;
use std::path::Path;
use std::time::Duration;

/// Usual for MQTT over TLS (IANA: secure-mqtt).
const TLS_PORT: u16 = 8883;

pub(crate) fn journal(settings: &GatewaySettings) -> journal::JournalOptions {
    journal::JournalOptions {
        segment_bytes: settings.journal.segment_size.0,
        max_bytes: settings.journal.max_size.0,
        max_age: settings.journal.max_age.unless_zero(),
        when_full: match settings.journal.when_full {
            WhenFullSetting::Block => journal::WhenFull::Block,
            WhenFullSetting::DropOldest => journal::WhenFull::DropOldest,
            WhenFullSetting::Reject => journal::WhenFull::Reject,
        },
        window: if settings.mqtt.server == hearthgate_settings::BrokerUrl::Embedded {
            CLIENT_WINDOW
        } else {
            BROKER_WINDOW
        },
    }
}

pub(crate) fn value_format(setting: ValueFormatSetting) -> payload::ValueFormat {
    match setting {
        ValueFormatSetting::Json => payload::ValueFormat::Json,
        ValueFormatSetting::Python => payload::ValueFormat::Python,
    }
}

pub(crate) fn client_id(settings: &GatewaySettings) -> String {
    match settings.mqtt.client_id.as_str() {
        "" => format!("hearthgate-{}", settings.gateway.name),
        own => own.to_owned(),
    }
}

/// First levels of our own topics; none when the prefix is empty.
pub(crate) fn status_prefix(settings: &GatewaySettings) -> Option<String> {
    let prefix = settings.mqtt.status_prefix.trim_end_matches('/');
    (!prefix.is_empty()).then(|| format!("{prefix}/{}", settings.gateway.name))
}

/// Where the broker is that the settings name, and who we are there.
pub(crate) fn address(settings: &GatewaySettings, remote: &RemoteBroker) -> BrokerAddress {
    BrokerAddress { server: server(settings, remote), credentials: credentials(settings) }
}

/// The same for a row of the table `mqtt_servers`.
pub(crate) fn address_of_row(settings: &GatewaySettings, row: &MqttServer) -> BrokerAddress {
    let tls = &settings.mqtt.tls;
    let encrypted = row.port == TLS_PORT || tls.ca.is_some() || tls.certificate.is_some();
    let transport = if encrypted { MqttTransport::Tls } else { MqttTransport::Tcp };
    let remote = RemoteBroker { transport, host: row.host.clone(), port: row.port, path: String::new() };
    let own = row.credentials.as_ref().map(|(username, password)| BrokerCredentials {
        username: username.clone(),
        password: password.expose_secret().to_owned(),
    });
    BrokerAddress { credentials: own.or_else(|| credentials(settings)), ..address(settings, &remote) }
}

fn credentials(settings: &GatewaySettings) -> Option<BrokerCredentials> {
    let password = settings.mqtt.password.as_ref();
    settings.mqtt.username.clone().map(|username| BrokerCredentials {
        username,
        password: password.map(|password| password.expose_secret().to_owned()).unwrap_or_default(),
    })
}

/// Options of the session with the broker at `address`.
pub(crate) fn session(settings: &GatewaySettings, address: BrokerAddress) -> SessionOptions {
    let mqtt = &settings.mqtt;
    let mut options = SessionOptions::new(address.server, client_id(settings));
    options.protocol = match mqtt.protocol {
        ProtocolSetting::V311 => session::ProtocolVersion::V3,
        ProtocolSetting::V5 => session::ProtocolVersion::V5,
    };
    options.clean = mqtt.clean_session;
    options.credentials = address.credentials;
    options.keep_alive = mqtt.keep_alive.0;
    options.session_expiry = mqtt.session_expiry.0;
    options.connect_timeout = mqtt.connect_timeout.0;
    options.backoff = ReconnectDelay {
        first: mqtt.reconnect.initial.0,
        longest: mqtt.reconnect.max.0,
        jitter: mqtt.reconnect.jitter,
        ..ReconnectDelay::default()
    };
    options.max_incoming_packet = size(mqtt.limits.max_packet_size.0);
    options.max_outgoing_packet = size(mqtt.limits.max_packet_size.0);
    options.max_inflight = mqtt.limits.max_inflight;
    options.receive_maximum = mqtt.limits.max_inflight;
    options.outbox_messages = mqtt.limits.max_outgoing;
    options.outbox_bytes = size(mqtt.limits.max_outgoing_size.0);
    options.will = status_prefix(settings).map(|prefix| WillMessage {
        topic: format!("{prefix}/status"),
        payload: "offline".into(),
        qos: QoS::AtLeastOnce,
        retain: true,
        delay: Duration::ZERO,
    });
    options
}

fn server(settings: &GatewaySettings, remote: &RemoteBroker) -> BrokerServer {
    let RemoteBroker { transport, host, port, path } = remote.clone();
    match transport {
        MqttTransport::Tcp => BrokerServer::Tcp { host, port },
        MqttTransport::Tls => BrokerServer::Tls { host, port, tls: tls(settings) },
        MqttTransport::Ws => BrokerServer::WebSocket { host, port, path, tls: None },
        MqttTransport::Wss => BrokerServer::WebSocket { host, port, path, tls: Some(tls(settings)) },
    }
}

pub(crate) fn tls(settings: &GatewaySettings) -> TlsOptions {
    let tls = &settings.mqtt.tls;
    TlsOptions {
        ca: tls.ca.clone(),
        client: tls
            .certificate
            .clone()
            .zip(tls.key.clone())
            .map(|(certificate, key)| ClientCertificate { certificate, key }),
        alpn: tls.alpn.clone(),
        server_name: None,
        insecure_skip_verify: !tls.verify,
    }
}

pub(crate) fn broker(broker: &BrokerSettings, state_dir: &Path) -> BrokerOptions {
    let limits = LimitOptions {
        max_connections: broker.limits.max_connections,
        max_packet_size: size(broker.limits.max_packet_size.0),
        max_inflight: broker.limits.max_inflight,
        max_queued_messages: broker.limits.max_queued_messages,
        max_total_queued_bytes: size(broker.limits.max_queued_size.0),
        max_retained_messages: broker.limits.max_retained_messages,
        max_retained_bytes: size(broker.limits.max_retained_size.0),
        max_sessions: broker.limits.max_sessions,
        max_session_expiry: broker.limits.max_session_expiry.0,
        connect_timeout: broker.connect_timeout.0,
        ..LimitOptions::default()
    };
    let users = broker.users.iter().map(|(name, user)| {
        let acl = AclOptions {
            publish: user.publish.clone(),
            subscribe: user.subscribe.clone(),
            forbidden: user.forbidden.clone(),
        };
        let options = UserOptions { password: user.password.expose_secret().to_owned(), acl };
        (name.clone(), options)
    });
    let address = |listen: Option<ListenAddress>| listen.map(|listen| listen.0.to_string());
    let BrokerWebSocket { listen, tls_listen, path, origins } = &broker.websocket;
    let has_tls = broker.tls.listen.is_some() || tls_listen.is_some();
    let tls = match (&broker.tls.certificate, &broker.tls.key) {
        (Some(certificate), Some(key)) if has_tls => Some(BrokerTlsOptions {
            listen: address(broker.tls.listen),
            certificate: certificate.clone(),
            key: key.clone(),
            client_ca: broker.tls.client_ca.clone(),
        }),
        _ => None,
    };
    BrokerOptions {
        listen: broker.listen.0.to_string(),
        tls,
        websocket: (listen.is_some() || tls_listen.is_some()).then(|| WebSocketOptions {
            listen: address(*listen),
            tls_listen: address(*tls_listen),
            path: path.clone(),
            origins: origins.clone(),
        }),
        users: users.collect(),
        allow_anonymous: broker.allow_anonymous,
        anonymous: AclOptions {
            publish: broker.anonymous.publish.clone(),
            subscribe: broker.anonymous.subscribe.clone(),
            forbidden: broker.anonymous.forbidden.clone(),
        },
        limits,
        state_dir: Some(state_dir.to_owned()),
    }
}

pub(crate) fn retry(settings: &GatewaySettings) -> anyhow::Result<RetrySchedule> {
    let delays = settings.endpoints.retry.iter().map(|delay| BoundedDuration::new(delay.0)).collect();
    Ok(RetrySchedule::new(delays).map_err(|error| CommandFailure::Config(format!("endpoints.retry: {error}")))?)
}

pub(crate) fn breaker(settings: &GatewaySettings) -> BreakerSettings {
    let breaker = &settings.endpoints.breaker;
    BreakerSettings { failures: breaker.failures, pause: breaker.rest.0, ..BreakerSettings::default() }
}

fn size(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}
