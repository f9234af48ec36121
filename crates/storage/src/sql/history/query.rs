//! Reading back: what a flow has stored, summed up in a bounded number of windows, from the rollup that serves best.

use super::flow::{FlowHistory, HistoryReading, WindowRange, reading_columns, reading_time, window_columns, within};
use super::statement::{HistoryStatement, WindowCell, integer_of, micros_of, real_of, text_of};
use super::window::{BooleanSummary, NUMBER_COLUMNS, NumberSummary, WindowSum, window_start};
use crate::sql::error::DatabaseError;
use crate::sql::typed::quote;
use crate::sql::{Database, TypedTable};
use hearthgate_domain::delivery::UnixMicros;
use std::collections::BTreeMap;

/// Windows of one answer.
pub const MOST_POINTS: i64 = 500;
/// Lengths of windows that are chosen when none is asked for, in seconds.
const LENGTHS: [i64; 17] = [
    1,
    5,
    10,
    30,
    60,
    300,
    900,
    1_800,
    3_600,
    10_800,
    21_600,
    43_200,
    86_400,
    7 * 86_400,
    30 * 86_400,
    90 * 86_400,
    365 * 86_400,
];
/// Rows that are read at once.
const PAGE: usize = 5_000;
/// Rows by which a rollup may be behind and still serve.
const BEHIND: i64 = 10_000;
/// What is younger than this is read from the rows, since its window may not be computed yet.
const FRESH: UnixMicros = 60_000_000;

/// What is asked for.
#[derive(Clone, Debug, Default)]
pub struct DataQuery {
    /// Named levels of the topic and what they must be.
    pub key: Vec<(String, String)>,
    /// From this time on, microseconds since 1970.
    pub from: UnixMicros,
    /// Up to this time.
    pub to: UnixMicros,
    /// Length of a window; none for the shortest that fits.
    pub every: Option<UnixMicros>,
    /// Only this field.
    pub field: Option<String>,
}

/// What a flow has stored.
#[derive(Clone, Debug, PartialEq)]
pub struct DataAnswer {
    /// Length of a window.
    pub every: UnixMicros,
    /// Which tables it is from.
    pub sources: Vec<String>,
    /// For each field its windows, by their start. Windows without a reading are left out.
    pub fields: BTreeMap<String, BTreeMap<UnixMicros, WindowSum>>,
}

/// What can't be answered.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The question makes no sense for this flow.
    #[error("{0}")]
    Question(String),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

/// Conditions on levels.
type Key = [(String, String)];

impl Database {
    /// Reads back what a flow has stored, in at most [`MOST_POINTS`] windows a field.
    ///
    /// # Errors
    /// The question makes no sense for this flow, or the database fails.
    pub async fn read_data(
        &self,
        history: &FlowHistory,
        query: &DataQuery,
        now: UnixMicros,
    ) -> Result<DataAnswer, DataError> {
        let every = choose_length(history, query, now)?;
        let mut answer = DataAnswer { every, sources: Vec::new(), fields: BTreeMap::new() };
        match &history.table {
            Some(table) => self.read_table(history, table, query, now, &mut answer).await?,
            None => self.read_attributes(history, query, &mut answer).await?,
        }
        Ok(answer)
    }

