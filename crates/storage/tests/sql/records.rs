//! The record writer: numbers, exactly once, and what can't be written.

use crate::support::{DataRow, Kind, NOON, TestDatabase, on_every_database, record};
use hearthgate_storage::sql::{
    Database, DatabaseOptions, ErrorKind, FlowNumbers, FlowRecord, RecordBatch, RecordWriter, RejectReason, WriteError,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use uuid::Uuid;

on_every_database! {
    messages_are_numbered_in_journal_order_and_share_one_time
    values_are_stored_as_they_are
    any_number_of_rows_fits_into_a_batch
    a_batch_that_is_written_again_is_stored_once
    a_batch_that_overlaps_the_position_is_completed
    a_prepared_batch_that_is_dropped_leaves_nothing
    a_connection_that_breaks_before_the_commit_loses_nothing
    a_message_that_is_only_counted_has_a_number_and_no_rows
    the_messages_of_a_removed_flow_are_rejected_and_the_others_written
    a_poison_row_is_rejected_and_the_others_are_written
    writers_on_one_database_number_without_gap_or_repeat
    a_batch_out_of_order_is_refused
    a_renamed_flow_gets_its_rows_under_the_new_code
    becoming_a_guest_and_back_keeps_the_position
}

fn batch(records: Vec<FlowRecord>) -> RecordBatch {
    let through = records.last().map_or(0, |record| record.seq);
    RecordBatch { records, through }
}

async fn messages_are_numbered_in_journal_order_and_share_one_time(kind: Kind) {
    let Some(test) = TestDatabase::new(kind).await else { return };
    let (database, ids) = test.with_flows(&["a", "b"]).await;
    let mut writer = RecordWriter::new(&database, Uuid::now_v7()).unwrap();
    assert_eq!(writer.recover().await.unwrap(), 0);
    let first = batch(vec![
        record(1, ids[1], &[("t", "1"), ("h", "2")]),
        record(1, ids[0], &[("t", "1")]),
        record(4, ids[1], &[("t", "3")]),
    ]);
    let committed = writer.write(&first).await.unwrap();
    assert_eq!((committed.position, committed.messages, committed.rows), (4, 3, 4));
    assert_eq!(
        committed.numbers,
        [FlowNumbers { flow_id: ids[0], base: 0, count: 1 }, FlowNumbers { flow_id: ids[1], base: 0, count: 2 }]
    );
    writer.write(&RecordBatch { records: vec![record(10, ids[1], &[("t", "9")])], through: 20 }).await.unwrap();
    let row = |code: &str, number, name: &str, value: &str, micros| DataRow {
        flow_code: code.into(),
        number,
        name: name.into(),
        value: value.into(),
        received_at: format!("2026-11-21 12:34:56.{micros}"),
    };
    assert_eq!(
        test.data().await,
        [
            row("b", 1, "t", "1", 789_013),
            row("b", 1, "h", "2", 789_013),
            row("a", 1, "t", "1", 789_013),
            row("b", 2, "t", "3", 789_016),
            row("b", 3, "t", "9", 789_022),
        ]
    );
    let flows = database.load_flows().await.unwrap();
    assert_eq!(flows.iter().map(|flow| flow.last_msg_id).collect::<Vec<_>>(), [1, 3]);
    assert_eq!(writer.recover().await.unwrap(), 20);
}

async fn values_are_stored_as_they_are(kind: Kind) {
    let Some(test) = TestDatabase::new(kind).await else { return };
    let (database, ids) = test.with_flows(&["a"]).await;
    let mut writer = RecordWriter::new(&database, Uuid::now_v7()).unwrap();
    let long = "x".repeat(900 << 10);
    let values =
        ["65.20", "", "it's \\ \"quoted\"", "Größe 🙂", "123456789012345678901234567890", "  ", "%_\n\t", &long];
    let fields: Vec<(String, &str)> = values.iter().enumerate().map(|(at, &value)| (format!("n{at}"), value)).collect();
    let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    writer.write(&batch(vec![record(1, ids[0], &fields)])).await.unwrap();
    let stored: Vec<String> = test.data().await.into_iter().map(|row| row.value).collect();
    assert_eq!(stored, values);
}

async fn any_number_of_rows_fits_into_a_batch(kind: Kind) {
    let Some(test) = TestDatabase::new(kind).await else { return };
    let (database, ids) = test.with_flows(&["a"]).await;
    let mut writer = RecordWriter::new(&database, Uuid::now_v7()).unwrap();
    let mut seq = 1;
    for messages in [1, 2, 1_023, 4_097] {
        let records = (seq..seq + messages).map(|seq| record(seq, ids[0], &[("s", &seq.to_string())])).collect();
        seq += messages;
        writer.write(&RecordBatch { records, through: seq - 1 }).await.unwrap();
    }
    let data = test.data().await;
    assert_eq!(data.len() as u64, seq - 1);
    for (row, expected) in data.iter().zip(1..) {
        assert_eq!((row.value.as_str(), row.number), (expected.to_string().as_str(), expected));
    }
}

async fn a_batch_that_is_written_again_is_stored_once(kind: Kind) {
    let Some(test) = TestDatabase::new(kind).await else { return };
    let (database, ids) = test.with_flows(&["a"]).await;
    for options in [test.options(), DatabaseOptions { guest: true, ..test.options() }] {
        let database = Database::open(&options).await.unwrap();
        let before = test.data().await.len();
        let journal = Uuid::now_v7();
        let records = batch(vec![record(1, ids[0], &[("t", "1")]), record(2, ids[0], &[("t", "1")])]);
        let mut writer = RecordWriter::new(&database, journal).unwrap();
        writer.write(&records).await.unwrap();
        // A new writer after a crash, which has not heard of the commit.
        let mut writer = RecordWriter::new(&database, journal).unwrap();
        let again = writer.write(&records).await.unwrap();
        assert_eq!((again.position, again.messages, again.rows), (2, 0, 0));
        assert_eq!(test.data().await.len(), before + 2);
    }
    drop(database);
}

async fn a_batch_that_overlaps_the_position_is_completed(kind: Kind) {
    let Some(test) = TestDatabase::new(kind).await else { return };
    let (database, ids) = test.with_flows(&["a"]).await;
    let journal = Uuid::now_v7();
    let mut writer = RecordWriter::new(&database, journal).unwrap();
    writer.write(&batch(vec![record(1, ids[0], &[("t", "1")])])).await.unwrap();
    let mut writer = RecordWriter::new(&database, journal).unwrap();
    let records = batch((1..4).map(|seq| record(seq, ids[0], &[("t", &seq.to_string())])).collect());
    assert_eq!(writer.write(&records).await.unwrap().messages, 2);
    let stored: Vec<(i64, String)> = test.data().await.into_iter().map(|row| (row.number, row.value)).collect();
    assert_eq!(stored, [(1, "1".into()), (2, "2".into()), (3, "3".into())]);
}

async fn a_prepared_batch_that_is_dropped_leaves_nothing(kind: Kind) {
    let Some(test) = TestDatabase::new(kind).await else { return };
    let (database, ids) = test.with_flows(&["a"]).await;
    let mut writer = RecordWriter::new(&database, Uuid::now_v7()).unwrap();
    let records = batch(vec![record(1, ids[0], &[("t", "1")])]);
    drop(writer.prepare(&records).await.unwrap());
    assert_eq!(test.data().await, []);
    writer.write(&records).await.unwrap();
    assert_eq!(test.data().await.len(), 1);
    assert_eq!(database.load_flows().await.unwrap()[0].last_msg_id, 1);
}

async fn a_connection_that_breaks_before_the_commit_loses_nothing(kind: Kind) {
    // An SQLite file has no connection to break; crashes.rs kills the process instead.
    if kind == Kind::Sqlite {
        return;
    }
    let Some(test) = TestDatabase::new(kind).await else { return };
    let (_, ids) = test.with_flows(&["a"]).await;
    for guest in [false, true] {
        let database = Database::open(&DatabaseOptions { guest, ..test.options() }).await.unwrap();
        let mut writer = RecordWriter::new(&database, Uuid::now_v7()).unwrap();
        let before = test.data().await.len();
        for round in 1..5 {
            let records = batch(vec![record(round, ids[0], &[("t", &round.to_string())])]);
            let prepared = writer.prepare(&records).await.unwrap();
            test.kill_connections().await;
            let error = prepared.commit().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Connection, "{error}");
            writer.write(&records).await.unwrap();
        }
        let numbers: Vec<i64> = test.data().await[before..].iter().map(|row| row.number).collect();
        let base = before as i64;
        assert_eq!(numbers, [base + 1, base + 2, base + 3, base + 4]);
    }
}

