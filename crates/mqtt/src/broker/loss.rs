//! What the broker lets go because of a bound.

/// What the broker has to let go because of a bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BrokerLoss {
    /// A message for one client, whose queue was full, or who held most when all queues together were.
    QueueFull,
    /// A message that was delivered and not retained.
    RetainedFull,
    /// The session of a client that is away, to make room for another's.
    SessionEvicted,
    /// A subscription beyond the limits.
    SubscriptionRefused,
}

impl BrokerLoss {
    /// All kinds.
    pub const ALL: [BrokerLoss; 4] =
        [BrokerLoss::QueueFull, BrokerLoss::RetainedFull, BrokerLoss::SessionEvicted, BrokerLoss::SubscriptionRefused];

    /// Its name in metrics.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            BrokerLoss::QueueFull => "queue_full",
            BrokerLoss::RetainedFull => "retained_full",
            BrokerLoss::SessionEvicted => "session_evicted",
            BrokerLoss::SubscriptionRefused => "subscription_refused",
        }
    }
}

/// Hears of each loss, on the broker's thread.
pub type LossObserver = Box<dyn Fn(BrokerLoss) + Send>;
