//! Which MQTT session this is, as a number that outlives the process as long as the broker keeps the session.

use super::options::SessionOptions;

/// The low bits say whose session it is (server and client identifier), the others are the epoch: drawn anew whenever the
/// broker has forgotten us.
const OWNER_BITS: u32 = 24;

/// The number for a connection. `known` is the number of the connection before, or of the last run.
pub(super) fn session_id(options: &SessionOptions, known: Option<u64>, session_present: bool) -> u64 {
    let owner = owner(options);
    match known {
        Some(known) if session_present && known & owner_mask() == owner => known,
        _ => (fastrand::u64(1..=u64::MAX >> OWNER_BITS) << OWNER_BITS) | owner,
    }
}

fn owner_mask() -> u64 {
    (1 << OWNER_BITS) - 1
}

/// FNV-1a: the same in every build, as the number is kept in files.
fn owner(options: &SessionOptions) -> u64 {
    let text = format!("{}\0{}", options.server, options.client_id);
    let hash = text
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    (hash ^ (hash >> OWNER_BITS)) & owner_mask()
}

#[cfg(test)]
mod tests {
    use super::super::options::Server;
    use super::*;

    fn options(port: u16) -> SessionOptions {
        SessionOptions::new(Server::Tcp { host: "localhost".into(), port }, "gateway")
    }

    #[test]
    fn a_session_keeps_its_number_until_the_broker_forgets_it() {
        let first = session_id(&options(1), None, false);
        assert_eq!(session_id(&options(1), Some(first), true), first);
        assert_ne!(session_id(&options(1), Some(first), false), first);
    }

    #[test]
    fn the_number_of_another_server_is_not_taken_over() {
        let first = session_id(&options(1), None, false);
        assert_ne!(session_id(&options(2), Some(first), true), first);
    }
}
