//! URLs of servers: the broker's and the database's. Neither ever prints a password.

use super::types::read_from_text;
use crate::masking::without_userinfo;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use secrecy::{ExposeSecret, SecretString};
use serde::de::{self, Deserialize, Deserializer, Visitor};
use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use thiserror::Error;
use url::Url;

/// Which broker the gateway's own session connects to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BrokerUrl {
    /// The broker inside this process, without a network in between.
    Embedded,
    /// The first enabled row of the table `mqtt_servers`.
    Database,
    /// A broker elsewhere.
    Remote(RemoteBroker),
}

/// Address of a broker elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteBroker {
    /// How to speak to it.
    pub transport: MqttTransport,
    /// Host name or address, without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Path of the WebSocket, `/mqtt` when none is given; empty for the other transports.
    pub path: String,
}

/// What carries MQTT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MqttTransport {
    /// TCP.
    Tcp,
    /// TLS over TCP.
    Tls,
    /// WebSocket.
    Ws,
    /// WebSocket over TLS.
    Wss,
}

impl MqttTransport {
    /// Whether certificates matter.
    #[must_use]
    pub fn encrypted(self) -> bool {
        match self {
            Self::Tls | Self::Wss => true,
            Self::Tcp | Self::Ws => false,
        }
    }

    fn scheme(self) -> &'static str {
        match self {
            Self::Tcp => "mqtt",
            Self::Tls => "mqtts",
            Self::Ws => "ws",
            Self::Wss => "wss",
        }
    }
}

/// A text that says of no broker where it is.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BrokerUrlError {
    /// It has another form. User name and password are masked.
    #[error(
        "expected \"embedded\", \"database\", or a URL such as \"mqtt://host:1883\", \"mqtts://host\", \
         \"ws://host/mqtt\", \"wss://host\", found \"{0}\""
    )]
    Malformed(Box<str>),
    /// The URL names a user, who would then show wherever the URL does.
    #[error("a user does not belong into the URL; put it into mqtt.username and mqtt.password_file")]
    User,
}

impl FromStr for BrokerUrl {
    type Err = BrokerUrlError;

    fn from_str(text: &str) -> Result<Self, BrokerUrlError> {
        match text {
            "embedded" => return Ok(Self::Embedded),
            "database" => return Ok(Self::Database),
            _ => {}
        }
        let wrong = || BrokerUrlError::Malformed(without_userinfo(text).into());
        let url = Url::parse(text).map_err(|_| wrong())?;
        let (transport, port) = match url.scheme() {
            "mqtt" | "tcp" => (MqttTransport::Tcp, 1883),
            "mqtts" | "ssl" | "tls" => (MqttTransport::Tls, 8883),
            "ws" => (MqttTransport::Ws, 80),
            "wss" => (MqttTransport::Wss, 443),
            _ => return Err(wrong()),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(BrokerUrlError::User);
        }
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(wrong)?;
        let path = match (transport, url.path()) {
            (MqttTransport::Tcp | MqttTransport::Tls, "" | "/") => String::new(),
            (MqttTransport::Tcp | MqttTransport::Tls, _) => return Err(wrong()),
            (MqttTransport::Ws | MqttTransport::Wss, "" | "/") => "/mqtt".into(),
            (MqttTransport::Ws | MqttTransport::Wss, path) => path.into(),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(Self::Remote(RemoteBroker { transport, host, port: url.port().unwrap_or(port), path }))
    }
}

impl fmt::Display for BrokerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embedded => f.write_str("embedded"),
            Self::Database => f.write_str("database"),
            Self::Remote(remote) => remote.fmt(f),
        }
    }
}

impl fmt::Display for RemoteBroker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { transport, host, port, path } = self;
        let scheme = transport.scheme();
        if host.contains(':') {
            write!(f, "{scheme}://[{host}]:{port}{path}")
        } else {
            write!(f, "{scheme}://{host}:{port}{path}")
        }
    }
}

