//! One connection: from its CONNACK to its last byte.

use super::auth::ClientRights;
use super::stream::ClientStream;
use crate::broker::server::shared::AdmittedClient;
use crate::broker::server::shared::ServerState;
use crate::broker::server::work::PacketWork;
use crate::broker::state::session::LinkKey;
use crate::broker::state::{AcceptedClient, BrokerState, ClientDeparture, SOFT_OUTPUT, now_micros};
use crate::codec::reason::ReasonCode;
use crate::codec::{PacketFrame, ProtocolLevel, ProtocolViolation, frame};
use bytes::{Bytes, BytesMut};
use std::cell::RefCell;
use std::collections::HashMap;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::{Instant, Sleep};

/// An idle connection holds so much of a read buffer.
pub(crate) const SMALL_READ: usize = 512;
/// A busy one so much.
const LARGE_READ: usize = 64 * 1024;
/// Who lets so much output wait is not read: each packet of its own would add to it.
const CROWDED_OUTPUT: usize = 4 * SOFT_OUTPUT;
/// What is held back of one client for want of room, and one packet more; beyond it the client is not read.
const MAX_HELD: usize = 64 * 1024;
/// Time for the last packet to be written.
pub(crate) const FAREWELL_TIMEOUT: Duration = Duration::from_secs(2);

/// After its last packet a connection is drained until it is silent for so long, or at most for the other time.
const LINGER_PAUSE: Duration = Duration::from_millis(300);
const LINGER_TIMEOUT: Duration = Duration::from_secs(3);

/// A connected client.
pub(crate) struct ClientConnection {
    stream: ClientStream,
    pub(crate) hub: Rc<RefCell<BrokerState>>,
    pub(crate) link: LinkKey,
    pub(crate) session: usize,
    pub(crate) version: ProtocolLevel,
    /// Its subscriptions have no-local and retain-as-published, so that what it brings does not come back.
    pub(crate) is_bridge: bool,
    pub(crate) origin: u64,
    pub(crate) rights: ClientRights,
    /// Topic aliases of the client.
    pub(crate) aliases: HashMap<u16, Arc<str>>,
    pub(crate) session_expiry: u32,
    /// Whole packets that are not worked off yet.
    pub(crate) pending: Bytes,
    /// Whole PUBLISH packets, and what must not overtake them, for which there is no room now.
    pub(crate) held: BytesMut,
    buffer: BytesMut,
    read_size: usize,
    /// Bytes that were read and not counted yet.
    uncounted: usize,
    pub(crate) stalled: bool,
    /// What was written may still lie in the stream's own buffer, as it does with TLS.
    is_unflushed: bool,
    max_packet_size: usize,
    keep_alive: Option<Duration>,
    last_active: Instant,
    timer: Pin<Box<Sleep>>,
    pub(crate) farewell: ClientDeparture,
    _alive: Rc<()>,
}

/// What a connection woke up for.
enum Event {
    Read,
    Resume,
    /// The client is gone.
    Closed,
    /// The client did something that its connection does not allow, below MQTT.
    Broken(ProtocolViolation),
    /// The broker has ended the connection, and said so.
    Ended,
    Timeout,
}

impl ClientConnection {
    /// A connection whose CONNACK is to be written; `buffer` holds what came behind CONNECT.
    pub(crate) fn new(
        stream: ClientStream,
        shared: &ServerState,
        accepted: AcceptedClient,
        admitted: &AdmittedClient,
        buffer: BytesMut,
    ) -> Self {
        let keep_alive =
            (accepted.keep_alive > 0).then(|| Duration::from_millis(1500 * u64::from(accepted.keep_alive)));
        let now = Instant::now();
        let first_look = now + keep_alive.unwrap_or(Duration::from_secs(24 * 3600));
        let origin = shared.hub.borrow().sessions[accepted.session].origin;
        ClientConnection {
            stream,
            hub: shared.hub.clone(),
            link: accepted.link,
            session: accepted.session,
            version: admitted.version,
            is_bridge: admitted.is_bridge,
            origin,
            rights: admitted.rights.clone(),
            aliases: HashMap::new(),
            session_expiry: admitted.session_expiry,
            pending: Bytes::new(),
            held: BytesMut::new(),
            buffer,
            read_size: SMALL_READ,
            uncounted: 0,
            stalled: false,
            is_unflushed: false,
            max_packet_size: shared.max_packet_size,
            keep_alive,
            last_active: now,
            timer: Box::pin(tokio::time::sleep_until(first_look)),
            farewell: ClientDeparture::Lost,
            _alive: admitted.alive.clone(),
        }
    }

