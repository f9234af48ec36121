//! The session against a real Mosquitto, with connections that are cut, brokers that restart, and clients that lie.

#![expect(clippy::unwrap_used, reason = "a test fails where it unwraps")]

mod broker;
mod gateway;
mod proxy;

mod delivery;
mod limits;
mod reconnecting;
mod transports;
