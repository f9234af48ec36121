//! Which copies of a message others than the flows asked for, for the router to tell them from those of the flows.
//!
//! With MQTT 5 a broker sends a copy for each matching subscription and says for which ([`SubscriptionIds`]). A flow takes the copy of
//! its own filter. A copy of a filter that nobody wants any more (it waited in the session while the flows were changed)
//! is for every flow that its topic concerns, or it would be lost; hence the router must know the others' filters.

use hearthgate_domain::delivery::SubscriptionIds;
use hearthgate_mqtt::link::{LinkSubscription, subscription_identifier};
use std::collections::{HashMap, HashSet};
use std::sync::{PoisonError, RwLock};

/// Everybody's filters but those of the flows, as identifiers. Stated before they are subscribed, read by the router.
#[derive(Debug, Default)]
pub struct SubscriptionRegistry(RwLock<HashMap<&'static str, HashSet<u32>>>);

impl SubscriptionRegistry {
    /// From now on `whose` filters are these.
    pub fn set(&self, whose: &'static str, filters: &[LinkSubscription]) {
        let identifiers = filters.iter().map(|it| subscription_identifier(&it.filter)).collect();
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(whose, identifiers);
    }

    /// Whether a copy came for one of them.
    #[must_use]
    pub fn include(&self, via: &SubscriptionIds) -> bool {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        via.identifiers().iter().any(|identifier| all.values().any(|theirs| theirs.contains(identifier)))
    }
}
