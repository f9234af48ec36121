//! Orders to go to another broker.

use super::options::BrokerAddress;
use tokio::sync::watch;

/// Where orders come from, if any may come.
#[derive(Debug)]
pub(super) struct BrokerSwitch(Option<watch::Receiver<BrokerAddress>>);

impl BrokerSwitch {
    pub(super) fn new(orders: Option<watch::Receiver<BrokerAddress>>) -> Self {
        BrokerSwitch(orders)
    }

    /// Returns when there is an order that was not seen yet. Dropping the future loses nothing.
    pub(super) async fn ordered(&mut self) {
        if let Some(orders) = &mut self.0
            && orders.changed().await.is_ok()
        {
            return;
        }
        // No order will ever come.
        std::future::pending().await
    }

    /// The newest order.
    pub(super) fn latest(&mut self) -> Option<BrokerAddress> {
        self.0.as_mut().map(|orders| orders.borrow_and_update().clone())
    }
}
