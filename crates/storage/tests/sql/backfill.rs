//! Backfill: old messages through a flow as it is now.

use crate::support::{Kind, TestDatabase, flow, on_every_database, record};
use hearthgate_domain::event_time::EventZone;
use hearthgate_domain::flow::{Flow, FlowRow};
use hearthgate_domain::payload::JsonPayload;
use hearthgate_storage::sql::{
    BackfillCounts, BackfillOrder, BackfillWork, Database, FlowHistory, FlowRecord, RecordBatch, RecordWriter,
    RollupStep, TypedTable,
};
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

on_every_database! {
    old_messages_get_the_rows_that_the_flow_makes_now_once_beside_live_ones_and_through_crashes
    what_retention_has_removed_does_not_come_back
}

const MINUTE: i64 = 60_000_000;
const DAY: i64 = 24 * 60 * MINUTE;
/// 2026-11-01 00:00:00 UTC.
const START: i64 = 1_793_491_200_000_000;

fn row(id: i64, schema: &str, options: &str) -> FlowRow {
    FlowRow {
        id,
        topic: "climate/{room}".into(),
        payload_schema: schema.into(),
        options: Some(options.into()),
        ..flow("CLIMATE")
    }
}

fn order(row: &FlowRow) -> BackfillOrder {
    let flow = Arc::new(Flow::compile(row.clone()).unwrap());
    BackfillOrder { flow, fingerprint: row.fingerprint(), since: START, until: START + 9 * DAY, zone: EventZone::UTC }
}

