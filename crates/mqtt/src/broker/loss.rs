//! What the broker lets go because of a bound.

/// What the broker has to let go because of a bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// A message for one client, whose queue was full, or who held most when all queues together were.
    QueueFull,
    /// A message that was delivered and not retained.
    RetainedFull,
    /// The session of a client that is away, to make room for another's.
    SessionEvicted,
    /// A subscription beyond the limits.
    SubscriptionRefused,
}

impl Loss {
    /// All kinds.
    pub const ALL: [Loss; 4] = [Loss::QueueFull, Loss::RetainedFull, Loss::SessionEvicted, Loss::SubscriptionRefused];

    /// Its name in metrics.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Loss::QueueFull => "queue_full",
            Loss::RetainedFull => "retained_full",
            Loss::SessionEvicted => "session_evicted",
            Loss::SubscriptionRefused => "subscription_refused",
        }
    }
}

/// Hears of each loss, on the broker's thread.
pub type LossObserver = Box<dyn Fn(Loss) + Send>;
