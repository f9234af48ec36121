//! What of ours may be retained at the broker: only who remembers it over restarts can take it back.

use std::sync::Arc;

/// The topics that something retained is announced on, kept over restarts.
pub trait AnnouncedMemory {
    /// The topics as they were stored last.
    fn topics(&self) -> &[String];

    /// Stores the topics, before anything is announced on them; none forgets all.
    ///
    /// # Errors
    /// In words; reported and otherwise harmless.
    fn announced(&mut self, topics: &[Arc<str>]) -> Result<(), String>;
}
