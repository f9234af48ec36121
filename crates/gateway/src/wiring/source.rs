//! Where the gateway's messages come from: the embedded broker, one elsewhere, or the one that a table names.

use super::options;
use crate::wiring::state_files::SharedSessionFile;
use actix::{Addr, Recipient};
use hearthgate_actors::messages::Attach;
use hearthgate_actors::mqtt::Source;
use hearthgate_actors::mqtt::broker::BrokerActor;
use hearthgate_mqtt::link::{Event, Port};
use hearthgate_mqtt::session::{self, Address, SessionEnd, SessionOptions};
use hearthgate_settings::{Remote, Server, Settings};
use hearthgate_storage::sql::MqttServer;
use std::rc::Rc;
use std::sync::Arc;
use tokio::sync::watch;

/// What the settings say.
pub(crate) enum From {
    Embedded(Recipient<Attach>),
    Remote(Box<Remote>),
    /// The broker that the table `mqtt_servers` names, once it is read.
    Table(watch::Receiver<Option<MqttServer>>),
    Nowhere,
}

impl From {
    /// `servers` is what the table says.
    pub(crate) fn new(
        settings: &Settings,
        broker: Option<Addr<BrokerActor>>,
        servers: watch::Receiver<Option<MqttServer>>,
    ) -> Self {
        match (&settings.mqtt.server, broker) {
            (Server::Remote(remote), _) => From::Remote(Box::new(remote.clone())),
            (Server::Database, _) => From::Table(servers),
            (Server::Embedded, Some(broker)) => From::Embedded(broker.recipient()),
            (Server::Embedded, None) => From::Nowhere,
        }
    }
}

/// To be called on the MQTT actor's thread, where its futures will be.
pub(crate) fn source(settings: Settings, from: From, memory: SharedSessionFile) -> Source {
    let settings = Arc::new(settings);
    let options = {
        let settings = Arc::clone(&settings);
        move |address| SessionOptions { known: memory.kept().brokers, ..options::session(&settings, address) }
    };
    match from {
        From::Embedded(broker) => Source::Embedded(broker),
        From::Remote(remote) => Source::Remote(Box::new(move |port| {
            let run = session::run(options(options::address(&settings, &remote)), port);
            Box::pin(async move { ended(run.await) })
        })),
        From::Table(servers) => {
            let options = Rc::new(options);
            Source::Remote(Box::new(move |port| {
                let (settings, options) = (Arc::clone(&settings), Rc::clone(&options));
                let session = follow_table(settings, servers.clone(), port, move |address| options(address));
                Box::pin(async move { ended(session.await) })
            }))
        }
        From::Nowhere => Source::Remote(Box::new(|_| {
            Box::pin(async { "neither a broker elsewhere nor the embedded one is configured".to_owned() })
        })),
    }
}

fn ended(end: SessionEnd) -> String {
    format!("the session with the broker has ended: {end:?}")
}

/// A session with the broker that the table names; it moves when the table names another one.
async fn follow_table(
    settings: Arc<Settings>,
    mut servers: watch::Receiver<Option<MqttServer>>,
    mut port: Port,
    options: impl FnOnce(Address) -> SessionOptions,
) -> SessionEnd {
    let reason = "the table mqtt_servers has not named a broker yet".to_owned();
    let waiting = Event::Disconnected { reason, retry_in: Some(settings.flows.reload_interval.0) };
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
