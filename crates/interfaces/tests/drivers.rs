//! The drivers against real things: a pty, a TCP listener, child processes, and a gateway that is killed.

#![expect(clippy::unwrap_used, reason = "clippy allows it in test functions only, not in what they call")]

#[path = "drivers/support.rs"]
mod support;

#[path = "drivers/dummy.rs"]
mod dummy;
#[path = "drivers/examples.rs"]
mod examples;
#[path = "drivers/exec.rs"]
mod exec;
#[path = "drivers/guard.rs"]
mod guard;
#[path = "drivers/python.rs"]
mod python;
#[path = "drivers/serial.rs"]
mod serial;
#[path = "drivers/tcp.rs"]
mod tcp;
