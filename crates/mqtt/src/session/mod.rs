//! The session with a remote broker, MQTT 3.1.1 or 5: it stands for ever, through cut connections and broker restarts.
//!
//! [`run`] drives the broker's end of a [`link`](crate::link). It never acknowledges what the gateway has not, never
//! keeps more in memory than its options say, and never waits for anything but the network and room to report.
//!
//! What belongs to MQTT's wire format comes from rumqttc. Its event loop is not used: it flushes each acknowledgement on
//! its own, hands out one event at a time, refuses a large message by reconnecting for ever, gives up on an acknowledgement
//! that it does not know, drops outgoing messages when a session is lost, and hides the network of its MQTT 5 half.

mod backoff;
mod broker_switch;
mod connection;
mod events;
mod identity;
pub(crate) mod inbound;
mod keep_alive;
mod options;
pub(crate) mod outbound;
mod probe;
mod state;
mod subscriptions;
mod transport;

pub use crate::session::transport::tls::{ClientCertificate, TlsError, TlsOptions};
pub use identity::is_same_owner;
pub use options::{
    BrokerAddress, BrokerCredentials, BrokerServer, KnownBroker, ProtocolVersion, ReconnectDelay, SessionOptions,
    WillMessage,
};
pub use probe::{ProbeError, try_connect};

use crate::link::{ConnectionNumber, LinkEvent, LinkPort};
use crate::session::broker_switch::BrokerSwitch;
use crate::session::events::PendingEvents;
use crate::session::inbound::intake::InboundWindow;
use crate::session::outbound::outbox::SessionOutbox;
use crate::session::outbound::packet_ids::PacketIds;
use crate::session::state::{ConnectionBreak, SessionState, SessionStop};
use backoff::{ConnectionLoss, ReconnectWaits};
use connection::{ConnectionEnd, EstablishedConnection};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use subscriptions::SubscriptionSet;
use tokio::time::sleep;
use transport::Established;

/// Why [`run`] came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionEnd {
    /// The gateway asked for it, or let go of every handle.
    Closed {
        /// Messages that the broker has not acknowledged, or that were never sent.
        unpublished: usize,
    },
    /// The gateway stopped listening to events.
    Abandoned,
}

/// Keeps a session with the broker until the link is closed. Failures are reported as events and never end it.
///
/// Dropping the future cuts the connection without DISCONNECT: the broker publishes the will.
pub async fn run(options: SessionOptions, port: LinkPort) -> SessionEnd {
    Session::new(options, port).run().await
}

struct Session {
    options: SessionOptions,
    desk: SessionState,
    intake: InboundWindow,
    waits: ReconnectWaits,
    moves: BrokerSwitch,
    /// The broker is another one than that of the connection before.
    has_moved: bool,
}

impl Session {
    fn new(mut options: SessionOptions, port: LinkPort) -> Self {
        let moves = BrokerSwitch::new(options.moves.take());
        let owner = identity::owner(&options.server, &options.client_id);
        let known = options.known.iter().find(|known| is_same_owner(known.session, owner));
        let remembered = known.map(|known| known.filters.clone()).unwrap_or_default();
        let desk = SessionState {
            port,
            reports: PendingEvents::new(options.batch_messages, options.batch_bytes),
            outbox: SessionOutbox::new(&options),
            subscriptions: SubscriptionSet::new(options.protocol, remembered),
            ids: PacketIds::default(),
            closing: false,
            heard_at: None,
        };
        let waits = ReconnectWaits::new(options.backoff);
        Session { options, desk, intake: InboundWindow::default(), waits, moves, has_moved: false }
    }

    async fn run(mut self) -> SessionEnd {
        let stop = self.connect_for_ever().await;
        self.desk.last_reports().await;
        match stop {
            SessionStop::Closed => SessionEnd::Closed { unpublished: self.desk.outbox.len() },
            SessionStop::Abandoned => SessionEnd::Abandoned,
        }
    }

