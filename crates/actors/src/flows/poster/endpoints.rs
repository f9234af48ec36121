//! How endpoints are called, from the settings, and what is counted there.

use crate::flows::poster::attempts::AttemptBoard;
use crate::flows::poster::waiting::WaitingFlows;
use crate::messages::{PublishTracked, ReloadFlows};
use crate::metrics::MetricCounter;
use crate::traffic::TrafficTap;
use actix::Recipient;
use hearthgate_domain::flow::SecretRef;
use hearthgate_domain::retry::{BreakerSettings, RetrySchedule};
use hearthgate_domain::routing::RoutingTable;
use hearthgate_endpoints::notification::NotifierOptions;
use hearthgate_storage::dead_letters::DeadLetters;
use hearthgate_storage::sql::Database;
use secrecy::SecretString;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::sync::watch;

pub(super) struct DeliveryCounters {
    pub(super) delivered: MetricCounter,
    pub(super) retried: MetricCounter,
    pub(super) dead: MetricCounter,
}

/// How a message is delivered, from the settings.
#[derive(Clone)]
pub struct DeliveryOptions {
    /// How long a call may take, unless the flow says otherwise.
    pub timeout: Duration,
    /// Hosts that may be called; empty: any.
    pub allowed_hosts: Vec<String>,
    /// Hosts on this machine or its network that a message may name; empty: none.
    pub allowed_local_hosts: Vec<String>,
    /// When to try again, unless the flow says otherwise.
    pub retry: RetrySchedule,
    /// When an endpoint is left alone for a while.
    pub breaker: BreakerSettings,
    /// Calls under way to one endpoint, at least 1.
    pub parallel: usize,
    /// Where given-up messages go.
    pub letters: DeadLetters,
    /// For switching a flow off whose endpoint is gone for good.
    pub database: watch::Receiver<Option<Database>>,
    /// Who has to know of that.
    pub reload: Recipient<ReloadFlows>,
    /// Where `PUBLISH` goes.
    pub publish: Recipient<PublishTracked>,
    /// Who can be told by `NOTIFY`.
    pub notifiers: Arc<[NotifierChoice]>,
    /// Finds a secret where its reference says.
    pub secrets: Arc<FindSecret>,
    /// Which flows wait for a secret.
    pub waiting: Arc<WaitingFlows>,
    /// The flows in force, which a message that waits follows; none for messages that are not those of a flow in there.
    pub table: Option<watch::Receiver<Arc<RoutingTable>>>,
    /// Where it is told what became of messages.
    pub traffic: TrafficTap,
    /// Where the last attempts are kept.
    pub attempts: AttemptBoard,
}

/// Somebody who can be told.
#[derive(Clone, Debug)]
pub struct NotifierChoice {
    /// By which flows name it.
    pub name: String,
    /// How.
    pub options: NotifierOptions,
    /// The same is told once within this time.
    pub throttle: Duration,
}

/// Finds a secret where its reference says.
pub type FindSecret = dyn Fn(&SecretRef) -> Result<SecretString, SecretFailure> + Send + Sync;

/// Why there is no secret. It does not show what was found.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{reason}")]
pub struct SecretFailure {
    /// In words, with its name.
    pub reason: String,
    /// Whether it may still come: then messages wait for it.
    pub is_missing: bool,
}
