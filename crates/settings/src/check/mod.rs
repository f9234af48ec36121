//! What a single value can't tell: combinations, names, files. Also fills in what follows from other keys.

mod bounds;
mod inputs;
mod links;
mod notify;
mod operation;

use super::finding::ConfigFinding;
use super::origin::{ValueOrigin, ValueOrigins};
use super::sections::GatewaySettings;
use super::types::AutoSwitch;
use super::urls::BrokerUrl;
use config::{Value, ValueKind};
use std::path::{Path, PathBuf};

/// Checks `settings`, makes their paths absolute and reads the secrets' files.
pub(crate) fn complete(
    settings: &mut GatewaySettings,
    tree: &Value,
    origins: &ValueOrigins,
    base: &Path,
) -> Vec<ConfigFinding> {
    resolve_paths(settings, base);
    let mut rules = Rules { tree, origins, findings: Vec::new() };
    rules.secrets(settings);
    rules.names(settings);
    rules.interfaces(settings, base);
    rules.bounds(settings);
    rules.broker(settings);
    rules.listeners(settings);
    rules.mqtt(settings);
    rules.group(settings);
    rules.database(settings);
    rules.flows(settings);
    rules.operation(settings);
    rules.notify(settings);
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

fn resolve_paths(settings: &mut GatewaySettings, base: &Path) {
    settings.gateway.state_dir = base.join(&settings.gateway.state_dir);
    settings.secrets.folder = base.join(&settings.secrets.folder);
    settings.database.url.resolve(base);
    let GatewaySettings { log, broker, mqtt, http, database, .. } = settings;
    let paths: [&mut Option<PathBuf>; 11] = [
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
        &mut database.tls.ca,
    ];
    let notify = settings.notify.values_mut().flat_map(|notify| [&mut notify.password_file, &mut notify.token_file]);
    for path in paths.into_iter().chain(notify).flatten() {
        *path = base.join(&*path);
    }
}

fn fill_in(settings: &mut GatewaySettings) {
    let GatewaySettings { gateway, broker, mqtt, database, .. } = settings;
    if broker.enabled == AutoSwitch::Auto {
        broker.enabled = if mqtt.server == BrokerUrl::Embedded { AutoSwitch::On } else { AutoSwitch::Off };
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

struct Rules<'a> {
    tree: &'a Value,
    origins: &'a ValueOrigins,
    findings: Vec<ConfigFinding>,
}

impl Rules<'_> {
    fn origin(&self, key: &str) -> Option<ValueOrigin> {
        lookup(self.tree, key).and_then(|value| self.origins.of(value)).cloned()
    }

    fn error(&mut self, key: &str, message: impl Into<String>, remedy: impl Into<String>) {
        let origin = self.origin(key);
        self.findings.push(ConfigFinding::error(key, message).remedy(remedy).at(origin.as_ref()));
    }

    fn warning(&mut self, key: &str, message: impl Into<String>, remedy: impl Into<String>) {
        let origin = self.origin(key);
        self.findings.push(ConfigFinding::warning(key, message).remedy(remedy).at(origin.as_ref()));
    }

    /// The place of a key, or of the nearest key above it that has one.
    fn nearest_origin(&self, path: &str) -> Option<ValueOrigin> {
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
}
