//! What the subjects have in common.

use chrono::{DateTime, Utc};
use hearthgate_api::SubjectFailure;
use hearthgate_domain::delivery::UnixMicros;
use hearthgate_domain::flow::Flow;
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

/// Bytes as text, if they are text, and in hexadecimal digits.
pub(super) fn written(bytes: &[u8]) -> (Option<String>, String) {
    let hex = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    (std::str::from_utf8(bytes).ok().map(str::to_owned), hex)
}

/// The topic of a message that a flow is tested with: the one that was named, if the flow listens to it, or its own.
pub(super) fn test_topic(flow: &Flow, named: Option<String>) -> Result<String, SubjectFailure> {
    let filter = flow.topic.filter();
    let listens = filter.as_str();
    match named.filter(|topic| !topic.is_empty()) {
        Some(topic) if !filter.matches(&topic) => {
            Err(SubjectFailure::Invalid(format!("the flow listens to {listens}, not to {topic}")))
        }
        Some(topic) => Ok(topic),
        None if filter.has_wildcard() => {
            Err(SubjectFailure::Invalid(format!("the flow listens to {listens}; name one topic to test with")))
        }
        None => Ok(listens.to_owned()),
    }
}

/// Now.
pub(super) fn now() -> UnixMicros {
    Utc::now().timestamp_micros()
}

pub(super) fn time(at: UnixMicros) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(at).unwrap_or_default()
}