read_from_text!(BrokerUrl, "Server", "\"embedded\", \"database\" or a URL such as \"mqtt://host:1883\"", {
    "type": "string",
    "pattern": "^(embedded|database|(mqtts?|wss?|tcp|ssl|tls)://.+)$",
    "examples": ["embedded", "mqtt://localhost:1883", "mqtts://broker.example.com", "database"]
});

/// Which kind of database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatabaseEngine {
    /// A file.
    Sqlite,
    /// MySQL or MariaDB.
    MySql,
    /// PostgreSQL.
    Postgres,
}

/// Where the database is. `Display` hides the password.
#[derive(Clone, Debug)]
pub enum DatabaseUrl {
    /// A file; `:memory:` is refused, since flows would be gone at each start.
    Sqlite(PathBuf),
    /// A server.
    Server {
        /// Which kind.
        engine: DatabaseEngine,
        /// The URL without a password.
        url: Url,
        /// The password.
        password: Option<SecretString>,
    },
}

impl DatabaseUrl {
    /// Which kind of database it is.
    #[must_use]
    pub fn engine(&self) -> DatabaseEngine {
        match self {
            Self::Sqlite(_) => DatabaseEngine::Sqlite,
            Self::Server { engine, .. } => *engine,
        }
    }

    /// The URL in the form that sqlx reads, password included.
    #[must_use]
    pub fn connection_url(&self) -> SecretString {
        match self {
            Self::Sqlite(path) => format!("sqlite:{}", path.display()).into(),
            Self::Server { url, password, .. } => {
                let mut url = url.clone();
                if let Some(password) = password {
                    // `set_password` leaves '%' alone. It fails only for URLs without a host, which `from_str` refuses.
                    let set = url.set_password(Some(&password.expose_secret().replace('%', "%25")));
                    debug_assert!(set.is_ok());
                }
                url.to_string().into()
            }
        }
    }

    /// Makes a relative SQLite path absolute.
    pub(super) fn resolve(&mut self, base: &Path) {
        if let Self::Sqlite(path) = self {
            *path = base.join(&*path);
        }
    }

    /// Sets the password that stands in a key of its own; `false` when the URL has one already, or can't have one.
    pub(super) fn set_password(&mut self, secret: SecretString) -> bool {
        match self {
            Self::Server { password: password @ None, .. } => {
                *password = Some(secret);
                true
            }
            Self::Server { .. } | Self::Sqlite(_) => false,
        }
    }
}

/// A text that says of no database where it is.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DatabaseUrlError {
    /// It has another form. User name and password are masked.
    #[error("expected \"sqlite:PATH\", \"mysql://user@host/name\" or \"postgres://user@host/name\", found \"{0}\"")]
    Malformed(Box<str>),
    /// SQLite in memory, or with options in its URL.
    #[error("SQLite is given as a plain path, and not in memory, where flows would be lost")]
    Sqlite,
}

impl FromStr for DatabaseUrl {
    type Err = DatabaseUrlError;

    fn from_str(text: &str) -> Result<Self, DatabaseUrlError> {
        let wrong = || DatabaseUrlError::Malformed(without_userinfo(text).into());
        if let Some(path) = text.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            if path.is_empty() {
                return Err(wrong());
            }
            if path.starts_with(":memory:") || path.contains('?') {
                return Err(DatabaseUrlError::Sqlite);
            }
            return Ok(Self::Sqlite(path.into()));
        }
        let mut url = Url::parse(text).map_err(|_| wrong())?;
        let engine = match url.scheme() {
            "mysql" => DatabaseEngine::MySql,
            "mariadb" => {
                return format!("mysql{}", &text["mariadb".len()..]).parse();
            }
            "postgres" | "postgresql" => DatabaseEngine::Postgres,
            _ => return Err(wrong()),
        };
        if url.host_str().is_none_or(str::is_empty) || url.path().trim_matches('/').is_empty() {
            return Err(wrong());
        }
        let password = url.password().map(|encoded| percent_decode(encoded).into());
        // The same again: a URL with a host always takes it.
        let cleared = url.set_password(None);
        debug_assert!(cleared.is_ok());
        Ok(Self::Server { engine, url, password })
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Server { url, .. } => f.write_str(&super::masking::mask_text(url.as_ref())),
        }
    }
}

