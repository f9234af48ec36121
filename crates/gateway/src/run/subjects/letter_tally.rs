//! How many dead letters there are, asked of the database once for all who look on.

use hearthgate_storage::dead_letters::DeadLetters;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// So long, what was counted is told again: a viewer asks each second.
const FRESH: Duration = Duration::from_secs(1);

/// Clones are the same.
#[derive(Clone)]
pub(super) struct LetterTally {
    letters: DeadLetters,
    /// Held while it is counted: whoever asks meanwhile gets the same answer.
    last: Arc<Mutex<Option<TallyAnswer>>>,
}

/// When it was counted, and the count or why there is none.
type TallyAnswer = (Instant, Result<u64, String>);

impl LetterTally {
    pub(super) fn new(letters: DeadLetters) -> Self {
        LetterTally { letters, last: Arc::default() }
    }

    /// The count, or why it cannot be told.
    pub(super) async fn count(&self) -> Result<u64, String> {
        let mut last = self.last.lock().await;
        if let Some((at, told)) = &*last
            && at.elapsed() < FRESH
        {
            return told.clone();
        }
        let told = self.letters.totals().await.map(|totals| totals.letters).map_err(|error| error.to_string());
        *last = Some((Instant::now(), told.clone()));
        told
    }
}
