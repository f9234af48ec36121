//! What the broker tells of itself: as topics below `$SYS`, under the names that Mosquitto uses, and to whoever asks.

use super::topic;
use std::time::Duration;

/// Figures of a broker since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BrokerFigures {
    /// How long it runs.
    pub uptime: Duration,
    /// Clients with a connection.
    pub clients_connected: u64,
    /// Sessions, with a connection or kept without one.
    pub clients_total: u64,
    /// The most connections at a time.
    pub clients_maximum: u64,
    /// Packets of clients, CONNECT left out.
    pub packets_received: u64,
    /// Packets to clients.
    pub packets_sent: u64,
    /// Bytes of clients, CONNECT and what TLS and WebSocket add left out.
    pub bytes_received: u64,
    /// Bytes to clients, what TLS and WebSocket add left out.
    pub bytes_sent: u64,
    /// PUBLISH packets of clients.
    pub messages_received: u64,
    /// PUBLISH packets to clients.
    pub messages_sent: u64,
    /// Messages that clients did not get because their queue was full.
    pub messages_dropped: u64,
    /// Messages that wait for clients.
    pub messages_queued: u64,
    /// Subscriptions.
    pub subscriptions: u64,
    /// Retained messages.
    pub retained: u64,
}

impl BrokerFigures {
    /// The topics below `$SYS` and their payloads.
    #[must_use]
    pub fn topics(&self) -> [(&'static str, String); 15] {
        let absent = self.clients_total.saturating_sub(self.clients_connected);
        [
            ("$SYS/broker/version", concat!("hearthgate version ", env!("CARGO_PKG_VERSION")).to_owned()),
            ("$SYS/broker/uptime", format!("{} seconds", self.uptime.as_secs())),
            ("$SYS/broker/clients/connected", self.clients_connected.to_string()),
            ("$SYS/broker/clients/disconnected", absent.to_string()),
            ("$SYS/broker/clients/total", self.clients_total.to_string()),
            ("$SYS/broker/clients/maximum", self.clients_maximum.to_string()),
            ("$SYS/broker/messages/received", self.packets_received.to_string()),
            ("$SYS/broker/messages/sent", self.packets_sent.to_string()),
            ("$SYS/broker/bytes/received", self.bytes_received.to_string()),
            ("$SYS/broker/bytes/sent", self.bytes_sent.to_string()),
            ("$SYS/broker/publish/messages/received", self.messages_received.to_string()),
            ("$SYS/broker/publish/messages/sent", self.messages_sent.to_string()),
            ("$SYS/broker/publish/messages/dropped", self.messages_dropped.to_string()),
            ("$SYS/broker/subscriptions/count", self.subscriptions.to_string()),
            ("$SYS/broker/retained messages/count", self.retained.to_string()),
        ]
    }
}

/// Whether a filter matches one of the broker's own topics below `$SYS`.
#[must_use]
pub fn matches_figures(filter: &str) -> bool {
    filter.starts_with('$') && BrokerFigures::default().topics().iter().any(|(topic, _)| topic::matches(filter, topic))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_filters_below_sys_match_the_brokers_own_topics() {
        for filter in ["$SYS/#", "$SYS/broker/+", "$SYS/broker/retained messages/count", "$SYS/+/clients/total"] {
            assert!(matches_figures(filter), "{filter}");
        }
        for filter in ["#", "+/#", "$SYS/broker/load/#", "$SYS", "$sys/#"] {
            assert!(!matches_figures(filter), "{filter}");
        }
    }
}
