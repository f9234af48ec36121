//! Why the broker cannot start, or cannot go on.

use argon2::password_hash::phc;
use std::io;
use std::path::PathBuf;

/// Why the broker can't start, or can't go on.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// The address is taken.
    #[error("cannot listen on {address}: the port is in use; end the other program, or set broker.{key}")]
    PortInUse {
        /// As configured.
        address: String,
        /// The key below `[broker]` to change.
        key: &'static str,
    },
    /// The address can't be used for another reason.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// As configured.
        address: String,
        /// What the system said.
        error: io::Error,
    },
    /// A listener with TLS, and no certificate.
    #[error("broker.{key} needs a certificate and its key")]
    NoCertificate {
        /// The key below `[broker]`.
        key: &'static str,
    },
    /// Open to the network without users.
    #[error(
        "broker.{key} = {address:?} is open to the network, but there are no users: add one (`hearthgate broker passwd` \
         prints the section), or listen on 127.0.0.1"
    )]
    OpenToAll {
        /// As configured.
        address: String,
        /// The key below `[broker]`.
        key: &'static str,
    },
    /// An option has an impossible value.
    #[error("broker.{key}: {0}; {remedy}", key = .0.key(), remedy = .0.remedy())]
    Options(#[from] BrokerOptionError),
    /// A certificate or key can't be used.
    #[error("cannot use {} for the broker's TLS: {why}", file.display())]
    Tls {
        /// The PEM file.
        file: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The store of sessions and retained messages can't be used.
    #[error("cannot use the broker's store of sessions and retained messages: {0}")]
    Store(#[source] sqlx::Error),
    /// The gateway's end of the link was dropped.
    #[error("the gateway has let go of its link to the broker")]
    GatewayGone,
    /// One of the broker's own tasks ended.
    #[error("the broker cannot go on: {0}")]
    Task(String),
}

/// An option with an impossible value.
#[derive(Debug, thiserror::Error)]
pub enum BrokerOptionError {
    /// A limit under which nothing works.
    #[error("{value} is too little")]
    TooSmall {
        /// The limit.
        key: &'static str,
        /// As configured.
        value: usize,
        /// The smallest value that works.
        least: usize,
    },
    /// A packet that MQTT cannot carry.
    #[error("MQTT can carry no more than 256 MiB")]
    PacketTooLarge,
    /// A password that is not a hash. It is not repeated.
    #[error("this is no argon2 PHC string ({problem})")]
    Password {
        /// Whose.
        user: String,
        /// What the reader says.
        problem: phc::Error,
    },
    /// An entry of an access list is no topic filter.
    #[error("{filter:?} is no topic filter")]
    Filter {
        /// The list's key below `[broker]`.
        list: String,
        /// As configured.
        filter: String,
    },
}

impl BrokerOptionError {
    /// The key below `[broker]`.
    #[must_use]
    pub fn key(&self) -> String {
        match self {
            Self::TooSmall { key, .. } => format!("limits.{key}"),
            Self::PacketTooLarge => "limits.max_packet_size".to_owned(),
            Self::Password { user, .. } => format!("users.{user}.password"),
            Self::Filter { list, .. } => list.clone(),
        }
    }

    /// What helps.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::TooSmall { least, .. } => format!("use at least {least}"),
            Self::PacketTooLarge => "use less".to_owned(),
            Self::Password { .. } => "make one with `hearthgate broker passwd`".to_owned(),
            Self::Filter { .. } => "+ stands for one whole level, and # for all that follow, at the end".to_owned(),
        }
    }
}