    /// Serves the client until its connection ends.
    pub(crate) async fn run(&mut self) {
        // Packets may have come right behind CONNECT.
        let mut event = Event::Read;
        loop {
            let worked = match event {
                Event::Read | Event::Resume => self.work(),
                Event::Timeout => {
                    Err(ProtocolViolation { reason: ReasonCode::KeepAliveTimeout, what: "nothing came in time" })
                }
                Event::Broken(violation) => Err(violation),
                Event::Closed => return,
                Event::Ended => return self.linger().await,
            };
            match worked {
                Ok(PacketWork::More) => {}
                Ok(PacketWork::Goodbye) => return,
                Err(violation) => return self.fail(violation).await,
            }
            event = poll_fn(|cx| self.poll(cx)).await;
        }
    }

    /// Ends the connection because of what the client did.
    async fn fail(&mut self, violation: ProtocolViolation) {
        {
            let mut hub = self.hub.borrow_mut();
            hub.report(self.link, &violation);
            hub.end_link(self.link, violation.reason);
        }
        let written = poll_fn(|cx| match self.poll_output(cx) {
            Poll::Ready(Ok(())) => Poll::Ready(()),
            Poll::Ready(Err(_)) => Poll::Ready(()),
            Poll::Pending => Poll::Pending,
        });
        let _ = tokio::time::timeout(FAREWELL_TIMEOUT, written).await;
        self.linger().await;
    }

    /// Lets the client read our last words, as long as it still sends: closing with unread input would reset the
    /// connection, and take them back.
    async fn linger(&mut self) {
        let drain = async {
            self.stream.shutdown().await?;
            let mut rest = vec![0; 4096];
            loop {
                match tokio::time::timeout(LINGER_PAUSE, self.stream.read(&mut rest)).await {
                    Ok(Ok(count)) if count > 0 => {}
                    Ok(Ok(_) | Err(_)) | Err(_) => return io::Result::Ok(()),
                }
            }
        };
        // Either way the connection is closed now.
        let _ = tokio::time::timeout(LINGER_TIMEOUT, drain).await;
    }

