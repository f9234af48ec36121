//! What has to be right before anything starts. `check` tells it, and `run` refuses, in the same words.

use crate::maps::{self, MapLoadError};
use crate::wiring::options;
use hearthgate_endpoints::find_unfit_host;
use hearthgate_mqtt::broker::BrokerError;
use hearthgate_settings::{ConfigFinding, LoadedSettings, SettingsError};
use rustix::fs::{Access, access};
use std::fmt::Display;
use std::io;
use std::path::Path;

/// Refuses what would not start.
///
/// # Errors
/// Everything that is not right, with its place.
pub(crate) fn require(loaded: &LoadedSettings) -> Result<(), SettingsError> {
    let findings = unmet_requirements(loaded);
    if findings.is_empty() { Ok(()) } else { Err(SettingsError { findings }) }
}

/// All that keeps the gateway from starting, as far as files and values tell; what others hold is found when it is taken.
pub(crate) fn unmet_requirements(loaded: &LoadedSettings) -> Vec<ConfigFinding> {
    let mut findings: Vec<ConfigFinding> = folders(loaded).collect();
    findings.extend(hosts(loaded));
    findings.extend(broker(loaded));
    findings.extend(interfaces(loaded));
    findings
}

/// A listener that can't be opened.
pub(crate) fn closed_listener(
    loaded: &LoadedSettings,
    key: &str,
    listen: &dyn Display,
    error: &io::Error,
) -> ConfigFinding {
    let (why, remedy) = match error.kind() {
        io::ErrorKind::AddrInUse => ("the port is in use".to_owned(), "end the other program, or "),
        _ => (error.to_string(), ""),
    };
    loaded.finding(key, format!("cannot listen on {listen}: {why}"), format!("{remedy}set {key}"))
}

/// Folders that must take files. Nothing is created here, so the nearest one that exists counts.
fn folders(loaded: &LoadedSettings) -> impl Iterator<Item = ConfigFinding> {
    let settings = &loaded.settings;
    let log = settings.log.file.as_deref().and_then(Path::parent);
    let wanted = [("gateway.state_dir", Some(settings.gateway.state_dir.as_path())), ("log.file", log)];
    wanted.into_iter().filter_map(|(key, folder)| {
        let folder = folder.filter(|folder| !is_writable(folder))?;
        let message = format!("{} can't be written", folder.display());
        Some(loaded.finding(key, message, format!("set {key}, or the owner of the folder")))
    })
}

fn is_writable(folder: &Path) -> bool {
    let existing = folder.ancestors().find(|folder| folder.exists());
    existing.is_some_and(|folder| folder.is_dir() && access(folder, Access::WRITE_OK | Access::EXEC_OK).is_ok())
}

fn hosts(loaded: &LoadedSettings) -> impl Iterator<Item = ConfigFinding> {
    let endpoints = &loaded.settings.endpoints;
    let lists = [
        ("endpoints.allow_hosts", &endpoints.allow_hosts),
        ("endpoints.allow_local_hosts", &endpoints.allow_local_hosts),
    ];
    lists.into_iter().filter_map(|(key, list)| {
        let message = format!("{:?} is no host", find_unfit_host(list)?);
        Some(loaded.finding(key, message, "write host, host:port or *.domain"))
    })
}

/// Users, their lists, and certificates.
fn broker(loaded: &LoadedSettings) -> Option<ConfigFinding> {
    let settings = &loaded.settings;
    if !settings.broker.is_enabled() {
        return None;
    }
    let broker = options::broker(&settings.broker, &settings.gateway.state_dir);
    match broker.check().err()? {
        BrokerError::Options(error) => {
            let key = format!("broker.{}", error.key());
            Some(loaded.finding(&key, error.to_string(), error.remedy()))
        }
        error => {
            let BrokerError::Tls { file, .. } = &error else { return None };
            let tls = &settings.broker.tls;
            let keys = [("key", &tls.key), ("client_ca", &tls.client_ca)];
            let key =
                keys.into_iter().find(|(_, named)| named.as_ref() == Some(file)).map_or("certificate", |(key, _)| key);
            let key = format!("broker.tls.{key}");
            Some(loaded.finding(&key, error.to_string(), format!("set {key}, or mend the file")))
        }
    }
}

fn interfaces(loaded: &LoadedSettings) -> Vec<ConfigFinding> {
    let settings = &loaded.settings;
    if !settings.mapper.enabled {
        return Vec::new();
    }
    let enabled = settings.interfaces.iter().filter(|(_, config)| config.enabled);
    let finding = |(name, error): (&String, MapLoadError)| {
        let (option, remedy) = match &error {
            MapLoadError::Unreadable { .. } => ("map", "create it, or set another one"),
            MapLoadError::Refused { .. } => ("map", "mend the file"),
            MapLoadError::Topics(_) => ("topics", "write filters such as \"home/+/C\" or \"home/#\""),
            MapLoadError::Root(_) => ("root", "write one topic level"),
        };
        loaded.finding(&format!("interfaces.{name}.{option}"), error.to_string(), remedy)
    };
    enabled.filter_map(|(name, config)| Some((name, maps::of(config).err()?))).map(finding).collect()
}
