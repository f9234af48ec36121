//! Typed tables.

use crate::support::{Kind, TestDatabase, on_every_database, record};
use hearthgate_domain::payload::JsonPayload;
use hearthgate_domain::schema::PayloadSchema;
use hearthgate_storage::sql::{
    Database, DatabaseOptions, ErrorKind, FlowRecord, RecordBatch, RecordWriter, TableChange, TypedTable,
};
use std::sync::Arc;
use uuid::Uuid;

on_every_database! {
    rows_have_the_types_of_the_schema
    numbers_that_may_be_null_are_numbers_in_new_tables_and_in_old_ones
    what_does_not_fit_a_column_is_rejected
    a_missing_table_is_made_with_its_indexes
    a_table_grows_with_its_schema
    rows_wait_for_a_table_that_may_not_be_made
}

fn table(name: &str) -> Arc<TypedTable> {
    let schema = r#"{"temp": "float", "Count": "int", "ok": "bool", "name": "str", "tags": "array"}"#;
    let schema = PayloadSchema::compile(&serde_json::from_str(schema).unwrap()).unwrap();
    Arc::new(TypedTable::new(name, &["room"], &schema, true).unwrap())
}

fn typed(seq: u64, flow: i64, table: &Arc<TypedTable>, payload: &str) -> FlowRecord {
    let payload = JsonPayload::parse(payload.as_bytes()).unwrap();
    let event_time = payload.get("at").filter(|at| at.text().contains("2026-01-01")).map(|_| 1_767_225_600_000_000);
    FlowRecord {
        typed: Some(table.row(&[("room", "kitchen")], &payload, event_time)),
        store: false,
        ..record(seq, flow, &[])
    }
}

