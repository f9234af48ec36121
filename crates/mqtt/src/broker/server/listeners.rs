//! Where connections come in: the listeners, how many may come, and who gives way.

use super::admission;
use super::websocket;
use crate::broker::error::BrokerError;
use crate::broker::options::{BrokerOptions, LimitOptions, WebSocketOptions};
use crate::broker::server::auth::AccessControl;
use crate::broker::server::shared::ServerState;
use crate::broker::server::socket::SocketStream;
use crate::broker::server::stream::ClientStream;
use crate::broker::server::tls;
use std::cell::Cell;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

/// A port that was taken, and how its clients speak.
pub(crate) struct BoundListener {
    pub(crate) listener: std::net::TcpListener,
    role: ListenerRole,
}

/// What lies between TCP and MQTT.
#[derive(Clone, Default)]
struct ListenerRole {
    tls: Option<TlsAcceptor>,
    websocket: Option<Arc<WebSocketOptions>>,
}

/// Takes all ports: the plain one, the one with TLS, the WebSocket's, the WebSocket's with TLS.
pub(crate) fn bind(options: &BrokerOptions, gatekeeper: &AccessControl) -> Result<Vec<BoundListener>, BrokerError> {
    let tls = options.tls.as_ref().map(tls::acceptor).transpose()?;
    let websocket = options.websocket.clone().map(Arc::new);
    let encrypted = options.tls.as_ref().and_then(|tls| tls.listen.as_deref());
    let of_websocket =
        |listen: fn(&WebSocketOptions) -> &Option<String>| websocket.as_deref().and_then(|it| listen(it).as_deref());
    let wanted = [
        ("listen", Some(options.listen.as_str()), false, false),
        ("tls.listen", encrypted, true, false),
        ("websocket.listen", of_websocket(|it| &it.listen), false, true),
        ("websocket.tls_listen", of_websocket(|it| &it.tls_listen), true, true),
    ];
    let is_certified = options.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
    let mut bound = Vec::new();
    for (key, address, is_encrypted, is_websocket) in wanted {
        let Some(address) = address else { continue };
        let role = ListenerRole {
            tls: tls.clone().filter(|_| is_encrypted),
            websocket: websocket.clone().filter(|_| is_websocket),
        };
        if is_encrypted && role.tls.is_none() {
            return Err(BrokerError::NoCertificate { key });
        }
        let is_closed = !gatekeeper.is_open() || is_encrypted && is_certified;
        bound.push(BoundListener { listener: listen(address, key, is_closed)?, role });
    }
    Ok(bound)
}

/// Binds a listener; the address may be a name. One that `is_closed` to strangers may be open to the network.
fn listen(address: &str, key: &'static str, is_closed: bool) -> Result<std::net::TcpListener, BrokerError> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::AddrInUse => BrokerError::PortInUse { address: address.to_owned(), key },
        _ => BrokerError::Listen { address: address.to_owned(), error },
    };
    let listener = std::net::TcpListener::bind(address).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    if !is_closed && !listener.local_addr().map_err(failed)?.ip().is_loopback() {
        return Err(BrokerError::OpenToAll { address: address.to_owned(), key });
    }
    Ok(listener)
}

/// Takes connections in, at a bounded rate, and watches their tasks.
pub(super) async fn accept_all(
    listeners: &[BoundListener],
    shared: &Rc<ServerState>,
    limits: &LimitOptions,
    connections: &mut JoinSet<()>,
) -> Result<(), BrokerError> {
    let (taken, mut incoming) = mpsc::channel(16);
    let mut accepting = JoinSet::new();
    for BoundListener { listener, role } in listeners {
        let listen = || TcpListener::from_std(listener.try_clone()?);
        let listener = listen().map_err(|error| BrokerError::Listen { address: "listener".into(), error })?;
        accepting.spawn_local(accept(listener, role.clone(), taken.clone(), limits.connections_per_second));
    }
    let mut waiting = Waiting::default();
    loop {
        tokio::select! {
            Some((stream, role, address)) = incoming.recv() => {
                if connections.len() >= limits.max_connections && !waiting.make_room() {
                    tracing::warn!(limit = limits.max_connections, "refused a connection: limits.max_connections is reached");
                    continue;
                }
                let admitted = Rc::new(Cell::new(false));
                let task = connections.spawn_local(serve(stream, role, shared.clone(), address, admitted.clone()));
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

type Taken = (TcpStream, ListenerRole, SocketAddr);

async fn accept(listener: TcpListener, role: ListenerRole, taken: mpsc::Sender<Taken>, rate: u32) {
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
                if taken.send((stream, role.clone(), address)).await.is_err() {
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
    stream: TcpStream,
    role: ListenerRole,
    shared: Rc<ServerState>,
    address: SocketAddr,
    admitted: Rc<Cell<bool>>,
) {
    match tokio::time::timeout(shared.connect_timeout, open(stream, role, address.ip())).await {
        Ok(Ok(Some(stream))) => admission::serve(stream, shared, address, &admitted).await,
        Ok(Ok(None)) | Err(_) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a handshake failed"),
    }
}

/// Makes the handshakes of a connection's listener; `None` when the client was refused, and told.
async fn open(stream: TcpStream, role: ListenerRole, address: IpAddr) -> io::Result<Option<ClientStream>> {
    let socket = match role.tls {
        None => SocketStream::Plain(stream),
        Some(acceptor) => SocketStream::Tls(Box::new(acceptor.accept(stream).await?)),
    };
    let Some(options) = role.websocket else { return Ok(Some(ClientStream::Bytes(socket))) };
    let framed = websocket::accept(socket, &options, address).await?;
    Ok(framed.map(|framed| ClientStream::WebSocket(Box::new(framed))))
}