/// A message as the writer of live ones stores it.
fn message(seq: u64, flow: i64, table: Option<&Arc<TypedTable>>, humidity: &str) -> FlowRecord {
    let t = format!("{seq}.50");
    let text = format!(r#"{{"t": {t}, "humidity": {humidity}}}"#);
    let payload = JsonPayload::parse(text.as_bytes()).unwrap();
    let typed = table.map(|table| table.row(&[("room", "hall")], &payload, None));
    let one = record(seq, flow, &[("room", "hall"), ("t", &t), ("humidity", humidity)]);
    FlowRecord { received_at: START + i64::try_from(seq).unwrap() * MINUTE, typed, ..one }
}

async fn write(writer: &mut RecordWriter, records: Vec<FlowRecord>) {
    let through = records.last().unwrap().seq;
    writer.write(&RecordBatch { records, through }).await.unwrap();
}

async fn old_messages_get_the_rows_that_the_flow_makes_now_once_beside_live_ones_and_through_crashes(kind: Kind) {
    let Some(test) = TestDatabase::new(kind).await else { return };
    let (database, _) = test.with_flows(&[]).await;
    let first = row(0, r#"{"t": "float"}"#, "{}");
    let id = database.insert_flow(&first).await.unwrap();
    let mut writer = RecordWriter::new(&database, Uuid::now_v7()).unwrap();
    // Without a table; then with one that has no humidity; then all is as it is now.
    write(&mut writer, (1..=4_000).map(|seq| message(seq, id, None, "40")).collect()).await;
    let options = r#"{"table": "climate", "rollups": [{"every": "1d"}]}"#;
    let narrow = TypedTable::of(&Flow::compile(row(id, r#"{"t": "float"}"#, options)).unwrap()).unwrap().unwrap();
    write(&mut writer, (4_001..=6_000).map(|seq| message(seq, id, Some(&narrow), "41")).collect()).await;
    let now = row(id, r#"{"t": "float", "humidity": "int"}"#, options);
    let wide = TypedTable::of(&Flow::compile(now.clone()).unwrap()).unwrap().unwrap();
    write(&mut writer, (6_001..=7_000).map(|seq| message(seq, id, Some(&wide), "42")).collect()).await;
    // One that the schema refuses now.
    write(&mut writer, vec![message(7_001, id, Some(&narrow), "\"wet\"")]).await;

    let history = FlowHistory::of(&Flow::compile(now.clone()).unwrap()).unwrap().unwrap();
    while database.roll_up(&history, START + 10 * DAY).await.unwrap() == RollupStep::Done {}
    let mut work = BackfillWork::open(&database, order(&now), START + 10 * DAY, false).await.unwrap();
    let preview = work.preview().await.unwrap();
    let wanted = BackfillCounts { missing: 4_000, different: 2_000, equal: 1_000, refused: 1 };
    assert_eq!(preview.counts, wanted);
    let told = |text: &str| preview.examples.iter().any(|example| example.text.contains(text));
    assert!(told("adds") && told("humidity from nothing to 41") && told("refused"), "{:?}", preview.examples);
    assert_eq!(test.number("SELECT COUNT(*) FROM climate").await, 3_001, "a preview changes nothing");

    let live = async {
        for seq in (7_002..9_000).step_by(37) {
            write(&mut writer, (seq..seq + 37).map(|seq| message(seq, id, Some(&wide), "43")).collect()).await;
            tokio::task::yield_now().await;
        }
    };
    let counts = async {
        // Cut off anywhere, as by a crash: its connections go with it.
        for _ in 0..6 {
            let crashing = Database::connect(&test.options()).await.unwrap();
            let patience = Duration::from_millis(fastrand::u64(1..120));
            let _ = tokio::time::timeout(patience, async {
                let mut work = BackfillWork::open(&crashing, order(&now), START + 10 * DAY, false).await.unwrap();
                while work.write_next().await.unwrap_or(true) {}
            })
            .await;
        }
        let mut work = BackfillWork::open(&database, order(&now), START + 10 * DAY, false).await.unwrap();
        while work.write_next().await.unwrap() {}
        work.counts()
    };
    tokio::join!(live, counts);
    let all = test.number("SELECT COUNT(*) FROM climate").await;
    assert_eq!(all, test.number("SELECT COUNT(DISTINCT last_msg_id) FROM climate").await, "each once");
    assert_eq!(all, test.number("SELECT last_msg_id FROM flows WHERE code = 'CLIMATE'").await, "all of them");
    let right = "SELECT COUNT(*) FROM climate WHERE room = 'hall' AND t = last_msg_id + 0.5 AND humidity = CASE \
                 WHEN last_msg_id <= 4000 THEN 40 WHEN last_msg_id <= 6000 THEN 41 WHEN last_msg_id <= 7000 THEN 42 ELSE 43 END";
    assert_eq!(test.number(right).await, all - 1, "all but the one that is refused");
    while database.roll_up(&history, START + 20 * DAY).await.unwrap() == RollupStep::Done {}
    let count = if kind == Kind::Postgres { "CAST(SUM(t_count) AS bigint)" } else { "SUM(t_count)" };
    let count = if kind == Kind::MySql { "CAST(SUM(t_count) AS SIGNED)" } else { count };
    let count = if kind == Kind::Sqlite { "CAST(SUM(t_count) AS INTEGER)" } else { count };
    assert_eq!(test.number(&format!("SELECT {count} FROM climate_1d")).await, all, "windows have the new rows, once");
    let mut again = BackfillWork::open(&database, order(&now), START + 20 * DAY, false).await.unwrap();
    assert!(!again.is_resumed(), "it was done");
    let counts = again.preview().await.unwrap().counts;
    assert_eq!((counts.missing, counts.different, counts.refused), (0, 0, 1));
}

async fn what_retention_has_removed_does_not_come_back(kind: Kind) {
    let Some(test) = TestDatabase::new(kind).await else { return };
    let (database, _) = test.with_flows(&[]).await;
    let options = r#"{"table": "climate", "retention": "2d", "rollups": [{"every": "1d"}]}"#;
    let mut now = row(0, r#"{"t": "float"}"#, options);
    now.id = database.insert_flow(&now).await.unwrap();
    let flow = Flow::compile(now.clone()).unwrap();
    let (table, history) = (TypedTable::of(&flow).unwrap().unwrap(), FlowHistory::of(&flow).unwrap().unwrap());
    let mut writer = RecordWriter::new(&database, Uuid::now_v7()).unwrap();
    write(&mut writer, (1..=8_000).map(|seq| message(seq, now.id, Some(&table), "40")).collect()).await;
    let at = START + 5 * DAY;
    while database.roll_up(&history, at).await.unwrap() == RollupStep::Done {}
    // Rows of the table are gone, those of `data` not yet: as when the gateway is stopped in between.
    let typed_only = options.replace(r#""table""#, r#""attributes": false, "table""#);
    let typed_only = row(now.id, r#"{"t": "float"}"#, &typed_only);
    let typed_only = FlowHistory::of(&Flow::compile(typed_only).unwrap()).unwrap().unwrap();
    while database.prune(&typed_only, at).await.unwrap() == RollupStep::Done {}
    let kept = test.number("SELECT COUNT(*) FROM climate").await;
    assert!(kept < 8_000, "{kept}");
    let mut work = BackfillWork::open(&database, order(&now), at, false).await.unwrap();
    while work.write_next().await.unwrap() {}
    assert_eq!(test.number("SELECT COUNT(*) FROM climate").await, kept);
}
