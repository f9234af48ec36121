//! Why the broker cannot start, or cannot go on.

use argon2::password_hash::phc;
use std::io;
use std::path::PathBuf;

/// Why the broker can't start, or can't go on.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// The address is taken.
    #[error("cannot listen on {address}: the port is in use; stop the other program or change broker.{key}")]
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
    #[error("broker.{0}")]
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

/// An option with an impossible value; begins with its key below `[broker]`.
#[derive(Debug, thiserror::Error)]
pub enum BrokerOptionError {
    /// A limit under which nothing works.
    #[error("limits.{key} is {value}, it must be at least {least}")]
    TooSmall {
        /// The limit.
        key: &'static str,
        /// As configured.
        value: usize,
        /// The smallest value that works.
        least: usize,
    },
    /// A packet that MQTT cannot carry.
    #[error("limits.max_packet_size is over 256 MiB, more than MQTT can carry")]
    PacketTooLarge,
    /// A password that is not a hash. It is not repeated.
    #[error("users.{user}: password is not an argon2 PHC string ({problem}); make one with `hearthgate broker passwd`")]
    Password {
        /// Whose.
        user: String,
        /// What the reader says.
        problem: phc::Error,
    },
    /// An entry of an access list is no topic filter.
    #[error("{list}: {filter:?} is not a topic filter")]
    Filter {
        /// `anonymous`, or `users.NAME`.
        list: String,
        /// As configured.
        filter: String,
    },
}
