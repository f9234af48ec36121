//! What a session keeps while connections come and go.

use crate::link::LinkPort;
use crate::session::broker_switch::BrokerSwitch;
use crate::session::events::PendingEvents;
use crate::session::inbound::packet::ConnackLimits;
use crate::session::outbound::outbox::SessionOutbox;
use crate::session::outbound::packet_ids::PacketIds;
use crate::session::subscriptions::SubscriptionSet;
use crate::session::transport::Established;
use hearthgate_domain::delivery::UnixMicros;
use std::pin::pin;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

/// What goes on whether or not a connection stands.
pub(super) struct SessionState {
    pub(super) port: LinkPort,
    pub(super) reports: PendingEvents,
    pub(super) outbox: SessionOutbox,
    pub(super) subscriptions: SubscriptionSet,
    pub(super) ids: PacketIds,
    pub(super) closing: bool,
    /// When the broker was last heard in this run: what it keeps for us it may have kept since then.
    pub(super) heard_at: Option<UnixMicros>,
}

impl SessionState {
    /// `continues`: the broker still knows the packet identifiers of the connection before.
    pub(super) fn connected(&mut self, standing: &Established, continues: bool) {
        let stale = self.outbox.drop_stale();
        if stale > 0 {
            tracing::warn!(count = stale, "dropped QoS 0 messages that could not be published in time");
        }
        let grants = ConnackLimits { session_present: continues, ..standing.accepted.clone() };
        if let Some(culprit) = self.outbox.connected(grants, &mut self.ids) {
            self.reports.dropped(culprit);
        }
        self.subscriptions.connected(&standing.accepted, &mut self.ids);
    }

    /// Waits for `work` while no connection stands, and serves the gateway meanwhile.
    pub(super) async fn beside<T>(&mut self, work: impl Future<Output = T>) -> Result<T, SessionStop> {
        let mut work = pin!(work);
        self.outbox.drop_stale();
        loop {
            if self.closing {
                return Err(SessionStop::Closed);
            }
            self.reports.deliver(&self.port.events).map_err(|_| SessionStop::Abandoned)?;
            tokio::select! {
                done = &mut work => return Ok(done),
                room = self.port.events.reserve(), if !self.reports.is_empty() => {
                    drop(room.map_err(|_| SessionStop::Abandoned)?);
                }
                () = self.port.events.closed(), if self.reports.is_empty() => return Err(SessionStop::Abandoned),
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
    pub(super) async fn beside_unless_moved<T>(
        &mut self,
        moves: &mut BrokerSwitch,
        work: impl Future<Output = T>,
    ) -> Result<T, ConnectionBreak> {
        tokio::select! {
            done = self.beside(work) => done.map_err(ConnectionBreak::Stop),
            () = moves.ordered() => Err(ConnectionBreak::Moved),
        }
    }

    /// Waits until the gateway has taken most of the reports: a flapping connection must not pile them up.
    pub(super) async fn catch_up(&mut self) -> Result<(), SessionStop> {
        while self.reports.len() > REPORTS_BEFORE_CONNECTING {
            self.beside(sleep(Duration::from_secs(1))).await?;
        }
        Ok(())
    }

    pub(super) async fn last_reports(&mut self) {
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

pub(super) enum SessionStop {
    Closed,
    Abandoned,
}

/// Why something was not waited for any longer.
pub(super) enum ConnectionBreak {
    Stop(SessionStop),
    /// We are to go to another broker.
    Moved,
}

/// Returns when the gateway asks for the end, or has let go of every handle.
pub(super) async fn asked_to_close(closing: &mut watch::Receiver<bool>) {
    drop(closing.wait_for(|it| *it).await);
}

/// Reports that may wait for the gateway before a new connection is tried.
pub(super) const REPORTS_BEFORE_CONNECTING: usize = 16;

/// The gateway's time to take the last reports.
pub(super) const LAST_REPORTS: Duration = Duration::from_secs(1);
