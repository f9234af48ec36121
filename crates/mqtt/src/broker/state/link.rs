//! A connection, as the rest of the broker sees it: output to write, acknowledgements to give.

use super::output::OutputBuffer;
use crate::broker::packets::outgoing;
use crate::broker::state::received::AckCondition;
use crate::broker::state::tree::SessionKey;
use crate::codec::ProtocolLevel;
use crate::codec::reason::ReasonCode;
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
    pub(crate) reason: ReasonCode,
    pub(crate) wait: AckCondition,
}

/// What a client is told once the store has committed what it is told of.
#[derive(Debug)]
pub(crate) enum ReplyBody {
    /// PUBREL (6) or PUBCOMP (7).
    Acknowledgement { kind: u8, reason: ReasonCode },
    /// SUBACK.
    Subscribed(Vec<u8>),
    /// UNSUBACK.
    Unsubscribed(Vec<u8>),
}

/// An answer that waits for a generation of the store.
#[derive(Debug)]
pub(super) struct PendingReply {
    pub(super) generation: u64,
    pub(super) packet_id: u16,
    pub(super) answer: ReplyBody,
}

impl PendingReply {
    fn weight(&self) -> usize {
        let codes = match &self.answer {
            ReplyBody::Acknowledgement { .. } => 0,
            ReplyBody::Subscribed(codes) | ReplyBody::Unsubscribed(codes) => codes.capacity(),
        };
        size_of::<PendingReply>() + codes
    }
}

/// One connection.
#[derive(Debug)]
pub(crate) struct ClientLink {
    pub(crate) version: ProtocolLevel,
    /// `None` once another connection has taken the session over.
    pub(crate) session: Option<SessionKey>,
    pub(crate) client_id: Rc<str>,
    pub(crate) out: OutputBuffer,
    /// When the client last took something of it.
    pub(crate) last_written: Instant,
    pub(super) waker: Option<Waker>,
    /// Held by the connection's task.
    pub(super) alive: Weak<()>,
    /// In the order in which the messages came.
    pub(crate) acks: VecDeque<PendingAck>,
    /// In the order of the packets that they answer.
    pub(super) replies: VecDeque<PendingReply>,
    pub(super) reply_bytes: usize,
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

impl ClientLink {
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

    pub(crate) fn acknowledge(&mut self, kind: u8, packet_id: u16, reason: ReasonCode) {
        outgoing::acknowledgement(self.out.begin_packet(), self.version, kind, packet_id, reason);
    }

    /// Bytes that wait to be written, or to be allowed to.
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.out.len() + self.reply_bytes
    }

    /// The client is not read for the answers that wait for the store, and not for what it does not take.
    pub(crate) fn is_held_up(&self, crowd: usize) -> bool {
        self.out.len() < crowd && self.waiting_bytes() >= crowd
    }

    /// Answers a packet behind what waits already.
    pub(super) fn reply(&mut self, reply: PendingReply) {
        self.reply_bytes += reply.weight();
        self.replies.push_back(reply);
    }

    /// Writes the answers that are due; returns whether there are more.
    pub(super) fn release_replies(&mut self, committed: u64) -> bool {
        while let Some(reply) = self.replies.pop_front_if(|reply| reply.generation <= committed) {
            self.reply_bytes -= reply.weight();
            let PendingReply { packet_id, answer, generation: _ } = reply;
            match answer {
                ReplyBody::Acknowledgement { kind, reason } => self.acknowledge(kind, packet_id, reason),
                ReplyBody::Subscribed(codes) => {
                    outgoing::suback(self.out.begin_packet(), self.version, packet_id, &codes)
                }
                ReplyBody::Unsubscribed(codes) => {
                    outgoing::unsuback(self.out.begin_packet(), self.version, packet_id, &codes)
                }
            }
        }
        !self.replies.is_empty()
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
