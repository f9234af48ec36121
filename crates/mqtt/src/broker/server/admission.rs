//! How a client gets in: its CONNECT is read, judged, and answered.

use super::connection::{ClientConnection, FAREWELL_TIMEOUT, SMALL_READ};
use super::log_head;
use super::stream::ClientStream;
use crate::broker::packets::connect::{ConnectRequest, UnreadableConnect};
use crate::broker::packets::outgoing;
use crate::broker::packets::outgoing::ConnackProperties;
use crate::broker::server::shared::AdmittedClient;
use crate::broker::server::shared::ServerState;
use crate::broker::state::{AcceptedClient, BrokerState};
use crate::codec::reason::ReasonCode;
use crate::codec::{PacketFrame, ProtocolLevel, frame};
use bytes::{Buf, BytesMut};
use std::cell::{Cell, RefCell};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// CONNECT may hold four strings of 64 KiB.
const MAX_CONNECT: usize = 300 * 1024;

/// Serves one client until its connection ends.
pub(crate) async fn serve(
    mut stream: ClientStream,
    shared: Rc<ServerState>,
    address: SocketAddr,
    admitted: &Cell<bool>,
) {
    let mut buffer = BytesMut::with_capacity(SMALL_READ);
    let timeout = shared.connect_timeout;
    let first = tokio::time::timeout(timeout, read_connect(&mut stream, &mut buffer, shared.max_packet_size)).await;
    let connect = match first {
        Ok(Ok(Some(Ok(connect)))) => connect,
        Ok(Ok(Some(Err(unreadable)))) => return refuse_unreadable(stream, unreadable).await,
        Ok(Err(_)) => return refuse_frames(stream, address).await,
        Ok(Ok(None)) | Err(_) => return,
    };
    let (client, user) = (connect.client_id.clone(), connect.user.clone());
    let admission = {
        // Nothing is computed for a client that has gone.
        let admission = std::pin::pin!(admit(&shared, connect, stream.is_certified(), address.ip()));
        tokio::select! {
            biased;
            admission = admission => admission,
            () = stream.gone() => return,
        }
    };
    match admission {
        Ok((accepted, connect)) => {
            admitted.set(true);
            let stored = accepted.stored;
            let mut connection = ClientConnection::new(stream, &shared, accepted, &connect, buffer);
            wait_until_stored(&shared.hub, stored).await;
            connection.run().await;
        }
        Err((version, reason)) => {
            // Without the port, so that repeats are folded.
            let (client, user) = (log_head(&client), user.as_deref().map(log_head));
            let address = address.ip();
            tracing::warn!(%address, client, user, ?reason, "refused a client");
            refuse(stream, version, reason).await;
        }
    }
}

type Admission = Result<(AcceptedClient, AdmittedClient), (ProtocolLevel, ReasonCode)>;

async fn admit(shared: &ServerState, connect: ConnectRequest, is_certified: bool, address: IpAddr) -> Admission {
    let version = connect.version;
    let refused = |reason| (version, reason);
    if connect.authentication {
        return Err(refused(ReasonCode::BadAuthenticationMethod));
    }
    let mut connect = connect;
    let (name, password) = (connect.user.as_deref(), connect.password.take());
    let user = shared.gatekeeper.admit(name, password, is_certified, address).await.map_err(refused)?;
    let session_expiry = connect.session_expiry.unwrap_or(0);
    let mut hub = shared.hub.borrow_mut();
    // Bridges announce themselves there by default. The will goes nowhere, like all that clients publish to it.
    if connect.will.take_if(|will| will.topic.starts_with("$SYS/")).is_some() {
        tracing::debug!(client = %connect.client_id, "passed over a will on $SYS, which belongs to the broker");
    }
    let is_bridge = connect.is_bridge;
    if let Some(will) = &connect.will {
        let rights = shared.gatekeeper.rights(user.as_deref(), &connect.client_id);
        if !rights.may_publish(&will.topic) {
            return Err(refused(ReasonCode::NotAuthorized));
        }
    }
    let alive = Rc::new(());
    let rights = |client_id: &str| shared.gatekeeper.rights(user.as_deref(), client_id);
    let accepted = hub.connect(connect, user.clone(), &alive, rights).map_err(refused)?;
    let rights = hub.sessions[accepted.session].rights.clone();
    Ok((accepted, AdmittedClient { version, is_bridge, rights, session_expiry, alive }))
}

/// A client that hears of its session must find it again after we were killed: without it, it would send as new what we
/// may have taken. So CONNACK, and the client's messages, wait until the session is stored.
async fn wait_until_stored(hub: &RefCell<BrokerState>, generation: u64) {
    let room = hub.borrow().room.clone();
    loop {
        let notified = room.notified();
        if hub.borrow().has_stored(generation) {
            return;
        }
        notified.await;
    }
}

async fn read_connect(
    stream: &mut ClientStream,
    buffer: &mut BytesMut,
    max_packet_size: usize,
) -> io::Result<Option<Result<ConnectRequest, UnreadableConnect>>> {
    loop {
        // What does not begin like CONNECT is not waited for.
        if buffer.first().is_some_and(|&header| header != 0x10) {
            return Ok(None);
        }
        match frame(buffer, MAX_CONNECT.min(max_packet_size)) {
            Err(violation) => return Ok(Some(Err(UnreadableConnect { version: None, violation }))),
            Ok(PacketFrame::Whole { header, body, end }) => {
                let connect = ConnectRequest::read(header, &buffer[body..end]);
                buffer.advance(end);
                return Ok(Some(connect));
            }
            Ok(PacketFrame::Partial { .. }) => {}
        }
        // Grows with what comes, not with what is announced.
        buffer.reserve(SMALL_READ);
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
}

/// Lets a client that does not know how to speak WebSocket hear so.
async fn refuse_frames(mut stream: ClientStream, address: SocketAddr) {
    if let Some(violation) = stream.violation() {
        tracing::debug!(%address, %violation, "refused a WebSocket");
        // Whether the refused one hears it is its own affair.
        let _ = tokio::time::timeout(FAREWELL_TIMEOUT, stream.shutdown()).await;
    }
}

async fn refuse_unreadable(stream: ClientStream, unreadable: UnreadableConnect) {
    tracing::debug!(violation = %unreadable.violation, "refused a connection");
    if let Some(version) = unreadable.version {
        refuse(stream, version, unreadable.violation.reason).await;
    }
}

async fn refuse(mut stream: ClientStream, version: ProtocolLevel, reason: ReasonCode) {
    let mut out = BytesMut::new();
    outgoing::connack(&mut out, version, false, reason, &ConnackProperties::default());
    let goodbye = async {
        stream.write_all(&out).await?;
        stream.shutdown().await
    };
    // Whether the refused one hears it is its own affair.
    let _ = tokio::time::timeout(FAREWELL_TIMEOUT, goodbye).await;
}
