//! What is wrong with a row of `flows`.

/// A field and what is wrong with it.
pub(super) type RowProblem = (&'static str, String);
