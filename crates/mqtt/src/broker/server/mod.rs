//! The broker's parts at work: listeners, the link to the gateway, the store, the clock.

pub(crate) mod admission;
pub(crate) mod auth;
pub(crate) mod client;
pub(crate) mod connection;
pub(crate) mod listeners;
pub(crate) mod shared;
pub(crate) mod socket;
pub(crate) mod stream;
pub(crate) mod tls;
mod websocket;
mod work;
use super::inspect::{self, BrokerInspector};
use super::loss::LossObserver;
use super::options::BrokerOptions;
use super::store::{SessionStore, opening};
use crate::broker::error::BrokerError;
use crate::broker::server::auth::AccessControl;
use crate::broker::server::listeners::BoundListener;
use crate::broker::server::shared::ServerState;
use crate::broker::state::{BrokerState, LossCounters};
use crate::link::{LinkEvent, LinkPort};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::task::{JoinSet, LocalSet};

/// So long, changes that nobody waits for are collected before they are written.
const LINGER: Duration = Duration::from_millis(200);
/// Time for the connections to end at shutdown.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(3);
/// Letters in the log of what a client calls itself.
const MAX_LOGGED: usize = 64;

/// A broker that has its ports, and does not run yet.
pub(crate) struct BoundBroker {
    pub(crate) options: BrokerOptions,
    pub(crate) listeners: Vec<BoundListener>,
    pub(crate) gatekeeper: AccessControl,
    pub(crate) port: Option<LinkPort>,
    pub(crate) inspector: BrokerInspector,
    pub(crate) observer: Option<LossObserver>,
}

/// Runs the broker until it is told to end, or something that it can't do without is gone.
pub(crate) async fn run(broker: BoundBroker) -> Result<(), BrokerError> {
    LocalSet::new().run_until(run_here(broker)).await
}

async fn run_here(broker: BoundBroker) -> Result<(), BrokerError> {
    // The link stays open until everything is done: its end is the sign for the gateway.
    let BoundBroker { options, listeners, gatekeeper, mut port, inspector, observer } = broker;
    let opened = match &options.state_dir {
        Some(folder) => Some(opening::open(folder).await.map_err(BrokerError::Store)?),
        None => None,
    };
    let (store, restored) = opened.unzip();
    let mut hub = BrokerState::new(options.limits.clone(), store.is_some());
    hub.losses = LossCounters::new(observer);
    hub.awaits_filters = port.is_some();
    if let Some(restored) = restored {
        hub.restore(restored, &gatekeeper);
    }
    let max_packet_size = options.limits.max_packet_size;
    let connect_timeout = options.limits.connect_timeout;
    let hub = Rc::new(RefCell::new(hub));
    let shared = Rc::new(ServerState { hub: hub.clone(), gatekeeper, connect_timeout, max_packet_size });
    let mut connections = JoinSet::new();
    let (finish, finished) = watch::channel(false);
    let mut keep = std::pin::pin!(keep_stored(hub.clone(), store, finished));
    let ended = {
        let accept = listeners::accept_all(&listeners, &shared, &options.limits, &mut connections);
        tokio::select! {
            ended = accept => ended,
            ended = serve_gateway(hub.clone(), port.as_mut()) => ended,
            ended = &mut keep => ended,
            () = keep_time(hub.clone()) => Ok(()),
            () = inspect::answer(&shared, inspector.open()) => Ok(()),
        }
    };
    take_last_words(&mut hub.borrow_mut(), port.as_mut());
    hub.borrow_mut().close_all();
    let all_gone = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(SHUTDOWN_TIMEOUT, all_gone).await.is_err() {
        tracing::warn!(connections = connections.len(), "some clients did not let go in time");
    }
    connections.shutdown().await;
    finish.send_replace(true);
    let stored = if matches!(ended, Err(BrokerError::Store(_))) { Ok(()) } else { keep.await };
    ended.and(stored)
}

