//! What a single value can't tell: combinations, names, files. Also fills in what follows from other keys.

use super::BUILTIN_DUMMY;
use super::finding::{Finding, closest};
use super::origin::{Origin, Origins};
use super::sections::{Protocol, Settings, Supervision};
use super::types::Switch;
use super::urls::{Engine, Server};
use config::{Value, ValueKind};
use hearthgate_interfaces::InterfaceConfig;
use secrecy::SecretString;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Checks `settings`, makes their paths absolute and reads the secrets' files.
pub(crate) fn complete(settings: &mut Settings, tree: &Value, origins: &Origins, base: &Path) -> Vec<Finding> {
    resolve_paths(settings, base);
    let mut rules = Rules { tree, origins, findings: Vec::new() };
    rules.secrets(settings);
    rules.names(settings);
    rules.interfaces(settings, base);
    rules.gateway(settings);
    rules.broker(settings);
    rules.mqtt(settings);
    rules.flows(settings);
    rules.operation(settings);
    fill_in(settings);
    rules.findings
}

/// The value at a dotted key.
pub(crate) fn lookup<'a>(tree: &'a Value, key: &str) -> Option<&'a Value> {
    key.split('.').try_fold(tree, |at, part| match &at.kind {
        ValueKind::Table(table) => table.get(part),
        _ => None,
    })
}

fn resolve_paths(settings: &mut Settings, base: &Path) {
    settings.gateway.state_dir = base.join(&settings.gateway.state_dir);
    settings.database.url.resolve(base);
    let Settings { log, broker, mqtt, http, database, .. } = settings;
    let paths: [&mut Option<PathBuf>; 10] = [
        &mut log.file,
        &mut broker.tls.certificate,
        &mut broker.tls.key,
        &mut broker.tls.client_ca,
        &mut mqtt.tls.ca,
        &mut mqtt.tls.certificate,
        &mut mqtt.tls.key,
        &mut mqtt.password_file,
        &mut http.token_file,
        &mut database.password_file,
    ];
    for path in paths.into_iter().flatten() {
        *path = base.join(&*path);
    }
}

fn fill_in(settings: &mut Settings) {
    let Settings { gateway, broker, mqtt, database, .. } = settings;
    if broker.enabled == Switch::Auto {
        broker.enabled = if mqtt.server == Server::Embedded { Switch::On } else { Switch::Off };
    }
    if mqtt.client_id.is_empty() {
        mqtt.client_id = match gateway.name.as_str() {
            name if name.starts_with("hearthgate") => name.to_owned(),
            name => format!("hearthgate-{name}"),
        };
    }
    if let Some(password) = database.password.take() {
        // Refused before when the URL can't take it.
        database.url.set_password(password);
    }
}

/// `gateway.name` in the defaults.
const DEFAULT_NAME: &str = "hearthgate";

struct Rules<'a> {
    tree: &'a Value,
    origins: &'a Origins,
    findings: Vec<Finding>,
}