async fn rows_have_the_types_of_the_schema(kind: Kind) {
    let Some(test) = TestDatabase::new(kind).await else { return };
    let (database, ids) = test.with_flows(&["a"]).await;
    let table = table("weather");
    for statement in table.ddl(database.dialect()).split_inclusive(";\n") {
        test.execute(statement).await;
    }
    let mut writer = RecordWriter::new(&database, Uuid::now_v7()).unwrap();
    let full =
        r#"{"temp": 21.25, "Count": 7, "ok": true, "name": "Größe", "tags": [1, "x"], "at": "2026-01-01T00:00:00Z"}"#;
    let mut records = vec![typed(1, ids[0], &table, full), typed(2, ids[0], &table, r#"{"temp": null, "at": "soon"}"#)];
    records
        .extend((3..=5_000).map(|seq| typed(seq, ids[0], &table, &format!(r#"{{"temp": {seq}.5, "Count": {seq}}}"#))));
    records[0].store = true;
    records[0].fields = vec![("temp".into(), "21.25".into())];
    let committed = writer.write(&RecordBatch { records, through: 5_000 }).await.unwrap();
    assert_eq!((committed.rows, committed.typed_rows, committed.messages), (1, 5_000, 5_000));
    let count = async |condition: &str| {
        let cast = if kind == Kind::Postgres { "COUNT(*)" } else { "CAST(COUNT(*) AS SIGNED)" };
        let cast = if kind == Kind::Sqlite { "COUNT(*)" } else { cast };
        test.number(&format!("SELECT {cast} FROM weather WHERE {condition}")).await
    };
    let column = if kind == Kind::MySql { "`Count`" } else { "\"Count\"" };
    let truth = if kind == Kind::Postgres { "ok" } else { "ok = 1" };
    assert_eq!(count("flow_code = 'a'").await, 5_000);
    assert_eq!(
        count(&format!("temp = 21.25 AND {column} = 7 AND {truth} AND name = 'Größe' AND last_msg_id = 1")).await,
        1
    );
    let year = match kind {
        Kind::Sqlite => "strftime('%Y', event_time) = '2026'",
        Kind::MySql => "YEAR(event_time) = 2026",
        Kind::Postgres => "extract(year FROM event_time AT TIME ZONE 'UTC') = 2026",
    };
    assert_eq!(count(&format!("last_msg_id = 1 AND {year}")).await, 1);
    assert_eq!(count("last_msg_id = 2 AND temp IS NULL AND ok IS NULL AND event_time IS NULL").await, 1);
    assert_eq!(count(&format!("temp > 4000 AND {column} = last_msg_id AND temp = last_msg_id + 0.5")).await, 1_001);
}

async fn numbers_that_may_be_null_are_numbers_in_new_tables_and_in_old_ones(kind: Kind) {
    let Some(test) = TestDatabase::new(kind).await else { return };
    let (database, ids) = test.with_flows(&["a"]).await;
    let schema = r#"{"type": "object", "properties":
        {"temp": {"type": ["number", "null"]}, "it's": {"type": ["integer", "null"]}}}"#;
    let schema = PayloadSchema::compile(&serde_json::from_str(schema).unwrap()).unwrap();
    let json = if kind == Kind::Sqlite { "TEXT" } else { "JSON" };
    let mut writer = RecordWriter::new(&database, Uuid::now_v7()).unwrap();
    let mut seq = 0;
    for (name, is_old) in [("fresh", false), ("adopted", true)] {
        let table = Arc::new(TypedTable::new(name, &["room"], &schema, true).unwrap());
        let ddl = table.ddl(database.dialect());
        let ddl = if is_old { ddl.replace("DOUBLE PRECISION", json).replace("DOUBLE", json) } else { ddl };
        for statement in ddl.split_inclusive(";\n") {
            test.execute(statement).await;
        }
        let payloads =
            [r#"{"temp": 9, "it's": 1.0}"#, r#"{"temp": 21.5, "it's": 7}"#, r#"{"temp": null, "it's": null}"#];
        let records = payloads.iter().map(|payload| {
            seq += 1;
            typed(seq, ids[0], &table, payload)
        });
        let records: Vec<_> = records.collect();
        assert_eq!(writer.write(&RecordBatch { records, through: seq }).await.unwrap().typed_rows, 3);
        let temp = if is_old { "CAST(CAST(temp AS CHAR(8)) AS DECIMAL(8, 2))" } else { "temp" };
        let number = if kind == Kind::MySql { "`it's`" } else { "\"it's\"" };
        for condition in [
            format!("{temp} = (SELECT MAX({temp}) FROM {name}) AND {temp} = 21.5 AND {number} = 7"),
            format!("{temp} = 9 AND {number} = 1"),
            format!("temp IS NULL AND {number} IS NULL"),
        ] {
            let count = if kind == Kind::MySql { "CAST(COUNT(*) AS SIGNED)" } else { "COUNT(*)" };
            let found = test.number(&format!("SELECT {count} FROM {name} WHERE {condition}")).await;
            assert_eq!(found, 1, "{name}: {condition}");
        }
    }
}

async fn what_does_not_fit_a_column_is_rejected(kind: Kind) {
    // SQLite's columns take anything.
    if kind == Kind::Sqlite {
        return;
    }
    let Some(test) = TestDatabase::new(kind).await else { return };
    let (database, ids) = test.with_flows(&["a"]).await;
    let table = table("weather");
    for statement in table.ddl(database.dialect()).split_inclusive(";\n") {
        test.execute(statement).await;
    }
    let mut writer = RecordWriter::new(&database, Uuid::now_v7()).unwrap();
    let records = (1..=9)
        .map(|seq| {
            typed(seq, ids[0], &table, if seq == 4 { r#"{"Count": 123456789012345678901234567890}"# } else { "{}" })
        })
        .collect();
    let prepared = writer.prepare(&RecordBatch { records, through: 9 }).await.unwrap();
    assert_eq!(prepared.rejected().iter().map(|one| one.seq).collect::<Vec<_>>(), [4]);
    assert_eq!(prepared.commit().await.unwrap().typed_rows, 8);
}

async fn a_missing_table_is_made_with_its_indexes(kind: Kind) {
    let Some(test) = TestDatabase::new(kind).await else { return };
    let (database, ids) = test.with_flows(&["a", "b"]).await;
    let table = table("nowhere");
    let mut writer = RecordWriter::new(&database, Uuid::now_v7()).unwrap();
    let records =
        vec![record(1, ids[0], &[("t", "1")]), typed(1, ids[1], &table, "{}"), record(2, ids[0], &[("t", "2")])];
    let prepared = writer.prepare(&RecordBatch { records, through: 2 }).await.unwrap();
    assert_eq!(prepared.rejected(), []);
    prepared.commit().await.unwrap();
    assert_eq!(test.data().await.len(), 2);
    assert_eq!(test.number("SELECT COUNT(*) FROM nowhere").await, 1);
    assert_eq!(database.make_table(&table).await.unwrap(), TableChange::None);
}

async fn a_table_grows_with_its_schema(kind: Kind) {
    let Some(test) = TestDatabase::new(kind).await else { return };
    let (database, ids) = test.with_flows(&["a"]).await;
    let small = PayloadSchema::compile(&serde_json::json!({"temp": "float"})).unwrap();
    let small = Arc::new(TypedTable::new("weather", &["room"], &small, false).unwrap());
    let mut writer = RecordWriter::new(&database, Uuid::now_v7()).unwrap();
    writer.write(&RecordBatch { records: vec![typed(1, ids[0], &small, "{\"temp\": 1}")], through: 1 }).await.unwrap();
    let large = table("weather");
    writer.write(&RecordBatch { records: vec![typed(2, ids[0], &large, "{\"Count\": 7}")], through: 2 }).await.unwrap();
    let column = if kind == Kind::MySql { "`Count`" } else { "\"Count\"" };
    assert_eq!(test.number(&format!("SELECT COUNT(*) FROM weather WHERE {column} = 7")).await, 1);
    assert_eq!(test.number("SELECT COUNT(*) FROM weather").await, 2);
}

async fn rows_wait_for_a_table_that_may_not_be_made(kind: Kind) {
    let Some(test) = TestDatabase::new(kind).await else { return };
    let (database, ids) = test.with_flows(&["a"]).await;
    database.close().await;
    let database = Database::open(&DatabaseOptions { migrate: false, ..test.options() }).await.unwrap();
    let table = table("nowhere");
    let mut writer = RecordWriter::new(&database, Uuid::now_v7()).unwrap();
    let batch = RecordBatch { records: vec![typed(1, ids[0], &table, "{\"temp\": 1}")], through: 1 };
    let error = writer.write(&batch).await.unwrap_err();
    assert_ne!(error.kind(), ErrorKind::Row);
    assert!(error.to_string().contains("nowhere") && error.to_string().contains("flow ddl"), "{error}");
    database.make_table(&table).await.unwrap();
    assert_eq!(writer.write(&batch).await.unwrap().typed_rows, 1);
}