/// The gateway's link: its filters, its messages, its acknowledgements; and what it gets.
async fn serve_gateway(hub: Rc<RefCell<BrokerState>>, port: Option<&mut LinkPort>) -> Result<(), BrokerError> {
    let Some(LinkPort { acknowledged, wanted, outgoing, closing, events }) = port else {
        return std::future::pending().await;
    };
    let gone = |_| BrokerError::GatewayGone;
    let (connection, ready, room) = {
        let mut hub = hub.borrow_mut();
        let gateway = crate::broker::state::gateway::GatewayQueue::new(hub.limits.max_unacknowledged_bytes);
        let (connection, ready) = (gateway.connection, gateway.ready.clone());
        hub.gateway = Some(gateway);
        (connection, ready, hub.room.clone())
    };
    // Sessions are the senders' own: each message's origin names its publisher.
    let connected = LinkEvent::Connected { connection, session_present: false, session: 0 };
    events.send(connected).await.map_err(|_| BrokerError::GatewayGone)?;
    let hand_over = async {
        loop {
            let permit = events.reserve().await.map_err(|_| BrokerError::GatewayGone)?;
            let next = || hub.borrow_mut().gateway.as_mut().and_then(crate::broker::state::gateway::GatewayQueue::take);
            let batch = loop {
                match next() {
                    Some(batch) => break batch,
                    None => ready.notified().await,
                }
            };
            permit.send(LinkEvent::Messages(batch));
        }
    };
    let take_acknowledgements = async {
        loop {
            acknowledged.changed().await.map_err(gone)?;
            let through = *acknowledged.borrow_and_update();
            hub.borrow_mut().gateway_acknowledged(through);
        }
    };
    let follow_filters = async {
        if !wanted.has_changed().map_err(gone)? {
            // Clients are served meanwhile, but what they publish waits, see `BrokerState::must_wait`.
            wanted.changed().await.map_err(gone)?;
        }
        loop {
            let filters = wanted.borrow_and_update().clone();
            let refused = hub.borrow_mut().set_wanted(&filters);
            if !refused.is_empty() {
                events.send(LinkEvent::Refused(refused)).await.map_err(|_| BrokerError::GatewayGone)?;
            }
            let held = hub.borrow().wanted_filters();
            events.send(LinkEvent::Subscribed(held)).await.map_err(|_| BrokerError::GatewayGone)?;
            wanted.changed().await.map_err(gone)?;
        }
    };
    let publish = async {
        while let Some(batch) = outgoing.recv().await {
            for message in batch {
                wait_for_room(&hub, &room, &message.message.topic).await;
                hub.borrow_mut().publish_from_gateway(message);
            }
        }
        Err(BrokerError::GatewayGone)
    };
    let told_to_end = async {
        // A gateway that is gone without a word ends the broker too.
        closing.wait_for(|closing| *closing).await.map(|_| ()).map_err(gone)
    };
    tokio::select! {
        ended = hand_over => ended,
        ended = take_acknowledgements => ended,
        ended = follow_filters => ended,
        ended = publish => ended,
        ended = told_to_end => ended,
    }
}

/// What the gateway acknowledged and published before it closed its link.
fn take_last_words(hub: &mut BrokerState, port: Option<&mut LinkPort>) {
    let Some(port) = port else { return };
    let through = *port.acknowledged.borrow_and_update();
    hub.gateway_acknowledged(through);
    while let Ok(batch) = port.outgoing.try_recv() {
        for message in batch {
            hub.publish_from_gateway(message);
        }
    }
}

/// What the gateway publishes and wants itself waits like everyone's messages.
async fn wait_for_room(hub: &RefCell<BrokerState>, room: &Notify, topic: &str) {
    loop {
        let notified = room.notified();
        {
            let mut hub = hub.borrow_mut();
            let route = hub.tree.route(topic);
            if !hub.must_wait(&route) {
                return;
            }
        }
        notified.await;
    }
}

/// Writes changes to the store: at once when someone waits for them, else after a moment. Ends when `finished` says so,
/// with everything written.
async fn keep_stored(
    hub: Rc<RefCell<BrokerState>>,
    store: Option<SessionStore>,
    mut finished: watch::Receiver<bool>,
) -> Result<(), BrokerError> {
    let mut end = std::pin::pin!(async move {
        // The sender lives as long as this future; an error means the end as well.
        let _ = finished.wait_for(|finished| *finished).await;
    });
    let Some(mut store) = store else {
        end.await;
        return Ok(());
    };
    let (dirty, urgent) = (hub.borrow().dirty.clone(), hub.borrow().urgent.clone());
    loop {
        let ending = tokio::select! {
            () = dirty.notified() => tokio::select! {
                () = urgent.notified() => false,
                () = tokio::time::sleep(LINGER) => false,
                () = &mut end => true,
            },
            () = &mut end => true,
        };
        write_all(&hub, &mut store, ending).await?;
        if ending {
            return store.close().await.map_err(BrokerError::Store);
        }
    }
}

async fn write_all(hub: &RefCell<BrokerState>, store: &mut SessionStore, ending: bool) -> Result<(), BrokerError> {
    loop {
        let Some((generation, delta)) = hub.borrow_mut().take_delta() else { return Ok(()) };
        let mut pause = Duration::from_millis(100);
        while let Err(error) = store.write(&delta).await {
            if ending {
                return Err(BrokerError::Store(error));
            }
            // Publishers that wait for it are not acknowledged meanwhile, and soon not read: nothing is lost.
            tracing::error!(%error, "could not write the broker's store; trying again");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(10));
        }
        hub.borrow_mut().stored(generation);
    }
}

/// Does what is due at a time.
async fn keep_time(hub: Rc<RefCell<BrokerState>>) {
    let changed = hub.borrow().timers.changed.clone();
    loop {
        let next = hub.borrow().timers.next();
        match next {
            None => changed.notified().await,
            Some(at) => tokio::select! {
                () = tokio::time::sleep_until(at) => hub.borrow_mut().run_timers(),
                () = changed.notified() => {}
            },
        }
    }
}

/// The head of what a client says, so that repeats are folded.
pub(crate) fn log_head(text: &str) -> String {
    text.chars().take(MAX_LOGGED).collect()
}
