//! What became of old messages, counted.

use serde::{Deserialize, Serialize};

/// How many messages of which sort.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackfillCounts {
    /// Without a row in the flow's table.
    pub missing: u64,
    /// With a row that says something else.
    pub different: u64,
    /// With a row that is as it has to be.
    pub equal: u64,
    /// That the flow, or a column, refuses now: they are left alone.
    pub refused: u64,
}

impl BackfillCounts {
    /// All of them.
    #[must_use]
    pub fn messages(&self) -> u64 {
        self.missing + self.different + self.equal + self.refused
    }

    pub(super) fn add(&mut self, other: BackfillCounts) {
        self.missing += other.missing;
        self.different += other.different;
        self.equal += other.equal;
        self.refused += other.refused;
    }
}
