//! A will as it is written.

use crate::broker::packets::connect::ConnectWill;
use crate::broker::state::session::ClientIdentity;
use tokio::time::Instant;

/// A will with what is needed to publish it without its session, which may not be kept.
#[derive(Clone, Debug)]
pub(crate) struct KeptWill {
    pub(crate) identity: ClientIdentity,
    pub(crate) will: ConnectWill,
    /// Seconds; 0 is off.
    pub(crate) keep_alive: u16,
    /// When it is to be published; `None` while its client is connected.
    pub(crate) due: Option<Instant>,
}

impl KeptWill {
    /// What it takes in memory, about.
    pub(crate) fn weight(&self) -> usize {
        size_of::<KeptWill>() + self.will.topic.len() + self.will.payload.len() + self.will.properties.len()
    }
}
