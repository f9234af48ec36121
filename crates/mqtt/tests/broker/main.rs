//! The embedded broker as its clients see it: over TCP, with raw bytes where a library would be too polite.

#![expect(clippy::unwrap_used, reason = "a test fails where it unwraps")]

mod acknowledgement;
mod bounds;
mod clients;
mod connecting;
mod durability;
mod figures;
mod harness;
mod protocol;
mod publishing;
mod security;
mod sessions;
mod shared;
mod websockets;
mod wills;
