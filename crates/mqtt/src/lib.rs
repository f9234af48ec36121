//! Where messages come from and go to: a session with a remote broker, or the broker inside this process.
//!
//! Both sides speak through one [`link`], so that whoever uses it need not know which one it is. Never in here: actors,
//! SQL, HTTP, files other than certificates and the broker's own store.

pub mod broker;
pub(crate) mod codec;
pub mod link;
pub(crate) mod pem;
pub mod session;
pub(crate) mod stable_hash;
