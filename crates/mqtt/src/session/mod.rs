//! The session with a remote broker.
