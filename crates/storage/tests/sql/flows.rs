//! Flows, servers, migrations, and noticing that they changed.

use crate::support::{Kind, TestDatabase, flow, on_every_database};
use hearthgate_domain::flow::FlowRow;
use hearthgate_storage::sql::{Database, DatabaseOptions, ErrorKind, FeatureSupport};
use std::time::Duration;

on_every_database! {
    an_empty_database_gets_tables_and_sample_flows_once
    flows_are_added_changed_disabled_and_removed
    a_code_that_is_taken_is_a_row_error
    flows_are_imported_all_or_none
    a_flow_that_comes_back_goes_on_behind_its_old_numbers
    options_never_reach_another_flow
    each_change_of_a_flow_is_logged_with_its_author
    the_server_is_the_enabled_default_with_the_lowest_id
    the_change_mark_follows_flows_and_servers_but_not_messages
    concurrent_starts_create_the_schema_once
}

async fn an_empty_database_gets_tables_and_sample_flows_once(kind: Kind) {
    let Some(test) = TestDatabase::new(kind).await else { return };
    let mut before = Database::connect(&test.options()).await.unwrap();
    assert!(before.migration_status().iter().all(|migration| !migration.applied));
    let report = before.migrate().await.unwrap();
    assert!(report.created);
    assert_eq!(report.applied.len(), before.migration_status().len());
    before.close().await;

    let database = test.open().await;
    assert!(database.capabilities().own_tables.is_available());
    assert!(database.migration_status().iter().all(|migration| migration.applied));
    let flows = database.load_flows().await.unwrap();
    let seen: Vec<_> =
        flows.iter().map(|f| (f.code.as_str(), f.topic.as_str(), f.action.as_str(), f.enabled)).collect();
    assert_eq!(
        seen,
        [
            ("AHT10_SENSOR", "sensors/aht10", "STORE_DB", true),
            ("TEMP_HUM_DB", "sensor/temperatura_humedad", "STORE_DB", true),
            ("AHT10_ENDPOINT", "sensors/aht10/http", "POST_ENDPOINT", false),
        ]
    );
    assert!(flows[2].endpoint_url.as_deref().unwrap().starts_with("http://localhost:8000/"));
    for flow in &flows {
        assert!(database.remove_flow(flow.id).await.unwrap());
    }
    database.close().await;
    assert_eq!(test.open().await.load_flows().await.unwrap(), []);
}

