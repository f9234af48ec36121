//! The task that publishes the messages.

use super::lots::Message;
use super::plan::{Payloads, Plan};
use crate::publisher::Publisher;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

const TICK: Duration = Duration::from_millis(10);

/// Publishes at an even rate until it is told to stop.
pub(super) struct Load {
    pub(super) publisher: Arc<Publisher>,
    goes_on: watch::Sender<bool>,
    /// Held while messages are being handed over.
    burst: Arc<Mutex<()>>,
    task: JoinHandle<()>,
}

impl Load {
    pub(super) fn start(publisher: Publisher, plan: &Plan) -> Self {
        let publisher = Arc::new(publisher);
        let burst = Arc::new(Mutex::new(()));
        let (goes_on, may_go) = watch::channel(true);
        let task = tokio::spawn(publish(Arc::clone(&publisher), may_go, Arc::clone(&burst), plan.rate, plan.payloads));
        Load { publisher, goes_on, burst, task }
    }

    /// Publishes no more for now, and waits until the broker has acknowledged everything; how much that is.
    pub(super) async fn pause(&self, patience: Duration) -> anyhow::Result<u64> {
        self.goes_on.send_replace(false);
        drop(self.burst.lock().await);
        Ok(self.publisher.all_acknowledged(patience).await?.published)
    }

    pub(super) fn resume(&self) {
        self.goes_on.send_replace(true);
    }

    pub(super) fn sent(&self) -> u64 {
        self.publisher.account().published
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn publish(
    to: Arc<Publisher>,
    mut may_go: watch::Receiver<bool>,
    burst: Arc<Mutex<()>>,
    rate: u64,
    payloads: Payloads,
) {
    let mut ticks = tokio::time::interval(TICK);
    // What could not be sent while the broker was away is not made up for in one burst.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut index, mut due) = (0, 0.0);
    while may_go.wait_for(|go| *go).await.is_ok() {
        ticks.tick().await;
        let _handing_over = burst.lock().await;
        due += rate as f64 * TICK.as_secs_f64();
        while due >= 1.0 && *may_go.borrow() {
            let message = Message::of(index, payloads);
            if message.retain {
                to.publish_retained(&message.topic, message.payload).await;
            } else {
                to.publish(&message.topic, message.payload).await;
            }
            index += 1;
            due -= 1.0;
        }
        due = due.min(1.0);
    }
}