    /// Writes what there is to write, reads what there is to read.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        let written = self.poll_output(cx);
        if matches!(written, Poll::Ready(Err(_))) {
            return Poll::Ready(Event::Closed);
        }
        let (closing, crowded) = {
            let mut hub = self.hub.borrow_mut();
            let Some(link) = hub.links.get_mut(self.link) else { return Poll::Ready(Event::Closed) };
            link.wait_with(cx.waker());
            (link.closing, link.waiting_bytes() >= CROWDED_OUTPUT)
        };
        if closing {
            // Nothing of it is worked off any more.
            self.buffer = BytesMut::new();
            self.held = BytesMut::new();
            return self.poll_farewell(cx, written.is_ready());
        }
        if self.stalled && self.poll_room() {
            return Poll::Ready(Event::Resume);
        }
        if !self.is_hold_full() && !crowded {
            match self.poll_input(cx) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Event::Closed),
                Poll::Ready(Err(_)) => {
                    return Poll::Ready(self.stream.violation().map_or(Event::Closed, Event::Broken));
                }
                Poll::Ready(Ok(_)) => return Poll::Ready(Event::Read),
                Poll::Pending => {}
            }
        }
        self.poll_keep_alive(cx)
    }

    fn poll_output(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut hub = self.hub.borrow_mut();
        let hub = &mut *hub;
        loop {
            let Some(link) = hub.links.get_mut(self.link) else { return Poll::Ready(Ok(())) };
            if link.out.is_empty() {
                link.out.shrink(SMALL_READ);
                break;
            }
            let count = ready!(Pin::new(&mut self.stream).poll_write(cx, link.out.chunk()))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            if link.out.len() >= CROWDED_OUTPUT {
                // It is not read meanwhile; that it reads shows that it lives.
                self.last_active = Instant::now();
            }
            link.out.advance(count);
            hub.traffic.note_sent(count, std::mem::take(&mut link.out.tally));
            link.last_written = Instant::now();
            self.is_unflushed = true;
            // There is room again for what waits.
            if link.out.len() < SOFT_OUTPUT
                && let Some(session) = link.session
                && hub.sessions.get(session).is_some_and(|session| !session.outgoing.is_idle())
            {
                hub.pump(session, self.link);
            }
            hub.pump_crowded();
        }
        // Tried again until it is done: nothing else would send what the socket had no room for.
        if self.is_unflushed {
            ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
            self.is_unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// The broker has ended the connection: once the last packet is written, or when that takes too long.
    fn poll_farewell(&mut self, cx: &mut Context<'_>, written: bool) -> Poll<Event> {
        if written {
            return Poll::Ready(Event::Ended);
        }
        let deadline = Instant::now() + FAREWELL_TIMEOUT;
        if self.timer.deadline() > deadline {
            self.timer.as_mut().reset(deadline);
        }
        self.timer.as_mut().poll(cx).map(|()| Event::Ended)
    }

    /// So much is held back that the client is not read any more.
    fn is_hold_full(&self) -> bool {
        self.stalled && self.held.len() >= MAX_HELD
    }

    fn poll_room(&self) -> bool {
        !self.hub.borrow().is_stalled(self.link)
    }

    fn poll_input(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.buffer.capacity() - self.buffer.len() < self.read_size / 2 {
            self.buffer.reserve(self.read_size);
        }
        let spare = self.buffer.spare_capacity_mut();
        let room = spare.len();
        let mut into = ReadBuf::uninit(spare);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut into))?;
        let count = into.filled().len();
        // SAFETY: `poll_read` has initialised the first `count` bytes of the spare capacity.
        unsafe { self.buffer.set_len(self.buffer.len() + count) };
        self.uncounted += count;
        // The headers of a WebSocket's frames are read along, and not counted.
        if count + count / 4 >= room {
            self.read_size = (self.read_size * 4).min(LARGE_READ);
        } else if count < room / 8 && self.read_size > SMALL_READ {
            self.read_size /= 2;
        }
        self.last_active = Instant::now();
        Poll::Ready(Ok(count))
    }

    fn poll_keep_alive(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        loop {
            ready!(self.timer.as_mut().poll(cx));
            let now = Instant::now();
            let Some(keep_alive) = self.keep_alive else {
                self.timer.as_mut().reset(now + Duration::from_secs(24 * 3600));
                continue;
            };
            // Whose answers wait for the store is not read.
            if self.hub.borrow().links.get(self.link).is_some_and(|link| link.is_held_up(CROWDED_OUTPUT)) {
                self.last_active = now;
            }
            // Whose message waits for room can't be blamed for silence; but it may have gone unread.
            if self.stalled {
                if self.is_hold_full() && self.stream.is_gone(cx) {
                    return Poll::Ready(Event::Closed);
                }
                self.last_active = now;
            }
            let due = self.last_active + keep_alive;
            if due <= now {
                return Poll::Ready(Event::Timeout);
            }
            self.timer.as_mut().reset(due);
        }
    }

    /// Works off the whole packets in the buffer.
    fn work(&mut self) -> Result<PacketWork, ProtocolViolation> {
        let hub = self.hub.clone();
        let mut hub = hub.borrow_mut();
        if hub.links.get(self.link).is_none_or(|link| link.closing) {
            return Ok(PacketWork::More);
        }
        hub.traffic.bytes_received += std::mem::take(&mut self.uncounted) as u64;
        let received_at = now_micros();
        self.stalled = hub.is_stalled(self.link);
        if !self.stalled && !self.held.is_empty() {
            self.pending = std::mem::take(&mut self.held).freeze();
        }
        let result = loop {
            match self.work_off(&mut hub, received_at) {
                Ok(PacketWork::More) if !self.is_hold_full() => {}
                other => break other,
            }
            let whole = self.whole_packets()?;
            if whole == 0 {
                break Ok(PacketWork::More);
            }
            self.pending = self.buffer.split_to(whole).freeze();
        };
        if self.buffer.is_empty() && self.pending.is_empty() && self.read_size == SMALL_READ {
            self.shrink();
        }
        let is_large = self.buffer.len() >= LARGE_READ;
        hub.note_partial(self.link, if is_large { self.buffer.capacity() } else { 0 });
        hub.release_acknowledgements(self.link);
        result
    }

    /// Bytes of whole packets at the front of the buffer; makes room for the next one if it is known to be large.
    fn whole_packets(&mut self) -> Result<usize, ProtocolViolation> {
        let mut whole = 0;
        loop {
            match frame(&self.buffer[whole..], self.max_packet_size) {
                Ok(PacketFrame::Whole { end, .. }) => whole += end,
                Ok(PacketFrame::Partial { total }) => {
                    let missing = (whole + total).saturating_sub(self.buffer.len());
                    // Grows with what comes: an announced megabyte costs nothing until it is sent.
                    if missing > 0 && self.read_size < LARGE_READ {
                        self.read_size = (self.read_size * 2).min(LARGE_READ);
                    }
                    return Ok(whole);
                }
                // What stands before the bad packet is worked off first.
                Err(_) if whole > 0 => return Ok(whole),
                Err(violation) => return Err(violation),
            }
        }
    }

    /// An idle connection lets go of a buffer that was large.
    fn shrink(&mut self) {
        if self.buffer.capacity() > 2 * SMALL_READ {
            self.buffer = BytesMut::new();
        }
    }
}

impl Drop for ClientConnection {
    fn drop(&mut self) {
        // After a panic the hub may still be borrowed; its owner then clears up.
        if let Ok(mut hub) = self.hub.try_borrow_mut() {
            hub.disconnected(self.link, self.farewell);
        }
    }
}
