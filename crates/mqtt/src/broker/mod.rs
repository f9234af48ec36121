//! The embedded MQTT broker: 3.1, 3.1.1 and 5.0 on one port, for a home that needs no other.
//!
//! The gateway in this process is one of its subscribers, without a connection: it gets batches through
//! [`crate::link`], and a publisher's PUBACK or PUBREC is sent only when the gateway has acknowledged the message,
//! which it does once its journal has it. So nothing that a publisher was told is safe dies with the process. A message
//! that is queued for an absent subscriber is stored before its publisher is acknowledged, too.
//!
//! Everything runs on one thread (a current-thread tokio runtime that the caller makes), without locks; only password
//! hashes are computed elsewhere. Every queue is bounded, see [`LimitOptions`]; when the gateway or the store can't
//! keep up, publishers are not read until there is room.
//!
//! Never in here: what a message means.
//!
//! # What is decided where the specifications leave it open
//! - Not offered: enhanced authentication (AUTH is refused with 0x8C). Clients can't publish to a topic that begins with
//!   `$` (reason 0x87). Below `$SYS` there are the broker's own figures, see [`BrokerFigures`].
//! - QoS 2, retained messages, wildcards, subscription identifiers and shared subscriptions are available, so CONNACK
//!   names none of them.
//! - Overlapping subscriptions of a client deliver one copy, with the highest QoS and all identifiers.
//! - When a client's queue is full, the newer messages for it are dropped, counted and logged; the publisher is not told.
//!   When all queues together are full, whoever holds most loses its newest messages to those who hold less.
//! - Large payloads that are being written take memory once each, and half of `limits.max_total_queued_bytes` at most. What
//!   is beyond waits; a connection that has taken nothing for ten seconds is closed when others wait for its payload.
//! - When as many sessions are kept as may be, one whose client is away gives way to a new one: of the user who has left
//!   most of them behind, one without subscriptions if there is any, else the one that is away for longest.
//! - What comes by a shared subscription goes to members in turn; what a member did not acknowledge (QoS 1) or was not
//!   sent yet goes to another connected one when it leaves, else it waits for it.
//! - A session belongs to the user who began it; another user's client with the same client id has one of its own. What
//!   remains of a user who is no longer one is removed at start; what clients without a name left behind before there were users
//!   belongs to whoever comes with their client id. A kept subscription delivers what its client may receive by now.
//! - Filters have at most 128 levels and 4,096 bytes. Keep-alives over `limits.max_keep_alive` are replaced in MQTT 5.
//! - With a store, wills outlive the broker: a client that was connected has one and a half keep-alives, 30 s at most, to
//!   come back after a start; then its will is published. Without a store they end with it.
//! - After a crash a subscriber may get again what it had; what was acknowledged to a publisher is safe for every kept
//!   session, connected or not.

mod error;
mod figures;
mod inspect;
mod loss;
mod options;
pub(crate) mod packets;
mod server;
mod state;
mod store;
mod topic;

pub use figures::{BrokerFigures, matches_figures};
pub use inspect::{
    BrokerInspector, BrokerSnapshot, ClientState, NoAnswer, RetainedSnapshot, RetainedState, RightsQuestion,
    TopicRights,
};
pub use loss::{BrokerLoss, LossObserver};
pub use options::{AclOptions, BrokerOptions, BrokerTlsOptions, LimitOptions, UserOptions, WebSocketOptions};

use crate::link::LinkPort;
pub use error::{BrokerError, BrokerOptionError};
use server::BoundBroker;
use std::fmt;
use std::net::SocketAddr;

/// A broker that is bound to its port, and not yet running. It may be moved to the thread that runs it.
pub struct EmbeddedBroker(BoundBroker);

impl fmt::Debug for EmbeddedBroker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broker").field("addresses", &self.addresses()).field("options", &self.0.options).finish()
    }
}

impl EmbeddedBroker {
    /// Checks the options and takes the ports.
    ///
    /// # Errors
    /// [`BrokerError::PortInUse`], [`BrokerError::OpenToAll`] and the others that concern options, certificates and
    /// addresses.
    pub fn bind(options: BrokerOptions) -> Result<EmbeddedBroker, BrokerError> {
        options.limits.check()?;
        let gatekeeper = crate::broker::server::auth::AccessControl::new(&options)?;
        let listeners = server::listeners::bind(&options, &gatekeeper)?;
        Ok(EmbeddedBroker(BoundBroker {
            options,
            listeners,
            gatekeeper,
            port: None,
            inspector: BrokerInspector::default(),
            observer: None,
        }))
    }

    /// Makes the gateway a part of the broker. Without it, publishers are acknowledged at once.
    pub fn attach(&mut self, port: LinkPort) {
        self.0.port = Some(port);
    }

    /// Lets this inspector ask it, as soon as it runs.
    pub fn inspect_with(&mut self, inspector: BrokerInspector) {
        self.0.inspector = inspector;
    }

    /// Tells someone of each loss.
    pub fn observe_losses(&mut self, observer: LossObserver) {
        self.0.observer = Some(observer);
    }

    /// The addresses that it listens on: the plain one, then of those that there are the one with TLS, the WebSocket's, and
    /// the WebSocket's with TLS.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.0.listeners.iter().filter_map(|bound| bound.listener.local_addr().ok()).collect()
    }

    /// Runs until the gateway closes its link, and ends in order: clients are told, the store is written. Needs a
    /// current-thread runtime with time and I/O enabled. Dropping the future ends it like a crash: what was
    /// acknowledged is safe.
    ///
    /// # Errors
    /// When the store can't be opened, the gateway is gone without a word, or a part of the broker has failed.
    pub async fn run(self) -> Result<(), BrokerError> {
        Box::pin(server::run(self.0)).await
    }
}

impl BrokerOptions {
    /// Looks at limits, users, their lists and the files of TLS as [`EmbeddedBroker::bind`]
    /// will, without listening.
    ///
    /// # Errors
    /// [`BrokerError::Options`] and [`BrokerError::Tls`].
    pub fn check(&self) -> Result<(), BrokerError> {
        self.limits.check()?;
        server::auth::AccessControl::new(self)?;
        self.tls.as_ref().map_or(Ok(()), BrokerTlsOptions::check)
    }
}
