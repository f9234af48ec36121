//! The packets of the broker: what clients send, and what they are sent.

pub(crate) mod connect;
pub(crate) mod incoming;
pub(crate) mod outgoing;
pub(crate) mod publish;
#[cfg(test)]
mod tests;
