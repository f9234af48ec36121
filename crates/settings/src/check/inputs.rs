//! Secrets from files, names that become parts of topics, and the interfaces' own options.

use super::Rules;
use crate::BUILTIN_DUMMY;
use crate::finding::ConfigFinding;
use crate::sections::{GatewaySettings, SupervisionSettings};
use hearthgate_interfaces::InterfaceConfig;
use secrecy::SecretString;
use std::path::Path;

impl Rules<'_> {
    pub(super) fn secrets(&mut self, settings: &mut GatewaySettings) {
        let GatewaySettings { mqtt, http, database, .. } = settings;
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

    pub(super) fn secret(&mut self, key: &str, secret: &mut Option<SecretString>, file: Option<&Path>) {
        let Some(file) = file else { return };
        let file_key = format!("{key}_file");
        if secret.is_some() {
            self.error(key, format!("{file_key} is set too"), "remove one of the two");
            return;
        }
        match crate::read_secret_file(file) {
            Ok(text) => *secret = Some(text.into()),
            Err(error) => {
                self.error(
                    &file_key,
                    format!("can't read {}: {error}", file.display()),
                    "create it, readable for this user",
                );
            }
        }
    }

    pub(super) fn names(&mut self, settings: &GatewaySettings) {
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

    pub(super) fn interfaces(&mut self, settings: &mut GatewaySettings, base: &Path) {
        for (name, table) in &settings.interface_tables {
            let header = self.origins.header(&["interfaces".to_owned(), name.clone()]).cloned();
            if let Err(problem) = hearthgate_interfaces::config::check_name(name) {
                self.findings
                    .push(ConfigFinding::error(format!("interfaces.{name}"), problem.to_string()).at(header.as_ref()));
            }
            if SupervisionSettings::COMPONENTS.contains(&name.as_str()) {
                let problem = format!("{name} is a component of the gateway");
                let finding = ConfigFinding::error(format!("interfaces.{name}"), problem);
                self.findings.push(finding.remedy("give the interface another name").at(header.as_ref()));
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
                    self.findings.push(ConfigFinding::error(key, error.problem).at(place.as_ref()));
                }
            }
        }
    }
}

fn is_plain_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '-' || c == '_')
}
