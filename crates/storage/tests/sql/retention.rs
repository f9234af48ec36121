//! Retention against a model: whatever comes in which order, also while nothing can be written for a while, exactly those
//! rows go that are too old for their flow, and their windows stay.
//!
//! `HEARTHGATE_TEST_HISTORIES` says how many histories are tried on each database.

use crate::support::{Kind, TestDatabase, flow, on_every_database, record, sqlite};
use hearthgate_domain::flow::{Flow, FlowRow};
use hearthgate_domain::payload::JsonPayload;
use hearthgate_storage::sql::{
    Database, DatabaseOptions, FlowHistory, FlowRecord, RecordBatch, RecordWriter, RollupStep, TypedTable,
};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use sqlx::{Executor as _, SqliteConnection};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

on_every_database! {
    what_is_too_old_goes_and_nothing_else
}

const MINUTE: i64 = 60_000_000;
const DAY: i64 = 24 * 60 * MINUTE;
/// 2026-11-01 00:00:00 UTC.
const START: i64 = 1_793_491_200_000_000;
const ROOMS: [&str; 2] = ["hall", "Hall"];
/// Options of the flows; all share one table. How long each keeps its rows is in [`RETENTIONS`].
const OPTIONS: [&str; 4] = [
    r#"{"table": "TABLE", "event_time": "at", "retention": "1d"}"#,
    r#"{"table": "TABLE", "event_time": "at", "retention": "2d", "rollups": [{"every": "15m", "keep": "4d"}, {"every": "1d"}]}"#,
    r#"{"retention": "1d"}"#,
    r#"{"table": "TABLE", "event_time": "at"}"#,
];
const RETENTIONS: [Option<i64>; 4] = [Some(DAY), Some(2 * DAY), Some(DAY), None];
/// The flow with rollups.
const SUMMED: usize = 1;
const KEEP: i64 = 4 * DAY;

/// Flow and number of rows.
type RowKeys = BTreeSet<(usize, i64)>;

#[derive(Clone, Copy, Debug)]
struct Reading {
    flow: usize,
    room: usize,
    /// Minutes by which the event lies before the receipt, if its time is known.
    late: Option<i64>,
    value: i16,
}

#[derive(Clone, Debug)]
enum Step {
    Store(Vec<Reading>),
    Advance { minutes: i64 },
    RollUp,
    Prune(usize),
    Locked(bool),
}

