//! A database of the Python gateway, with the rights that its guide grants and no more.

use crate::support::{Kind, TestDatabase, record};
use hearthgate_domain::flow::FlowRow;
use hearthgate_storage::sql::{Database, DatabaseOptions, ErrorKind, FeatureSupport, RecordBatch, RecordWriter};
use uuid::Uuid;

const MYSQL_TABLES: [&str; 3] = [
    "CREATE TABLE mqtt_servers (id INT AUTO_INCREMENT PRIMARY KEY, host VARCHAR(255) NOT NULL, port INT NOT NULL DEFAULT 1883, \
     username VARCHAR(255) NULL, password VARCHAR(255) NULL, enabled BOOLEAN NOT NULL DEFAULT TRUE, is_default BOOLEAN NOT NULL DEFAULT TRUE) \
     DEFAULT COLLATE utf8mb4_general_ci",
    "CREATE TABLE flows (id INT AUTO_INCREMENT PRIMARY KEY, code VARCHAR(100) NOT NULL UNIQUE, description VARCHAR(255) NOT NULL, \
     topic VARCHAR(255) NOT NULL, action VARCHAR(30) NOT NULL, payload_schema JSON NOT NULL, endpoint_url VARCHAR(500) NULL, \
     last_msg_id INT NOT NULL DEFAULT 0, enabled BOOLEAN NOT NULL DEFAULT TRUE) DEFAULT COLLATE utf8mb4_general_ci",
    "CREATE TABLE data (id INT AUTO_INCREMENT PRIMARY KEY, received_at DATETIME NOT NULL, flow_code VARCHAR(100) NOT NULL, \
     attribute_name VARCHAR(255) NOT NULL, attribute_value TEXT NOT NULL, last_msg_id INT NOT NULL) DEFAULT COLLATE utf8mb4_general_ci",
];

const POSTGRES_TABLES: [&str; 3] = [
    "CREATE TABLE mqtt_servers (id SERIAL PRIMARY KEY, host VARCHAR(255), port INT DEFAULT 1883, username VARCHAR(255), \
     password VARCHAR(255), enabled BOOLEAN DEFAULT TRUE, is_default BOOLEAN DEFAULT TRUE)",
    "CREATE TABLE flows (id SERIAL PRIMARY KEY, code VARCHAR(100) UNIQUE, description VARCHAR(255), topic VARCHAR(255), \
     action VARCHAR(30), payload_schema JSON, endpoint_url VARCHAR(500), last_msg_id INT DEFAULT 0, enabled BOOLEAN DEFAULT TRUE)",
    "CREATE TABLE data (id SERIAL PRIMARY KEY, received_at TIMESTAMP, flow_code VARCHAR(100), attribute_name VARCHAR(255), \
     attribute_value TEXT, last_msg_id INT)",
];

const SAMPLES: &str = "INSERT INTO flows (code, description, topic, action, payload_schema, endpoint_url, last_msg_id) VALUES \
    ('AHT10_SENSOR', 'a', 'sensors/aht10', 'STORE_DB', '{\"temperature\": \"float\"}', NULL, 41), \
    ('AHT10_ENDPOINT', 'b', 'sensors/aht10/http', 'POST_ENDPOINT', '{\"temperature\": \"float\"}', 'http://x/', 7)";

/// The tables and a few rows, as the Python gateway left them, and an account with the guide's rights.
pub(crate) async fn python_gateway(kind: Kind) -> Option<(TestDatabase, DatabaseOptions)> {
    let test = TestDatabase::new(kind).await?;
    let tables = if kind == Kind::MySql { MYSQL_TABLES } else { POSTGRES_TABLES };
    for table in tables {
        test.execute(table).await;
    }
    test.execute("INSERT INTO mqtt_servers (host) VALUES ('broker')").await;
    test.execute(SAMPLES).await;
    let options = match kind {
        Kind::MySql => {
            test.account(
                "py",
                &[
                    "GRANT SELECT, INSERT, UPDATE ON DATABASE.mqtt_servers TO USER",
                    "GRANT SELECT, INSERT, UPDATE ON DATABASE.flows TO USER",
                    "GRANT SELECT, INSERT ON DATABASE.data TO USER",
                ],
            )
            .await
        }
        _ => {
            test.account(
                "py",
                &[
                    "REVOKE CREATE ON SCHEMA public FROM PUBLIC",
                    "GRANT SELECT, INSERT, UPDATE ON mqtt_servers, flows TO USER",
                    "GRANT SELECT, INSERT ON data TO USER",
                    "GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO USER",
                ],
            )
            .await
        }
    };
    Some((test, options))
}

async fn is_taken_over_as_it_stands(kind: Kind) {
    let Some((test, options)) = python_gateway(kind).await else { return };
    let database = Database::open(&options).await.unwrap();
    let capabilities = database.capabilities();
    assert!(
        matches!(&capabilities.own_tables, FeatureSupport::Unavailable(why) if why.contains("may not create tables")),
        "{capabilities:?}"
    );
    assert_eq!(capabilities.warnings, [] as [String; 0]);
    assert_eq!(database.mqtt_server().await.unwrap().host, "broker");
    let flows = database.load_flows().await.unwrap();
    assert_eq!(flows.iter().map(|flow| flow.last_msg_id).collect::<Vec<_>>(), [41, 7]);

    let mut writer = RecordWriter::new(&database, Uuid::now_v7()).unwrap();
    let records =
        (1..4).map(|seq| record(seq, flows[0].id, &[("temperature", "23.5"), ("humidity", "65.20")])).collect();
    writer.write(&RecordBatch { records, through: 3 }).await.unwrap();
    let data = test.data().await;
    assert_eq!(data.iter().map(|row| row.number).collect::<Vec<_>>(), [42, 42, 43, 43, 44, 44]);
    assert!(data.iter().all(|row| row.received_at.starts_with("2026-11-21 12:34:56")), "{data:?}");
    assert_eq!(database.load_flows().await.unwrap()[0].last_msg_id, 44);

    let tables = if kind == Kind::MySql {
        format!("SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = '{}'", test.name)
    } else {
        "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = 'public'".into()
    };
    assert_eq!(test.number(&tables).await, 3, "no table was added");
}

