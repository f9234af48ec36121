//! A journal or a database that was put back from a copy, and who writes then.

use crate::support::{Kind, TestDatabase, on_every_database, record};
use hearthgate_domain::delivery::QoS;
use hearthgate_storage::journal::{ConsumerStart, Journal, JournalEntry, JournalHandle, JournalOptions};
use hearthgate_storage::sql::{Database, RecordBatch, RecordWriter};
use std::path::Path;

on_every_database! {
    a_journal_that_is_older_than_the_database_is_written_from_where_they_parted
    of_two_gateways_with_one_journal_only_the_later_one_writes
    a_database_without_our_position_goes_on_where_the_journal_says
}

const CONSUMER: &str = "records";

fn open(folder: &Path) -> Journal {
    let (journal, _) = Journal::open(folder, JournalOptions::default()).unwrap();
    journal.handle().register(CONSUMER, ConsumerStart::Oldest).unwrap();
    journal
}

fn append(journal: &mut Journal, count: usize) {
    let entry = JournalEntry {
        topic: "t",
        payload: b"{}",
        received_at: 1,
        qos: QoS::AtLeastOnce,
        retain: false,
        is_restored: false,
        origin: None,
        targets: &[],
    };
    journal.append(&vec![entry; count]).unwrap();
    journal.sync().unwrap();
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

fn writer(database: &Database, journal: &JournalHandle) -> RecordWriter {
    RecordWriter::new(database, journal.id()).unwrap().following(journal.clone(), CONSUMER)
}

async fn a_journal_that_is_older_than_the_database_is_written_from_where_they_parted(kind: Kind) {
    let Some(test) = TestDatabase::new(kind).await else { return };
    let (database, ids) = test.with_flows(&["a"]).await;
    let folder = tempfile::tempdir().unwrap();
    let (now, older) = (folder.path().join("now"), folder.path().join("older"));
    let mut journal = open(&now);
    append(&mut journal, 2);
    let mut first = writer(&database, &journal.handle());
    first.recover().await.unwrap();
    first.write(&RecordBatch { records: vec![record(2, ids[0], &[("n", "1")])], through: 2 }).await.unwrap();
    drop(journal);
    copy(&now, &older);
    let mut journal = open(&now);
    append(&mut journal, 100);
    let mut second = writer(&database, &journal.handle());
    assert_eq!(second.recover().await.unwrap(), 2);
    second.write(&RecordBatch { records: vec![record(50, ids[0], &[("n", "2")])], through: 102 }).await.unwrap();
    assert_eq!(writer(&database, &journal.handle()).recover().await.unwrap(), 102, "within one run");

    // The copy takes messages and is started again before it meets the database.
    append(&mut open(&older), 500);
    let journal = open(&older);
    let mut restored = writer(&database, &journal.handle());
    assert_eq!(restored.recover().await.unwrap(), 2);
    restored.write(&RecordBatch { records: vec![record(3, ids[0], &[("n", "3")])], through: 3 }).await.unwrap();
    assert_eq!(test.data().await.len(), 3);
    drop(journal);
    assert_eq!(writer(&database, &open(&older).handle()).recover().await.unwrap(), 3);
}

async fn of_two_gateways_with_one_journal_only_the_later_one_writes(kind: Kind) {
    let Some(test) = TestDatabase::new(kind).await else { return };
    let (database, ids) = test.with_flows(&["a"]).await;
    let folder = tempfile::tempdir().unwrap();
    let (one, other) = (folder.path().join("one"), folder.path().join("other"));
    let mut journal = open(&one);
    append(&mut journal, 2);
    copy(&one, &other);
    let mut first = writer(&database, &journal.handle());
    first.recover().await.unwrap();
    let clone = open(&other);
    let mut second = writer(&database, &clone.handle());
    assert_eq!(second.recover().await.unwrap(), 0);
    let batch = |n: &str| RecordBatch { records: vec![record(1, ids[0], &[("n", n)])], through: 1 };
    let refused = first.write(&batch("first")).await.unwrap_err();
    assert!(refused.to_string().contains("another gateway"), "{refused}");
    second.write(&batch("second")).await.unwrap();
    assert!(first.recover().await.is_err());
    let values: Vec<String> = test.data().await.into_iter().map(|row| row.value).collect();
    assert_eq!(values, ["second"]);
}

async fn a_database_without_our_position_goes_on_where_the_journal_says(kind: Kind) {
    let Some(test) = TestDatabase::new(kind).await else { return };
    let (database, _) = test.with_flows(&["a"]).await;
    let folder = tempfile::tempdir().unwrap();
    let mut journal = open(folder.path());
    append(&mut journal, 9);
    journal.handle().release(CONSUMER, 7).unwrap();
    assert_eq!(writer(&database, &journal.handle()).recover().await.unwrap(), 7);
    assert_eq!(writer(&database, &journal.handle()).recover().await.unwrap(), 7);
}
