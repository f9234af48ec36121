//! The orderly end: intake first, then what is in hand, then the rest, the databases last.

use crate::wiring::RunningGateway;
use std::time::Duration;
use tracing::{debug, warn};

/// Time for the database to take what the journal holds; the rest is safe and waits for the next start.
const DRAIN: Duration = Duration::from_secs(3);

/// Ends all parts, in the order in which messages pass through them.
pub(super) async fn in_order(running: &RunningGateway) {
    running.close_intake().await;
    if tokio::time::timeout(DRAIN, running.drained()).await.is_err() {
        debug!("the journal keeps what is not written yet");
    }
    for part in &running.order {
        let Some(entry) = running.registry.get(part) else { continue };
        if let Err(reason) = entry.control.stop().await {
            warn!(%part, %reason, "did not stop in order");
        }
    }
    running.close_databases().await;
}