read_from_text!(DatabaseUrl, "DatabaseUrl", "a database URL such as \"sqlite:data/hearthgate.db\"", {
    "type": "string",
    "pattern": "^(sqlite:.+|(mysql|mariadb|postgres|postgresql)://.+)$",
    "examples": ["sqlite:data/hearthgate.db", "mysql://gateway@localhost/home", "postgres://gateway@localhost/home"]
});

fn percent_decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while i < bytes.len() {
        let decoded = (bytes[i] == b'%')
            .then(|| text.get(i + 1..i + 3).and_then(|hex| u8::from_str_radix(hex, 16).ok()))
            .flatten();
        out.push(decoded.unwrap_or(bytes[i]));
        i += if decoded.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn remote(text: &str) -> RemoteBroker {
        match text.parse().unwrap() {
            BrokerUrl::Remote(remote) => remote,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_scheme_has_its_port() {
        assert_eq!(remote("mqtt://broker").port, 1883);
        assert_eq!(remote("mqtts://broker").port, 8883);
        assert_eq!(remote("ws://broker").port, 80);
        assert_eq!(remote("wss://broker/socket").to_string(), "wss://broker:443/socket");
        assert_eq!(remote("mqtt://[::1]:1884").to_string(), "mqtt://[::1]:1884");
    }

    #[test]
    fn a_user_in_the_brokers_url_is_refused_without_showing_the_password() {
        let error = "mqtt://me:geheim@broker".parse::<BrokerUrl>().unwrap_err().to_string();
        assert!(error.contains("mqtt.username") && !error.contains("geheim"), "{error}");
    }

    #[test]
    fn the_password_of_a_database_url_is_kept_apart_and_never_shown() {
        let url: DatabaseUrl = "mysql://gw:p%40ss@db/home".parse().unwrap();
        assert_eq!(url.to_string(), "mysql://gw@db/home");
        assert!(!format!("{url:?}").contains("p@ss") && !format!("{url:?}").contains("p%40ss"));
        assert_eq!(url.connection_url().expose_secret(), "mysql://gw:p%40ss@db/home");
    }

    #[test]
    fn mariadb_is_another_name_for_mysql() {
        assert_eq!("mariadb://gw@db/home".parse::<DatabaseUrl>().unwrap().engine(), DatabaseEngine::MySql);
    }

    #[test]
    fn a_wrong_url_is_refused_without_showing_its_password() {
        let error = "oracle://gw:geheim@db/home".parse::<DatabaseUrl>().unwrap_err().to_string();
        assert!(!error.contains("geheim"), "{error}");
        for text in ["", "sqlite:", "sqlite::memory:", "mysql://", "mysql://host", "home.db"] {
            assert!(text.parse::<DatabaseUrl>().is_err(), "{text:?} was accepted");
        }
    }

    proptest! {
        #[test]
        fn any_password_arrives_unchanged(password in "\\PC{1,20}") {
            let mut url: DatabaseUrl = "mysql://gw@db/home".parse().unwrap();
            prop_assert!(url.set_password(password.clone().into()));
            let full = Url::parse(url.connection_url().expose_secret()).unwrap();
            prop_assert_eq!(percent_decode(full.password().unwrap()), password);
        }

        #[test]
        fn no_url_makes_it_panic(text in ".*", secret in "[a-z0-9/@:]{8}") {
            let read = (text.parse::<BrokerUrl>(), text.parse::<DatabaseUrl>(), without_userinfo(&secret).into_owned());
            prop_assert!(format!("{read:?}").len() > 1, "it has a debug form");
        }
    }
}
