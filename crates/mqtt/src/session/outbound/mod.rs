//! To the broker: what is published, and the packet identifiers that are in flight.

pub(crate) mod outbox;
pub(crate) mod packet_ids;
pub(crate) mod packets;
