//! Operation: the supervisor, and what Home Assistant is told about the gateway.

pub mod announced;
pub mod discovery;
pub mod homeassistant;
pub mod notices;
pub mod supervisor;
