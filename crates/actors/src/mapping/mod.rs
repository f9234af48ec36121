//! Mapping: from a message to an `InternalMsg` for a device interface, and back.

pub mod interface;
pub mod mapper;
pub mod maps;
pub mod refusal;
