//! What keeps a part from its work while nothing needs a restart, for readiness and the log.

use tokio::sync::watch;

/// Where a part says what is wrong. Cloning it is cheap; all clones speak of the same part.
#[derive(Clone, Debug)]
pub struct Condition(watch::Sender<String>);

impl Condition {
    /// A part without trouble, and where others see how it is: empty when all is well.
    #[must_use]
    pub fn new() -> (Self, watch::Receiver<String>) {
        let (sender, receiver) = watch::channel(String::new());
        (Condition(sender), receiver)
    }

    /// Notes why it does not work. `true` when that is news: the log is told once, not with each attempt.
    #[must_use]
    pub fn is_news(&self, reason: &str) -> bool {
        self.0.send_if_modified(|known| {
            let is_news = known != reason;
            if is_news {
                reason.clone_into(known);
            }
            is_news
        })
    }

    /// It works.
    pub fn clear(&self) {
        self.0.send_if_modified(|known| !std::mem::take(known).is_empty());
    }

    /// The reason that was noted last; empty when all is well.
    #[must_use]
    pub fn reason(&self) -> String {
        self.0.borrow().clone()
    }
}
