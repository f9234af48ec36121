//! Calls to HTTP endpoints: what is sent, how it is signed, and what the answer means for the message.
//!
//! One call is one attempt. Never in here: retry schedules, queues, circuit breakers and the decision when to call, which
//! belong to the caller; redirects, which are not followed; and answers in memory beyond their first KiB.

mod call;
mod client;
mod error;
mod hosts;
pub mod notification;
mod outcome;
mod reach;
mod signing;
pub mod template;

pub use call::{CallAuth, CallHeaders, EndpointAddress, EndpointCall};
pub use client::{ClientOptions, DRAIN_TIME, EndpointClient, trust_authority};
pub use error::{AddressError, EndpointClientError, HeaderError};
pub use hosts::{find_unfit_host, is_host_allowed};
pub use outcome::CallOutcome;
pub use reach::AddressSource;
pub use signing::{SecretError, SigningSecret};
