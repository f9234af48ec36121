//! History: the index that reading needs, sizes, retention and rollups.

use crate::support::{Kind, NOON, TestDatabase, flow, on_every_database, record};
use hearthgate_domain::flow::{Flow, FlowRow};
use hearthgate_domain::payload::JsonPayload;
use hearthgate_storage::sql::{
    DataAnswer, DataQuery, Database, FlowHistory, FlowRecord, MOST_POINTS, RecordBatch, RecordWriter, RollupStep,
    TypedTable, WindowSum,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// A window: room, start, min, max, sum, count, first, last, share.
type WindowRow = (String, i64, f64, f64, f64, f64, f64, f64, f64);

on_every_database! {
    a_new_database_has_the_index_that_reading_needs
    an_index_that_is_missing_is_made_again_only_where_the_table_is_ours
    sizes_tell_rows_and_the_growth_of_a_day
    windows_are_what_a_recomputation_gives_after_any_number_of_crashes
    rows_go_only_when_their_windows_are_durable_and_late_ones_still_count
    retention_removes_old_rows_of_its_flow_and_nothing_else
    a_range_reads_alike_from_rows_and_from_windows
    readings_in_data_are_read_back_by_device
}

const MINUTE: i64 = 60_000_000;
const DAY: i64 = 24 * 60 * MINUTE;
/// 2026-11-01 00:00:00 UTC.
const START: i64 = 1_793_491_200_000_000;

/// A flow with a table of its own, in the database.
struct Climate {
    flow: Flow,
    table: Arc<TypedTable>,
    history: FlowHistory,
    writer: RecordWriter,
    seq: u64,
}

impl Climate {
    async fn new(database: &Database, options: &str) -> Self {
        let row = FlowRow {
            topic: "climate/{room}".into(),
            payload_schema: r#"{"t": "float", "on": "bool"}"#.into(),
            options: Some(options.into()),
            ..flow("CLIMATE")
        };
        let id = database.insert_flow(&row).await.unwrap();
        let flow = Flow::compile(FlowRow { id, ..row }).unwrap();
        let table = TypedTable::of(&flow).unwrap().unwrap();
        let history = FlowHistory::of(&flow).unwrap().unwrap();
        let writer = RecordWriter::new(database, Uuid::now_v7()).unwrap();
        Climate { flow, table, history, writer, seq: 0 }
    }

    /// Stores readings: room, time of the event, temperature.
    async fn store(&mut self, readings: &[(&str, i64, f64)]) {
        let mut records = Vec::new();
        for (room, at, t) in readings {
            self.seq += 1;
            let text = format!(r#"{{"t": {t:?}, "on": {}, "at": {}}}"#, *t > 20.0, *at as f64 / 1e6);
            let payload = JsonPayload::parse(text.as_bytes()).unwrap();
            let typed = Some(self.table.row(&[("room", room)], &payload, Some(*at)));
            let one = record(self.seq, self.flow.id, &[]);
            records.push(FlowRecord { received_at: *at, typed, store: false, ..one });
        }
        self.writer.write(&RecordBatch { records, through: self.seq }).await.unwrap();
    }

    async fn roll_up(&self, database: &Database, now: i64) {
        while database.roll_up(&self.history, now).await.unwrap() == RollupStep::Done {}
    }

    async fn prune(&self, database: &Database, now: i64) {
        while database.prune(&self.history, now).await.unwrap() == RollupStep::Done {}
    }
}

/// What is in a table of windows: room, start, min, max, sum, count, first, last, share; by room and start.
async fn windows(test: &TestDatabase, table: &str) -> Vec<(String, i64, [f64; 7])> {
    let start = match test.kind {
        Kind::Sqlite => "CAST(strftime('%s', window_start) AS INTEGER)",
        Kind::MySql => "CAST(TIMESTAMPDIFF(SECOND, '1970-01-01', window_start) AS SIGNED)",
        Kind::Postgres => "CAST(extract(epoch FROM window_start) AS bigint)",
    };
    let share = if test.kind == Kind::MySql { "`on_share`" } else { "\"on_share\"" };
    let query = format!(
        "SELECT room, {start}, t_min, t_max, t_sum, t_count, t_first, t_last, {share} FROM {table} ORDER BY room, window_start"
    );
    let rows: Vec<WindowRow> = test.rows(&query).await;
    rows.into_iter().map(|r| (r.0, r.1 * 1_000_000, [r.2, r.3, r.4, r.5, r.6, r.7, r.8])).collect()
}

/// The same, from the readings alone.
fn recomputed(readings: &[(&str, i64, f64)], length: i64) -> Vec<(String, i64, [f64; 7])> {
    let mut groups: BTreeMap<(String, i64), Vec<(i64, f64)>> = BTreeMap::new();
    for (room, at, t) in readings {
        groups.entry(((*room).to_owned(), at.div_euclid(length) * length)).or_default().push((*at, *t));
    }
    let sum_up = |((room, start), mut values): ((String, i64), Vec<(i64, f64)>)| {
        values.sort_by_key(|(at, _)| *at);
        let sum = values.iter().fold(None, |sum: Option<f64>, (_, t)| Some(sum.map_or(*t, |sum| sum + t))).unwrap();
        let min = values.iter().map(|(_, t)| *t).fold(f64::INFINITY, f64::min);
        let max = values.iter().map(|(_, t)| *t).fold(f64::NEG_INFINITY, f64::max);
        let ends = values.iter().skip(1).map(|(at, _)| *at).chain([start + length]);
        let held: Vec<(i64, bool)> = values.iter().zip(ends).map(|((at, t), end)| (end - at, *t > 20.0)).collect();
        let on: i64 = held.iter().filter(|(_, on)| *on).map(|(held, _)| held).sum();
        let all: i64 = held.iter().map(|(held, _)| held).sum();
        let (first, last) = (values[0].1, values[values.len() - 1].1);
        (room, start, [min, max, sum, values.len() as f64, first, last, on as f64 / all as f64])
    };
    groups.into_iter().map(sum_up).collect()
}

async fn windows_are_what_a_recomputation_gives_after_any_number_of_crashes(kind: Kind) {
    let Some(test) = TestDatabase::new(kind).await else { return };
    let (database, _) = test.with_flows(&[]).await;
    let options = r#"{"table": "climate", "event_time": "at", "rollups": [{"every": "15m"}, {"every": "1d"}]}"#;
    let mut climate = Climate::new(&database, options).await;
    let mut readings = Vec::new();
    for round in 0..5_i64 {
        // Some come late, by up to two hours.
        let new: Vec<_> = (0..40_i64)
            .map(|at| {
                let late = if at % 7 == 0 { 120 * MINUTE } else { 0 };
                let room = ["hall", "Hall", "kitchen"][at as usize % 3];
                (room, START + round * 60 * MINUTE + at * MINUTE + at - late, 20.0 + (fastrand::f64() - 0.5) / 3.0)
            })
            .collect();
        climate.store(&new).await;
        readings.extend(new);
        let now = START + (round + 1) * 60 * MINUTE;
        for _ in 0..3 {
            // Cut off anywhere, as by a crash: its connections go with it.
            let crashing = Database::connect(&test.options()).await.unwrap();
            for _ in 0..fastrand::u8(0..4) {
                crashing.roll_up(&climate.history, now).await.unwrap();
            }
            let patience = Duration::from_micros(fastrand::u64(100..8_000));
            // Whether it was done or cut off is all the same.
            let _ = tokio::time::timeout(patience, crashing.roll_up(&climate.history, now)).await;
        }
    }
    climate.roll_up(&database, START + 3 * DAY).await;
    assert_eq!(windows(&test, "climate_15m").await, in_order(recomputed(&readings, 15 * MINUTE), &test).await);
    assert_eq!(windows(&test, "climate_1d").await, in_order(recomputed(&readings, DAY), &test).await);
}

/// Sorted as the database sorts texts.
async fn in_order(mut windows: Vec<(String, i64, [f64; 7])>, test: &TestDatabase) -> Vec<(String, i64, [f64; 7])> {
    let rooms: Vec<(String,)> = test.rows("SELECT DISTINCT room FROM climate_15m ORDER BY room").await;
    windows.sort_by_key(|(room, start, _)| (rooms.iter().position(|(known,)| known == room), *start));
    windows
}

async fn rows_go_only_when_their_windows_are_durable_and_late_ones_still_count(kind: Kind) {
    let Some(test) = TestDatabase::new(kind).await else { return };
    let (database, _) = test.with_flows(&[]).await;
    let options =
        r#"{"table": "climate", "event_time": "at", "retention": "1d", "rollups": [{"every": "15m", "keep": "10d"}]}"#;
    let mut climate = Climate::new(&database, options).await;
    let mut readings: Vec<_> = (0..100).map(|at| ("hall", START + at * MINUTE, at as f64)).collect();
    climate.store(&readings).await;
    let now = START + 3 * DAY;
    climate.prune(&database, now).await;
    assert_eq!(test.number("SELECT COUNT(*) FROM climate").await, 100, "no row goes before its window is there");
    climate.roll_up(&database, now).await;
    climate.prune(&database, now).await;
    let kept = test.number("SELECT COUNT(*) FROM climate").await;
    assert_eq!(kept, i64::from(kind == Kind::Sqlite), "SQLite keeps the newest row, whose id might come back");
    assert_eq!(windows(&test, "climate_15m").await, recomputed(&readings, 15 * MINUTE));
    let late = ("hall", START + MINUTE * 5 + 1, 500.0);
    climate.store(&[late]).await;
    climate.roll_up(&database, now).await;
    climate.prune(&database, now).await;
    readings.push(late);
    let (found, wanted) = (windows(&test, "climate_15m").await, recomputed(&readings, 15 * MINUTE));
    assert_eq!(found[0].2[..4], wanted[0].2[..4], "min, max, sum and count have it");
    assert_eq!(found[1..], wanted[1..]);
    climate.prune(&database, START + 11 * DAY).await;
    assert_eq!(windows(&test, "climate_15m").await, []);
}

async fn retention_removes_old_rows_of_its_flow_and_nothing_else(kind: Kind) {
    let Some(test) = TestDatabase::new(kind).await else { return };
    let (database, ids) = test.with_flows(&["old", "kept"]).await;
    let row = FlowRow { options: Some(r#"{"retention": "1d"}"#.into()), id: ids[0], ..flow("old") };
    let history = FlowHistory::of(&Flow::compile(row).unwrap()).unwrap().unwrap();
    let mut writer = RecordWriter::new(&database, Uuid::now_v7()).unwrap();
    let one = |seq: u64| {
        let flow = ids[seq as usize % 2];
        let mut one = record(seq, flow, &[("a", "1"), ("b", "2"), ("c", "3")]);
        one.received_at = START + i64::try_from(seq).unwrap() * MINUTE;
        one
    };
    writer.write(&RecordBatch { records: (1..=1_000).map(one).collect(), through: 1_000 }).await.unwrap();
    let now = START + 600 * MINUTE + DAY;
    let prunable = database.prunable(&history, now).await.unwrap();
    assert_eq!((prunable.len(), prunable[0].rows), (1, 299 * 3));
    while database.prune(&history, now).await.unwrap() == RollupStep::Done {}
    assert_eq!(test.number("SELECT COUNT(*) FROM data WHERE flow_code = 'kept'").await, 500 * 3);
    assert_eq!(test.number("SELECT COUNT(*) FROM data WHERE flow_code = 'old'").await, (500 - 299) * 3);
    assert_eq!(database.prunable(&history, now).await.unwrap()[0].rows, 0);
}

async fn drop_index(test: &TestDatabase) {
    let on = if test.kind == Kind::MySql { " ON data" } else { "" };
    test.execute(&format!("DROP INDEX data_flow_attribute_received{on}")).await;
}

async fn a_new_database_has_the_index_that_reading_needs(kind: Kind) {
    let Some(test) = TestDatabase::new(kind).await else { return };
    let database = test.open().await;
    let state = database.index_state().await.unwrap();
    assert!(state.exists && state.is_ours, "{state:?}");
    assert!(!database.make_own_index().await.unwrap());
}

async fn an_index_that_is_missing_is_made_again_only_where_the_table_is_ours(kind: Kind) {
    let Some(test) = TestDatabase::new(kind).await else { return };
    let database = test.open().await;
    drop_index(&test).await;
    assert!(!database.index_state().await.unwrap().exists);
    assert!(database.make_own_index().await.unwrap());
    assert!(database.index_state().await.unwrap().exists);
    drop_index(&test).await;
    // As where another program made the table.
    test.execute("DELETE FROM hearthgate_meta WHERE name = 'sample_flows'").await;
    assert!(!database.make_own_index().await.unwrap());
    assert!(!database.index_state().await.unwrap().is_ours);
    database.make_index().await.unwrap();
    assert!(database.index_state().await.unwrap().exists);
}

async fn sizes_tell_rows_and_the_growth_of_a_day(kind: Kind) {
    let Some(test) = TestDatabase::new(kind).await else { return };
    let (database, ids) = test.with_flows(&["a"]).await;
    let mut writer = RecordWriter::new(&database, Uuid::now_v7()).unwrap();
    let mut records: Vec<_> = (1..=100).map(|seq| record(seq, ids[0], &[("t", "1")])).collect();
    for old in &mut records[..70] {
        old.received_at -= 86_400_000_000 * 3;
    }
    writer.write(&RecordBatch { records, through: 100 }).await.unwrap();
    let sizes = database.table_sizes(&["data", "nowhere"], NOON + 1_000_000).await.unwrap();
    assert_eq!(sizes.len(), 1);
    assert_eq!((sizes[0].rows, sizes[0].rows_last_day), (100, 30));
    assert!(database.database_bytes().await.unwrap() > 0);
}

/// The sums of one field by window: count and sum.
fn counted(answer: &DataAnswer, field: &str) -> Vec<(i64, i64, f64)> {
    let windows = answer.fields.get(field).into_iter().flatten();
    windows
        .map(|(start, sum)| match sum {
            WindowSum::Numbers(numbers) => (*start, numbers.count, numbers.sum),
            WindowSum::Truth(_) => panic!("{field} is a number"),
        })
        .collect()
}

async fn a_range_reads_alike_from_rows_and_from_windows(kind: Kind) {
    let Some(test) = TestDatabase::new(kind).await else { return };
    let (database, _) = test.with_flows(&[]).await;
    let options = r#"{"table": "climate", "event_time": "at", "retention": "1d", "rollups": [{"every": "15m"}]}"#;
    let mut climate = Climate::new(&database, options).await;
    let readings: Vec<_> =
        (0..600).map(|at| (["hall", "cellar"][at as usize % 2], START + at * MINUTE, (at % 9) as f64)).collect();
    climate.store(&readings).await;
    let now = START + 600 * MINUTE;
    let key = vec![("room".to_owned(), "hall".to_owned())];
    let query = DataQuery { key, from: START, to: now, every: Some(60 * MINUTE), field: Some("t".into()) };
    let from_rows = database.read_data(&climate.history, &query, now).await.unwrap();
    assert_eq!(from_rows.sources, ["climate"]);
    let halls: Vec<_> = readings.iter().copied().filter(|(room, ..)| *room == "hall").collect();
    let wanted: Vec<_> =
        recomputed(&halls, 60 * MINUTE).into_iter().map(|(_, start, all)| (start, all[3] as i64, all[2])).collect();
    assert_eq!(counted(&from_rows, "t"), wanted);
    climate.roll_up(&database, now + DAY / 24).await;
    let from_both = database.read_data(&climate.history, &query, now).await.unwrap();
    assert_eq!(from_both.sources, ["climate_15m", "climate"]);
    assert_eq!(counted(&from_both, "t"), wanted);
    climate.prune(&database, now + 2 * DAY).await;
    let from_windows = database.read_data(&climate.history, &query, now + 2 * DAY).await.unwrap();
    assert_eq!(counted(&from_windows, "t"), wanted);
    let year = DataQuery { from: now - 365 * DAY, every: None, ..query.clone() };
    let answer = database.read_data(&climate.history, &year, now).await.unwrap();
    assert!(365 * DAY / answer.every <= MOST_POINTS, "{}", answer.every);
    let error =
        database.read_data(&climate.history, &DataQuery { every: Some(MINUTE), ..year }, now).await.unwrap_err();
    assert!(error.to_string().contains("at most 500"), "{error}");
    let error =
        database.read_data(&climate.history, &DataQuery { field: Some("x".into()), ..query }, now).await.unwrap_err();
    assert!(error.to_string().contains("there are: t, on"), "{error}");
}

async fn readings_in_data_are_read_back_by_device(kind: Kind) {
    let Some(test) = TestDatabase::new(kind).await else { return };
    let (database, ids) = test.with_flows(&["a"]).await;
    let mut writer = RecordWriter::new(&database, Uuid::now_v7()).unwrap();
    let one = |seq: u64| {
        let device = if seq.is_multiple_of(2) { "lamp" } else { "heater" };
        let value = seq.to_string();
        let mut one = record(seq, ids[0], &[("device", device), ("power", &value), ("name", "no number")]);
        // Many at the very same time.
        one.received_at = START + i64::try_from(seq / 6_000).unwrap() * MINUTE;
        one
    };
    for first in (1..12_000).step_by(2_000) {
        let records = (first..first + 2_000).map(one).collect();
        writer.write(&RecordBatch { records, through: first + 1_999 }).await.unwrap();
    }
    let history = FlowHistory::of(&Flow::compile(flow("a")).unwrap()).unwrap().unwrap();
    let key = vec![("device".to_owned(), "lamp".to_owned())];
    let query = DataQuery { key, from: START, to: START + DAY, every: None, field: None };
    let answer = database.read_data(&history, &query, START + DAY).await.unwrap();
    let lamp: i64 = (1..=12_000).filter(|seq| seq % 2 == 0).sum();
    let found = counted(&answer, "power");
    assert_eq!(found.iter().map(|(_, count, _)| count).sum::<i64>(), 6_000);
    assert_eq!(found.iter().map(|(_, _, sum)| sum).sum::<f64>(), lamp as f64);
    assert_eq!(answer.fields.keys().collect::<Vec<_>>(), ["power"]);
}
