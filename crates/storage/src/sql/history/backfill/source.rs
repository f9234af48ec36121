//! Old messages, as `data` has them.

use super::super::statement::{HistoryStatement, integer_of, micros_of, text_of};
use crate::sql::Database;
use crate::sql::error::DatabaseError;
use hearthgate_domain::delivery::UnixMicros;

/// Rows that are read at once. A message with more is read alone.
const PAGE: usize = 3_000;
/// Rows of one message, beyond which it is no message of ours.
const MOST_ROWS: usize = 1 << 20;

/// A message as its rows tell of it.
#[derive(Clone, Debug)]
pub(super) struct OldMessage {
    /// Its number.
    pub(super) number: i64,
    pub(super) received_at: UnixMicros,
    /// The id of its last row.
    pub(super) last_id: i64,
    pub(super) attributes: Vec<(String, String)>,
}

/// Which rows.
#[derive(Clone, Copy, Debug)]
pub(super) struct SourceRange<'a> {
    pub(super) code: &'a str,
    pub(super) since: UnixMicros,
    pub(super) until: UnixMicros,
    /// Rows with greater ids were written after it was begun.
    pub(super) end: i64,
}

impl Database {
    /// The next whole messages beyond a row; none when there are no more.
    pub(super) async fn old_messages(
        &self,
        range: SourceRange<'_>,
        after: i64,
    ) -> Result<Vec<OldMessage>, DatabaseError> {
        let dialect = self.dialect();
        let columns = [
            integer_of(dialect, "id"),
            integer_of(dialect, "last_msg_id"),
            micros_of(dialect, "received_at"),
            text_of(dialect, "attribute_name"),
            text_of(dialect, "attribute_value"),
        ];
        let mut page = PAGE;
        loop {
            let query = HistoryStatement::new(dialect, format!("SELECT {} FROM data WHERE id > ", columns.join(", ")));
            let query =
                query.bind(after).push(" AND id <= ").bind(range.end).push(" AND flow_code = ").bind(range.code);
            let query = query.push(" AND received_at >= ").bind_time(range.since).push(" AND received_at < ");
            let query = query.bind_time(range.until).push(" ORDER BY id LIMIT ");
            let rows = self.ask(query.bind(i64::try_from(page).unwrap_or(i64::MAX))).await?;
            let is_last = rows.len() < page;
            let mut messages: Vec<OldMessage> = Vec::new();
            for row in rows {
                let (Some(id), Some(number), Some(received_at), Some(name), Some(value)) =
                    (row[0].integer(), row[1].integer(), row[2].integer(), row[3].text(), row[4].text())
                else {
                    continue;
                };
                let attribute = (name.to_owned(), value.to_owned());
                match messages.last_mut().filter(|message| message.number == number) {
                    Some(message) => {
                        message.attributes.push(attribute);
                        message.last_id = id;
                    }
                    None => messages.push(OldMessage { number, received_at, last_id: id, attributes: vec![attribute] }),
                }
            }
            // The rest of the last one may be on the next page.
            if !is_last && messages.len() <= 1 && page < MOST_ROWS {
                page *= 8;
                continue;
            }
            if !is_last && messages.len() > 1 {
                messages.pop();
            }
            return Ok(messages);
        }
    }
}
