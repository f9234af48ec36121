//! What the tasks of the connections share.

use super::auth::ClientRights;
use crate::broker::server::auth::AccessControl;
use crate::broker::state::BrokerState;
use crate::codec::ProtocolLevel;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

/// What the connections' tasks share.
pub(crate) struct ServerState {
    pub(crate) hub: Rc<RefCell<BrokerState>>,
    pub(crate) gatekeeper: AccessControl,
    pub(crate) connect_timeout: Duration,
    pub(crate) max_packet_size: usize,
}

/// A client that is let in.
pub(crate) struct AdmittedClient {
    pub(crate) version: ProtocolLevel,
    pub(crate) is_bridge: bool,
    pub(crate) rights: ClientRights,
    pub(crate) session_expiry: u32,
    pub(crate) alive: Rc<()>,
}
