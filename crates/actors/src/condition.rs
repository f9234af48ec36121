//! What keeps a part from its work while nothing needs a restart, for readiness and the log.

use crate::lock::lock;
use hearthgate_domain::duration::RoundedDuration;
use std::sync::{Arc, Mutex};
use std::time::Instant;
use tokio::sync::watch;

/// Where a part says what is wrong. Cloning it is cheap; all clones speak of the same part.
#[derive(Clone, Debug)]
pub struct Condition {
    reason: watch::Sender<String>,
    since: Arc<Mutex<Option<Instant>>>,
}

impl Condition {
    /// A part without trouble, and where others see how it is: empty when all is well.
    #[must_use]
    pub fn new() -> (Self, watch::Receiver<String>) {
        let (reason, seen) = watch::channel(String::new());
        (Condition { reason, since: Arc::default() }, seen)
    }

    /// Notes why it does not work. `true` when that is news: the log is told once, not with each attempt.
    #[must_use]
    pub fn is_news(&self, reason: &str) -> bool {
        self.reason.send_if_modified(|known| {
            let is_news = known != reason;
            if is_news {
                lock(&self.since).get_or_insert_with(Instant::now);
                reason.clone_into(known);
            }
            is_news
        })
    }

    /// It works. Answers for how long it did not, when that it works is news, for the log.
    pub fn clear(&self) -> Option<RoundedDuration> {
        let is_news = self.reason.send_if_modified(|known| !std::mem::take(known).is_empty());
        let since = is_news.then(|| lock(&self.since).take())??;
        Some(RoundedDuration(since.elapsed()))
    }

    /// The reason that was noted last; empty when all is well.
    #[must_use]
    pub fn reason(&self) -> String {
        self.reason.borrow().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_and_its_end_are_news_once() {
        let (condition, seen) = Condition::new();
        assert!(condition.clear().is_none());
        assert!(condition.is_news("refused") && !condition.is_news("refused") && condition.is_news("timed out"));
        assert_eq!(*seen.borrow(), "timed out");
        assert!(condition.clear().is_some() && condition.clear().is_none());
        assert_eq!(condition.reason(), "");
    }
}
