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
mod reason;
mod subscriptions;
mod transport;

pub use crate::session::transport::tls::{ClientCertificate, Tls, TlsError};
pub use identity::is_same_owner;
pub use options::{Address, Backoff, Credentials, Known, Protocol, Server, SessionOptions, Will};
pub use probe::{ProbeError, try_connect};

use crate::link::{Connection as ConnectionNumber, Event, Port};
use crate::session::broker_switch::Moves;
use crate::session::events::Reports;
use crate::session::inbound::intake::Intake;
use crate::session::inbound::parser::Accepted;
use crate::session::outbound::outbox::Outbox;
use crate::session::outbound::packet_ids::PacketIds;
use backoff::{Loss, Waits};
use connection::{Connection, Ended};
use hearthgate_domain::delivery::Micros;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use subscriptions::Subscriptions;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use transport::Standing;

/// Reports that may wait for the gateway before a new connection is tried.
const REPORTS_BEFORE_CONNECTING: usize = 16;
/// The gateway's time to take the last reports.
const LAST_REPORTS: Duration = Duration::from_secs(1);

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
pub async fn run(options: SessionOptions, port: Port) -> SessionEnd {
    Session::new(options, port).run().await
}

struct Session {
    options: SessionOptions,
    desk: Desk,
    intake: Intake,
    waits: Waits,
    moves: Moves,
    /// The broker is another one than that of the connection before.
    has_moved: bool,
}

/// What goes on whether or not a connection stands.
struct Desk {
    port: Port,
    reports: Reports,
    outbox: Outbox,
    subscriptions: Subscriptions,
    ids: PacketIds,
    closing: bool,
    /// When the broker was last heard in this run: what it keeps for us it may have kept since then.
    heard_at: Option<Micros>,
}

enum Stop {
    Closed,
    Abandoned,
}

/// Why something was not waited for any longer.
enum Break {
    Stop(Stop),
    /// We are to go to another broker.
    Moved,
}

impl Session {
    fn new(mut options: SessionOptions, port: Port) -> Self {
        let moves = Moves::new(options.moves.take());
        let owner = identity::owner(&options.server, &options.client_id);
        let known = options.known.iter().find(|known| is_same_owner(known.session, owner));
        let remembered = known.map(|known| known.filters.clone()).unwrap_or_default();
        let desk = Desk {
            port,
            reports: Reports::new(options.batch_messages, options.batch_bytes),
            outbox: Outbox::new(&options),
            subscriptions: Subscriptions::new(options.protocol, remembered),
            ids: PacketIds::default(),
            closing: false,
            heard_at: None,
        };
        let waits = Waits::new(options.backoff);
        Session { options, desk, intake: Intake::default(), waits, moves, has_moved: false }
    }

    async fn run(mut self) -> SessionEnd {
        let stop = self.connect_for_ever().await;
        self.desk.last_reports().await;
        match stop {
            Stop::Closed => SessionEnd::Closed { unpublished: self.desk.outbox.len() },
            Stop::Abandoned => SessionEnd::Abandoned,
        }
    }

    async fn connect_for_ever(&mut self) -> Stop {
        loop {
            let end = match self.connect_and_serve().await {
                Ok((loss, lasted)) => self.pause_after(loss, lasted).await,
                Err(end) => Err(end),
            };
            match end {
                Ok(()) => {}
                Err(Break::Stop(stop)) => return stop,
                Err(Break::Moved) => self.move_on(),
            }
        }
    }

    /// One connection, or the attempt to make one; answers how it was lost, and how long it stood if it did.
    async fn connect_and_serve(&mut self) -> Result<(Loss, Option<Duration>), Break> {
        let connecting = Box::pin(transport::connect(&self.options));
        match self.desk.beside_unless_moved(&mut self.moves, connecting).await? {
            Err(loss) => Ok((loss, None)),
            Ok(standing) => {
                let since = Instant::now();
                match self.serve(standing).await {
                    Ended::Closed => Err(Break::Stop(Stop::Closed)),
                    Ended::Abandoned => Err(Break::Stop(Stop::Abandoned)),
                    Ended::Moved => Err(Break::Moved),
                    Ended::Lost(loss) => Ok((loss, Some(since.elapsed()))),
                }
            }
        }
    }

    async fn pause_after(&mut self, loss: Loss, lasted: Option<Duration>) -> Result<(), Break> {
        let (wait, reason) = self.waits.after(loss, lasted, &self.options.client_id);
        self.desk.reports.push(Event::Disconnected { reason, retry_in: Some(wait) });
        self.desk.beside_unless_moved(&mut self.moves, sleep(wait)).await?;
        self.desk.catch_up().await.map_err(Break::Stop)
    }

