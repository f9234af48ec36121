//! Times as the databases take them.

use chrono::{DateTime, Utc};
use hearthgate_domain::delivery::UnixMicros;

/// A time beyond the years that a calendar has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} µs is no time that can be stored")]
pub(crate) struct UnstorableTime(UnixMicros);

impl From<UnstorableTime> for sqlx::Error {
    fn from(error: UnstorableTime) -> Self {
        sqlx::Error::Encode(error.into())
    }
}

/// The time to bind to a statement.
pub(crate) fn utc_time(at: UnixMicros) -> Result<DateTime<Utc>, UnstorableTime> {
    DateTime::from_timestamp_micros(at).ok_or(UnstorableTime(at))
}