    async fn read_table(
        &self,
        history: &FlowHistory,
        table: &TypedTable,
        query: &DataQuery,
        now: UnixMicros,
        answer: &mut DataAnswer,
    ) -> Result<(), DataError> {
        for (level, _) in &query.key {
            if !table.levels().iter().any(|known| **known == **level) {
                let levels: Vec<&str> = table.levels().iter().map(|level| &**level).collect();
                return Err(DataError::Question(format!(
                    "{level} is no level of the topic; there are: {}",
                    list(&levels)
                )));
            }
        }
        let measures: Vec<(&str, bool)> = table.measures().collect();
        if let Some(field) = query.field.as_deref().filter(|field| measures.iter().all(|(name, _)| name != field)) {
            let names: Vec<&str> = measures.iter().map(|(name, _)| *name).collect();
            return Err(DataError::Question(format!("{field} is no numeric field; there are: {}", list(&names))));
        }
        if !self.has_table(table.name()).await? {
            return Ok(());
        }
        let mut from = query.from;
        let serving = history.rollups.iter().rev().find(|windows| answer.every % windows.length == 0);
        if let Some(windows) = serving
            && let Some(through) = self.computed_through(history, table, windows, now).await?
        {
            let through = through.min(query.to);
            let begin = window_start(from, windows.length);
            if begin < through {
                self.read_windows(history, table, windows, query, (begin, through), answer).await?;
                answer.sources.push(windows.table.clone());
                from = through;
            }
        }
        if from >= query.to {
            return Ok(());
        }
        answer.sources.push(table.name().to_owned());
        let mut taken: BTreeMap<UnixMicros, Vec<WindowSum>> = BTreeMap::new();
        let every = answer.every;
        self.each_reading(&history.code, table, &query.key, (from, query.to), |reading| {
            let sums = taken.entry(window_start(reading.at, every)).or_insert_with(|| super::flow::sums(table));
            for (sum, value) in sums.iter_mut().zip(&reading.values) {
                if let Some(value) = value {
                    sum.add(reading.at, *value);
                }
            }
        })
        .await?;
        for (start, sums) in taken {
            for ((name, _), mut sum) in measures.iter().zip(sums) {
                sum.close((start + every).min(query.to));
                put(answer, query, name, start, &sum);
            }
        }
        Ok(())
    }

    /// Through which time windows can be used instead of rows; `None` when they are not ready.
    async fn computed_through(
        &self,
        history: &FlowHistory,
        table: &TypedTable,
        windows: &WindowRange,
        now: UnixMicros,
    ) -> Result<Option<UnixMicros>, DatabaseError> {
        let (dialect, code) = (self.dialect(), &*history.code);
        let Some(progress) = self.progress(table.name(), code, windows.length).await? else { return Ok(None) };
        let highest = HistoryStatement::new(dialect, "SELECT ").push(integer_of(dialect, "max(id)")).push(" FROM ");
        let highest = self.ask(highest.name(table.name())).await?;
        let highest = highest.first().and_then(|row| row[0].integer()).unwrap_or(0);
        if highest - progress.position > BEHIND || !self.has_table(&windows.table).await? {
            return Ok(None);
        }
        let marked = HistoryStatement::new(dialect, "SELECT ").push(integer_of(dialect, "min(window_start)"));
        let marked = marked.push(" FROM hearthgate_rollup_windows WHERE ");
        let marked = self.ask(super::rollup::of_rollup(marked, table.name(), code, windows.length)).await?;
        let fresh = window_start(now.saturating_sub(FRESH), windows.length);
        Ok(Some(marked.first().and_then(|row| row[0].integer()).map_or(fresh, |marked| marked.min(fresh))))
    }

    /// Takes in windows of a rollup.
    async fn read_windows(
        &self,
        history: &FlowHistory,
        table: &TypedTable,
        windows: &WindowRange,
        query: &DataQuery,
        (from, to): (UnixMicros, UnixMicros),
        answer: &mut DataAnswer,
    ) -> Result<(), DatabaseError> {
        let dialect = self.dialect();
        let columns = window_columns(table).into_iter().map(|column| real_of(dialect, &quote(dialect, &column)));
        let columns: Vec<String> = [micros_of(dialect, "window_start")].into_iter().chain(columns).collect();
        // A window at a time, so that memory stays bounded however many devices there are.
        let mut begin = from;
        let span = windows.length.saturating_mul(i64::try_from(PAGE).unwrap_or(i64::MAX) / 10);
        while begin < to {
            let end = begin.saturating_add(span).min(to);
            let statement = HistoryStatement::new(dialect, format!("SELECT {} FROM ", columns.join(", ")));
            let statement = statement.name(&windows.table).push(" WHERE flow_code = ").bind(&*history.code);
            let statement = statement.push(" AND window_start >= ").bind_time(begin);
            let statement = with_levels(statement.push(" AND window_start < ").bind_time(end), &query.key);
            for row in self.ask(statement.push(" ORDER BY window_start")).await? {
                let Some(start) = row[0].integer() else { continue };
                let mut cells = &row[1..];
                for (name, is_truth) in table.measures() {
                    let width = if is_truth { 1 } else { NUMBER_COLUMNS.len() };
                    let (own, rest) = cells.split_at(width.min(cells.len()));
                    cells = rest;
                    let sum = match is_truth {
                        true => WindowSum::Truth(BooleanSummary::of_share(
                            own.first().and_then(WindowCell::real),
                            windows.length,
                        )),
                        false => WindowSum::Numbers(NumberSummary::read(own)),
                    };
                    put(answer, query, name, window_start(start, answer.every), &sum);
                }
            }
            begin = end;
        }
        Ok(())
    }

