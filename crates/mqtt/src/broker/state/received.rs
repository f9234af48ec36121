//! QoS 2 messages that came in, and what acknowledging a message waits for.

/// What must have happened before a publisher gets its acknowledgement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct AckCondition {
    /// The gateway has acknowledged this ticket number; 0 for none.
    pub(crate) ticket: u64,
    /// The store has committed this generation; 0 for none.
    pub(crate) generation: u64,
}

/// A QoS 2 message that came in and is not yet released.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReceivedMessage {
    pub(crate) wait: AckCondition,
    /// Known from before a restart only: the gateway may not have it, see [`crate::broker::state`].
    pub(crate) restored: bool,
}