    async fn connect_for_ever(&mut self) -> SessionStop {
        loop {
            let end = match self.connect_and_serve().await {
                Ok((loss, lasted)) => self.pause_after(loss, lasted).await,
                Err(end) => Err(end),
            };
            match end {
                Ok(()) => {}
                Err(ConnectionBreak::Stop(stop)) => return stop,
                Err(ConnectionBreak::Moved) => self.move_on(),
            }
        }
    }

    /// One connection, or the attempt to make one; answers how it was lost, and how long it stood if it did.
    async fn connect_and_serve(&mut self) -> Result<(ConnectionLoss, Option<Duration>), ConnectionBreak> {
        let connecting = Box::pin(transport::connect(&self.options));
        match self.desk.beside_unless_moved(&mut self.moves, connecting).await? {
            Err(loss) => Ok((loss, None)),
            Ok(standing) => {
                let since = Instant::now();
                match self.serve(standing).await {
                    ConnectionEnd::Closed => Err(ConnectionBreak::Stop(SessionStop::Closed)),
                    ConnectionEnd::Abandoned => Err(ConnectionBreak::Stop(SessionStop::Abandoned)),
                    ConnectionEnd::Moved => Err(ConnectionBreak::Moved),
                    ConnectionEnd::Lost(loss) => Ok((loss, Some(since.elapsed()))),
                }
            }
        }
    }

    async fn pause_after(&mut self, loss: ConnectionLoss, lasted: Option<Duration>) -> Result<(), ConnectionBreak> {
        let (wait, reason) = self.waits.after(loss, lasted, &self.options.client_id);
        self.desk.reports.push(LinkEvent::Disconnected { reason, retry_in: Some(wait) });
        self.desk.beside_unless_moved(&mut self.moves, sleep(wait)).await?;
        self.desk.catch_up().await.map_err(ConnectionBreak::Stop)
    }

    async fn serve(&mut self, standing: Established) -> ConnectionEnd {
        let connection = next_connection();
        let session_present = standing.accepted.session_present;
        let Session { options, desk, intake, .. } = self;
        let owner = identity::owner(&options.server, &options.client_id);
        let known = options.known.iter_mut().find(|known| is_same_owner(known.session, owner));
        let before = known.as_ref().map(|known| known.session);
        let session = identity::session_id(&options.server, &options.client_id, before, session_present);
        match known {
            Some(known) => known.session = session,
            None => options.known.push(KnownBroker { session, filters: Vec::new() }),
        }
        // Packet identifiers of another broker mean nothing to this one.
        let continues = session_present && !std::mem::take(&mut self.has_moved);
        intake.connected(connection, session, continues);
        desk.connected(&standing, continues);
        desk.reports.push(LinkEvent::Connected { connection, session_present, session });
        let kept_since = session_present.then(|| desk.heard_at.unwrap_or_default());
        EstablishedConnection::new(options, desk, intake, &mut self.moves, standing, kept_since).serve().await
    }

    /// Turns to the broker that is named now.
    fn move_on(&mut self) {
        let Some(BrokerAddress { server, credentials }) = self.moves.latest() else { return };
        let Session { options, desk, .. } = self;
        let reason = format!("moving from {} to {server}", options.server);
        let owner = identity::owner(&options.server, &options.client_id);
        if let Some(known) = options.known.iter_mut().find(|known| is_same_owner(known.session, owner)) {
            known.filters = desk.subscriptions.held();
        }
        (options.server, options.credentials) = (server, credentials);
        let next = identity::owner(&options.server, &options.client_id);
        if next != owner {
            self.has_moved = true;
            let known = options.known.iter().find(|known| is_same_owner(known.session, next));
            desk.subscriptions.moved(known.map(|known| known.filters.clone()).unwrap_or_default());
        }
        self.waits = ReconnectWaits::new(options.backoff);
        desk.reports.push(LinkEvent::Disconnected { reason, retry_in: Some(Duration::ZERO) });
    }
}

/// Connections are counted through the process, so that tickets of an earlier session are void too.
fn next_connection() -> ConnectionNumber {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    COUNT.fetch_add(1, Ordering::Relaxed) + 1
}
