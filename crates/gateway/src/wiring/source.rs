//! Where the gateway's messages come from: the embedded broker, one elsewhere, or the one that a table names.

use super::options;
use crate::wiring::state_files::SharedSessionFile;
use actix::{Addr, Recipient};
use hearthgate_actors::messages::AttachGateway;
use hearthgate_actors::mqtt::LinkSource;
use hearthgate_actors::mqtt::broker::BrokerActor;
use hearthgate_mqtt::link::{LinkEvent, LinkPort};
use hearthgate_mqtt::session::{self, BrokerAddress, SessionEnd, SessionOptions};
use hearthgate_settings::{BrokerUrl, GatewaySettings, RemoteBroker};
use hearthgate_storage::sql::MqttServer;
use std::rc::Rc;
use std::sync::Arc;
use tokio::sync::watch;

/// What the settings say.
pub(crate) enum BrokerChoice {
    Embedded(Recipient<AttachGateway>),
    Remote(Box<RemoteBroker>),
    /// The broker that the table `mqtt_servers` names, once it is read.
    Table(watch::Receiver<Option<MqttServer>>),
    Nowhere,
}

impl BrokerChoice {
    /// `servers` is what the table says.
    pub(crate) fn new(
        settings: &GatewaySettings,
        broker: Option<Addr<BrokerActor>>,
        servers: watch::Receiver<Option<MqttServer>>,
    ) -> Self {
        match (&settings.mqtt.server, broker) {
            (BrokerUrl::Remote(remote), _) => BrokerChoice::Remote(Box::new(remote.clone())),
            (BrokerUrl::Database, _) => BrokerChoice::Table(servers),
            (BrokerUrl::Embedded, Some(broker)) => BrokerChoice::Embedded(broker.recipient()),
            (BrokerUrl::Embedded, None) => BrokerChoice::Nowhere,
        }
    }
}

/// To be called on the MQTT actor's thread, where its futures will be.
pub(crate) fn source(settings: GatewaySettings, from: BrokerChoice, memory: SharedSessionFile) -> LinkSource {
    let settings = Arc::new(settings);
    let options = {
        let settings = Arc::clone(&settings);
        move |address| SessionOptions { known: memory.kept().brokers, ..options::session(&settings, address) }
    };
    match from {
        BrokerChoice::Embedded(broker) => LinkSource::Embedded(broker),
        BrokerChoice::Remote(remote) => LinkSource::Remote(Box::new(move |port| {
            let run = session::run(options(options::address(&settings, &remote)), port);
            Box::pin(async move { ended(run.await) })
        })),
        BrokerChoice::Table(servers) => {
            let options = Rc::new(options);
            LinkSource::Remote(Box::new(move |port| {
                let (settings, options) = (Arc::clone(&settings), Rc::clone(&options));
                let session = follow_table(settings, servers.clone(), port, move |address| options(address));
                Box::pin(async move { ended(session.await) })
            }))
        }
        BrokerChoice::Nowhere => LinkSource::Remote(Box::new(|_| {
            Box::pin(async { "neither a broker elsewhere nor the embedded one is configured".to_owned() })
        })),
    }
}

fn ended(end: SessionEnd) -> String {
    format!("the session with the broker has ended: {end:?}")
}

/// A session with the broker that the table names; it moves when the table names another one.
async fn follow_table(
    settings: Arc<GatewaySettings>,
    mut servers: watch::Receiver<Option<MqttServer>>,
    mut port: LinkPort,
    options: impl FnOnce(BrokerAddress) -> SessionOptions,
) -> SessionEnd {
    let reason = "the table mqtt_servers has not named a broker yet".to_owned();
    let waiting = LinkEvent::Disconnected { reason, retry_in: Some(settings.flows.reload_interval.0) };
    if port.events.send(waiting).await.is_err() {
        return SessionEnd::Abandoned;
    }
    let first = tokio::select! {
        row = servers.wait_for(Option::is_some) => match row.as_deref() {
            Ok(Some(row)) => options::address_of_row(&settings, row),
            Ok(None) | Err(_) => return SessionEnd::Abandoned,
        },
        _ = port.closing.wait_for(|closing| *closing) => return SessionEnd::Closed { unpublished: 0 },
    };
    let (orders, moves) = watch::channel(first.clone());
    let run = session::run(SessionOptions { moves: Some(moves), ..options(first) }, port);
    let order = async {
        while servers.changed().await.is_ok() {
            if let Some(row) = &*servers.borrow_and_update() {
                orders.send_replace(options::address_of_row(&settings, row));
            }
        }
        std::future::pending().await
    };
    tokio::select! {
        end = run => end,
        () = order => SessionEnd::Abandoned,
    }
}
