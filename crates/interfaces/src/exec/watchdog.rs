//! Whether a child lives: ready in time, and an answer to every ping.

use crate::DriverError;
use crate::config::ExecConfig;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

/// What the reader learned of the child, and the pings that the writer shall send.
pub(crate) struct ChildHeartbeat {
    ready: watch::Sender<bool>,
    pong: watch::Sender<u64>,
    ping: watch::Sender<u64>,
    handing_over: AtomicBool,
}

impl ChildHeartbeat {
    pub(crate) fn new() -> Self {
        let (ready, ping, pong) = (watch::Sender::new(false), watch::Sender::new(0), watch::Sender::new(0));
        ChildHeartbeat { ready, pong, ping, handing_over: AtomicBool::new(false) }
    }

    /// The child said that it is ready; whether it was the first time.
    pub(crate) fn ready(&self) -> bool {
        !self.ready.send_replace(true)
    }

    pub(crate) fn pong(&self, id: u64) {
        self.pong.send_if_modified(|last| {
            let newer = id > *last;
            *last = id.max(*last);
            newer
        });
    }

    /// While the reader waits for a slow listener the child can not be heard, and is not to blame.
    pub(crate) fn hand_over(&self, begins: bool) {
        self.handing_over.store(begins, Ordering::Relaxed);
    }

    pub(crate) fn readiness(&self) -> watch::Receiver<bool> {
        self.ready.subscribe()
    }

    pub(crate) fn pings(&self) -> watch::Receiver<u64> {
        self.ping.subscribe()
    }
}

/// Returns when the child must be given up.
pub(crate) async fn watch(pulse: &ChildHeartbeat, exec: &ExecConfig) -> DriverError {
    let mut readiness = pulse.readiness();
    if timeout(exec.start_timeout, readiness.wait_for(|ready| *ready)).await.is_err() {
        return DriverError::NotReady { within: exec.start_timeout };
    }
    let mut pongs = pulse.pong.subscribe();
    for id in 1.. {
        sleep(exec.ping_interval).await;
        pulse.ping.send_replace(id);
        while timeout(exec.ping_timeout, pongs.wait_for(|pong| *pong >= id)).await.is_err() {
            if !pulse.handing_over.load(Ordering::Relaxed) {
                return DriverError::Silent { within: exec.ping_timeout };
            }
        }
    }
    std::future::pending().await
}
