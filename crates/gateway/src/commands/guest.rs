//! A session with the gateway's broker as a guest, who leaves no trace.

use crate::cli::GuestLogin;
use crate::exit::CommandFailure;
use crate::wiring::options;
use anyhow::Context as _;
use hearthgate_mqtt::session::{BrokerAddress, BrokerCredentials, SessionOptions};
use hearthgate_settings::{BrokerUrl, GatewaySettings, MqttTransport, RemoteBroker, read_secret_file};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

/// As the gateway connects, but with another client identifier, a clean session and without a will. `purpose` is part of the
/// identifier.
///
/// # Errors
/// The configuration names no broker, or the password can't be read.
pub(crate) fn guest_session(
    settings: &GatewaySettings,
    login: &GuestLogin,
    purpose: &str,
) -> anyhow::Result<SessionOptions> {
    static GUESTS: AtomicU64 = AtomicU64::new(0);
    let mut options = match &settings.mqtt.server {
        BrokerUrl::Remote(remote) => options::session(settings, options::address(settings, remote)),
        BrokerUrl::Embedded => {
            let listen = settings.broker.listen.0;
            let host = match listen.ip() {
                IpAddr::V4(ip) if ip.is_unspecified() => "127.0.0.1".to_owned(),
                IpAddr::V6(ip) if ip.is_unspecified() => "::1".to_owned(),
                ip => ip.to_string(),
            };
            let remote = RemoteBroker { transport: MqttTransport::Tcp, host, port: listen.port(), path: String::new() };
            let address = options::address(settings, &remote);
            options::session(settings, BrokerAddress { credentials: None, ..address })
        }
        BrokerUrl::Database => {
            let problem = "mqtt.server is \"database\"; name the broker itself, such as --set mqtt.server=mqtt://HOST";
            return Err(CommandFailure::Usage(problem.into()).into());
        }
    };
    if let Some(name) = &login.username {
        let file = login.password_file.as_deref().context("a user without a password file")?;
        let password = read_secret_file(file)
            .map_err(|error| CommandFailure::Usage(format!("can't read {}: {error}", file.display())))?;
        options.credentials = Some(BrokerCredentials { username: name.clone(), password });
    }
    let guest = GUESTS.fetch_add(1, Ordering::Relaxed);
    options.client_id = format!("hearthgate-{purpose}-{}-{guest}", std::process::id());
    (options.clean, options.will) = (true, None);
    Ok(options)
}
