//! History: the index that reading needs, sizes, retention and rollups.

use crate::support::{Kind, NOON, TestDatabase, on_every_database, record};
use hearthgate_storage::sql::{Batch, RecordWriter};
use uuid::Uuid;

on_every_database! {
    a_new_database_has_the_index_that_reading_needs
    an_index_that_is_missing_is_made_again_only_where_the_table_is_ours
    sizes_tell_rows_and_the_growth_of_a_day
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
    writer.write(&Batch { records, through: 100 }).await.unwrap();
    let sizes = database.table_sizes(&["data", "nowhere"], NOON + 1_000_000).await.unwrap();
    assert_eq!(sizes.len(), 1);
    assert_eq!((sizes[0].rows, sizes[0].rows_last_day), (100, 30));
    assert!(database.database_bytes().await.unwrap() > 0);
}