async fn flows_are_added_changed_disabled_and_removed(kind: Kind) {
    let Some(test) = TestDatabase::new(kind).await else { return };
    let (database, ids) = test.with_flows(&["one", "two"]).await;
    let changed = FlowRow {
        id: ids[0],
        description: "déjà vu 🙂".into(),
        payload_schema: r#"{"z": "int",  "a": "str"}"#.into(),
        endpoint_url: Some("http://x/".into()),
        options: Some(r#"{"qos":1}"#.into()),
        ..flow("uno")
    };
    assert!(database.update_flow(&changed).await.unwrap());
    assert!(database.set_flow_enabled(ids[1], false).await.unwrap());
    assert!(!database.set_flow_enabled(ids[1] + 99, false).await.unwrap());
    let flows = database.load_flows().await.unwrap();
    assert_eq!(flows.iter().map(|flow| flow.enabled).collect::<Vec<_>>(), [true, false]);
    let one = &flows[0];
    assert_eq!((one.code.as_str(), one.description.as_str()), ("uno", "déjà vu 🙂"));
    assert_eq!(one.payload_schema, changed.payload_schema, "a schema is kept as it was written");
    assert_eq!(one.options, changed.options);
    assert_eq!(one.endpoint_url, changed.endpoint_url);
    assert!(database.remove_flow(ids[0]).await.unwrap());
    assert!(!database.remove_flow(ids[0]).await.unwrap());
    assert_eq!(database.load_flows().await.unwrap().len(), 1);
}

async fn a_code_that_is_taken_is_a_row_error(kind: Kind) {
    let Some(test) = TestDatabase::new(kind).await else { return };
    let (database, _) = test.with_flows(&["one"]).await;
    let error = database.insert_flow(&flow("one")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Row, "{error}");
    assert!(error.to_string().contains("add the flow one"), "{error}");
}

async fn flows_are_imported_all_or_none(kind: Kind) {
    let Some(test) = TestDatabase::new(kind).await else { return };
    let (database, ids) = test.with_flows(&["one"]).await;
    let changed = [FlowRow { id: ids[0], description: "changed".into(), ..flow("one") }];
    let before = database.load_flows().await.unwrap();
    let error = database.import_flows(&[flow("two"), flow("two")], &changed).await.unwrap_err();
    assert!(error.to_string().contains("at the flow two; nothing was changed"), "{error}");
    assert_eq!(database.load_flows().await.unwrap(), before);
    database.import_flows(&[flow("two"), flow("three")], &changed).await.unwrap();
    let after = database.load_flows().await.unwrap();
    let seen: Vec<_> = after.iter().map(|flow| (flow.code.as_str(), flow.description.as_str())).collect();
    assert_eq!((seen.len(), seen[0]), (3, ("one", "changed")));
}

async fn a_flow_that_comes_back_goes_on_behind_its_old_numbers(kind: Kind) {
    let Some(test) = TestDatabase::new(kind).await else { return };
    let (database, ids) = test.with_flows(&["one"]).await;
    test.execute(
        "INSERT INTO data (received_at, flow_code, attribute_name, attribute_value, last_msg_id) \
         VALUES ('2026-01-01 00:00:00', 'one', 'n', '1', 7)",
    )
    .await;
    assert!(database.remove_flow(ids[0]).await.unwrap());
    database.insert_flow(&flow("one")).await.unwrap();
    database.insert_flow(&flow("new")).await.unwrap();
    let numbers: Vec<_> = database.load_flows().await.unwrap().iter().map(|flow| flow.last_msg_id).collect();
    assert_eq!(numbers, [7, 0]);
}

async fn options_never_reach_another_flow(kind: Kind) {
    let Some(test) = TestDatabase::new(kind).await else { return };
    let (database, ids) = test.with_flows(&["one"]).await;
    database.update_flow(&FlowRow { id: ids[0], options: Some("{}".into()), ..flow("one") }).await.unwrap();
    // Another program removes the flow and gives its id to a new one.
    test.execute(&format!("UPDATE flows SET code = 'other' WHERE id = {}", ids[0])).await;
    assert_eq!(database.load_flows().await.unwrap()[0].options, None);
}

async fn the_server_is_the_enabled_default_with_the_lowest_id(kind: Kind) {
    let Some(test) = TestDatabase::new(kind).await else { return };
    let database = test.open().await;
    let none = database.mqtt_server().await.unwrap_err();
    assert!(none.to_string().contains("no enabled row in mqtt_servers"), "{none}");
    let (yes, no) = if kind == Kind::Postgres { ("true", "false") } else { ("1", "0") };
    for (host, user, password, enabled, default) in [
        ("disabled", "NULL", "NULL", no, yes),
        ("spare", "NULL", "NULL", yes, no),
        ("main", "'u'", "'p'", yes, yes),
        ("later", "NULL", "NULL", yes, yes),
    ] {
        test.execute(&format!(
            "INSERT INTO mqtt_servers (host, username, password, enabled, is_default) VALUES ('{host}', {user}, {password}, {enabled}, {default})"
        ))
        .await;
    }
    let server = database.mqtt_server().await.unwrap();
    assert_eq!((server.host.as_str(), server.port), ("main", 1883));
    assert_eq!(server.credentials.unwrap().0, "u");
    test.execute("UPDATE mqtt_servers SET password = '' WHERE host = 'main'").await;
    assert!(database.mqtt_server().await.unwrap().credentials.is_none());
    test.execute("UPDATE mqtt_servers SET port = 70000 WHERE host = 'main'").await;
    assert!(database.mqtt_server().await.unwrap_err().to_string().contains("70000 is no port"));
}

async fn the_change_mark_follows_flows_and_servers_but_not_messages(kind: Kind) {
    let Some(test) = TestDatabase::new(kind).await else { return };
    let (database, ids) = test.with_flows(&["one"]).await;
    let guest = Database::open(&DatabaseOptions { guest: true, ..test.options() }).await.unwrap();
    for database in [&database, &guest] {
        let mut last = database.change_mark().await.unwrap();
        test.execute("UPDATE flows SET last_msg_id = last_msg_id + 1").await;
        assert_eq!(database.change_mark().await.unwrap(), last);
        for change in [
            "UPDATE flows SET topic = concat(topic, 'x')",
            "UPDATE flows SET endpoint_url = concat(coalesce(endpoint_url, ''), 'y')",
            "INSERT INTO mqtt_servers (host) VALUES ('h')",
            "UPDATE mqtt_servers SET port = port + 1",
        ] {
            test.execute(&if kind == Kind::Sqlite { as_sqlite(change) } else { change.to_owned() }).await;
            let now = database.change_mark().await.unwrap();
            assert_ne!(now, last, "{change}");
            last = now;
        }
    }
    let last = database.change_mark().await.unwrap();
    database.update_flow(&FlowRow { id: ids[0], options: Some("{}".into()), ..flow("one") }).await.unwrap();
    assert_ne!(database.change_mark().await.unwrap(), last);
}

fn as_sqlite(statement: &str) -> String {
    statement
        .replace("concat(topic, 'x')", "topic || 'x'")
        .replace("concat(coalesce(endpoint_url, ''), 'y')", "coalesce(endpoint_url, '') || 'y'")
}

async fn concurrent_starts_create_the_schema_once(kind: Kind) {
    let Some(test) = TestDatabase::new(kind).await else { return };
    // Two processes that start at once on one SQLite file are refused by their port; servers are shared.
    if kind == Kind::Sqlite {
        return;
    }
    let options = test.options();
    let (one, two) = tokio::join!(Database::open(&options), Database::open(&options));
    let (one, two) = (one.unwrap(), two.unwrap());
    assert!(one.capabilities().own_tables.is_available());
    assert!(two.capabilities().own_tables.is_available());
}

#[tokio::test]
async fn postgres_tells_of_changes_that_others_make() {
    let Some(test) = TestDatabase::new(Kind::Postgres).await else { return };
    let (database, _) = test.with_flows(&["one"]).await;
    assert_eq!(database.capabilities().notifications, FeatureSupport::Available);
    let mut changes = database.changes().await.unwrap().unwrap();
    test.execute("UPDATE flows SET last_msg_id = 7").await;
    let quiet = tokio::time::timeout(Duration::from_millis(200), changes.next()).await;
    assert!(quiet.is_err(), "a counted message is no change");
    test.execute("UPDATE flows SET enabled = false").await;
    tokio::time::timeout(Duration::from_secs(10), changes.next()).await.unwrap().unwrap();
    // A connection that broke may have missed one.
    test.kill_connections().await;
    tokio::time::timeout(Duration::from_secs(10), changes.next()).await.unwrap().unwrap();
    test.execute("UPDATE flows SET enabled = true").await;
    tokio::time::timeout(Duration::from_secs(10), changes.next()).await.unwrap().unwrap();
}

#[tokio::test]
async fn errors_name_the_host_and_never_the_password() {
    let folder = tempfile::tempdir().unwrap();
    // Bound, not listening: the port refuses, and nobody else gets it.
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    drop(socket);
    for scheme in ["mysql", "mariadb", "postgres", "postgresql"] {
        let url = format!("{scheme}://user:s3cr3t@127.0.0.1:{port}/home");
        let options = DatabaseOptions::new(url, folder.path());
        let error = Database::connect(&options).await.unwrap_err();
        let text = format!("{error} {error:?} {options:?}");
        assert_eq!(error.kind(), ErrorKind::Connection, "{text}");
        assert!(text.contains(&format!("127.0.0.1:{port}")), "{text}");
        assert!(!text.contains("s3cr3t"), "{text}");
    }
    for url in [
        "mysql://user:s3cr3t@host",
        "mysql://user:s3cr3t@ho st/x",
        "oracle://s3cr3t",
        "sqlite:",
        "sqlite::memory:",
        "s3cr3t",
    ] {
        let error = Database::connect(&DatabaseOptions::new(url, folder.path())).await.unwrap_err();
        assert!(!format!("{error} {error:?}").contains("s3cr3t"), "{error}");
    }
}

#[tokio::test]
async fn a_refused_account_is_a_permission_error() {
    for kind in [Kind::MySql, Kind::Postgres] {
        let Some(test) = TestDatabase::new(kind).await else { continue };
        let mut url: url::Url = test.url.parse().unwrap();
        url.set_password(Some("wrong")).unwrap();
        let error = Database::connect(&DatabaseOptions::new(url.to_string(), "x")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Permission, "{error}");
    }
}

#[tokio::test]
async fn a_file_that_is_no_database_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.txt");
    std::fs::write(&path, "these are notes, and rather a lot of them\n".repeat(100)).unwrap();
    let error =
        Database::open(&DatabaseOptions::new(format!("sqlite:{}", path.display()), folder.path())).await.unwrap_err();
    assert!(error.to_string().contains("notes.txt"), "{error}");
    assert_eq!(error.kind(), ErrorKind::Other);
}