impl Rules<'_> {
    fn origin(&self, key: &str) -> Option<Origin> {
        lookup(self.tree, key).and_then(|value| self.origins.of(value)).cloned()
    }

    fn error(&mut self, key: &str, message: impl Into<String>, remedy: impl Into<String>) {
        let origin = self.origin(key);
        self.findings.push(Finding::error(key, message).remedy(remedy).at(origin.as_ref()));
    }

    fn warning(&mut self, key: &str, message: impl Into<String>, remedy: impl Into<String>) {
        let origin = self.origin(key);
        self.findings.push(Finding::warning(key, message).remedy(remedy).at(origin.as_ref()));
    }

    fn secrets(&mut self, settings: &mut Settings) {
        let Settings { mqtt, http, database, .. } = settings;
        self.secret("mqtt.password", &mut mqtt.password, mqtt.password_file.as_deref());
        self.secret("http.token", &mut http.token, http.token_file.as_deref());
        self.secret("database.password", &mut database.password, database.password_file.as_deref());
        if let Some(password) = database.password.clone()
            && !database.url.clone().set_password(password)
        {
            self.error(
                "database.password",
                "the URL has a password already, or needs none",
                "remove it from one of the two places",
            );
        }
    }

    fn secret(&mut self, key: &str, secret: &mut Option<SecretString>, file: Option<&Path>) {
        let Some(file) = file else { return };
        let file_key = format!("{key}_file");
        if secret.is_some() {
            self.error(key, format!("{file_key} is set too"), "remove one of the two");
            return;
        }
        match std::fs::read_to_string(file) {
            Ok(text) => *secret = Some(text.trim_end_matches(['\r', '\n']).into()),
            Err(error) => {
                self.error(
                    &file_key,
                    format!("can't read {}: {error}", file.display()),
                    "create it, readable for this user",
                );
            }
        }
    }

    fn names(&mut self, settings: &Settings) {
        if !is_plain_name(&settings.gateway.name) {
            self.error(
                "gateway.name",
                format!("\"{}\" can't be part of a topic", settings.gateway.name),
                "use letters, digits, - and _",
            );
        }
        for (key, topic) in [
            ("mqtt.status_prefix", &settings.mqtt.status_prefix),
            ("homeassistant.discovery_prefix", &settings.homeassistant.discovery_prefix),
        ] {
            if topic.starts_with(['$', '/']) || topic.ends_with('/') || topic.contains(['+', '#', '\0']) {
                self.error(key, format!("\"{topic}\" can't be published on"), "use topic levels without $, + and #");
            }
        }
    }

    fn interfaces(&mut self, settings: &mut Settings, base: &Path) {
        for (name, table) in &settings.interface_tables {
            let header = self.origins.header(&["interfaces".to_owned(), name.clone()]).cloned();
            if let Err(problem) = hearthgate_interfaces::config::check_name(name) {
                self.findings.push(Finding::error(format!("interfaces.{name}"), problem).at(header.as_ref()));
            }
            match InterfaceConfig::from_table(table.clone()) {
                Ok(mut config) => {
                    if let Some(map) = config.map.as_mut().filter(|map| map.as_os_str() != BUILTIN_DUMMY) {
                        *map = base.join(&*map);
                    }
                    settings.interfaces.insert(name.clone(), config);
                }
                Err(error) => {
                    let place = self.nearest_origin(&format!("interfaces.{name}.{}", error.path)).or(header);
                    let key = match error.path.as_str() {
                        "" => format!("interfaces.{name}"),
                        path => format!("interfaces.{name}.{path}"),
                    };
                    self.findings.push(Finding::error(key, error.problem).at(place.as_ref()));
                }
            }
        }
    }

    /// The place of a key, or of the nearest key above it that has one.
    fn nearest_origin(&self, path: &str) -> Option<Origin> {
        let mut key = path.split('[').next().unwrap_or(path);
        loop {
            if let Some(origin) = self.origin(key) {
                return Some(origin);
            }
            let parts: Vec<String> = key.split('.').map(str::to_owned).collect();
            if let Some(origin) = self.origins.header(&parts) {
                return Some(origin.clone());
            }
            key = key.rsplit_once('.')?.0;
        }
    }

    fn gateway(&mut self, settings: &Settings) {
        let at_least = |period: super::types::Period, least: Duration| period.0 >= least;
        let second = Duration::from_secs(1);
        let milli = Duration::from_millis(1);
        for (key, period, least) in [
            ("gateway.shutdown_timeout", settings.gateway.shutdown_timeout, milli),
            ("broker.connect_timeout", settings.broker.connect_timeout, milli),
            ("mqtt.connect_timeout", settings.mqtt.connect_timeout, milli),
            ("mqtt.keep_alive", settings.mqtt.keep_alive, second),
            ("mqtt.health_interval", settings.mqtt.health_interval, second),
            ("mqtt.reconnect.initial", settings.mqtt.reconnect.initial, milli),
            ("flows.reload_interval", settings.flows.reload_interval, second),
            ("endpoints.http_timeout", settings.endpoints.http_timeout, milli),
            ("database.connect_timeout", settings.database.connect_timeout, milli),
            ("supervision.stall_timeout", settings.supervision.stall_timeout, Duration::from_millis(100)),
        ] {
            if !at_least(period, least) {
                let least = super::types::Period(least);
                self.error(key, format!("{period} is too short"), format!("use at least {least}"));
            }
        }
        if settings.mqtt.keep_alive.0 > Duration::from_secs(65_535) {
            self.error("mqtt.keep_alive", "MQTT allows at most 65535 seconds", "use \"18h\" or less");
        }
        for (key, part) in [
            ("mqtt.reconnect.jitter", settings.mqtt.reconnect.jitter),
            ("endpoints.jitter", settings.endpoints.jitter),
            ("supervision.jitter", settings.supervision.jitter),
        ] {
            if !(0.0..=1.0).contains(&part) {
                self.error(key, format!("{part} is no part of one"), "use a number from 0 to 1");
            }
        }
    }

    fn broker(&mut self, settings: &Settings) {
        let broker = &settings.broker;
        if settings.mqtt.enabled && settings.mqtt.server == Server::Embedded && broker.enabled == Switch::Off {
            self.error(
                "broker.enabled",
                "mqtt.server = \"embedded\" needs the embedded broker",
                "remove this line, or set mqtt.server to another broker, or mqtt.enabled = false",
            );
        }
        if broker.allow_anonymous {
            let listeners = [("broker.listen", Some(broker.listen)), ("broker.tls.listen", broker.tls.listen)];
            for (key, listen) in listeners {
                // A client certificate is an authentication, too.
                let certified = key == "broker.tls.listen" && broker.tls.client_ca.is_some();
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
        if broker.tls.listen.is_some() && broker.tls.certificate.is_none() {
            self.error("broker.tls.listen", "TLS needs a certificate", "set broker.tls.certificate and broker.tls.key");
        }
        for (key, count) in [
            ("broker.limits.max_inflight", usize::from(broker.limits.max_inflight)),
            ("broker.limits.max_connections", broker.limits.max_connections),
            ("mqtt.limits.max_inflight", usize::from(settings.mqtt.limits.max_inflight)),
            ("mqtt.limits.max_outgoing", settings.mqtt.limits.max_outgoing),
            ("mapper.queue", settings.mapper.queue),
            ("store.batch", settings.store.batch),
            ("endpoints.parallel", settings.endpoints.parallel),
            ("database.max_connections", settings.database.max_connections as usize),
        ] {
            if count == 0 {
                self.error(key, "nothing could pass with 0", "use 1 or more");
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

    fn mqtt(&mut self, settings: &Settings) {
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
        if mqtt.server == Server::Database && !settings.database.enabled {
            self.error(
                "mqtt.server",
                "\"database\" needs database.enabled = true",
                "switch the database on, or give the broker's URL",
            );
        }
        if mqtt.password.is_some() && mqtt.username.is_none() && mqtt.protocol == Protocol::V311 {
            self.error("mqtt.password", "MQTT 3.1.1 has no password without a user name", "set mqtt.username");
        }
        self.pair("mqtt.tls", mqtt.tls.certificate.is_some(), mqtt.tls.key.is_some());
        if let Server::Remote(remote) = &mqtt.server
            && !remote.transport.encrypted()
            && (mqtt.tls.ca.is_some() || mqtt.tls.certificate.is_some())
        {
            self.error("mqtt.server", "[mqtt.tls] is set, but this URL is not encrypted", "use mqtts:// or wss://");
        }
        if !mqtt.tls.verify {
            self.warning("mqtt.tls.verify", "any server can pose as the broker", "name its authority in mqtt.tls.ca");
        }
        self.group(settings);
        if mqtt.clean_session && settings.flows.enabled {
            self.warning(
                "mqtt.clean_session",
                "messages sent while the gateway is away are lost to the flows",
                "leave it at false",
            );
        }
    }

    /// What several gateways that share the flows' messages need, each.
    fn group(&mut self, settings: &Settings) {
        let mqtt = &settings.mqtt;
        let Some(group) = &mqtt.group else {
            if mqtt.leave_group {
                self.error("mqtt.leave_group", "there is no group to leave", "name it in mqtt.group");
            }
            return;
        };
        if group.is_empty() || group.contains(['/', '+', '#']) {
            self.error("mqtt.group", format!("\"{group}\" can't name a group"), "use letters, digits, - and _");
        }
        if mqtt.protocol == Protocol::V311 {
            self.error("mqtt.group", "shared subscriptions need MQTT 5", "set mqtt.protocol = \"5\"");
        }
        if mqtt.server == Server::Embedded {
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
        if settings.database.url.engine() == Engine::Sqlite {
            self.warning(
                "mqtt.group",
                "each member would store into a SQLite file of its own",
                "set database.url to the MariaDB or PostgreSQL that the group shares",
            );
        }
    }

    fn flows(&mut self, settings: &Settings) {
        if settings.flows.enabled && !settings.database.enabled {
            self.warning(
                "database.enabled",
                "flows are kept in the database, so none will be loaded",
                "set flows.enabled = false too, or switch the database on",
            );
        }
        let journal = &settings.journal;
        if journal.segment_size.0 < 64 << 10 {
            self.error(
                "journal.segment_size",
                format!("{} is too small", journal.segment_size),
                "use at least \"64KiB\"",
            );
        }
        if journal.max_size.0 < 2 * journal.segment_size.0 {
            self.error(
                "journal.max_size",
                format!("{} is less than two segments of {}", journal.max_size, journal.segment_size),
                "raise it, or lower journal.segment_size",
            );
        }
        if settings.endpoints.retry.is_empty() {
            self.error("endpoints.retry", "without any try nothing is delivered", "use at least [\"0s\"]");
        }
    }

    fn operation(&mut self, settings: &Settings) {
        let http = &settings.http;
        if http.enabled && !http.listen.0.ip().is_loopback() && http.token.is_none() {
            self.error(
                "http.listen",
                format!("{} can be reached from elsewhere, and there is no token", http.listen),
                "set http.token_file, or listen on 127.0.0.1",
            );
        }
        if let Err(error) = tracing_subscriber::EnvFilter::builder().parse(&settings.log.level) {
            self.error("log.level", format!("{error}"), "use error, warn, info, debug or trace, or module=level,…");
        }
        for part in settings.supervision.parts.keys() {
            let interfaces = settings.interface_tables.keys().map(String::as_str);
            let known: Vec<&str> = Supervision::PARTS.into_iter().chain(interfaces).collect();
            if !known.contains(&part.as_str()) {
                let remedy = match closest(part, known.iter().copied()) {
                    Some(word) => format!("did you mean \"{word}\"?"),
                    None => format!("known are {}", known.join(", ")),
                };
                let finding = Finding::error(format!("supervision.{part}"), "there is no such part").remedy(remedy);
                self.findings.push(finding.at(self.origins.header(&["supervision".to_owned(), part.clone()])));
            }
        }
    }
}

fn is_plain_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '-' || c == '_')
}