    /// Goes through readings in the order of their times.
    async fn each_reading(
        &self,
        code: &str,
        table: &TypedTable,
        key: &Key,
        (from, to): (UnixMicros, UnixMicros),
        mut take: impl FnMut(&HistoryReading),
    ) -> Result<(), DatabaseError> {
        let dialect = self.dialect();
        let mut place = Place::start(from);
        loop {
            let query = HistoryStatement::new(dialect, "SELECT ").push(reading_columns(dialect, table)).push(" FROM ");
            let query = query.name(table.name()).push(" WHERE flow_code = ").bind(code).push(" AND ");
            let query = with_levels(within(query, table, place.at, to), key);
            let query = query.push(format!(" ORDER BY {}, id LIMIT ", reading_time(table))).bind(page());
            let rows = self.ask(query.push(" OFFSET ").bind(place.taken)).await?;
            for row in &rows {
                if let Some(reading) = HistoryReading::read(table, row) {
                    place.take(reading.at);
                    take(&reading);
                }
            }
            if rows.len() < PAGE {
                return Ok(());
            }
        }
    }

    /// From the rows of `data`, whose values are texts: those that are no numbers are passed over.
    async fn read_attributes(
        &self,
        history: &FlowHistory,
        query: &DataQuery,
        answer: &mut DataAnswer,
    ) -> Result<(), DatabaseError> {
        let dialect = self.dialect();
        let code = &*history.code;
        answer.sources.push("data".to_owned());
        let mut last = String::new();
        loop {
            let name = text_of(dialect, "min(attribute_name)");
            let next = HistoryStatement::new(dialect, format!("SELECT {name} FROM data WHERE flow_code = ")).bind(code);
            let next = match &query.field {
                Some(field) => next.push(" AND attribute_name = ").bind(&**field),
                None => next,
            };
            let rows = self.ask(next.push(" AND attribute_name > ").bind(&*last)).await?;
            let Some(name) = rows.first().and_then(|row| row[0].text()).map(str::to_owned) else { return Ok(()) };
            if query.key.iter().all(|(level, _)| *level != name) {
                self.read_attribute(code, &name, query, answer).await?;
            }
            last = name;
        }
    }

    async fn read_attribute(
        &self,
        code: &str,
        name: &str,
        query: &DataQuery,
        answer: &mut DataAnswer,
    ) -> Result<(), DatabaseError> {
        let dialect = self.dialect();
        let columns = format!("{}, {}", micros_of(dialect, "d.received_at"), text_of(dialect, "d.attribute_value"));
        let mut place = Place::start(query.from);
        loop {
            let statement =
                HistoryStatement::new(dialect, format!("SELECT {columns} FROM data d WHERE d.flow_code = "));
            let statement = statement.bind(code).push(" AND d.attribute_name = ").bind(name);
            let statement = statement.push(" AND d.received_at >= ").bind_time(place.at);
            let mut statement = statement.push(" AND d.received_at < ").bind_time(query.to);
            for (level, value) in &query.key {
                statement = statement
                    .push(" AND EXISTS (SELECT 1 FROM data k WHERE k.flow_code = d.flow_code AND k.attribute_name = ")
                    .bind(&**level)
                    .push(
                        " AND k.received_at = d.received_at AND k.last_msg_id = d.last_msg_id AND k.attribute_value = ",
                    )
                    .bind(&**value)
                    .push(")");
            }
            let statement = statement.push(" ORDER BY d.received_at, d.id LIMIT ").bind(page());
            let rows = self.ask(statement.push(" OFFSET ").bind(place.taken)).await?;
            for row in &rows {
                let Some(at) = row[0].integer() else { continue };
                place.take(at);
                if let Some(value) = row[1].text().and_then(number) {
                    let mut sum = WindowSum::new(false);
                    sum.add(at, value);
                    put(answer, query, name, window_start(at, answer.every), &sum);
                }
            }
            if rows.len() < PAGE {
                return Ok(());
            }
        }
    }
}

