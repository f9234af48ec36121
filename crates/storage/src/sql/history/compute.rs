//! What a window's rows come to.

use super::flow::{HistoryReading, WindowRange, reading_columns, reading_time, sums, with_key, within};
use super::rollup::SeriesKey;
use super::statement::{HistoryStatement, WindowCell, integer_of, text_of};
use super::window::WindowSum;
use crate::sql::error::DatabaseError;
use crate::sql::typed::quote;
use crate::sql::{Database, SqlDialect, TypedTable};
use hearthgate_domain::delivery::UnixMicros;
use std::collections::BTreeSet;

/// Rows that are read at once.
const PAGE: i64 = 5_000;

impl Database {
    /// What a window's rows come to, for each device. Reads page by page, so that memory stays bounded.
    pub(crate) async fn compute(
        &self,
        code: &str,
        table: &TypedTable,
        windows: &WindowRange,
        start: UnixMicros,
    ) -> Result<Vec<(SeriesKey, Vec<WindowSum>)>, DatabaseError> {
        let (dialect, end) = (self.dialect(), start.saturating_add(windows.length));
        let mut answer = Vec::new();
        for key in self.keys(code, table, start, end).await? {
            let mut sums = sums(table);
            let mut after = (UnixMicros::MIN, i64::MIN);
            loop {
                let from = start.max(after.0);
                let query =
                    HistoryStatement::new(dialect, "SELECT ").push(reading_columns(dialect, table)).push(" FROM ");
                let query = query.name(table.name()).push(" WHERE flow_code = ").bind(code).push(" AND ");
                let query = with_key(within(query, table, from, end), table, &key);
                // Rows of the page's last time come again; ids tell them apart.
                let query = query.push(format!(" ORDER BY {}, id LIMIT ", reading_time(table))).bind(PAGE);
                let query = query.push(" OFFSET ").bind(self.taken_at(code, table, &key, after).await?);
                let rows = self.ask(query).await?;
                for row in &rows {
                    let Some(reading) = HistoryReading::read(table, row) else { continue };
                    after = (reading.at, reading.id);
                    // The database may take other cases and blanks for the same.
                    if reading.key == key {
                        for (sum, value) in sums.iter_mut().zip(&reading.values) {
                            if let Some(value) = value {
                                sum.add(reading.at, *value);
                            }
                        }
                    }
                }
                if i64::try_from(rows.len()).is_ok_and(|count| count < PAGE) {
                    break;
                }
            }
            sums.iter_mut().for_each(|sum| sum.close(end));
            answer.push((key, sums));
        }
        Ok(answer)
    }

    /// How many rows of this very time were taken already: those through this id.
    async fn taken_at(
        &self,
        code: &str,
        table: &TypedTable,
        key: &SeriesKey,
        (at, id): (UnixMicros, i64),
    ) -> Result<i64, DatabaseError> {
        if id == i64::MIN {
            return Ok(0);
        }
        let dialect = self.dialect();
        let count = HistoryStatement::new(dialect, "SELECT ").push(integer_of(dialect, "count(*)")).push(" FROM ");
        let count = count.name(table.name()).push(" WHERE flow_code = ").bind(code).push(" AND ");
        let count = with_key(within(count, table, at, at + 1), table, key).push(" AND id <= ").bind(id);
        let rows = self.ask(count).await?;
        Ok(rows.first().and_then(|row| row[0].integer()).unwrap_or(0))
    }

    /// The devices with rows in a span of time.
    async fn keys(
        &self,
        code: &str,
        table: &TypedTable,
        from: UnixMicros,
        to: UnixMicros,
    ) -> Result<BTreeSet<SeriesKey>, DatabaseError> {
        let dialect = self.dialect();
        let exact = if dialect == SqlDialect::MySql { " COLLATE utf8mb4_bin" } else { "" };
        let level = |level: &str| format!("{}{exact}", text_of(dialect, &quote(dialect, level)));
        let levels: Vec<String> = table.levels().iter().map(AsRef::as_ref).map(level).collect();
        let columns = if levels.is_empty() { "1".to_owned() } else { levels.join(", ") };
        let query = HistoryStatement::new(dialect, format!("SELECT DISTINCT {columns} FROM ")).name(table.name());
        let query = within(query.push(" WHERE flow_code = ").bind(code).push(" AND "), table, from, to);
        let rows = self.ask(query).await?;
        let key = |row: &Vec<WindowCell>| match levels.is_empty() {
            true => Vec::new(),
            false => row.iter().map(|cell| cell.text().map(str::to_owned)).collect(),
        };
        Ok(rows.iter().map(key).collect())
    }
}
