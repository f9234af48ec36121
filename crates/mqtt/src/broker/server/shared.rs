//! What the tasks of the connections share.

use super::auth::Rights;
use crate::broker::server::auth::Gatekeeper;
use crate::broker::state::Hub;
use crate::codec::Version;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

/// What the connections' tasks share.
pub(crate) struct Shared {
    pub(crate) hub: Rc<RefCell<Hub>>,
    pub(crate) gatekeeper: Gatekeeper,
    pub(crate) connect_timeout: Duration,
    pub(crate) max_packet_size: usize,
}

/// A client that is let in.
pub(crate) struct Admitted {
    pub(crate) version: Version,
    pub(crate) is_bridge: bool,
    pub(crate) rights: Rights,
    pub(crate) session_expiry: u32,
    pub(crate) alive: Rc<()>,
}
