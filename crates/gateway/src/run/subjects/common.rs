//! What the subjects have in common.

use chrono::{DateTime, Utc};
use hearthgate_api::Failure;
use hearthgate_domain::delivery::Micros;
use hearthgate_storage::sql::Database;
use tokio::sync::watch;

pub(super) fn unavailable(error: impl std::fmt::Display) -> Failure {
    Failure::Unavailable(error.to_string())
}

/// The database, if it was reached.
pub(super) fn database(seen: &watch::Receiver<Option<Database>>) -> Result<Database, Failure> {
    let none = || Failure::Unavailable("the database can not be reached now; see the overview for the reason".into());
    seen.borrow().clone().ok_or_else(none)
}

pub(super) fn time(at: Micros) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(at).unwrap_or_default()
}