#[tokio::test]
async fn a_mariadb_of_the_python_gateway_is_taken_over_as_it_stands() {
    is_taken_over_as_it_stands(Kind::MySql).await;
}

#[tokio::test]
async fn a_postgres_with_the_same_rights_is_taken_over_as_it_stands() {
    is_taken_over_as_it_stands(Kind::Postgres).await;
}

#[tokio::test]
async fn a_guest_says_what_it_can_not_do() {
    for kind in [Kind::MySql, Kind::Postgres] {
        let Some((_test, options)) = python_gateway(kind).await else { continue };
        let database = Database::open(&options).await.unwrap();
        let flow = FlowRow { options: Some("{}".into()), ..crate::support::flow("x") };
        let error = database.insert_flow(&flow).await.unwrap_err().to_string();
        assert!(error.contains("can't keep them") && error.contains("may not create tables"), "{error}");
        let id = database.insert_flow(&FlowRow { options: None, ..flow }).await.unwrap();
        assert!(database.set_flow_enabled(id, false).await.unwrap());
        let error = database.remove_flow(id).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Permission);
        assert!(error.to_string().contains("disable it"), "{error}");
    }
}

#[tokio::test]
async fn with_the_rights_to_create_tables_it_is_adopted_without_touching_its_own() {
    for kind in [Kind::MySql, Kind::Postgres] {
        let Some((test, guest)) = python_gateway(kind).await else { continue };
        let journal = Uuid::now_v7();
        let records = RecordBatch { records: vec![record(1, 1, &[("temperature", "1")])], through: 1 };
        let database = Database::open(&guest).await.unwrap();
        RecordWriter::new(&database, journal).unwrap().write(&records).await.unwrap();

        let adopted = test.open().await;
        assert_eq!(adopted.capabilities().own_tables, FeatureSupport::Available);
        assert_eq!(adopted.load_flows().await.unwrap().len(), 2, "no sample flows in a database that is not ours");
        let mut writer = RecordWriter::new(&adopted, journal).unwrap();
        assert_eq!(writer.recover().await.unwrap(), 1, "what the guest wrote is known");
        writer.write(&RecordBatch { records: vec![record(2, 1, &[("temperature", "2")])], through: 2 }).await.unwrap();
        let data = test.data().await;
        assert_eq!(data.iter().map(|row| row.number).collect::<Vec<_>>(), [42, 43]);
    }
}

#[tokio::test]
async fn a_missing_table_or_column_is_named_with_the_remedy() {
    let Some((test, options)) = python_gateway(Kind::MySql).await else { return };
    test.execute("ALTER TABLE flows DROP COLUMN endpoint_url").await;
    test.execute("DROP TABLE data").await;
    let error = Database::open(&options).await.unwrap_err().to_string();
    assert!(error.contains("column flows.endpoint_url") && error.contains("table data"), "{error}");
    assert!(error.contains("hearthgate db migrate"), "{error}");
}

#[tokio::test]
async fn values_that_a_lax_server_would_cut_off_are_rejected() {
    let Some((test, options)) = python_gateway(Kind::MySql).await else { return };
    let database = Database::open(&options).await.unwrap();
    let mut writer = RecordWriter::new(&database, Uuid::now_v7()).unwrap();
    let long = "v".repeat(70_000);
    let records = vec![record(1, 1, &[("t", &long)]), record(2, 1, &[("t", "1")])];
    let prepared = writer.prepare(&RecordBatch { records, through: 2 }).await.unwrap();
    assert_eq!(prepared.rejected().len(), 1);
    prepared.commit().await.unwrap();
    assert_eq!(test.data().await.iter().map(|row| row.number).collect::<Vec<_>>(), [42]);
}

#[tokio::test]
async fn a_flow_whose_numbers_are_used_up_holds_up_nobody_else() {
    for kind in [Kind::MySql, Kind::Postgres] {
        let Some((test, options)) = python_gateway(kind).await else { continue };
        test.execute(&format!("UPDATE flows SET last_msg_id = {} WHERE id = 1", i32::MAX - 2)).await;
        let database = Database::open(&options).await.unwrap();
        let mut writer = RecordWriter::new(&database, Uuid::now_v7()).unwrap();
        let records = (1..=10).map(|seq| record(seq, 1 + i64::try_from(seq % 2).unwrap(), &[("t", "1")])).collect();
        let prepared = writer.prepare(&RecordBatch { records, through: 10 }).await.unwrap();
        assert_eq!(prepared.rejected().iter().map(|one| one.seq).collect::<Vec<_>>(), [6, 8, 10]);
        assert_eq!(prepared.commit().await.unwrap().messages, 7);
    }
}
