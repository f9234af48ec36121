//! The gateway as it runs: what is asked of it from outside, and how it is ended.

use super::slots::BrokerPlace;
use crate::wiring::interfaces::EnabledInterface;
use actix::{Addr, MailboxError};
use hearthgate_actors::flows::catalog::CatalogActor;
use hearthgate_actors::flows::dead_letters::DeadLetterActor;
use hearthgate_actors::flows::poster::{AttemptBoard, EndpointPosterActor, WaitingFlows};
use hearthgate_actors::flows::silence::SilenceBoard;
use hearthgate_actors::flows::writer;
use hearthgate_actors::mapping::mapper::MapperActor;
use hearthgate_actors::mapping::maps::MapKeeperActor;
use hearthgate_actors::messages::{CloseConnection, ReloadFlows, ReloadMaps, ReplayLetter};
use hearthgate_actors::mqtt::{LinkStatus, MqttActor};
use hearthgate_actors::operation::supervisor::SupervisedInterface;
use hearthgate_actors::traffic::{FateKeeper, TrafficTap};
use hearthgate_api::{FlowOrders, ReadinessProbe};
use hearthgate_storage::dead_letters::DeadLetters;
use hearthgate_storage::journal;
use hearthgate_storage::sql::Database;
use hearthgate_supervision::ActorRegistry;
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tracing::{error, warn};

/// Why a part does not work although nothing needs a restart, by its name; empty when all is well.
pub(crate) type Conditions = Vec<(&'static str, watch::Receiver<String>)>;

/// What orders to the flows go to.
#[derive(Clone)]
pub(crate) struct FlowCommands {
    pub(crate) journal: journal::JournalHandle,
    pub(crate) catalog: Addr<CatalogActor>,
    pub(crate) letters: Addr<DeadLetterActor>,
    pub(crate) database: watch::Receiver<Option<Database>>,
    pub(crate) dead_letters: DeadLetters,
    pub(crate) silence: Arc<SilenceBoard>,
    pub(crate) poster: Addr<EndpointPosterActor>,
    pub(crate) attempts: AttemptBoard,
    pub(crate) waiting: Arc<WaitingFlows>,
}

/// The gateway as it runs.
pub(crate) struct RunningGateway {
    /// All actors.
    pub(crate) registry: ActorRegistry,
    /// Their names in the order in which they are ended.
    pub(crate) order: Vec<String>,
    /// The interfaces that run.
    pub(crate) interfaces: Vec<EnabledInterface>,
    /// The embedded broker, if there is one.
    pub(crate) broker: Option<BrokerPlace>,
    /// What passes, if there is a connection to a broker.
    pub(crate) traffic: Option<TrafficTap>,
    /// What became of messages, if it could be kept.
    pub(crate) fates: Option<FateKeeper>,
    /// The interfaces and what is known of their devices.
    pub(crate) watched: Vec<SupervisedInterface>,
    /// What can go wrong without anything being restarted, by the part's name.
    pub(crate) troubles: Conditions,
    /// The connection to the broker.
    pub(crate) link: watch::Receiver<LinkStatus>,
    /// Somebody wants the whole gateway to be restarted.
    pub(crate) restart_wanted: Arc<Notify>,
    pub(super) mqtt: Option<Addr<MqttActor>>,
    pub(super) maps: Option<Addr<MapKeeperActor>>,
    /// Who takes commands for the interfaces.
    pub(crate) mapper: Option<Addr<MapperActor>>,
    pub(crate) flows: Option<FlowCommands>,
}

impl RunningGateway {
    /// Whether messages get through each part that is no actor, for `/readyz`.
    pub(crate) fn readiness(&self) -> ReadinessProbe {
        let (has_mqtt, link, troubles) = (self.mqtt.is_some(), self.link.clone(), self.troubles.clone());
        Arc::new(move || {
            let mut parts = Vec::new();
            let link = link.borrow();
            let state = match (has_mqtt, link.connected, link.refused.first()) {
                (false, _, _) => Err("switched off (mqtt.enabled)".to_owned()),
                (true, false, _) => Err(link.reason.clone()),
                (true, true, Some((filter, reason))) => Err(format!("the broker refuses {filter}: {reason}")),
                (true, true, None) if !link.subscribed => Err("the subscriptions are being made".to_owned()),
                (true, true, None) => Ok(()),
            };
            parts.push(("broker connection".to_owned(), state));
            for (part, trouble) in &troubles {
                let trouble = trouble.borrow().clone();
                parts.push(((*part).to_owned(), if trouble.is_empty() { Ok(()) } else { Err(trouble) }));
            }
            parts
        })
    }

    /// How orders from outside reach the flows.
    pub(crate) fn flow_orders(&self) -> Option<FlowOrders> {
        let FlowCommands { catalog, letters, .. } = self.flows.as_ref()?;
        let (catalog, letters, maps) = (catalog.clone(), letters.clone(), self.maps.clone());
        Some(FlowOrders {
            reload: Arc::new(move || {
                if let Some(maps) = &maps
                    && let Err(reason) = maps.try_send(ReloadMaps)
                {
                    error!(%reason, "the maps could not be reloaded");
                }
                let catalog = catalog.clone();
                Box::pin(async move { in_words(catalog.send(ReloadFlows).await) })
            }),
            replay: Arc::new(move |id, again| {
                let letters = letters.clone();
                Box::pin(async move { in_words(letters.send(ReplayLetter { id, again }).await) })
            }),
        })
    }

    /// Reads flows and maps anew; what can not be used is told, and the old goes on.
    pub(crate) fn reload(&self) {
        if let Some(flows) = &self.flows
            && let Err(reason) = flows.catalog.try_send(ReloadFlows)
        {
            error!(%reason, "the flows could not be reloaded");
        }
        if let Some(maps) = &self.maps
            && let Err(reason) = maps.try_send(ReloadMaps)
        {
            error!(%reason, "the maps could not be reloaded");
        }
    }

    /// Ends the connection to the broker, after the acknowledgements that are due.
    pub(crate) async fn close_intake(&self) {
        if let Some(mqtt) = &self.mqtt
            && mqtt.send(CloseConnection).await.is_err()
        {
            warn!("the connection to the broker was not closed in order");
        }
    }

    /// Closes the databases. SQLite then writes its log into the file itself, so that a copy of that file is complete.
    pub(crate) async fn close_databases(&self) {
        let Some(flows) = &self.flows else { return };
        let database = flows.database.borrow().clone();
        if let Some(database) = database {
            database.close().await;
        }
        flows.dead_letters.close().await;
    }

    /// Waits until the database has all that the journal holds for it.
    pub(crate) async fn drained(&self) {
        let Some(FlowCommands { journal, .. }) = &self.flows else { return };
        loop {
            let usage = journal.usage();
            if usage.consumers.iter().filter(|consumer| consumer.name == writer::CONSUMER).all(|c| c.lag == 0) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// An actor's answer as the API gives it.
fn in_words<T, E: Display>(answer: Result<Result<T, E>, MailboxError>) -> Result<T, String> {
    answer.map_err(|reason| reason.to_string())?.map_err(|reason| reason.to_string())
}