async fn a_message_that_is_only_counted_has_a_number_and_no_rows(kind: Kind) {
    let Some(test) = TestDatabase::new(kind).await else { return };
    let (database, ids) = test.with_flows(&["a"]).await;
    let counted = |seq| FlowRecord { store: false, ..record(seq, ids[0], &[("t", "1")]) };
    let mut writer = RecordWriter::new(&database, Uuid::now_v7()).unwrap();
    let committed = writer.write(&batch(vec![counted(1), counted(2), record(3, ids[0], &[("t", "2")])])).await.unwrap();
    assert_eq!((committed.messages, committed.rows), (3, 1));
    assert_eq!(test.data().await[0].number, 3);
}

async fn the_messages_of_a_removed_flow_are_rejected_and_the_others_written(kind: Kind) {
    let Some(test) = TestDatabase::new(kind).await else { return };
    let (database, ids) = test.with_flows(&["a", "b"]).await;
    database.remove_flow(ids[0]).await.unwrap();
    let mut writer = RecordWriter::new(&database, Uuid::now_v7()).unwrap();
    let records = batch(vec![record(1, ids[0], &[("t", "1")]), record(1, ids[1], &[("t", "1")])]);
    assert!(matches!(writer.write(&records).await, Err(WriteError::Rejected(_))));
    assert_eq!(test.data().await, [], "nothing is committed before the rejected are safe");
    let prepared = writer.prepare(&records).await.unwrap();
    assert_eq!(prepared.rejected().len(), 1);
    assert_eq!((prepared.rejected()[0].index, &prepared.rejected()[0].reason), (0, &RejectReason::FlowGone));
    assert_eq!(prepared.commit().await.unwrap().messages, 1);
    assert_eq!(test.data().await.len(), 1);
}

