//! Which MQTT session this is, as a number that outlives the process as long as the broker keeps the session.

use super::options::BrokerServer;
use crate::stable_hash::stable_hash;

/// The low bits say whose session it is (server and client identifier), the others are the epoch: drawn anew whenever the
/// broker has forgotten us.
const OWNER_BITS: u32 = 24;

/// Whether two sessions are of the same client identifier with the same broker, one perhaps after the other.
#[must_use]
pub fn is_same_owner(one: u64, other: u64) -> bool {
    (one ^ other) & owner_mask() == 0
}

/// The number for a connection. `known` is the number of the connection before, or of the last run.
pub(super) fn session_id(server: &BrokerServer, client_id: &str, known: Option<u64>, session_present: bool) -> u64 {
    let owner = owner(server, client_id);
    match known {
        Some(known) if session_present && is_same_owner(known, owner) => known,
        _ => (fastrand::u64(1..=u64::MAX >> OWNER_BITS) << OWNER_BITS) | owner,
    }
}

fn owner_mask() -> u64 {
    (1 << OWNER_BITS) - 1
}

/// A fixed number for a client identifier at a server.
pub(super) fn owner(server: &BrokerServer, client_id: &str) -> u64 {
    let hash = stable_hash(format!("{server}\0{client_id}").bytes());
    (hash ^ (hash >> OWNER_BITS)) & owner_mask()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(port: u16, known: Option<u64>, session_present: bool) -> u64 {
        session_id(&BrokerServer::Tcp { host: "localhost".into(), port }, "gateway", known, session_present)
    }

    #[test]
    fn a_session_keeps_its_number_until_the_broker_forgets_it() {
        let first = id(1, None, false);
        assert_eq!(id(1, Some(first), true), first);
        assert_ne!(id(1, Some(first), false), first);
    }

    #[test]
    fn the_number_of_another_server_is_not_taken_over() {
        let first = id(1, None, false);
        assert_ne!(id(2, Some(first), true), first);
    }
}