fn reading() -> impl Strategy<Value = Reading> {
    let late = prop_oneof![Just(None), (0..30_i64).prop_map(Some), (0..5 * 1_440_i64).prop_map(Some)];
    (0..OPTIONS.len(), 0..ROOMS.len(), late, any::<i16>()).prop_map(|(flow, room, late, value)| Reading {
        flow,
        room,
        late,
        value,
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => prop::collection::vec(reading(), 1..30).prop_map(Step::Store),
        4 => (1..1_500_i64).prop_map(|minutes| Step::Advance { minutes }),
        2 => Just(Step::RollUp),
        4 => (0..OPTIONS.len()).prop_map(Step::Prune),
        1 => any::<bool>().prop_map(Step::Locked),
    ]
}

/// A row as it was stored.
#[derive(Clone, Copy, Debug)]
struct ModelRow {
    reading: Reading,
    received: i64,
    number: i64,
}

impl ModelRow {
    fn event(&self) -> i64 {
        self.received - self.reading.late.unwrap_or(0) * MINUTE
    }

    /// Whether it may go from the flow's table.
    fn is_too_old(&self, now: i64) -> bool {
        let Some(retention) = RETENTIONS[self.reading.flow] else { return false };
        let before = now - retention;
        let before = if self.reading.flow == SUMMED { before.div_euclid(DAY) * DAY } else { before };
        self.received < before && self.event() < before
    }

    fn is_too_old_for_data(&self, now: i64) -> bool {
        RETENTIONS[self.reading.flow].is_some_and(|retention| self.received < now - retention)
    }
}

/// A database on which many histories are lived through, each with flows and a table of its own.
struct Site {
    test: TestDatabase,
    database: Database,
    writer: RecordWriter,
    seq: u64,
    histories: usize,
}

impl Site {
    async fn new(kind: Kind) -> Option<Self> {
        let test = TestDatabase::new(kind).await?;
        let options = match kind {
            // The administrator could not be kept from writing.
            Kind::MySql => test.account("history", &["GRANT ALL ON DATABASE.* TO USER"]).await,
            Kind::Sqlite | Kind::Postgres => test.options(),
        };
        let options = DatabaseOptions { busy_timeout: Duration::from_millis(1), ..options };
        let database = Database::open(&options).await.unwrap();
        let writer = RecordWriter::new(&database, Uuid::now_v7()).unwrap();
        Some(Site { test, database, writer, seq: 0, histories: 0 })
    }

    /// Keeps everybody from writing, or no longer.
    async fn lock(&self, locked: bool, lock: &mut Option<SqliteConnection>) {
        let name = &self.test.name;
        match self.test.kind {
            Kind::Sqlite if locked => {
                let mut connection = sqlite(&self.test.url).await;
                connection.execute("BEGIN IMMEDIATE").await.unwrap();
                *lock = Some(connection);
            }
            Kind::Sqlite => {
                if let Some(mut connection) = lock.take() {
                    connection.execute("ROLLBACK").await.unwrap();
                }
            }
            Kind::MySql => {
                let user = format!("'history{}'@'%'", &name[name.len() - 12..]);
                let (verb, to) = if locked { ("REVOKE", "FROM") } else { ("GRANT", "TO") };
                self.test.execute(&format!("{verb} INSERT, UPDATE, DELETE ON {name}.* {to} {user}")).await;
                self.test.kill_connections().await;
            }
            Kind::Postgres => {
                let value = if locked { "on" } else { "off" };
                let set = format!("ALTER DATABASE {name} SET default_transaction_read_only = {value}");
                self.test.execute(&format!("SET TRANSACTION READ WRITE; {set}")).await;
                self.test.kill_connections().await;
            }
        }
    }

    async fn live(&mut self, steps: &[Step]) {
        self.histories += 1;
        let table = format!("climate_{}", self.histories);
        let mut history = History::new(self, &table).await;
        let (mut is_locked, mut lock) = (false, None);
        for step in steps {
            match step {
                Step::Store(readings) => {
                    history.expect(readings);
                    if !is_locked {
                        history.write(self).await;
                    }
                }
                Step::Advance { minutes } => history.now += minutes * MINUTE,
                Step::RollUp => {
                    let rolled = self.database.roll_up(&history.flows[SUMMED].1, history.now).await;
                    assert!(rolled.is_ok() || is_locked, "{rolled:?}");
                }
                Step::Prune(flow) => {
                    let pruned = self.database.prune(&history.flows[*flow].1, history.now).await;
                    assert!(pruned.is_ok() || is_locked, "{pruned:?}");
                }
                Step::Locked(locked) if *locked != is_locked => {
                    self.lock(*locked, &mut lock).await;
                    is_locked = *locked;
                    if !is_locked {
                        history.write(self).await;
                    }
                }
                Step::Locked(_) => {}
            }
            history.assert_nothing_young_is_gone(self).await;
        }
        if is_locked {
            self.lock(false, &mut lock).await;
            history.write(self).await;
        }
        history.settle(self).await;
        history.assert_settled(self).await;
    }
}

/// One history: its flows, and what must be of it.
struct History {
    table: String,
    flows: Vec<(Flow, FlowHistory, Option<Arc<TypedTable>>)>,
    now: i64,
    /// Everything that was ever stored, also what is to be stored as soon as that is possible.
    rows: Vec<ModelRow>,
    written: usize,
}

impl History {
    async fn new(site: &Site, table: &str) -> Self {
        let mut flows = Vec::new();
        for (index, options) in OPTIONS.iter().enumerate() {
            let row = FlowRow {
                topic: "climate/{room}".into(),
                payload_schema: r#"{"t": "float"}"#.into(),
                options: Some(options.replace("TABLE", table)),
                ..flow(&format!("F{index}_{table}"))
            };
            let id = site.database.insert_flow(&row).await.unwrap();
            let flow = Flow::compile(FlowRow { id, ..row }).unwrap();
            let table = TypedTable::of(&flow).unwrap();
            let history = FlowHistory::of(&flow).unwrap().unwrap();
            flows.push((flow, history, table));
        }
        History { table: table.to_owned(), flows, now: START, rows: Vec::new(), written: 0 }
    }

    fn expect(&mut self, readings: &[Reading]) {
        for reading in readings {
            let number = 1 + self.rows.iter().filter(|row| row.reading.flow == reading.flow).count();
            // Several come within a moment, in their order.
            let received = self.now + i64::try_from(self.rows.len()).unwrap();
            self.rows.push(ModelRow { reading: *reading, received, number: i64::try_from(number).unwrap() });
        }
    }

    /// Writes what is not written yet, as the journal's consumer does.
    async fn write(&mut self, site: &mut Site) {
        let mut records = Vec::new();
        for row in &self.rows[self.written..] {
            site.seq += 1;
            let (flow, _, table) = &self.flows[row.reading.flow];
            let payload = format!(r#"{{"t": {}}}"#, row.reading.value);
            let payload = JsonPayload::parse(payload.as_bytes()).unwrap();
            let event = row.reading.late.map(|_| row.event());
            let typed = table.as_ref().map(|table| table.row(&[("room", ROOMS[row.reading.room])], &payload, event));
            let value = row.reading.value.to_string();
            let one = record(site.seq, flow.id, &[("t", &value)]);
            records.push(FlowRecord { received_at: row.received, typed, ..one });
        }
        let batch = RecordBatch { records, through: site.seq };
        while site.writer.write(&batch).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.written = self.rows.len();
    }

    async fn settle(&self, site: &Site) {
        loop {
            let mut is_idle = true;
            for (_, history, _) in &self.flows {
                is_idle &= site.database.roll_up(history, self.now + 2 * DAY).await.unwrap() == RollupStep::Idle;
                is_idle &= site.database.prune(history, self.now).await.unwrap() == RollupStep::Idle;
            }
            if is_idle {
                return;
            }
        }
    }

    /// Flow and number of each row that is in a table.
    async fn stored(&self, site: &Site, table: &str) -> RowKeys {
        let code = if site.test.kind == Kind::MySql { "CAST(flow_code AS CHAR)" } else { "flow_code" };
        let codes: Vec<String> = self.flows.iter().map(|(flow, ..)| format!("'{}'", flow.code)).collect();
        let query = format!("SELECT {code}, last_msg_id FROM {table} WHERE flow_code IN ({})", codes.join(", "));
        let rows: Vec<(String, i64)> = site.test.rows(&query).await;
        let flow = |code: &str| self.flows.iter().position(|(flow, ..)| *flow.code == *code).unwrap();
        let set: RowKeys = rows.iter().map(|(code, number)| (flow(code), *number)).collect();
        assert_eq!(set.len(), rows.len(), "a row is there twice");
        set
    }

    /// What has to be in the flows' table, and in `data`; the rest may have gone.
    fn young(&self) -> (RowKeys, RowKeys) {
        let written = &self.rows[..self.written];
        let key = |row: &ModelRow| (row.reading.flow, row.number);
        let in_table = written.iter().filter(|row| row.reading.flow != 2 && !row.is_too_old(self.now)).map(key);
        let in_data = written.iter().filter(|row| !row.is_too_old_for_data(self.now)).map(key);
        (in_table.collect(), in_data.collect())
    }

    async fn assert_nothing_young_is_gone(&self, site: &Site) {
        if self.written == 0 {
            return;
        }
        let (in_table, in_data) = self.young();
        if !in_table.is_empty() {
            assert!(self.stored(site, &self.table).await.is_superset(&in_table), "a row of the table is gone");
        }
        assert!(self.stored(site, "data").await.is_superset(&in_data), "a row of data is gone");
    }

    async fn assert_settled(&self, site: &Site) {
        if self.rows.is_empty() {
            return;
        }
        let (in_table, in_data) = self.young();
        assert_eq!(self.stored(site, "data").await, in_data);
        if self.rows.iter().all(|row| row.reading.flow == 2) {
            return;
        }
        let mut stored = self.stored(site, &self.table).await;
        // SQLite keeps the newest row of a table with rollups, whose id might come back. Of what is written at once, any may
        // be the newest.
        let newest = self.rows.iter().rev().find(|row| row.reading.flow == SUMMED).map(|row| (SUMMED, row.number));
        if let Some(newest) = newest.filter(|key| site.test.kind == Kind::Sqlite && !in_table.contains(key)) {
            stored.remove(&newest);
        }
        assert_eq!(stored, in_table);
        if self.rows.iter().any(|row| row.reading.flow == SUMMED) {
            self.assert_windows(site).await;
        }
    }

    /// The windows of all rows that ever were, also of those that are gone.
    async fn assert_windows(&self, site: &Site) {
        let length = 15 * MINUTE;
        let oldest = (self.now - KEEP).div_euclid(length) * length;
        let mut wanted: BTreeMap<(String, i64), [f64; 4]> = BTreeMap::new();
        for row in self.rows.iter().filter(|row| row.reading.flow == SUMMED) {
            let start = row.event().div_euclid(length) * length;
            let value = f64::from(row.reading.value);
            let key = (ROOMS[row.reading.room].to_owned(), start / 1_000_000);
            let sum = wanted.entry(key).or_insert([value, value, 0.0, 0.0]);
            *sum = [sum[0].min(value), sum[1].max(value), sum[2] + value, sum[3] + 1.0];
        }
        wanted.retain(|(_, start), _| *start >= oldest / 1_000_000);
        let start = match site.test.kind {
            Kind::Sqlite => "CAST(strftime('%s', window_start) AS INTEGER)",
            Kind::MySql => "CAST(TIMESTAMPDIFF(SECOND, '1970-01-01', window_start) AS SIGNED)",
            Kind::Postgres => "CAST(extract(epoch FROM window_start) AS bigint)",
        };
        let query = format!("SELECT room, {start}, t_min, t_max, t_sum, t_count FROM {}_15m", self.table);
        let rows: Vec<(String, i64, f64, f64, f64, f64)> = site.test.rows(&query).await;
        let found: BTreeMap<_, _> = rows.into_iter().map(|r| ((r.0, r.1), [r.2, r.3, r.4, r.5])).collect();
        assert_eq!(found, wanted);
    }
}

async fn what_is_too_old_goes_and_nothing_else(kind: Kind) {
    let Some(mut site) = Site::new(kind).await else { return };
    let wanted = std::env::var("HEARTHGATE_TEST_HISTORIES").ok().map(|count| count.parse().unwrap());
    let cases = wanted.unwrap_or(if kind == Kind::Sqlite { 100 } else { 6 });
    // What fails is told with its steps; the file of old failures would be of no use to another generator.
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let handle = tokio::runtime::Handle::current();
    let run = move || {
        let site = std::cell::RefCell::new(&mut site);
        runner.run(&prop::collection::vec(step(), 1..25), |steps| {
            handle.block_on(site.borrow_mut().live(&steps));
            Ok(())
        })
    };
    tokio::task::spawn_blocking(run).await.unwrap().unwrap();
}