/// Where reading goes on: from this time, behind so many rows of this very time.
struct Place {
    at: UnixMicros,
    taken: i64,
}

impl Place {
    fn start(at: UnixMicros) -> Self {
        Place { at, taken: 0 }
    }

    fn take(&mut self, at: UnixMicros) {
        let before = if at == self.at { self.taken } else { 0 };
        *self = Place { at, taken: before + 1 };
    }
}

fn page() -> i64 {
    i64::try_from(PAGE).unwrap_or(i64::MAX)
}

fn put(answer: &mut DataAnswer, query: &DataQuery, name: &str, start: UnixMicros, sum: &WindowSum) {
    if query.field.as_deref().is_some_and(|field| field != name) {
        return;
    }
    let is_empty = match sum {
        WindowSum::Numbers(numbers) => numbers.count == 0,
        WindowSum::Truth(truth) => truth.known_for == 0,
    };
    if !is_empty {
        let windows = answer.fields.entry(name.to_owned()).or_default();
        windows.entry(start).and_modify(|known| known.append(sum)).or_insert(*sum);
    }
}

fn with_levels(statement: HistoryStatement, key: &Key) -> HistoryStatement {
    key.iter()
        .fold(statement, |statement, (level, value)| statement.push(" AND ").name(level).push(" = ").bind(&**value))
}

fn number(text: &str) -> Option<f64> {
    match text {
        "true" | "True" => Some(1.0),
        "false" | "False" => Some(0.0),
        _ => text.parse().ok().filter(|number: &f64| number.is_finite()),
    }
}

fn list(names: &[&str]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// The length of the windows: what is asked for, or the shortest with not too many windows that something can serve.
fn choose_length(history: &FlowHistory, query: &DataQuery, now: UnixMicros) -> Result<UnixMicros, DataError> {
    let span = query.to.saturating_sub(query.from);
    if span <= 0 {
        return Err(DataError::Question("the time that is asked for is empty".into()));
    }
    let fits = |length: UnixMicros| span / length <= MOST_POINTS;
    let lengths = LENGTHS.map(|seconds| seconds * 1_000_000);
    let shortest = || lengths.into_iter().find(|length| fits(*length)).unwrap_or(span);
    match query.every {
        Some(every) if every < 1_000_000 => Err(DataError::Question("a window is at least 1s".into())),
        Some(every) if !fits(every) => Err(DataError::Question(format!(
            "that would be {} windows; at most {MOST_POINTS}: take windows of {}s or more",
            span / every,
            shortest() / 1_000_000
        ))),
        Some(every) => Ok(every),
        None => {
            // Rows from before that are gone: only windows tell of them.
            let rows_reach = history.retention.is_none_or(|retention| query.from >= now.saturating_sub(retention));
            let is_served = |length: UnixMicros| {
                let mut rollups = history.rollups.iter();
                rows_reach || history.rollups.is_empty() || rollups.any(|windows| length % windows.length == 0)
            };
            let own = history.rollups.iter().map(|windows| windows.length);
            let mut all: Vec<UnixMicros> = lengths.into_iter().chain(own).collect();
            all.sort_unstable();
            Ok(all.into_iter().find(|length| fits(*length) && is_served(*length)).unwrap_or(span))
        }
    }
}
