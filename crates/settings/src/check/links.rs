//! The links to clients and brokers: who may connect, what is encrypted, and what several gateways share.

use super::Rules;
use crate::sections::{BrokerWebSocket, DatabaseTlsMode, GatewaySettings, ProtocolSetting};
use crate::types::AutoSwitch;
use crate::urls::{BrokerUrl, DatabaseEngine, DatabaseUrl};

/// `gateway.name` in the defaults.
const DEFAULT_NAME: &str = "hearthgate";

impl Rules<'_> {
    pub(super) fn broker(&mut self, settings: &GatewaySettings) {
        let broker = &settings.broker;
        if settings.mqtt.enabled && settings.mqtt.server == BrokerUrl::Embedded && broker.enabled == AutoSwitch::Off {
            self.error(
                "broker.enabled",
                "mqtt.server = \"embedded\" needs the embedded broker",
                "remove this line, or set mqtt.server to another broker, or mqtt.enabled = false",
            );
        }
        if broker.allow_anonymous {
            let listeners = [
                ("broker.listen", Some(broker.listen), false),
                ("broker.tls.listen", broker.tls.listen, true),
                ("broker.websocket.listen", broker.websocket.listen, false),
                ("broker.websocket.tls_listen", broker.websocket.tls_listen, true),
            ];
            for (key, listen, is_encrypted) in listeners {
                // A client certificate is an authentication, too.
                let certified = is_encrypted && broker.tls.client_ca.is_some();
                if let Some(listen) = listen.filter(|listen| !listen.0.ip().is_loopback() && !certified) {
                    self.error(
                        key,
                        format!("{listen} can be reached from elsewhere, and broker.allow_anonymous is true"),
                        "set broker.allow_anonymous = false and add users (`hearthgate broker passwd NAME`)",
                    );
                }
            }
        } else if broker.users.is_empty() && broker.tls.client_ca.is_none() {
            self.error(
                "broker.allow_anonymous",
                "nobody could connect: there are no users",
                "add [broker.users.NAME] sections (`hearthgate broker passwd NAME`)",
            );
        }
        let lists = &broker.anonymous;
        let has_lists = lists.publish.is_some() || lists.subscribe.is_some() || !lists.forbidden.is_empty();
        if has_lists && !broker.users.is_empty() {
            self.error(
                "broker.anonymous",
                "with users nobody connects without a name, so it is of no effect",
                "remove this section, or the users",
            );
        }
        for name in broker.users.keys() {
            let hash = secrecy::ExposeSecret::expose_secret(&broker.users[name].password);
            if !hash.starts_with("$argon2") {
                self.error(
                    &format!("broker.users.{name}.password"),
                    "this is no argon2 hash",
                    "make one with `hearthgate broker passwd`",
                );
            }
        }
        self.pair("broker.tls", broker.tls.certificate.is_some(), broker.tls.key.is_some());
        let encrypted =
            [("broker.tls.listen", broker.tls.listen), ("broker.websocket.tls_listen", broker.websocket.tls_listen)];
        for (key, listen) in encrypted {
            if listen.is_some() && broker.tls.certificate.is_none() {
                self.error(key, "TLS needs a certificate", "set broker.tls.certificate and broker.tls.key");
            }
        }
        self.websocket(&broker.websocket);
    }

    fn websocket(&mut self, websocket: &BrokerWebSocket) {
        if !websocket.path.starts_with('/') || websocket.path.contains(['?', '#', ' ']) {
            self.error("broker.websocket.path", "this is no path of a URL", "begin it with /, as in \"/mqtt\"");
        }
        for origin in &websocket.origins {
            let host = origin.split_once("://").filter(|(scheme, _)| !scheme.is_empty()).map(|(_, host)| host);
            let is_origin = host.is_some_and(|host| !host.is_empty() && !host.contains(['/', '?', '#', '*', '@', ' ']));
            if !is_origin && !matches!(origin.as_str(), "*" | "null") {
                self.error(
                    "broker.websocket.origins",
                    format!("\"{origin}\" is no origin"),
                    "write scheme, host and port as the browser shows them, without a path: \"https://dashboard.lan\"",
                );
            }
        }
        if websocket.listen.is_none() && websocket.tls_listen.is_none() && !websocket.origins.is_empty() {
            self.error(
                "broker.websocket.origins",
                "without a listener they are of no effect",
                "set broker.websocket.listen or broker.websocket.tls_listen, or remove this line",
            );
        }
    }

    pub(super) fn mqtt(&mut self, settings: &GatewaySettings) {
        let mqtt = &settings.mqtt;
        if !mqtt.enabled {
            if settings.homeassistant.enabled {
                self.error("homeassistant.enabled", "discovery needs mqtt.enabled = true", "switch one of them");
            }
            return;
        }
        if settings.homeassistant.enabled && mqtt.status_prefix.is_empty() {
            self.error(
                "homeassistant.enabled",
                "what Home Assistant shows is published under mqtt.status_prefix, which is empty",
                "set mqtt.status_prefix, or switch discovery off",
            );
        }
        if mqtt.server == BrokerUrl::Database && !settings.database.enabled {
            self.error(
                "mqtt.server",
                "\"database\" needs database.enabled = true",
                "switch the database on, or give the broker's URL",
            );
        }
        if mqtt.password.is_some() && mqtt.username.is_none() && mqtt.protocol == ProtocolSetting::V311 {
            self.error("mqtt.password", "MQTT 3.1.1 has no password without a user name", "set mqtt.username");
        }
        self.pair("mqtt.tls", mqtt.tls.certificate.is_some(), mqtt.tls.key.is_some());
        if let BrokerUrl::Remote(remote) = &mqtt.server
            && !remote.transport.encrypted()
            && (mqtt.tls.ca.is_some() || mqtt.tls.certificate.is_some())
        {
            self.error("mqtt.server", "[mqtt.tls] is set, but this URL is not encrypted", "use mqtts:// or wss://");
        }
        if !mqtt.tls.verify {
            self.warning("mqtt.tls.verify", "any server can pose as the broker", "name its authority in mqtt.tls.ca");
        }
        if mqtt.clean_session && settings.flows.enabled {
            self.warning(
                "mqtt.clean_session",
                "messages sent while the gateway is away are lost to the flows",
                "leave it at false",
            );
        }
    }

    /// What several gateways that share the flows' messages need, each.
    pub(super) fn group(&mut self, settings: &GatewaySettings) {
        let mqtt = &settings.mqtt;
        if !mqtt.enabled {
            return;
        }
        let Some(group) = &mqtt.group else {
            if mqtt.leave_group {
                self.error("mqtt.leave_group", "there is no group to leave", "name it in mqtt.group");
            }
            return;
        };
        if group.is_empty() || group.contains(['/', '+', '#']) {
            self.error("mqtt.group", format!("\"{group}\" can't name a group"), "use letters, digits, - and _");
        }
        if mqtt.protocol == ProtocolSetting::V311 {
            self.error("mqtt.group", "shared subscriptions need MQTT 5", "set mqtt.protocol = \"5\"");
        }
        if mqtt.server == BrokerUrl::Embedded {
            let message = "the embedded broker serves this gateway alone";
            self.error("mqtt.group", message, "set mqtt.server to the broker that the group shares");
        }
        if settings.gateway.name == DEFAULT_NAME {
            self.error(
                "mqtt.group",
                "the members' MQTT client ids and status topics are made of their names, and this one has the default",
                "set gateway.name, another one for each member",
            );
        }
        if mqtt.clean_session || mqtt.session_expiry.0.is_zero() {
            self.error(
                "mqtt.group",
                "without a session that is kept, the broker gives what a killed member had to another, which stores it twice",
                "set mqtt.clean_session = false, and mqtt.session_expiry to more than an outage may last",
            );
        }
        if settings.database.url.engine() == DatabaseEngine::Sqlite {
            self.warning(
                "mqtt.group",
                "each member would store into a SQLite file of its own",
                "set database.url to the MariaDB or PostgreSQL that the group shares",
            );
        }
    }

    /// Two listeners at one address: the second one could not be opened.
    pub(super) fn listeners(&mut self, settings: &GatewaySettings) {
        let GatewaySettings { broker, http, .. } = settings;
        let is_on = broker.enabled == AutoSwitch::On
            || broker.enabled == AutoSwitch::Auto && settings.mqtt.server == BrokerUrl::Embedded;
        let listeners = [
            ("broker.listen", Some(broker.listen).filter(|_| is_on)),
            ("broker.tls.listen", broker.tls.listen.filter(|_| is_on)),
            ("http.listen", Some(http.listen).filter(|_| http.enabled)),
        ];
        let listeners: Vec<_> = listeners.into_iter().filter_map(|(key, listen)| Some((key, listen?))).collect();
        for (index, (key, listen)) in listeners.iter().enumerate() {
            if let Some((other, _)) = listeners[..index].iter().find(|(_, other)| other.overlaps(*listen)) {
                self.error(key, format!("{listen} is the address of {other}, too"), "give one of them another port");
            }
        }
    }

    /// What is asked of the server of the database, where there is one.
    pub(super) fn database(&mut self, settings: &GatewaySettings) {
        let tls = &settings.database.tls;
        if tls.ca.is_some() && !tls.mode.is_some_and(DatabaseTlsMode::verifies) {
            let message = "no certificate is looked at, so it is of no effect";
            self.error("database.tls.ca", message, "set database.tls.mode = \"verify-full\"");
        }
        if tls.mode.is_none() {
            return;
        }
        match &settings.database.url {
            DatabaseUrl::Sqlite(_) => {
                self.error("database.tls.mode", "SQLite is a file, without a connection", "remove this line");
            }
            DatabaseUrl::Server { url, .. } => {
                if url.query_pairs().any(|(name, _)| name.replace('-', "") == "sslmode") {
                    self.error("database.tls.mode", "the URL says it, too", "remove the option from database.url");
                }
            }
        }
    }

    fn pair(&mut self, section: &str, certificate: bool, key: bool) {
        let (present, absent) = match (certificate, key) {
            (true, false) => ("certificate", "key"),
            (false, true) => ("key", "certificate"),
            (true, true) | (false, false) => return,
        };
        self.error(&format!("{section}.{present}"), format!("{section}.{absent} is missing"), "set both");
    }
}
