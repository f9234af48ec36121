//! The session with a remote broker, MQTT 3.1.1 or 5: it stands for ever, through cut connections and broker restarts.
//!
//! [`run`] drives the broker's end of a [`link`](crate::link). It never acknowledges what the gateway has not, never
//! keeps more in memory than its options say, and never waits for anything but the network and room to report.
//!
//! What belongs to MQTT's wire format comes from rumqttc. Its event loop is not used: it flushes each acknowledgement on
//! its own, hands out one event at a time, refuses a large message by reconnecting for ever, gives up on an acknowledgement
//! that it does not know, drops outgoing messages when a session is lost, and hides the network of its MQTT 5 half.

mod backoff;
mod connection;
mod control;
mod identity;
mod incoming;
mod intake;
mod options;
mod outbox;
mod outgoing;
mod packet_ids;
mod pings;
mod reason;
mod reports;
mod subscriptions;
mod tls;
mod topics;
mod transport;
mod websocket;
mod wire;

pub use options::{Backoff, Credentials, Protocol, Server, SessionOptions, Will};
pub use tls::{ClientCertificate, Tls, TlsError};

use crate::link::{Connection as ConnectionNumber, Event, Port};
use backoff::Waits;
use connection::{Connection, Ended};
use intake::Intake;
use outbox::Outbox;
use packet_ids::PacketIds;
use reports::Reports;
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
    session: Option<u64>,
}

/// What goes on whether or not a connection stands.
struct Desk {
    port: Port,
    reports: Reports,
    outbox: Outbox,
    subscriptions: Subscriptions,
    ids: PacketIds,
    closing: bool,
}

enum Stop {
    Closed,
    Abandoned,
}

impl Session {
    fn new(mut options: SessionOptions, port: Port) -> Self {
        let remembered = std::mem::take(&mut options.remembered);
        let desk = Desk {
            port,
            reports: Reports::new(options.batch_messages, options.batch_bytes),
            outbox: Outbox::new(&options),
            subscriptions: Subscriptions::new(options.protocol, remembered),
            ids: PacketIds::default(),
            closing: false,
        };
        let (waits, session) = (Waits::new(options.backoff), options.session);
        Session { options, desk, intake: Intake::default(), waits, session }
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
            let connecting = Box::pin(transport::connect(&self.options));
            let (loss, lasted) = match self.desk.beside(connecting).await {
                Err(stop) => return stop,
                Ok(Err(loss)) => (loss, None),
                Ok(Ok(standing)) => {
                    let since = Instant::now();
                    match self.serve(standing).await {
                        Ended::Closed => return Stop::Closed,
                        Ended::Abandoned => return Stop::Abandoned,
                        Ended::Lost(loss) => (loss, Some(since.elapsed())),
                    }
                }
            };
            let (wait, reason) = self.waits.after(loss, lasted, &self.options.client_id);
            self.desk.reports.push(Event::Disconnected { reason, retry_in: Some(wait) });
            if let Err(stop) = self.desk.beside(sleep(wait)).await {
                return stop;
            }
            if let Err(stop) = self.desk.catch_up().await {
                return stop;
            }
        }
    }

    async fn serve(&mut self, standing: Standing) -> Ended {
        let connection = next_connection();
        let session_present = standing.accepted.session_present;
        let session = identity::session_id(&self.options, self.session, session_present);
        self.session = Some(session);
        self.intake.connected(connection, session, session_present);
        self.desk.connected(&standing);
        self.desk.reports.push(Event::Connected { connection, session_present, session });
        Connection::new(&self.options, &mut self.desk, &mut self.intake, standing).serve().await
    }
}

impl Desk {
    fn connected(&mut self, standing: &Standing) {
        let stale = self.outbox.drop_stale();
        if stale > 0 {
            tracing::warn!(count = stale, "dropped QoS 0 messages that could not be published in time");
        }
        if let Some(culprit) = self.outbox.connected(standing.accepted.clone(), &mut self.ids) {
            self.reports.dropped(culprit);
        }
        self.subscriptions.connected(standing.accepted.session_present, &mut self.ids);
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
