//! The journal that is written, beside which a database's position is looked at: either may have been put back from a copy.

use crate::journal::{JournalHandle, Seq};
use crate::sql::DatabaseError;
use uuid::Uuid;

/// See the module.
pub(crate) struct FollowedPosition {
    journal: JournalHandle,
    consumer: String,
}

impl FollowedPosition {
    pub(crate) fn new(journal: JournalHandle, consumer: &str) -> Self {
        Self { journal, consumer: consumer.to_owned() }
    }

    /// To be noted beside the position.
    pub(crate) fn run(&self) -> Option<Uuid> {
        self.journal.run()
    }

    /// Through which entry the journal has noted that all is written.
    pub(crate) fn released(&self) -> Seq {
        self.journal.released(&self.consumer).unwrap_or(0)
    }

    /// Nobody writes, who finds that another has taken his place.
    pub(crate) fn check_rival(&self, left_by: Option<Uuid>, label: &str) -> Result<(), DatabaseError> {
        if left_by.is_some_and(|run| self.journal.is_rivalled_by(run)) {
            return Err(DatabaseError::Schema(format!(
                "another gateway writes to {label} with a copy of this journal ({}); nothing more is written from here. \
                 Stop one of the two, a second gateway needs a state folder of its own; or restart this one, if the database was \
                 put back from an old backup",
                self.journal.id()
            )));
        }
        Ok(())
    }

    /// What a position says of the entries that are in this journal.
    pub(crate) fn bound(&self, position: Seq, left_by: Option<Uuid>, label: &str) -> Seq {
        let holds = self.journal.bound_position(position, left_by);
        if holds < position {
            tracing::warn!(
                database = label,
                position,
                from = holds + 1,
                "the journal is older than the database, or a copy: its entries from that number on are other ones than \
                 those that the database has, and are written"
            );
        } else if position < self.released() || left_by.is_some_and(|run| self.journal.has_noted_after(run)) {
            tracing::warn!(
                database = label,
                position,
                written = self.released(),
                "the database is older than the journal: what the journal still has of the entries since then is written again"
            );
        } else if left_by.is_some_and(|run| !self.journal.knows_run(run)) {
            tracing::warn!(
                database = label,
                position,
                "the database was last written with another copy of this journal: what each of the two has from before \
                 stays as it is, and what comes in from now on is written"
            );
        }
        holds
    }

    /// The run is noted beside the position.
    pub(crate) fn note(&self) {
        if let Err(error) = self.journal.note_run() {
            tracing::warn!(%error, "which run of the journal the database knows could not be kept");
        }
    }
}
