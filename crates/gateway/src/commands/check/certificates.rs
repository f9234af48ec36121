//! Certificates and keys: whether they can be used, and how long they last.

use super::super::expiry;
use super::super::report::{CheckReport, LineMark};
use crate::wiring::options;
use chrono::{Local, TimeDelta, Utc};
use hearthgate_mqtt::session::{TlsError, TlsOptions};
use hearthgate_settings::{BrokerUrl, GatewaySettings, MqttTls};
use std::path::{Path, PathBuf};

/// What renews certificates by itself does so a month before they end, or earlier.
const EXPIRES_SOON: TimeDelta = TimeDelta::days(21);

/// The files of all ends of TLS, read as the running gateway reads them.
///
/// # Errors
/// Writing fails.
pub(super) fn check(settings: &GatewaySettings, report: &mut CheckReport<'_>) -> anyhow::Result<()> {
    if settings.broker.is_enabled()
        && let Some(tls) = options::broker(&settings.broker, &settings.gateway.state_dir).tls
    {
        // What can't be used is told with the requirements.
        if tls.check().is_ok() {
            report.line(LineMark::Ok, "broker.tls", tls.certificate.display())?;
            lifetime("broker.tls.certificate", &tls.certificate, report)?;
        }
    }
    mqtt(settings, report)?;
    database(settings, report)
}

fn mqtt(settings: &GatewaySettings, report: &mut CheckReport<'_>) -> anyhow::Result<()> {
    let mqtt = &settings.mqtt;
    let is_named = mqtt.tls.ca.is_some() || mqtt.tls.certificate.is_some();
    if mqtt.enabled && mqtt.server != BrokerUrl::Embedded && is_named {
        match options::tls(settings).client_config() {
            Ok(_) => {
                report.line(LineMark::Ok, "mqtt.tls", "the certificates can be used")?;
                for (key, file) in [("mqtt.tls.certificate", &mqtt.tls.certificate), ("mqtt.tls.ca", &mqtt.tls.ca)] {
                    if let Some(file) = file {
                        lifetime(key, file, report)?;
                    }
                }
            }
            Err(error) => {
                let MqttTls { ca, certificate, key, .. } = &mqtt.tls;
                let files = [("mqtt.tls.certificate", certificate), ("mqtt.tls.key", key), ("mqtt.tls.ca", ca)];
                unusable(&error, &files, report)?;
            }
        }
    }
    Ok(())
}

/// Certificates that can't be used, told with the key of the file that is to blame, or the first one.
fn unusable(error: &TlsError, files: &[(&str, &Option<PathBuf>)], report: &mut CheckReport<'_>) -> anyhow::Result<()> {
    let is_named =
        |file: &&Option<PathBuf>| matches!(error, TlsError::File { path, .. } if file.as_ref() == Some(path));
    let blamed = files.iter().find(|(_, file)| is_named(file)).or(files.first());
    let key = blamed.map_or("", |(key, _)| key);
    report.line(LineMark::Wrong, key, format!("{error}; set {key}, or mend the file"))
}

/// The authority of the database's server.
fn database(settings: &GatewaySettings, report: &mut CheckReport<'_>) -> anyhow::Result<()> {
    let Some(file) = settings.database.tls.ca.as_ref().filter(|_| settings.database.enabled) else { return Ok(()) };
    let tls = TlsOptions { ca: Some(file.clone()), ..TlsOptions::default() };
    match tls.client_config() {
        Ok(_) => {
            report.line(LineMark::Ok, "database.tls", "the certificate can be used")?;
            lifetime("database.tls.ca", file, report)
        }
        Err(error) => unusable(&error, &[("database.tls.ca", &settings.database.tls.ca)], report),
    }
}

/// A certificate that has ended lets nobody in, and one that ends soon is to be renewed.
fn lifetime(key: &str, file: &Path, report: &mut CheckReport<'_>) -> anyhow::Result<()> {
    let Some(end) = expiry::end_of_file(file) else { return Ok(()) };
    let (left, shown) = (end - Utc::now(), end.with_timezone(&Local).format("%Y-%m-%d %H:%M"));
    if left < TimeDelta::zero() {
        report.line(LineMark::Wrong, key, format!("{} has ended on {shown}; renew it", file.display()))
    } else if left < EXPIRES_SOON {
        report.line(LineMark::Warning, key, format!("{} ends on {shown}, in {} days", file.display(), left.num_days()))
    } else {
        Ok(())
    }
}
