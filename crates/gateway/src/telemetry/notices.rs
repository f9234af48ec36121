//! Errors of the log as notices for people. It stands behind the layer that folds repeats, and passes their counts over.

use super::fold::TARGET as COUNTS;
use super::repeated_line::LineText;
use hearthgate_actors::messages::GatewayNotice;
use hearthgate_actors::operation::notices::NoticeSource;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::sync::{Mutex, mpsc};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// Notices that nobody has taken yet; beyond them new ones are dropped.
const WAITING: usize = 200;
/// Only our own errors: those of libraries are told by who uses them.
const OURS: &str = "hearthgate";

/// The layer that picks errors.
pub(super) struct NoticeLayer(mpsc::Sender<GatewayNotice>);

/// A layer, and where its notices come out.
pub(super) fn notice_layer() -> (NoticeLayer, NoticeSource) {
    let (sender, receiver) = mpsc::channel(WAITING);
    (NoticeLayer(sender), Arc::new(Mutex::new(receiver)))
}

impl<S: Subscriber> Layer<S> for NoticeLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let is_ours = metadata.target().starts_with(OURS) && metadata.target() != COUNTS;
        if *metadata.level() != Level::ERROR || !is_ours {
            return;
        }
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let at = i64::try_from(since.as_micros()).unwrap_or(i64::MAX);
        let notice = GatewayNotice { text: LineText::of(event).into_line(), at };
        // Who is flooded with errors knows enough by the first ones.
        let _is_taken = self.0.try_send(notice).is_ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing_subscriber::layer::SubscriberExt;

    #[test]
    fn our_errors_are_notices_and_nothing_else_is() {
        let (layer, source) = notice_layer();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            tracing::error!(target: "hearthgate_storage::journal", count = 3, "full");
            tracing::warn!(target: "hearthgate_storage::journal", "nearly full");
            tracing::error!(target: "sqlx", "gone");
            tracing::error!(target: COUNTS, "full … 10 times in 3 s");
        });
        let mut source = source.try_lock().unwrap();
        assert_eq!(source.try_recv().unwrap().text, "full count=3");
        assert!(source.try_recv().is_err());
    }
}
