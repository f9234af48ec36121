//! What the subjects have in common.

use chrono::{DateTime, Utc};
use hearthgate_api::SubjectFailure;
use hearthgate_domain::delivery::UnixMicros;
use hearthgate_storage::sql::Database;
use tokio::sync::watch;

pub(super) fn unavailable(error: impl std::fmt::Display) -> SubjectFailure {
    SubjectFailure::Unavailable(error.to_string())
}

/// The database, if it was reached.
pub(super) fn database(seen: &watch::Receiver<Option<Database>>) -> Result<Database, SubjectFailure> {
    let none =
        || SubjectFailure::Unavailable("the database can not be reached now; see the overview for the reason".into());
    seen.borrow().clone().ok_or_else(none)
}

pub(super) fn time(at: UnixMicros) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(at).unwrap_or_default()
}