    async fn serve(&mut self, standing: Standing) -> Ended {
        let connection = next_connection();
        let session_present = standing.accepted.session_present;
        let Session { options, desk, intake, .. } = self;
        let owner = identity::owner(&options.server, &options.client_id);
        let known = options.known.iter_mut().find(|known| is_same_owner(known.session, owner));
        let before = known.as_ref().map(|known| known.session);
        let session = identity::session_id(&options.server, &options.client_id, before, session_present);
        match known {
            Some(known) => known.session = session,
            None => options.known.push(Known { session, filters: Vec::new() }),
        }
        // Packet identifiers of another broker mean nothing to this one.
        let continues = session_present && !std::mem::take(&mut self.has_moved);
        intake.connected(connection, session, continues);
        desk.connected(&standing, continues);
        desk.reports.push(Event::Connected { connection, session_present, session });
        let kept_since = session_present.then(|| desk.heard_at.unwrap_or_default());
        Connection::new(options, desk, intake, &mut self.moves, standing, kept_since).serve().await
    }

    /// Turns to the broker that is named now.
    fn move_on(&mut self) {
        let Some(Address { server, credentials }) = self.moves.latest() else { return };
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
        self.waits = Waits::new(options.backoff);
        desk.reports.push(Event::Disconnected { reason, retry_in: Some(Duration::ZERO) });
    }
}

impl Desk {
    /// `continues`: the broker still knows the packet identifiers of the connection before.
    fn connected(&mut self, standing: &Standing, continues: bool) {
        let stale = self.outbox.drop_stale();
        if stale > 0 {
            tracing::warn!(count = stale, "dropped QoS 0 messages that could not be published in time");
        }
        let grants = Accepted { session_present: continues, ..standing.accepted.clone() };
        if let Some(culprit) = self.outbox.connected(grants, &mut self.ids) {
            self.reports.dropped(culprit);
        }
        self.subscriptions.connected(&standing.accepted, &mut self.ids);
    }

    /// Waits for `work` while no connection stands, and serves the gateway meanwhile.
    async fn beside<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Stop> {
        let mut work = pin!(work);
        self.outbox.drop_stale();
        loop {
            if self.closing {
                return Err(Stop::Closed);
            }
            self.reports.deliver(&self.port.events).map_err(|_| Stop::Abandoned)?;
            tokio::select! {
                done = &mut work => return Ok(done),
                room = self.port.events.reserve(), if !self.reports.is_empty() => {
                    drop(room.map_err(|_| Stop::Abandoned)?);
                }
                () = self.port.events.closed(), if self.reports.is_empty() => return Err(Stop::Abandoned),
                batch = self.port.outgoing.recv(), if self.outbox.has_room() => match batch {
                    Some(batch) => self.outbox.push(batch),
                    None => self.closing = true,
                },
                changed = self.port.wanted.changed() => match changed {
                    Ok(()) => self.subscriptions.want(self.port.wanted.borrow_and_update().clone()),
                    Err(_) => self.closing = true,
                },
                () = asked_to_close(&mut self.port.closing) => self.closing = true,
            }
        }
    }

    /// The same, but no longer than we may stay with this broker.
    async fn beside_unless_moved<T>(&mut self, moves: &mut Moves, work: impl Future<Output = T>) -> Result<T, Break> {
        tokio::select! {
            done = self.beside(work) => done.map_err(Break::Stop),
            () = moves.ordered() => Err(Break::Moved),
        }
    }

    /// Waits until the gateway has taken most of the reports: a flapping connection must not pile them up.
    async fn catch_up(&mut self) -> Result<(), Stop> {
        while self.reports.len() > REPORTS_BEFORE_CONNECTING {
            self.beside(sleep(Duration::from_secs(1))).await?;
        }
        Ok(())
    }

    async fn last_reports(&mut self) {
        let deliver = async {
            while !self.reports.is_empty() {
                if self.reports.deliver(&self.port.events).is_err() {
                    return;
                }
                if !self.reports.is_empty() && self.port.events.reserve().await.is_err() {
                    return;
                }
            }
        };
        if timeout(LAST_REPORTS, deliver).await.is_err() {
            tracing::debug!(left = self.reports.len(), "the gateway did not take the last reports");
        }
    }
}

/// Returns when the gateway asks for the end, or has let go of every handle.
async fn asked_to_close(closing: &mut watch::Receiver<bool>) {
    drop(closing.wait_for(|it| *it).await);
}

/// Connections are counted through the process, so that tickets of an earlier session are void too.
fn next_connection() -> ConnectionNumber {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    COUNT.fetch_add(1, Ordering::Relaxed) + 1
}