async fn a_poison_row_is_rejected_and_the_others_are_written(kind: Kind) {
    let Some(test) = TestDatabase::new(kind).await else { return };
    if kind == Kind::Sqlite {
        // SQLite takes any text; a table that another program made may not.
        test.execute(
            "CREATE TABLE data (id INTEGER PRIMARY KEY, received_at DATETIME, flow_code VARCHAR(100), \
             attribute_name VARCHAR(255) CHECK (length(attribute_name) <= 255), attribute_value TEXT, last_msg_id INT)",
        )
        .await;
    }
    let (database, ids) = test.with_flows(&["a", "b"]).await;
    let long = "n".repeat(256);
    let poison: &[(&str, &str)] =
        if kind == Kind::Postgres { &[("ok", "1"), ("nul", "a\0b")] } else { &[("ok", "1"), (&long, "2")] };
    for guest in [false, true] {
        let database = Database::open(&DatabaseOptions { guest, ..test.options() }).await.unwrap();
        let mut writer = RecordWriter::new(&database, Uuid::now_v7()).unwrap();
        let before = test.data().await.len();
        let poisoned = [3, 500, 501, 999];
        let records: Vec<FlowRecord> = (1..1_001)
            .map(|seq| {
                record(
                    seq,
                    ids[(seq % 2) as usize],
                    if poisoned.contains(&seq) { poison } else { &[("t", "1"), ("h", "2")] },
                )
            })
            .collect();
        let prepared = writer.prepare(&batch(records)).await.unwrap();
        let rejected: Vec<u64> = prepared.rejected().iter().map(|one| one.seq).collect();
        assert_eq!(rejected, poisoned);
        for one in prepared.rejected() {
            assert!(matches!(&one.reason, RejectReason::Values(reason) if !reason.is_empty()), "{:?}", one.reason);
        }
        let committed = prepared.commit().await.unwrap();
        assert_eq!((committed.messages, committed.rows), (996, 2 * 996));
        let data = test.data().await;
        assert_eq!(data.len() - before, 2 * 996);
        assert_no_gap(&data);
    }
    drop(database);
}

fn assert_no_gap(data: &[DataRow]) -> BTreeMap<String, i64> {
    let mut last: BTreeMap<String, i64> = BTreeMap::new();
    let mut numbers: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
    for row in data {
        numbers.entry(&row.flow_code).or_default().push(row.number);
    }
    for (code, mut numbers) in numbers {
        numbers.sort_unstable();
        numbers.dedup();
        let expected: Vec<i64> = (1..=numbers.len() as i64).collect();
        assert_eq!(numbers, expected, "flow {code}");
        last.insert(code.to_owned(), numbers.len() as i64);
    }
    last
}

