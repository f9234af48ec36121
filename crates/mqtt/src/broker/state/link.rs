//! A connection, as the rest of the broker sees it: output to write, acknowledgements to give.

use super::output::Output;
use crate::broker::packets::outgoing;
use crate::broker::state::session::Wait;
use crate::broker::state::tree::SessionKey;
use crate::codec::Version;
use crate::codec::reason::Reason;
use std::collections::{HashMap, VecDeque};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::Waker;
use tokio::time::Instant;

/// Above this the output takes no more messages; they wait in the session's queue.
pub(crate) const SOFT_OUTPUT: usize = 64 * 1024;

/// A PUBACK or PUBREC that is due once its condition holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PendingAck {
    /// 4 PUBACK, 5 PUBREC.
    pub(crate) kind: u8,
    pub(crate) packet_id: u16,
    pub(crate) reason: Reason,
    pub(crate) wait: Wait,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) version: Version,
    /// `None` once another connection has taken the session over.
    pub(crate) session: Option<SessionKey>,
    pub(crate) client_id: Rc<str>,
    pub(crate) out: Output,
    /// When the client last took something of it.
    pub(crate) last_written: Instant,
    pub(super) waker: Option<Waker>,
    /// Held by the connection's task.
    pub(super) alive: Weak<()>,
    /// In the order in which the messages came.
    pub(crate) acks: VecDeque<PendingAck>,
    /// How many of `acks` are PUBACKs.
    pub(crate) pubacks: usize,
    /// QoS 1 and 2 messages that the client takes at a time.
    pub(crate) window: usize,
    /// Bytes of the largest packet that the client takes.
    pub(crate) limit: u32,
    /// Topic aliases that the client takes.
    pub(crate) alias_maximum: u16,
    pub(crate) aliases: HashMap<Arc<str>, u16>,
    /// A message with an origin came on this connection and went to the gateway.
    pub(super) has_published: bool,
    /// The connection ends once the output is written.
    pub(crate) closing: bool,
}

impl Link {
    /// Its task is gone without a word.
    pub(super) fn is_lost(&self) -> bool {
        self.alive.strong_count() == 0
    }

    pub(crate) fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    pub(crate) fn wait_with(&mut self, waker: &Waker) {
        match &mut self.waker {
            Some(known) => known.clone_from(waker),
            None => self.waker = Some(waker.clone()),
        }
    }

    pub(crate) fn acknowledge(&mut self, kind: u8, packet_id: u16, reason: Reason) {
        outgoing::acknowledgement(self.out.tail(), self.version, kind, packet_id, reason);
    }

    /// The alias for a topic, and whether the client knows it; gives one out while there are any.
    pub(crate) fn alias(&mut self, topic: &Arc<str>) -> Option<(u16, bool)> {
        if self.alias_maximum == 0 || topic.len() > crate::broker::topic::MAX_REMEMBERED_BYTES {
            return None;
        }
        if let Some(&alias) = self.aliases.get(topic) {
            return Some((alias, true));
        }
        let next = u16::try_from(self.aliases.len() + 1).ok().filter(|&next| next <= self.alias_maximum)?;
        self.aliases.insert(topic.clone(), next);
        Some((next, false))
    }
}
