//! Whether the broker would let us in, found out without touching the session that it may keep for us.

use super::backoff::LossKind;
use super::options::SessionOptions;
use super::transport;
use std::time::Duration;

/// Why no connection came about.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProbeError {
    /// The broker answered, and said no: a setting is wrong.
    #[error("{0}")]
    Refused(String),
    /// There was no answer, or none that is MQTT's.
    #[error("{0}")]
    Unreachable(String),
}

/// Connects with the credentials and hangs up. The client identifier is another one, the session a clean one and there is
/// no will, so that a gateway that runs with these options notices nothing.
///
/// # Errors
/// The broker's words, or the network's.
pub async fn try_connect(mut options: SessionOptions) -> Result<(), ProbeError> {
    options.client_id.push_str("-check");
    options.clean = true;
    options.session_expiry = Duration::ZERO;
    options.will = None;
    match transport::connect(&options).await {
        Ok(_) => Ok(()),
        Err(loss) if loss.kind == LossKind::Refused => Err(ProbeError::Refused(loss.reason)),
        Err(loss) => Err(ProbeError::Unreachable(loss.reason)),
    }
}