async fn writers_on_one_database_number_without_gap_or_repeat(kind: Kind) {
    let Some(test) = TestDatabase::new(kind).await else { return };
    let (database, ids) = test.with_flows(&["a", "b", "c"]).await;
    let ids: Arc<[i64]> = ids.into();
    let mut writers = tokio::task::JoinSet::new();
    for gateway in 0..3_usize {
        let options = DatabaseOptions { guest: gateway == 2, ..test.options() };
        let ids = Arc::clone(&ids);
        writers.spawn(async move {
            let database = Database::open(&options).await.unwrap();
            let mut writer = RecordWriter::new(&database, Uuid::now_v7()).unwrap();
            for round in 0..20_u64 {
                let value = format!("{gateway}/{round}");
                // Each in its own order: whoever locked in that order would deadlock.
                let records = (0..9)
                    .map(|at| {
                        record(
                            round * 9 + at + 1,
                            ids[(at as usize * (gateway + 1) + gateway) % 3],
                            &[("v", &value), ("w", &value)],
                        )
                    })
                    .collect();
                writer.write(&batch(records)).await.unwrap();
            }
        });
    }
    while let Some(done) = writers.join_next().await {
        done.unwrap();
    }
    let data = test.data().await;
    assert_eq!(data.len(), 3 * 20 * 9 * 2);
    let last = assert_no_gap(&data);
    assert_eq!(last.values().sum::<i64>(), 3 * 20 * 9);
    let mut owner: BTreeMap<(String, i64), String> = BTreeMap::new();
    for row in data {
        let first = owner.entry((row.flow_code, row.number)).or_insert_with(|| row.value.clone());
        assert_eq!(*first, row.value, "one number for two messages");
    }
    for flow in database.load_flows().await.unwrap() {
        assert_eq!(last[&flow.code], flow.last_msg_id);
    }
}

async fn a_batch_out_of_order_is_refused(kind: Kind) {
    let Some(test) = TestDatabase::new(kind).await else { return };
    let (database, ids) = test.with_flows(&["a"]).await;
    let mut writer = RecordWriter::new(&database, Uuid::now_v7()).unwrap();
    let records = vec![record(5, ids[0], &[("t", "1")]), record(4, ids[0], &[("t", "1")])];
    assert!(matches!(
        writer.write(&RecordBatch { records: records.clone(), through: 9 }).await,
        Err(WriteError::Order(1))
    ));
    assert!(matches!(writer.write(&RecordBatch { records, through: 4 }).await, Err(WriteError::Order(0))));
}

async fn a_renamed_flow_gets_its_rows_under_the_new_code(kind: Kind) {
    let Some(test) = TestDatabase::new(kind).await else { return };
    let (database, ids) = test.with_flows(&["a"]).await;
    test.execute("UPDATE flows SET code = 'renamed'").await;
    let mut writer = RecordWriter::new(&database, Uuid::now_v7()).unwrap();
    writer.write(&batch(vec![record(1, ids[0], &[("t", "1")])])).await.unwrap();
    assert_eq!(test.data().await[0].flow_code, "renamed");
}

async fn becoming_a_guest_and_back_keeps_the_position(kind: Kind) {
    let Some(test) = TestDatabase::new(kind).await else { return };
    let (_, ids) = test.with_flows(&["a"]).await;
    let journal = Uuid::now_v7();
    let mut next = 1;
    for guest in [true, false, true, false, false] {
        let database = Database::open(&DatabaseOptions { guest, ..test.options() }).await.unwrap();
        let mut writer = RecordWriter::new(&database, journal).unwrap();
        assert_eq!(writer.recover().await.unwrap(), next - 1);
        let records = (1..=next + 1).map(|seq| record(seq, ids[0], &[("t", &seq.to_string())])).collect();
        writer.write(&batch(records)).await.unwrap();
        next += 2;
        database.close().await;
    }
    let stored: Vec<String> = test.data().await.into_iter().map(|row| row.value).collect();
    assert_eq!(stored, (1..next).map(|seq| seq.to_string()).collect::<Vec<_>>());
}

#[test]
fn the_test_clock_is_what_it_says() {
    assert_eq!(chrono::DateTime::from_timestamp_micros(NOON).unwrap().to_rfc3339(), "2026-11-21T12:34:56.789012+00:00");
}
