//! The broker's parts at work: listeners, the link to the gateway, the store, the clock.

pub(crate) mod admission;
pub(crate) mod auth;
pub(crate) mod client;
pub(crate) mod connection;
pub(crate) mod shared;
pub(crate) mod stream;
pub(crate) mod tls;
mod work;
use super::inspect::{self, BrokerInspector};
use super::loss::LossObserver;
use super::options::BrokerOptions;
use super::store::{SessionStore, opening};
use crate::broker::error::BrokerError;
use crate::broker::server::auth::AccessControl;
use crate::broker::server::shared::ServerState;
use crate::broker::server::stream::ClientStream;
use crate::broker::state::{BrokerState, LossCounters};
use crate::link::{LinkEvent, LinkPort};
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::{AbortHandle, JoinSet, LocalSet};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

/// So long, changes that nobody waits for are collected before they are written.
const LINGER: Duration = Duration::from_millis(200);
/// Time for the connections to end at shutdown.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(3);

/// A broker that has its ports, and does not run yet.
pub(crate) struct BoundBroker {
    pub(crate) options: BrokerOptions,
    pub(crate) listeners: Vec<(std::net::TcpListener, Option<TlsAcceptor>)>,
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
        let accept = accept_all(&listeners, &shared, &options.limits, &mut connections);
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

type Listeners = [(std::net::TcpListener, Option<TlsAcceptor>)];

/// Takes connections in, at a bounded rate, and watches their tasks.
async fn accept_all(
    listeners: &Listeners,
    shared: &Rc<ServerState>,
    limits: &super::LimitOptions,
    connections: &mut JoinSet<()>,
) -> Result<(), BrokerError> {
    let (taken, mut incoming) = mpsc::channel(16);
    let mut accepting = JoinSet::new();
    for (listener, acceptor) in listeners {
        let listen = || TcpListener::from_std(listener.try_clone()?);
        let listener = listen().map_err(|error| BrokerError::Listen { address: "listener".into(), error })?;
        accepting.spawn_local(accept(listener, acceptor.clone(), taken.clone(), limits.connections_per_second));
    }
    let mut waiting = Waiting::default();
    loop {
        tokio::select! {
            Some((stream, acceptor, address)) = incoming.recv() => {
                if connections.len() >= limits.max_connections && !waiting.make_room() {
                    tracing::warn!(limit = limits.max_connections, "refused a connection: limits.max_connections is reached");
                    continue;
                }
                let admitted = Rc::new(Cell::new(false));
                let task = connections.spawn_local(serve(stream, acceptor, shared.clone(), address, admitted.clone()));
                waiting.push(Guest { address: address.ip(), admitted, task });
            }
            Some(ended) = connections.join_next() => {
                if let Err(error) = ended && error.is_panic() {
                    tracing::error!(%error, "a connection's task has panicked; the connection is closed, the others go on");
                    shared.hub.borrow_mut().bury_lost_links();
                }
            }
            Some(ended) = accepting.join_next() => {
                return Err(BrokerError::Task(ended.err().map_or_else(|| "a listener has ended".into(), |error| error.to_string())));
            }
        }
    }
}

/// A connection whose client has not been let in when it was last looked at.
struct Guest {
    address: IpAddr,
    admitted: Rc<Cell<bool>>,
    task: AbortHandle,
}

/// Connections without a client yet, the oldest first. They give way to new ones.
#[derive(Default)]
struct Waiting {
    guests: VecDeque<Guest>,
    /// From so many on, those that wait no more are looked for.
    look_at: usize,
}

impl Waiting {
    fn push(&mut self, guest: Guest) {
        self.guests.push_back(guest);
        if self.guests.len() >= self.look_at {
            self.forget_settled();
            self.look_at = 2 * self.guests.len() + 64;
        }
    }

    fn forget_settled(&mut self) {
        self.guests.retain(|guest| !guest.admitted.get() && !guest.task.is_finished());
    }

    /// Ends the oldest connection of the address that has most of them waiting; `false` when none waits.
    fn make_room(&mut self) -> bool {
        self.forget_settled();
        let mut counts: HashMap<IpAddr, usize> = HashMap::new();
        for guest in &self.guests {
            *counts.entry(guest.address).or_default() += 1;
        }
        let Some((&crowd, _)) = counts.iter().max_by_key(|(_, count)| **count) else { return false };
        let oldest = self.guests.iter().position(|guest| guest.address == crowd);
        let Some(guest) = oldest.and_then(|index| self.guests.remove(index)) else { return false };
        guest.task.abort();
        tracing::warn!(address = %crowd, "closed a connection that has not sent a CONNECT that was accepted: its place is needed");
        true
    }
}

type Taken = (tokio::net::TcpStream, Option<TlsAcceptor>, SocketAddr);

async fn accept(listener: TcpListener, acceptor: Option<TlsAcceptor>, taken: mpsc::Sender<Taken>, rate: u32) {
    let burst = f64::from(rate) * 2.0;
    let (mut allowance, mut last) = (burst, Instant::now());
    loop {
        let now = Instant::now();
        allowance = (allowance + (now - last).as_secs_f64() * f64::from(rate)).min(burst);
        last = now;
        if allowance < 1.0 {
            tokio::time::sleep(
                Duration::from_secs_f64((1.0 - allowance) / f64::from(rate)).max(Duration::from_millis(1)),
            )
            .await;
            continue;
        }
        match listener.accept().await {
            Ok((stream, address)) => {
                allowance -= 1.0;
                // A client that is gone already is found out when it is read.
                let _ = stream.set_nodelay(true);
                if taken.send((stream, acceptor.clone(), address)).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                // Out of file descriptors, as a rule: it passes when a client leaves.
                tracing::warn!(%error, "could not accept a connection");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    }
}

async fn serve(
    stream: tokio::net::TcpStream,
    acceptor: Option<TlsAcceptor>,
    shared: Rc<ServerState>,
    address: SocketAddr,
    admitted: Rc<Cell<bool>>,
) {
    let stream = match acceptor {
        None => ClientStream::Plain(stream),
        Some(acceptor) => match tokio::time::timeout(shared.connect_timeout, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => ClientStream::Tls(Box::new(stream)),
            Ok(Err(error)) => return tracing::debug!(%error, "a TLS handshake failed"),
            Err(_) => return,
        },
    };
    admission::serve(stream, shared, address, &admitted).await;
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

/// Binds a listener; the address may be a name.
pub(crate) fn listen(address: &str) -> io::Result<std::net::TcpListener> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}