async fn each_change_of_a_flow_is_logged_with_its_author(kind: Kind) {
    let Some(test) = TestDatabase::new(kind).await else { return };
    let (database, ids) = test.with_flows(&["one", "two"]).await;
    let ann = database.on_behalf_of("ann");
    let renamed = FlowRow { id: ids[0], topic: "other/ü".into(), ..flow("uno") };
    assert!(ann.update_flow(&renamed).await.unwrap());
    assert!(database.set_flow_enabled(ids[0], false).await.unwrap());
    let imported = FlowRow { options: Some("{}".into()), ..renamed.clone() };
    ann.import_flows(&[], std::slice::from_ref(&imported)).await.unwrap();
    assert!(ann.remove_flow(ids[0]).await.unwrap());

    let changes = database.flow_changes("one").await.unwrap();
    let authors: Vec<&str> = changes.iter().map(|change| change.author.as_str()).collect();
    assert_eq!(authors, ["gateway", "ann", "gateway", "ann", "ann"]);
    assert_eq!(changes[0].before, None);
    assert_eq!(changes[1].after, Some(renamed.clone()));
    assert_eq!(changes[2].after, Some(FlowRow { enabled: false, ..renamed }));
    assert_eq!(changes[3].after, Some(imported.clone()));
    assert_eq!((&changes[4].before, &changes[4].after), (&Some(imported), &None));
    assert!(changes.is_sorted_by_key(|change| change.at));
    assert_eq!(database.flow_changes("uno").await.unwrap(), changes, "a flow keeps its history under its new code");
    assert_eq!(database.flow_changes("two").await.unwrap().len(), 1);

    let two = FlowRow { id: ids[1], ..flow("two") };
    for number in 0..205 {
        let change = FlowRow { description: number.to_string(), ..two.clone() };
        assert!(ann.update_flow(&change).await.unwrap());
    }
    let kept = database.flow_changes("two").await.unwrap();
    assert_eq!(kept.len(), 200);
    assert_eq!(kept[199].after.as_ref().unwrap().description, "204");
}
