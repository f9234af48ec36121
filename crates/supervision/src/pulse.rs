//! Whether an actor still takes its messages, found out from another thread.
//!
//! The watchdog asks by raising a number and waking the guard; the guard answers when its thread polls it, and the mailbox
//! when it may hand out messages. An idle actor is woken four times within its `stall_timeout` and not once more.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::sync::Notify;

#[derive(Debug, Default)]
pub(crate) struct ActorHeartbeat {
    asked: AtomicU64,
    pub(crate) thread: AtomicU64,
    pub(crate) mailbox: AtomicU64,
    pub(crate) wake: Notify,
    /// Health says `Running`; saves the guard from looking there after every turn.
    pub(crate) shown_running: AtomicBool,
}

impl ActorHeartbeat {
    /// The guard is being polled, so its thread is not blocked.
    pub(crate) fn thread_answers(&self) {
        self.thread.store(self.asked.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// The mailbox hands out messages, so the actor does not sit in `ctx.wait`.
    pub(crate) fn mailbox_answers(&self) {
        self.mailbox.store(self.asked.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Resolves when the watchdog wants an answer.
    pub(crate) async fn asked(&self) {
        self.wake.notified().await;
    }

    pub(crate) fn answered(&self, by: &AtomicU64) -> bool {
        by.load(Ordering::Relaxed) >= self.asked.load(Ordering::Relaxed)
    }

    pub(crate) fn ask(&self) {
        self.asked.fetch_add(1, Ordering::Relaxed);
    }
}
