//! What went through the connections, counted.

use std::collections::HashMap;
use tokio::time::Instant;

/// What went through the connections.
#[derive(Debug)]
pub(crate) struct TrafficCounters {
    pub(super) since: Instant,
    pub(crate) most_links: usize,
    pub(crate) packets_received: u64,
    pub(crate) bytes_received: u64,
    pub(crate) bytes_sent: u64,
    pub(crate) messages_received: u64,
    pub(crate) sent: PacketTally,
}

/// Packets that go out.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PacketTally {
    pub(crate) packets: u64,
    /// How many of them are PUBLISH.
    pub(crate) messages: u64,
}

impl Default for TrafficCounters {
    fn default() -> Self {
        TrafficCounters {
            since: Instant::now(),
            most_links: 0,
            packets_received: 0,
            bytes_received: 0,
            bytes_sent: 0,
            messages_received: 0,
            sent: PacketTally::default(),
        }
    }
}

impl TrafficCounters {
    /// So many bytes were written to a connection, and these packets were begun.
    pub(crate) fn note_sent(&mut self, bytes: usize, tally: PacketTally) {
        self.bytes_sent += bytes as u64;
        self.sent.packets += tally.packets;
        self.sent.messages += tally.messages;
    }
}

/// What subscribers were told last, by topic.
pub(super) type ToldFigures = HashMap<&'static str, String>;
