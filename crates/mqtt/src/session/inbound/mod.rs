//! From the broker: packets are read, checked, and handed on; what was handed on is acknowledged in order.

pub(crate) mod control;
pub(crate) mod intake;
pub(crate) mod parser;
pub(crate) mod topics;
